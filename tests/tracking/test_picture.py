"""A picture says where its window has what."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hbac.tracking.picture import window_picture
from hbac.vocabulary import CHANNELS

LEFT, RIGHT = (26, 82, 160), (178, 42, 42)


def drawn(eeg_TC: torch.Tensor) -> np.ndarray:
    return np.asarray(window_picture(eeg_TC, "a title"))


def blank() -> torch.Tensor:
    return torch.zeros(10000, 20, dtype=torch.float16)


def rows_of(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return np.flatnonzero((picture == colour).all(axis=2).any(axis=1))


def test_chains_are_left_over_right() -> None:
    picture = drawn(blank())
    left, right = rows_of(picture, LEFT), rows_of(picture, RIGHT)
    assert len(left) == len(right) == 8  # a flat line each
    first, second = left[:4], left[4:]
    assert first.max() < right[:4].min() <= right[:4].max() < second.min() <= second.max() < right[4:].min()


@pytest.mark.parametrize(("electrode", "colour"), [("T3", LEFT), ("T4", RIGHT)])
def test_what_one_electrode_sees_moves_its_derivations_alone(electrode: str, colour: tuple[int, int, int]) -> None:
    eeg = blank()
    t = torch.arange(10000) / 200
    eeg[:, CHANNELS.index(electrode)] = (60 * torch.sin(2 * torch.pi * 3 * t)).half()
    quiet, moved = drawn(blank())[:430, 62:600], drawn(eeg)[:430, 62:600]
    changed = np.flatnonzero((quiet != moved).any(axis=(1, 2)))
    other = rows_of(quiet, RIGHT if colour == LEFT else LEFT)
    assert not set(changed) & set(other)
    assert 20 < np.ptp(changed) < 80  # two rows, phases reversed: ±60 µV each, at 75 µV a row


def test_missing_samples_do_not_stop_it() -> None:
    eeg = blank()
    eeg[:, 3] = torch.nan
    assert window_picture(eeg).size == window_picture(blank()).size
