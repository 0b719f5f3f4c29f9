"""Operating points in closed form, and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_curve

from hbac.evaluation.operating import (
    answered,
    at_recall,
    equal_mass_error,
    jitter,
    operating_points,
    reject_curve,
)

SCORE = np.arange(1, 11) / 10
POSITIVE = np.array([0, 0, 1, 0, 0, 1, 0, 1, 1, 1], dtype=bool)  # at .3, .6, .8, .9, 1


@pytest.mark.parametrize(
    ("recall", "threshold", "precision", "alarms"),
    [(0.6, 0.8, 1.0, 0.0), (0.61, 0.6, 4 / 5, 20.0), (0.8, 0.6, 4 / 5, 20.0), (1.0, 0.3, 5 / 8, 60.0)],
)
def test_a_threshold_finds_just_enough(recall: float, threshold: float, precision: float, alarms: float) -> None:
    found = at_recall(POSITIVE, SCORE, [recall])
    assert [value[0, 0] for value in found] == pytest.approx([threshold, precision, alarms])


def test_weights_are_repeated_rows() -> None:
    rng = np.random.default_rng(0)
    times = rng.integers(0, 4, size=(5, 10))
    found = np.stack(at_recall(POSITIVE, SCORE, [0.5, 0.9], times.astype(float)))
    for r, n in enumerate(times):
        repeated = at_recall(np.repeat(POSITIVE, n), np.repeat(SCORE, n), [0.5, 0.9])
        np.testing.assert_allclose(found[..., r], np.stack(repeated)[..., 0])


def test_patients_bring_all_of_their_rows() -> None:
    patient, counts = np.array([0, 0, 1, 1, 1, 2, 2, 2, 3, 3]), np.array([[2.0, 0.0, 1.0, 1.0]])
    by_patient = at_recall(POSITIVE, SCORE, [0.9], counts, patient)
    by_row = at_recall(POSITIVE, SCORE, [0.9], counts[:, patient])
    np.testing.assert_allclose(by_patient, by_row)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000), recall=st.sampled_from([0.5, 0.9, 0.95, 0.99]), n_levels=st.sampled_from([3, 10, 1000])
)
def test_it_is_the_last_point_of_scikit_learn_s_curve_with_the_recall(seed: int, recall: float, n_levels: int) -> None:
    rng = np.random.default_rng(seed)
    positive, score = rng.random(200) < 0.2, rng.integers(0, n_levels, 200) / n_levels
    positive[0] = True
    precision, reached, thresholds = precision_recall_curve(positive, score)
    at = np.flatnonzero(reached[:-1] >= recall - 1e-12)[-1]
    found = at_recall(positive, score, [recall])
    assert found[0][0, 0] == thresholds[at]
    assert found[1][0, 0] == pytest.approx(precision[at])


def test_a_class_that_nobody_has_or_everybody_has() -> None:
    nobody = at_recall(np.zeros(10, bool), SCORE, [0.9])
    assert np.isnan(np.concatenate(nobody)).all()
    threshold, precision, alarms = at_recall(np.ones(10, bool), SCORE, [0.9])
    assert (threshold[0, 0], precision[0, 0]) == (0.2, 1.0)
    assert np.isnan(alarms[0, 0])
    assert operating_points(np.zeros(10, bool), SCORE, range(10), [0, 1] * 5) == []


def test_folds_and_patients_move_the_threshold() -> None:
    """Fold 1 says half of what fold 0 says: its thresholds are half of those, and the drift is 2."""
    rng = np.random.default_rng(1)
    positive = rng.random(400) < 0.3
    score = np.where(positive, 0.5 + 0.5 * rng.random(400), 0.4 * rng.random(400))
    both = np.concatenate([score, score / 2])
    points = operating_points(
        np.tile(positive, 2), both, np.tile(np.arange(400) // 4, 2), np.repeat([0, 1], 400), n_resamples=200
    )
    for point in points:
        assert point.drift == pytest.approx(2)
        assert point.by_fold[1] == pytest.approx(point.by_fold[0] / 2)
        assert point.threshold.low <= point.threshold.estimate <= point.threshold.high
        assert point.threshold.low < point.threshold.high
    assert [point.recall for point in points] == [0.9, 0.95, 0.99]
    assert points[0].threshold.estimate > points[2].threshold.estimate
    assert points[0].alarms.estimate < points[2].alarms.estimate


def test_what_is_rejected_makes_the_rest_accurate() -> None:
    right = np.array([1, 1, 1, 0, 1, 0], dtype=bool)
    sure = np.array([0.9, 0.8, 0.7, 0.6, 0.6, 0.5])
    share, accuracy = reject_curve(right, sure)
    np.testing.assert_allclose(share, [1 / 6, 2 / 6, 3 / 6, 5 / 6, 1])
    np.testing.assert_allclose(accuracy, [1, 1, 1, 4 / 5, 4 / 6])
    found = answered(right, sure, np.arange(6), [0.95, 0.8], 200)
    assert [share.estimate for share in found.values()] == pytest.approx([0.5, 5 / 6])
    assert 0 <= found[0.95].low < found[0.95].high <= 1
    assert answered(~right, 1 - sure, np.arange(6), [1.0], 20)[1.0].estimate == pytest.approx(1 / 6)
    assert answered(np.zeros(6, bool), sure, np.arange(6), [0.5], 20)[0.5].estimate == 0


def test_calibration_of_equal_mass() -> None:
    score = np.repeat([0.1, 0.9], 50)
    positive = np.concatenate([np.arange(50) < 15, np.arange(50) < 45])
    assert equal_mass_error(positive, score, n_bins=2) == pytest.approx(0.1)  # (0.2 + 0) / 2
    assert np.isnan(equal_mass_error(np.zeros(0, bool), np.zeros(0)))


def test_jitter_is_between_neighbours_and_not_over_the_eeg() -> None:
    ramp = np.linspace(0, 1, 101)[:, None]
    shuffled = np.random.default_rng(0).permutation(101)
    assert jitter(ramp[shuffled], np.zeros(101), shuffled)[0] == pytest.approx(0.01 / np.sqrt(2))
    two = jitter(np.array([[0.2, 1.0], [0.6, 1.0]]), [5, 5], [0, 1])
    assert two == pytest.approx([np.std([0.2, 0.6], ddof=1), 0])
    assert np.isnan(jitter(np.ones((2, 1)), [1, 2], [0, 0])).all()
