"""The patient bootstrap: right by the textbook, paired, and covering the truth at its rate."""

from __future__ import annotations

import numpy as np
import pytest

from hbac.common.errors import UserError
from hbac.evaluation.bootstrap import (
    bootstrap_interval,
    bootstrap_means,
    paired_bootstrap,
    percentile_interval,
    resample_counts,
)


def test_equals_resampling_rows_by_hand():
    rng = np.random.default_rng(0)
    values, patients = rng.normal(size=50), rng.integers(0, 12, 50) * 7
    fast = bootstrap_means(values, patients, n_resamples=300, seed=5)[:, 0]
    names = np.unique(patients)
    counts = np.concatenate(list(resample_counts(len(names), 300, seed=5)))
    for resample in (0, 100, 299):
        rows = np.concatenate(
            [np.tile(values[patients == name], int(k)) for name, k in zip(names, counts[resample], strict=True)]
        )
        assert fast[resample] == pytest.approx(rows.mean(), rel=1e-12)


def test_counts_are_draws_with_replacement():
    counts = np.concatenate(list(resample_counts(40, 600, seed=1)))
    assert counts.shape == (600, 40)
    assert (counts.sum(axis=1) == 40).all()
    assert counts.var() == pytest.approx(1 - 1 / 40, abs=0.03)


def test_seed_decides_and_order_of_rows_does_not():
    rng = np.random.default_rng(1)
    values, patients = rng.normal(size=60), rng.integers(0, 15, 60)
    a = bootstrap_interval(values, patients, seed=3)
    order = rng.permutation(60)
    b = bootstrap_interval(values[order], patients[order], seed=3)
    assert (a.low, a.high) == pytest.approx((b.low, b.high), rel=1e-12)
    assert bootstrap_interval(values, patients, seed=4).low != a.low


def test_one_row_per_patient_agrees_with_the_normal_interval():
    rng = np.random.default_rng(2)
    values = rng.normal(3, 2, 2000)
    interval = bootstrap_interval(values, np.arange(2000), n_resamples=4000)
    half = 1.96 * values.std() / np.sqrt(2000)
    assert interval.low == pytest.approx(values.mean() - half, abs=0.008)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.008)


def test_covers_the_truth_at_its_rate():
    """Patients differ by 1, rows within them by 0.5: of 400 intervals at 90 %, 360 ± 2.6 sigma cover 0."""
    rng = np.random.default_rng(3)
    covered = 0
    for trial in range(400):
        patients = np.repeat(np.arange(60), rng.integers(1, 9, 60))
        values = rng.normal(size=60)[patients] + 0.5 * rng.normal(size=len(patients))
        interval = bootstrap_interval(values, patients, n_resamples=400, seed=trial, level=0.9)
        covered += interval.low <= 0 <= interval.high
    assert 344 <= covered <= 376


def test_rows_as_draws_would_not_cover():
    """The same with rows taken for patients: the interval is far too narrow, so patients are drawn."""
    rng = np.random.default_rng(4)
    covered = 0
    for trial in range(100):
        patients = np.repeat(np.arange(40), 20)
        values = rng.normal(size=40)[patients] + 0.1 * rng.normal(size=800)
        interval = bootstrap_interval(values, np.arange(800), n_resamples=200, seed=trial, level=0.9)
        covered += interval.low <= 0 <= interval.high
    assert covered < 50


def test_paired_difference_is_narrower_than_two_intervals():
    rng = np.random.default_rng(5)
    hard = rng.gamma(1, 1, 500)
    patients = np.arange(500) // 3
    better, worse = hard + 0.01 * rng.normal(size=500), hard + 0.05 + 0.01 * rng.normal(size=500)
    difference = paired_bootstrap(worse, better, patients)
    assert difference.estimate == pytest.approx(0.05, abs=0.003)
    assert difference.low > 0.045
    single = bootstrap_interval(better, patients)
    assert difference.high - difference.low < 0.05 * (single.high - single.low)


def test_columns_share_draws_and_nan_rows_stay_out():
    values = np.array([[1.0, np.nan], [3.0, 5.0], [np.nan, 5.0]])
    means = bootstrap_means(values, [1, 2, 3], n_resamples=500)
    assert np.nanmin(means[:, 0]) == 1 and np.nanmax(means[:, 0]) == 3
    assert np.nanmin(means[:, 1]) == np.nanmax(means[:, 1]) == 5
    assert np.isnan(means[:, 0]).any()  # resamples of the third patient alone
    interval = percentile_interval(2.0, means[:, 0])
    assert (interval.low, interval.high) == (1.0, 3.0)


def test_bad_input():
    with pytest.raises(UserError, match="no rows"):
        bootstrap_interval([], [])
    with pytest.raises(UserError, match=r"level=1\.5"):
        bootstrap_interval([1.0], [1], level=1.5)
