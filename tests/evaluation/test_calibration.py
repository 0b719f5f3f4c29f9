"""Calibration on predictions whose error is known."""

from __future__ import annotations

import numpy as np
import pytest

from hbac.evaluation.calibration import expected_calibration_error, reliability


def drawn(confidence: np.ndarray, truth: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows predicted as class 0 with `confidence`, which is right with probability `truth`."""
    right = np.random.default_rng(seed).random(len(truth)) < truth
    target = np.where(right[:, None], [1.0, 0, 0], [0, 1.0, 0])
    prob = np.stack([confidence, (1 - confidence) / 2, (1 - confidence) / 2], axis=1)
    return target, prob


def test_calibrated_predictions_have_next_to_no_error_and_overconfident_ones_their_excess():
    confidence = np.random.default_rng(0).uniform(0.5, 1, 100_000)
    assert expected_calibration_error(*drawn(confidence, confidence, 1)) < 0.01
    assert expected_calibration_error(*drawn(confidence, confidence - 0.2, 2)) == pytest.approx(0.2, abs=0.01)


def test_equals_the_definition_bin_by_bin():
    rng = np.random.default_rng(3)
    target, prob = rng.dirichlet(np.ones(6), 500), rng.dirichlet(np.ones(6), 500)
    confidence, right = prob.max(1), prob.argmax(1) == target.argmax(1)
    expected = 0.0
    for low in np.arange(10) / 10:
        inside = (confidence > low) & (confidence <= low + 0.1)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert expected_calibration_error(target, prob, n_bins=10) == pytest.approx(expected, abs=1e-12)


def test_reliability_table_has_the_counts():
    target = np.eye(2)[[0, 0, 1, 1]]
    prob = np.array([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
    table = reliability(target, prob, n_bins=5)
    assert table["n"].tolist() == [0, 0, 1, 0, 3]
    assert table["accuracy"].iloc[4] == pytest.approx(2 / 3)
    assert table["confidence"].iloc[4] == pytest.approx(0.9)
    assert np.isnan(table["accuracy"].iloc[0])
