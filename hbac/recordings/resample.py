"""Any rate to 200 Hz, antialiased: a piece of a signal that lies before one, or a signal that comes in pieces."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

# A filter of 32 zero crossings at 95 % of the lower Nyquist frequency: within 0.1 % up to 70 Hz (tests/recordings).
_ZEROS, _ROLLOFF = 32, 0.95
# Samples that are worked on at a time; the result does not depend on it.
_STRETCH = 1 << 16


class Resampler:
    """`torchaudio.functional.resample`, of pieces that know what they need around them.

    ``ratio`` is that of samples out to samples in (`hbac.recordings.declared.Declared.ratio`).
    """

    def __init__(self, ratio: Fraction) -> None:
        self.up, self.down = ratio.numerator, ratio.denominator
        half = math.ceil(_ZEROS * self.down / (min(self.up, self.down) * _ROLLOFF))
        self._blocks = math.ceil(half / self.down) + 1 if ratio != 1 else 0

    def needs(self, start: int, stop: int) -> tuple[int, int]:
        """Say which samples [first, last) make those from start to stop at the new rate; first may be below 0."""
        return self.down * (start // self.up - self._blocks), self.down * (-(-stop // self.up) + self._blocks)

    def __call__(
        self, x_CT: NDArray[np.float32], start: int, stop: int, device: torch.device | str = "cpu"
    ) -> NDArray[np.float32]:
        """Make the samples [start, stop) at the new rate of those that `needs` named; NaN where missing."""
        behind = start - self.up * (start // self.up - self._blocks)
        if self.up == self.down:
            return x_CT[:, behind : behind + stop - start]
        import torch
        import torchaudio.functional

        missing_CT = ~np.isfinite(x_CT)
        holes = bool(missing_CT.any())
        given = torch.from_numpy(np.ascontiguousarray(_bridged(x_CT, missing_CT) if holes else x_CT)).to(device)
        y_CT = torchaudio.functional.resample(given, self.down, self.up, lowpass_filter_width=_ZEROS, rolloff=_ROLLOFF)
        out_CT: NDArray[np.float32] = y_CT[:, behind : behind + stop - start].cpu().numpy()
        if holes:
            nearest = np.rint((behind + np.arange(stop - start)) * self.down / self.up).astype(np.int64)
            out_CT[missing_CT[:, np.minimum(nearest, x_CT.shape[1] - 1)]] = np.nan
        return out_CT


def resample(pieces: Iterable[NDArray[np.float32]], ratio: Fraction) -> Iterator[NDArray[np.float32]]:
    """Resample a signal (channels, n) that comes in pieces, with memory that does not grow with its length.

    Before the first and behind the last sample the signal is taken to stay as it is, so that an offset makes no step.
    Missing samples (NaN) are bridged for the filter, and missing again in the ceil(n · ratio) samples that come out.
    """
    if ratio == 1:
        yield from pieces
        return
    resampler = Resampler(ratio)
    up, down, margin = resampler.up, resampler.down, -resampler.needs(0, 0)[0]
    stretch = down * max(1, _STRETCH // down)
    held: NDArray[np.float32] | None = None  # what is to be worked on, with its margin before
    for piece in pieces:
        held = np.repeat(piece[:, :1], margin, axis=1) if held is None and piece.shape[1] else held
        if held is None:
            continue
        held = np.concatenate([held, piece], axis=1)
        while held.shape[1] >= stretch + 2 * margin:
            yield resampler(held[:, : stretch + 2 * margin], 0, stretch // down * up)
            held = held[:, stretch:]
    if held is not None and (rest := held.shape[1] - margin):
        padding = held[:, -1:].repeat(margin + -rest % down, axis=1)
        yield resampler(np.concatenate([held, padding], axis=1), 0, -(-rest * up // down))


def _bridged(x_CT: NDArray[np.float32], missing_CT: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Draw straight lines over what is missing; 0 throughout for a channel without any value."""
    x_CT = x_CT.copy()
    place = np.arange(x_CT.shape[1])
    for x_T, missing_T in zip(x_CT, missing_CT, strict=True):
        if missing_T.all():
            x_T[:] = 0
        elif missing_T.any():
            x_T[missing_T] = np.interp(place[missing_T], place[~missing_T], x_T[~missing_T])
    return x_CT
