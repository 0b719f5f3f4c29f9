"""What a window is filled with where nothing was recorded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hbac.vocabulary import WINDOW_SAMPLES

OUTSIDE = ("reflected", "repeated", "missing")
_PAD = {"reflected": "reflect", "repeated": "wrap"}


def fill_outside(window_CT: NDArray[np.float32], outside: str) -> NDArray[np.float32]:
    """Fill the ends of a window (channels, n) that reach beyond what was recorded, which is NaN there.

    What was recorded is mirrored at its ends, as often as it takes (``reflected``); or one copy of it lies behind the
    other (``repeated``); or nothing is done (``missing``). What is missing between two recorded samples stays missing.

    Examples
    --------
    >>> fill_outside(np.array([[np.nan, np.nan, 1, 2, 3, np.nan]], np.float32), "reflected").tolist()
    [[3.0, 2.0, 1.0, 2.0, 3.0, 2.0]]
    """
    recorded = np.flatnonzero(np.isfinite(window_CT).any(axis=0))
    if outside == "missing" or len(recorded) < 2:
        return window_CT
    first, stop = int(recorded[0]), int(recorded[-1]) + 1
    if (first, stop) == (0, window_CT.shape[1]):
        return window_CT
    width = ((0, 0), (first, window_CT.shape[1] - stop))
    filled: NDArray[np.float32] = np.pad(window_CT[:, first:stop], width, mode=_PAD[outside])  # type: ignore[call-overload]
    return filled


def centred(x_CT: NDArray[np.float32], outside: str) -> NDArray[np.float32]:
    """Put what is shorter than a window, (channels, n) at 200 Hz, in the middle of one, filled as by `fill_outside`."""
    window_CT = np.full((len(x_CT), WINDOW_SAMPLES), np.nan, np.float32)
    before = (WINDOW_SAMPLES - x_CT.shape[1]) // 2
    window_CT[:, before : before + x_CT.shape[1]] = x_CT
    return fill_outside(window_CT, outside)


def fill_gaps(x_CT: NDArray[np.float32]) -> NDArray[np.float32]:
    """Leave a filter nothing to ring at: in each gap the signal goes on mirrored, from either side into the other.

    A copy (channels, n) without NaN; 0 throughout for channels without any value.
    """
    out_CT = x_CT.copy()
    for x_T in out_CT:
        missing_T = ~np.isfinite(x_T)
        if missing_T.all():
            x_T[:] = 0
        elif missing_T.any():
            edges = np.flatnonzero(np.diff(np.concatenate([[False], missing_T, [False]])))
            there = x_T.copy()
            for a, b in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
                x_T[a:b] = _between(there, a, b)
    return out_CT


def _between(x_T: NDArray[np.float32], a: int, b: int) -> NDArray[np.float32]:
    """Return what a gap [a, b) is filled with."""
    left, right = x_T[:a][::-1], x_T[b:]
    sides = [_mirrored(side, b - a) for side in (left, right)]
    before, behind = sides[0], sides[1] if sides[1] is None else sides[1][::-1]
    if before is None or behind is None:
        return before if behind is None else behind  # type: ignore[return-value]
    share = np.linspace(0, 1, b - a, dtype=np.float32)
    return (1 - share) * before + share * behind


def _mirrored(side: NDArray[np.float32], n: int) -> NDArray[np.float32] | None:
    """Return n samples that go away from an edge, as those on its other side do; None where there are none."""
    gap = np.flatnonzero(~np.isfinite(side))
    side = side[: int(gap[0])] if len(gap) else side
    if not len(side):
        return None
    return np.pad(side, (0, max(0, n - len(side))), mode="reflect" if len(side) > 1 else "edge")[:n]
