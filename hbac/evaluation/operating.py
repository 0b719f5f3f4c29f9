"""Operating points: the threshold that finds so many of a class, what it costs, and how far either can be relied on.

A class is found where its probability reaches a threshold. The threshold for a recall is the highest at which at least
that share of the class's rows is found; the class with most votes is a row's class.
"""

# N row, K class, R resample, P patient, L threshold

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hbac.evaluation.areas import falling, ratio
from hbac.evaluation.bootstrap import N_RESAMPLES, Interval, patient_index, percentile_interval, resample_counts
from hbac.evaluation.calibration import N_BINS

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.bool_]

RECALLS = (0.90, 0.95, 0.99)
ACCURACIES = (0.90, 0.95, 0.99)
_ROUNDING = 1e-9  # of sums of weights
_LEVELS = 500


@dataclass(frozen=True)
class OperatingPoint:
    """One threshold of one class."""

    recall: float  # share of the class's rows that is to be found, in (0, 1]
    threshold: Interval  # rows with this probability or more are called the class
    precision: Interval  # share of the rows so called that are of the class
    alarms: Interval  # how many of 100 rows of other classes are called the class all the same
    by_fold: Mapping[int, float]  # the threshold of each fold alone, but for folds without a row of the class

    @property
    def drift(self) -> float:
        """Largest threshold of a fold by the smallest; NaN where fewer than two folds have one above 0."""
        known = [value for value in self.by_fold.values() if value > 0]
        return max(known) / min(known) if len(known) > 1 else float("nan")


def at_recall(
    positive_N: Rows,
    score_N: Array,
    recalls: Sequence[float],
    count_RP: Array | None = None,
    patient_N: npt.NDArray[np.int64] | None = None,
) -> tuple[Array, Array, Array]:
    """Find the thresholds for some recalls in (0, 1], in several resamples of the patients.

    `count_RP` says how often each patient was drawn, by default the rows as they are; `patient_N` is the patient of
    each row, from 0, by default each row is one. Returned, each (recalls, resamples), are the highest threshold that
    finds so many, precision there, and false alarms in 100 negatives. NaN where the class was not drawn; alarms also
    where nothing else was.

    Examples
    --------
    >>> found = at_recall(np.array([True, True, False, True]), np.array([0.9, 0.6, 0.5, 0.2]), [0.6])
    >>> [values.tolist() for values in found]
    [[[0.6]], [[1.0]], [[0.0]]]
    """
    patient_N = np.arange(len(score_N)) if patient_N is None else patient_N
    count_RP = np.ones((1, len(score_N))) if count_RP is None else count_RP
    nothing = np.full((len(recalls), len(count_RP)), np.nan)
    if not positive_N.any():
        return nothing, nothing, nothing
    order = np.flatnonzero(positive_N)[np.argsort(-score_N[positive_N], kind="stable")]
    reached_RN = np.cumsum(count_RP[:, patient_N[order]], axis=1)
    all_R = reached_RN[:, -1]
    threshold, precision, alarms = nothing.copy(), nothing.copy(), nothing.copy()
    others_R = count_RP @ np.bincount(patient_N[~positive_N], minlength=count_RP.shape[1])
    falling_N = score_N[order]
    sides = [(score_N[rows], patient_N[rows]) for rows in (positive_N, ~positive_N)]
    for i, recall in enumerate(recalls):
        first_R = (reached_RN < (recall * all_R - _ROUNDING)[:, None]).sum(axis=1)
        threshold_R = falling_N[first_R]
        true_R, false_R = (_called(*side, threshold_R, count_RP) for side in sides)
        threshold[i] = np.where(all_R > 0, threshold_R, np.nan)
        precision[i] = np.where(all_R > 0, ratio(true_R, true_R + false_R), np.nan)
        alarms[i] = np.where(all_R > 0, 100 * ratio(false_R, others_R), np.nan)
    return threshold, precision, alarms


def _called(score_N: Array, patient_N: npt.NDArray[np.int64], threshold_R: Array, count_RP: Array) -> Array:
    """Count the rows of each resample that reach its threshold; of these there are few different ones."""
    levels_L, level_R = np.unique(threshold_R, return_inverse=True)
    n_patients, n_levels = count_RP.shape[1], len(levels_L) + 1
    reached_N = np.searchsorted(levels_L, score_N, side="right")  # so many levels
    cells = np.bincount(patient_N * n_levels + reached_N, minlength=n_patients * n_levels).reshape(n_patients, n_levels)
    above_PL = np.cumsum(cells[:, ::-1], axis=1)[:, ::-1][:, 1:]
    return np.asarray((count_RP * above_PL.T[level_R]).sum(axis=1))


def operating_points(
    positive_N: Rows,
    score_N: Array,
    patient_N: npt.ArrayLike,
    fold_N: npt.ArrayLike,
    recalls: Sequence[float] = RECALLS,
    n_resamples: int = N_RESAMPLES,
) -> list[OperatingPoint]:
    """Find the operating points of a class, one for each recall, with a bootstrap over patients.

    None where no row is of the class, or all are; resamples without the class are left out. `score_N` is out-of-fold.

    Examples
    --------
    >>> positive = np.array([True, False] * 4)
    >>> points = operating_points(positive, np.where(positive, 0.8, 0.1), range(8), [0, 1, 1, 0] * 2, n_resamples=20)
    >>> print(points[0].threshold, points[0].alarms.estimate, points[0].drift)
    0.8000 [0.8000, 0.8000] 0.0 1.0
    """
    if not positive_N.any() or positive_N.all():
        return []
    index, n_patients = patient_index(patient_N)
    fold = np.asarray(fold_N)
    here = at_recall(positive_N, score_N, recalls)
    blocks = [
        at_recall(positive_N, score_N, recalls, count_RP, index)
        for count_RP in resample_counts(n_patients, n_resamples)
    ]
    of_fold = {
        int(one): at_recall(positive_N[fold == one], score_N[fold == one], recalls)[0][:, 0]
        for one in np.unique(fold[positive_N])
    }
    points = []
    for i, recall in enumerate(recalls):
        threshold, precision, alarms = (
            percentile_interval(float(here[j][i, 0]), np.concatenate([block[j][i] for block in blocks]))
            for j in range(len(here))
        )
        by_fold = {one: float(found[i]) for one, found in of_fold.items()}
        points.append(OperatingPoint(recall, threshold, precision, alarms, by_fold))
    return points


def reject_curve(right_N: Rows, confidence_N: Array) -> tuple[Array, Array]:
    """Say how accurate answers are when the least confident are not given; equal confidences are answered together.

    Returned are the share of the rows answered, rising to 1, and how many of these are right.

    Examples
    --------
    >>> share, accuracy = reject_curve(np.array([True, False]), np.array([0.9, 0.4]))
    >>> share.tolist(), accuracy.tolist()
    ([0.5, 1.0], [1.0, 0.5])
    """
    order, ends = falling(confidence_N)
    answered = ends + 1.0
    return answered / len(order), np.cumsum(right_N[order])[ends] / answered


def answered(
    right_N: Rows,
    confidence_N: Array,
    patient_N: npt.ArrayLike,
    accuracies: Sequence[float] = ACCURACIES,
    n_resamples: int = N_RESAMPLES,
) -> dict[float, Interval]:
    """Find the largest share of the rows that can be answered at each accuracy, with a bootstrap over patients.

    Shares are in [0, 1]: 0 where not even the surest rows are so accurate.

    Examples
    --------
    >>> found = answered(np.array([True, True, False]), np.array([0.9, 0.8, 0.5]), [1, 2, 3], [0.95], n_resamples=20)
    >>> round(found[0.95].estimate, 3)
    0.667
    """
    index, n_patients = patient_index(patient_N)
    share_S, accuracy_S = reject_curve(right_N, confidence_N)
    # Of each resample at so many confidences only: all of them would be as many sums as there are rows.
    levels_L = np.unique(np.quantile(confidence_N, np.linspace(1, 0, _LEVELS), method="nearest"))[::-1]
    level_N = np.searchsorted(-levels_L, -confidence_N)
    flat_N = index * len(levels_L) + level_N
    answered_PL, right_PL = (
        np.bincount(flat_N, weights, n_patients * len(levels_L)).reshape(n_patients, -1).cumsum(axis=1)
        for weights in (None, right_N.astype(np.float64))
    )
    drawn: dict[float, list[Array]] = {float(accuracy): [] for accuracy in accuracies}
    for count_RP in resample_counts(n_patients, n_resamples):
        all_RL, true_RL = count_RP @ answered_PL, count_RP @ right_PL
        for accuracy, found in drawn.items():
            enough_RL = true_RL >= accuracy * all_RL - _ROUNDING
            found.append(np.where(enough_RL, all_RL, 0.0).max(axis=1) / all_RL[:, -1])
    return {
        accuracy: percentile_interval(
            float(share_S[accuracy_S >= accuracy - _ROUNDING].max(initial=0.0)), np.concatenate(found)
        )
        for accuracy, found in drawn.items()
    }


def equal_mass_error(positive_N: Rows, score_N: Array, n_bins: int = N_BINS) -> float:
    """Compute the calibration error of one class, in bins that hold as many rows each.

    In [0, 1]: the mean over the rows of their bin's ``|share of the class − mean probability|``; NaN without rows. Bins
    of equal width leave a rare class with nearly all of its rows in the first one.

    References
    ----------
    Nixon et al., Measuring Calibration in Deep Learning, CVPR workshops 2019, doi:10.48550/arXiv.1904.01685.

    Examples
    --------
    >>> equal_mass_error(np.array([True, False, True, True]), np.array([0.5, 0.5, 1.0, 1.0]), n_bins=2)
    0.0
    """
    if not len(score_N):
        return float("nan")
    order = np.argsort(score_N, kind="stable")
    excess = score_N[order] - positive_N[order]
    return float(sum(abs(part.sum()) for part in np.array_split(excess, n_bins)) / len(excess))


def jitter(prob_NK: Array, eeg_N: npt.ArrayLike, order_N: npt.ArrayLike) -> Array:
    """Say how much a probability moves from one window of an EEG to the next, by `order_N`; of each class.

    Median over the EEGs with two or more windows of the standard deviation between neighbours: the root mean square of
    their differences by √2, which slow change over the EEG does not add to. NaN where no EEG has two.

    Examples
    --------
    >>> jitter(np.array([[0.1], [0.3], [0.1], [0.9]]), [1, 1, 1, 2], [0, 1, 2, 0]).round(4).tolist()
    [0.1414]
    """
    eeg = np.asarray(eeg_N)
    order = np.lexsort((np.asarray(order_N), eeg))
    same = np.diff(eeg[order]) == 0
    if not same.any():
        return np.full(prob_NK.shape[1], np.nan)
    squared = np.diff(prob_NK[order], axis=0)[same] ** 2
    _, first, n = np.unique(eeg[order][1:][same], return_index=True, return_counts=True)
    mean = np.add.reduceat(squared, first, axis=0) / n[:, None]
    return np.asarray(np.median(np.sqrt(mean / 2), axis=0))
