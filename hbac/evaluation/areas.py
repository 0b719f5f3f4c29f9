"""Areas under the ROC and the precision-recall curve, for many resamples of the rows at once."""

# N row, K class, R resample

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hbac.vocabulary import N_CLASSES

Array = npt.NDArray[np.float64]


def ratio(numerator: Array, denominator: npt.NDArray[np.number]) -> Array:
    """Divide, NaN where there is nothing to divide by; of the numerator's shape."""
    return np.asarray(np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0))


def mean_of_known(values: Array, axis: int = 0) -> Array:
    """Average what is finite along an axis, NaN where nothing is."""
    known = np.isfinite(values)
    return ratio(np.where(known, values, 0.0).sum(axis=axis), known.sum(axis=axis))


def falling(score_N: Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Order rows by falling score, and say where in this order the last of each score stands: they move together."""
    order = np.argsort(-score_N, kind="stable")
    return order, np.append(np.flatnonzero(np.diff(score_N[order])), len(order) - 1)


def auroc_and_auprc(positive_N: npt.NDArray[np.bool_], score_N: Array, weight_RN: Array) -> tuple[Array, Array]:
    """Compute one class's area under the ROC and the precision-recall curve for several sets of row weights.

    The latter is scikit-learn's average precision. Rows of equal score move together. Weights (resamples, rows) are 0
    or more; NaN is what comes of a side that has none.

    Examples
    --------
    >>> a, p = auroc_and_auprc(np.array([True, False, True]), np.array([0.9, 0.5, 0.4]), np.ones((1, 3)))
    >>> a.tolist(), p.round(4).tolist()
    ([0.5], [0.8333])
    """
    order, ends = falling(score_N)
    weights = weight_RN[:, order]
    hits = weights * positive_N[order]
    true = np.cumsum(hits, axis=1)[:, ends]
    false = np.cumsum(weights - hits, axis=1)[:, ends]
    step_true = np.diff(true, axis=1, prepend=0.0)
    step_false = np.diff(false, axis=1, prepend=0.0)
    area = (step_false * (true - step_true / 2)).sum(axis=1)
    precision = np.divide(true, true + false, out=np.zeros_like(true), where=true + false > 0)
    auroc = ratio(area, true[:, -1] * false[:, -1])
    auprc = ratio((step_true * precision).sum(axis=1), true[:, -1])
    auprc[false[:, -1] <= 0] = np.nan
    return auroc, auprc


def macro_areas(target_N: npt.NDArray[np.int64], prob_NK: Array, weight_RN: Array) -> Array:
    """Average AUROC and AUPRC of each class against the rest over the classes that occur, shape (2, resamples)."""
    classes = [k for k in range(N_CLASSES) if 0 < (target_N == k).sum() < len(target_N)]
    if not classes:
        return np.full((2, len(weight_RN)), np.nan)
    areas = np.stack([auroc_and_auprc(target_N == k, prob_NK[:, k], weight_RN) for k in classes])
    return mean_of_known(areas)
