"""Named experts beside a network: who is under its curve, who calls too much, who is unsure.

References
----------
Jing et al., Development of Expert-Level Classification of Seizures and Rhythmic and Periodic Patterns During EEG
Interpretation, Neurology 2023, doi:10.1212/WNL.0000000000207127.
Jing et al., Interrater Reliability of Expert Electroencephalographers Identifying Seizures and Rhythmic and Periodic
Patterns, Neurology 2023, doi:10.1212/WNL.0000000000201670.
"""

# N row, J rater, K class, R resample, L level of score, P patient

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit, log_ndtr, logit

from hbac.evaluation.agreement import (
    NOT_RATED,
    Labels,
    count_votes_by_rater,
    majority,
    majority_of_others,
    votes_of_others,
)
from hbac.evaluation.areas import falling, mean_of_known, ratio
from hbac.evaluation.bootstrap import Interval, patient_index, percentile_interval, resample_counts, sum_by

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.bool_]

N_RESAMPLES = 500
LEAST_RATERS = 10  # of a row, for the calibration index
N_BINS, LEAST_IN_BIN = 10, 10
_THETAS = np.linspace(-20, 20, 1000)
_ROUNDING = 1e-9  # of a share
_MOST = 0.999  # of a share whose logit is taken


@dataclass(frozen=True)
class Curve:
    """A network's operating points, by falling threshold, each of shape (resamples, thresholds)."""

    tpr: Array  # rising, as is the false positive rate
    fpr: Array
    ppv: Array  # precision

    @classmethod
    def of(cls, truth_N: Rows, score_N: Array, weight_RN: Array) -> Curve:
        """Draw the curve of some rows: a threshold for each score; NaN where one side has no weight.

        `weight_RN`, shape (resamples, rows), is 0 or more; rows of equal score move together.
        """
        order, ends = falling(score_N)
        weight_RN = weight_RN[:, order]
        called_RL = np.cumsum(weight_RN, axis=1)[:, ends]
        true_RL = np.cumsum(weight_RN * truth_N[order], axis=1)[:, ends]
        false_RL = called_RL - true_RL
        return cls(ratio(true_RL, true_RL[:, -1:]), ratio(false_RL, false_RL[:, -1:]), ratio(true_RL, called_RL))

    def over(self, tpr_RJ: Array, fpr_RJ: Array, ppv_RJ: Array) -> tuple[Array, Array]:
        """Say which experts, by their operating points, are under the ROC and under the precision-recall curve.

        1 where the expert's TPR is not above the curve's where the FPR is nearest; and where the expert's precision is
        not above the curve's where the recall is nearest. NaN without an operating point; both (resamples, raters).
        """
        at_fpr, at_tpr = _nearest(self.fpr, fpr_RJ), _nearest(self.tpr, tpr_RJ)
        net_tpr_RJ = np.take_along_axis(self.tpr, at_fpr, axis=1)
        net_ppv_RJ = np.take_along_axis(self.ppv, at_tpr, axis=1)
        known_RJ = np.isfinite(tpr_RJ) & np.isfinite(fpr_RJ) & np.isfinite(self.fpr[:, -1:] + self.tpr[:, -1:])
        roc = np.where(known_RJ, tpr_RJ <= net_tpr_RJ, np.nan)
        return roc, np.where(known_RJ & np.isfinite(ppv_RJ), ppv_RJ <= net_ppv_RJ, np.nan)


@dataclass(frozen=True)
class UnderCurve:
    """How experts stand to a network's curves, for one class."""

    # Of each expert against the majority of the others, on the rows that the expert rated; NaN where these rows have no
    # such majority, or the expert never called the class.
    tpr: Array
    fpr: Array
    ppv: Array
    roc: Interval  # share of the experts under the network's curve, in per cent
    pr: Interval
    # The same share with a curve drawn for each expert on the rows that the expert rated, against the majority of the
    # others. On one set of rows a point under the one curve is under the other, too.
    own_rows: float
    curve: Curve  # the network's, of all rows, against the majority of all; one resample


def under_curve(
    vote_NJ: Labels,
    score_N: Array,
    k: int,
    patient_N: npt.ArrayLike,
    n_resamples: int = N_RESAMPLES,
) -> UnderCurve:
    """Count the experts who are under a network's curves of class `k`, with a bootstrap over patients.

    `vote_NJ` is the class that each rater gave, −1 where none, at least one a row; `score_N` the network's probability
    of the class. Experts who have no operating point count as neither.
    """
    truth_N = majority(count_votes_by_rater(vote_NJ)) == k
    others_NJ = majority_of_others(vote_NJ)
    rated_NJ = others_NJ != NOT_RATED
    of_class_NJ, called_NJ = others_NJ == k, rated_NJ & (vote_NJ == k)
    index, n_patients = patient_index(patient_N)
    by_patient = [
        sum_by(index, n_patients, rows.astype(np.float64))
        for rows in (rated_NJ, of_class_NJ, called_NJ, of_class_NJ & called_NJ)
    ]

    def points(count_RP: Array) -> tuple[Array, Array, Array]:
        rated, of_class, called, hits = (count_RP @ counts for counts in by_patient)
        return ratio(hits, of_class), ratio(called - hits, rated - of_class), ratio(hits, called)

    blocks = []
    for count_RP in resample_counts(n_patients, n_resamples):
        over = Curve.of(truth_N, score_N, count_RP[:, index]).over(*points(count_RP))
        blocks.append([_share(under_RJ) for under_RJ in over])
    here, curve = points(np.ones((1, n_patients))), Curve.of(truth_N, score_N, np.ones((1, len(score_N))))
    roc, pr = (
        percentile_interval(float(_share(under)[0]), np.concatenate([block[i] for block in blocks]))
        for i, under in enumerate(curve.over(*here))
    )
    own = []
    for j in range(vote_NJ.shape[1]):
        rows = rated_NJ[:, j]
        if rows.any():
            alone = Curve.of(of_class_NJ[rows, j], score_N[rows], np.ones((1, int(rows.sum()))))
            own.append(alone.over(*(values[:, j : j + 1] for values in here))[0])
    own_rows = float(_share(np.concatenate(own, axis=1))[0])
    tpr_J, fpr_J, ppv_J = (values[0] for values in here)
    return UnderCurve(tpr_J, fpr_J, ppv_J, roc, pr, own_rows, curve)


def _share(under_RJ: Array) -> Array:
    return 100 * mean_of_known(under_RJ, axis=1)


def _nearest(rising_RL: Array, value_RJ: Array) -> npt.NDArray[np.int64]:
    """Return where a rising row is nearest to values; of equal ones the first."""
    found = np.empty(value_RJ.shape, np.int64)
    for r, (rising, values) in enumerate(zip(rising_RL, value_RJ, strict=True)):
        after = np.searchsorted(rising, values).clip(max=len(rising) - 1)
        before = np.searchsorted(rising, rising[(after - 1).clip(min=0)])
        found[r] = np.where(np.abs(rising[before] - values) <= np.abs(rising[after] - values), before, after)
    return found


def shares_of_others(vote_NJ: Labels, j: int) -> tuple[npt.NDArray[np.int64], Array, npt.NDArray[np.int64]]:
    """Return what the others said of the rows that rater `j` rated.

    Those are the rows that somebody else rated, too; the share of the others who gave each class, (these rows, 6); and
    how many these are.
    """
    rows, others = votes_of_others(vote_NJ, count_votes_by_rater(vote_NJ), j)
    n = others.sum(axis=1)
    seen = n > 0
    return rows[seen], others[seen] / n[seen, None], n[seen]


def calibration_index(vote_NJ: Labels) -> Array:
    """Say how far each expert's calling of a class is above or under what the others' share of votes would give.

    Rows with ten or more raters, in ten bins by the share of the others who gave the class; in each with ten or more
    rows the share that the expert called. Rows to which none of the others gave it are in no bin, as it takes to find
    the published means and ranges of SPaRCNet's twenty experts. Through the bins' middles and both corners goes the one
    curve σ(logit(x) + θ) that is nearest by least squares; the index, (raters, 6), is its area over the diagonal: −100
    (never calls it) to 100 (always does), NaN where no bin has enough rows.
    """
    enough = (vote_NJ != NOT_RATED).sum(axis=1) >= LEAST_RATERS
    votes = vote_NJ[enough]
    found = np.full((vote_NJ.shape[1], 6), np.nan)
    for j in range(vote_NJ.shape[1]):
        rows, share, _ = shares_of_others(votes, j)
        for k in range(6):
            given = share[:, k] > 0
            bins = np.clip(np.ceil(share[given, k] * N_BINS - _ROUNDING).astype(int) - 1, 0, N_BINS - 1)
            n = np.bincount(bins, minlength=N_BINS)
            full = n >= LEAST_IN_BIN
            if full.any():
                said = np.bincount(bins, weights=votes[rows[given], j] == k, minlength=N_BINS)[full] / n[full]
                found[j, k] = _index_of((np.flatnonzero(full) + 0.5) / N_BINS, said)
    return found


def _index_of(x: Array, y: Array) -> float:
    x, y = np.concatenate([[0], x, [1]]), np.concatenate([[0], y, [1]])
    theta = _THETAS[((_shifted(x, _THETAS[:, None]) - y) ** 2).sum(axis=1).argmin()]
    grid = np.linspace(0, 1, 1001)
    return float(100 * np.trapezoid(_shifted(grid, theta) - grid, grid) / 0.5)


def _shifted(x: Array, theta: Array | float) -> Array:
    with np.errstate(divide="ignore"):  # 0 stays 0
        return np.asarray(expit(logit(np.minimum(x, _MOST)) + theta))


def noise_and_bias(vote_NJ: Labels) -> tuple[Array, Array]:
    """Estimate how unsure each expert is of a class, and how much evidence the expert wants for calling it.

    An expert sees the logit of the share of votes that the others gave, with normal noise, and calls the class where
    that is above a threshold: a probit regression of the expert's calls on the logit, by maximum likelihood. Shares of
    0 and 1 are taken for half a vote. Returned, each (raters, 6), are the standard deviation of the noise, and the
    threshold, both in logits: 0 is half of the others, above it an expert who calls the class less often than they do.
    NaN where the rows do not tell: a class never or always called, or calls that do not follow the others.
    """
    noise = np.full((vote_NJ.shape[1], 6), np.nan)
    threshold = noise.copy()
    for j in range(vote_NJ.shape[1]):
        rows, share, n_others = shares_of_others(vote_NJ, j)
        half = 0.5 / n_others[:, None]
        x_NK = logit(np.clip(share, half, 1 - half))
        for k in range(6):
            called = vote_NJ[rows, j] == k
            if called.any() and not called.all():
                noise[j, k], threshold[j, k] = _probit(x_NK[:, k], called)
    return noise, threshold


def _probit(x_N: Array, called_N: Rows) -> tuple[float, float]:
    """Fit P(call) = Φ((x − threshold) / noise), on the few different x that there are."""
    x_L, level = np.unique(x_N, return_inverse=True)
    yes_L = np.bincount(level, weights=called_N)
    no_L = np.bincount(level) - yes_L

    def loss(parameters: Array) -> float:
        z = parameters[0] + parameters[1] * x_L
        return float(-(yes_L * log_ndtr(z) + no_L * log_ndtr(-z)).sum() / len(x_N))

    fitted = minimize(loss, np.array([0.0, 0.5]), method="BFGS")
    a, b = fitted.x
    return (1 / b, -a / b) if 1e-3 < b < 1e3 else (float("nan"), float("nan"))
