"""Bootstrap over patients: how far the score would move with other patients of the same kind.

Rows of one patient are alike, so that rows are no independent draws; patients are. Each resample draws as many
patients as there are, with replacement, and each patient comes with all of its rows. Only how often each
patient is drawn matters, so that a resample is one row of multinomial counts and a mean is two matrix products.

References
----------
Davison & Hinkley, Bootstrap Methods and their Application, section 3.8, doi:10.1017/CBO9780511802843.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hbac.common.errors import UserError
from hbac.evaluation.areas import ratio

N_RESAMPLES = 2000
_BLOCK = 250  # resamples at a time: bounds the memory at 250 x patients


@dataclass(frozen=True)
class Interval:
    """An estimate, on the rows themselves, and its percentile interval."""

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.estimate:.4f} [{self.low:.4f}, {self.high:.4f}]"


def patient_index(patient_ids: npt.ArrayLike) -> tuple[npt.NDArray[np.int64], int]:
    """Give each patient a number from 0: that of each row's, and how many there are.

    Examples
    --------
    >>> index, n_patients = patient_index([7, 3, 7])
    >>> index.tolist(), n_patients
    ([1, 0, 1], 2)
    """
    patients, index = np.unique(np.asarray(patient_ids), return_inverse=True)
    return index.astype(np.int64).reshape(-1), len(patients)


def sum_by(index: npt.NDArray[np.int64], n_groups: int, values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Add up rows of values (rows, J) by their group, 0 … n_groups − 1; 0 for a group without rows.

    Examples
    --------
    >>> sum_by(np.array([1, 1]), 2, np.array([[1.0], [2.0]])).tolist()
    [[0.0], [3.0]]
    """
    columns = [np.bincount(index, weights=column, minlength=n_groups) for column in values.T]
    return np.stack(columns, axis=1)


def resample_counts(n_patients: int, n_resamples: int, seed: int = 0) -> Iterator[npt.NDArray[np.float64]]:
    """Draw how often each patient stands in each resample: blocks of counts, shape (resamples, patients).

    Same seed, same draws: two statistics on the same patients are thereby paired. A `UserError` where there are no
    patients.
    """
    if n_patients < 1:
        raise UserError("bootstrap: no patients to draw from")
    rng = np.random.default_rng(seed)
    share = np.full(n_patients, 1 / n_patients)
    for start in range(0, n_resamples, _BLOCK):
        yield rng.multinomial(n_patients, share, size=min(_BLOCK, n_resamples - start)).astype(np.float64)


def bootstrap_means(
    values: npt.ArrayLike,
    patient_ids: npt.ArrayLike,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> npt.NDArray[np.float64]:
    """Compute the mean over the rows in each resample of the patients, (resamples, J), of (rows,) or (rows, J).

    A NaN leaves its row out, of that column. The same draws in all columns; NaN where a resample has no rows. A
    `UserError` where there are no rows.

    Examples
    --------
    >>> bootstrap_means([1.0, 1.0, 1.0], [3, 3, 4], n_resamples=2).tolist()
    [[1.0], [1.0]]
    """
    array = np.asarray(values, dtype=np.float64)
    array = array.reshape(len(array), -1)
    index, n_patients = patient_index(patient_ids)
    present = np.isfinite(array)
    sums = sum_by(index, n_patients, np.where(present, array, 0.0))
    rows = sum_by(index, n_patients, present.astype(np.float64))
    blocks = []
    for counts in resample_counts(n_patients, n_resamples, seed):
        blocks.append(ratio(counts @ sums, counts @ rows))
    return np.concatenate(blocks)


def percentile_interval(estimate: float, resampled: npt.NDArray[np.float64], level: float = 0.95) -> Interval:
    """Make the percentile interval of resampled statistics.

    A NaN (a resample without such rows) is left out; NaN bounds where no resample has a value. A `UserError` where
    `level`, the share of resamples inside the interval, isn't between 0 and 1.

    Examples
    --------
    >>> print(percentile_interval(0.5, np.linspace(0, 1, 101), level=0.9))
    0.5000 [0.0500, 0.9500]
    """
    if not 0 < level < 1:
        raise UserError(f"bootstrap: level={level}; it must be between 0 and 1")
    kept = resampled[np.isfinite(resampled)]
    if not len(kept):
        return Interval(float(estimate), float("nan"), float("nan"))
    low, high = np.quantile(kept, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(estimate), float(low), float(high))


def bootstrap_interval(
    values: npt.ArrayLike,
    patient_ids: npt.ArrayLike,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Bootstrap the mean over the rows, by patients; see `bootstrap_means`.

    For the score `values` are those of `hbac.evaluation.metric.kl_rows`.

    Raises
    ------
    UserError
        No rows, or a level outside of (0, 1).

    Examples
    --------
    >>> print(bootstrap_interval([0.2, 0.2, 0.2, 0.2], [1, 1, 2, 3], n_resamples=50))
    0.2000 [0.2000, 0.2000]
    """
    array = np.asarray(values, dtype=np.float64)
    if not len(array):
        raise UserError("bootstrap: no rows")
    resampled = bootstrap_means(array, patient_ids, n_resamples, seed)[:, 0]
    return percentile_interval(float(np.nanmean(array)), resampled, level)


def paired_bootstrap(
    values: npt.ArrayLike,
    others: npt.ArrayLike,
    patient_ids: npt.ArrayLike,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Bootstrap the mean of ``values − others`` over the same rows, by patients; see `bootstrap_interval`.

    Much narrower than the difference of the two intervals, since hard patients are hard for both.

    Examples
    --------
    >>> print(paired_bootstrap([0.3, 0.9], [0.2, 0.8], [1, 2], n_resamples=50))
    0.1000 [0.1000, 0.1000]
    """
    difference = np.asarray(values, dtype=np.float64) - np.asarray(others, dtype=np.float64)
    return bootstrap_interval(difference, patient_ids, n_resamples, seed)
