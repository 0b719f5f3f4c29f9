"""A simulated recording of hours: its patterns are where it says, and one block goes over into the next."""

from __future__ import annotations

import numpy as np

from hbac.synthetic.hours import BLOCK_S, simulate_hours
from hbac.vocabulary import CLASSES, ELECTRODES, SFREQ


def test_patterns_are_where_it_says_and_blocks_have_no_seam() -> None:
    truth, blocks = simulate_hours(2, seed=3)
    eeg_TC = np.concatenate([*blocks])[:, : len(ELECTRODES)]
    assert eeg_TC.shape == (round(2 * BLOCK_S * SFREQ), len(ELECTRODES)) and np.isfinite(eeg_TC).all()
    assert [name for name, _, _ in truth] == ["seizure", "lpd"]
    assert all(onset % BLOCK_S >= 60 and onset % BLOCK_S + duration <= BLOCK_S - 60 for _, onset, duration in truth)
    again, more = simulate_hours(2, seed=3)
    assert again == truth
    np.testing.assert_array_equal(next(more)[:, : len(ELECTRODES)], eeg_TC[: round(BLOCK_S * SFREQ)])

    _, onset, duration = truth[0]
    steps = np.abs(np.diff(eeg_TC, axis=0)).mean(axis=1)
    inside = steps[round((onset + duration / 2) * SFREQ) : round((onset + duration) * SFREQ)]
    before = steps[: round((onset - 5) * SFREQ)]
    assert np.median(inside) > 2 * np.median(before)
    seam = steps[round(BLOCK_S * SFREQ) - 2 : round(BLOCK_S * SFREQ) + 2]
    assert seam.max() < np.quantile(steps, 0.999)


def test_an_hour_and_more_has_every_class() -> None:
    truth, _ = simulate_hours(12)
    assert {name for name, _, _ in truth} == set(CLASSES) - {"other"}
    assert truth == sorted(truth, key=lambda one: one[1])
    assert simulate_hours(12, seed=1)[0] != truth
