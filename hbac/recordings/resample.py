"""A recording of another rate to 200 Hz, a stretch at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

# Beats a stretch is worked on at; the result does not depend on it.
_STRETCH = 1 << 16


def resample(pieces: Iterable[NDArray[np.float32]], ratio: Fraction) -> Iterator[NDArray[np.float32]]:
    """Resample a signal (channels, n) that comes in pieces, antialiased, in memory that does not grow with its length.

    scipy's polyphase filter (zero phase). Before the first and behind the last sample the signal is taken to stay as it
    is, so that an offset makes no step. Missing samples, NaN, are bridged for the filter, and missing again in what
    comes out: in all ceil(n · ratio) samples.
    """
    if ratio == 1:
        yield from pieces
        return
    up, down = ratio.numerator, ratio.denominator
    # Half the filter is 10 · max(up, down) long at the upsampled rate; multiples of `down` keep its phase.
    margin = down * (10 * max(up, down) // (up * down) + 2)
    stretch = down * max(1, _STRETCH // down)
    held: NDArray[np.float32] | None = None  # what is to be worked on, with its margin before
    for piece in pieces:
        held = np.repeat(piece[:, :1], margin, axis=1) if held is None and piece.shape[1] else held
        if held is None:
            continue
        held = np.concatenate([held, piece], axis=1)
        while held.shape[1] >= stretch + 2 * margin:
            yield _polyphase(held[:, : stretch + 2 * margin], up, down, margin, stretch)
            held = held[:, stretch:]
    if held is not None and (rest := held.shape[1] - margin):
        padding = margin + -rest % down
        yield _polyphase(np.concatenate([held, held[:, -1:].repeat(padding, axis=1)], axis=1), up, down, margin, rest)


def _polyphase(x_CT: NDArray[np.float32], up: int, down: int, margin: int, n: int) -> NDArray[np.float32]:
    """Resample the `n` samples behind the margin."""
    from scipy.signal import resample_poly

    first, m = margin * up // down, -(-n * up // down)
    missing_CT = np.isnan(x_CT)
    if missing_CT.any():
        x_CT = bridged(x_CT, missing_CT)
    out_CT = np.asarray(resample_poly(x_CT, up, down, axis=1)[:, first : first + m], np.float32)
    if missing_CT.any():
        nearest = np.minimum(np.rint((first + np.arange(m)) * down / up).astype(np.int64), x_CT.shape[1] - 1)
        out_CT[missing_CT[:, nearest]] = np.nan
    return np.ascontiguousarray(out_CT)


def bridged(x_CT: NDArray[np.float32], missing_CT: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Draw a straight line over what is missing; a copy, 0 throughout for a channel without any value."""
    x_CT = x_CT.copy()
    place = np.arange(x_CT.shape[1])
    for x_T, missing_T in zip(x_CT, missing_CT, strict=True):
        if missing_T.all():
            x_T[:] = 0
        elif missing_T.any():
            x_T[missing_T] = np.interp(place[missing_T], place[~missing_T], x_T[~missing_T])
    return x_CT
