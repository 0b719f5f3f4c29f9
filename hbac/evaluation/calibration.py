"""Calibration: whether a probability of 0.7 comes true seven times in ten.

References
----------
Guo et al., On Calibration of Modern Neural Networks, ICML 2017, doi:10.48550/arXiv.1706.04599.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from hbac.evaluation.areas import ratio

N_BINS = 15


def confidence_bins(
    target_NK: npt.NDArray[np.floating], prob_NK: npt.NDArray[np.floating], n_bins: int = N_BINS
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Sort rows into bins of confidence, of equal width over (0, 1] and open on the left.

    Returned, each (rows,), are the bin of the highest probability, and by how much that is more than 1 where right, and
    than 0 where wrong; right is the class with most votes (ties: the first).

    Examples
    --------
    >>> bins, excess = confidence_bins(np.eye(2), np.array([[0.8, 0.2], [0.7, 0.3]]), n_bins=4)
    >>> bins.tolist(), excess.round(3).tolist()
    ([3, 2], [-0.2, 0.7])
    """
    confidence = np.asarray(prob_NK, dtype=np.float64).max(axis=1)
    right = np.asarray(prob_NK).argmax(axis=1) == np.asarray(target_NK).argmax(axis=1)
    bins = np.clip(np.ceil(confidence * n_bins).astype(np.int64) - 1, 0, n_bins - 1)
    return bins, confidence - right


def expected_calibration_error(
    target_NK: npt.NDArray[np.floating], prob_NK: npt.NDArray[np.floating], n_bins: int = N_BINS
) -> float:
    """Compute the mean over the rows of ``|accuracy − confidence|`` of their bin (`confidence_bins`), in [0, 1].

    Examples
    --------
    >>> expected_calibration_error(np.eye(2), np.array([[0.8, 0.2], [0.2, 0.8]])).__round__(3)
    0.2
    """
    bins, excess = confidence_bins(target_NK, prob_NK, n_bins)
    return float(np.abs(np.bincount(bins, weights=excess, minlength=n_bins)).sum() / len(bins))


def reliability(
    target_NK: npt.NDArray[np.floating], prob_NK: npt.NDArray[np.floating], n_bins: int = N_BINS
) -> pd.DataFrame:
    """Tabulate confidence against accuracy, for a reliability diagram, by `confidence_bins`.

    One row per bin: ``low, high, n, confidence, accuracy``; the last two are NaN in an empty bin.

    Examples
    --------
    >>> reliability(np.eye(2), np.array([[0.8, 0.2], [0.8, 0.2]]), n_bins=2)["accuracy"].tolist()
    [nan, 0.5]
    """
    bins, excess = confidence_bins(target_NK, prob_NK, n_bins)
    confidence = np.asarray(prob_NK, dtype=np.float64).max(axis=1)
    n = np.bincount(bins, minlength=n_bins)
    mean_confidence, mean_excess = (
        ratio(np.bincount(bins, weights=values, minlength=n_bins).astype(np.float64), n)
        for values in (confidence, excess)
    )
    edges = np.linspace(0, 1, n_bins + 1)
    return pd.DataFrame(
        {
            "low": edges[:-1],
            "high": edges[1:],
            "n": n,
            "confidence": mean_confidence,
            "accuracy": mean_confidence - mean_excess,
        }
    )


def reliability_of_shares(
    share_N: npt.NDArray[np.floating], prob_N: npt.NDArray[np.floating], n_bins: int = N_BINS
) -> pd.DataFrame:
    """Tabulate the probability of a class against the share of votes that it got, in bins of as many rows each.

    One row per bin, by rising probability: ``n, predicted, share``; fewer bins where there are not as many rows.

    Examples
    --------
    >>> found = reliability_of_shares(np.array([0.0, 0.2, 0.8, 1.0]), np.array([0.1, 0.1, 0.9, 0.9]), n_bins=2)
    >>> found["share"].tolist()
    [0.1, 0.9]
    """
    order = np.argsort(prob_N, kind="stable")
    parts = [rows for rows in np.array_split(order, n_bins) if len(rows)]
    return pd.DataFrame(
        {
            "n": [len(rows) for rows in parts],
            "predicted": [float(prob_N[rows].mean()) for rows in parts],
            "share": [float(share_N[rows].mean()) for rows in parts],
        }
    )
