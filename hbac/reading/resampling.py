"""Any rate to 200 Hz, antialiased, any stretch of a signal by itself."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from hbac.recordings.declared import Declared
from hbac.recordings.resample import bridged

# A filter of 32 zero crossings at 95 % of the lower Nyquist frequency: within 0.1 % up to 70 Hz (tests/reading).
_ZEROS, _ROLLOFF = 32, 0.95


class Resampler:
    """`torchaudio.functional.resample` to 200 Hz, of pieces that know what they need around them.

    Parameters
    ----------
    sfreq : float
        Rate of the signal in hertz.
    """

    def __init__(self, sfreq: float) -> None:
        ratio = Declared(sfreq).ratio
        self.up, self.down = ratio.numerator, ratio.denominator
        half = math.ceil(_ZEROS * self.down / (min(self.up, self.down) * _ROLLOFF))
        self._blocks = math.ceil(half / self.down) + 1 if ratio != 1 else 0

    def needs(self, start: int, stop: int) -> tuple[int, int]:
        """Say which samples make a piece.

        Parameters
        ----------
        start, stop : int
            Samples at 200 Hz.

        Returns
        -------
        tuple of int
            First sample, and the one behind the last; the first may be below 0.
        """
        return self.down * (start // self.up - self._blocks), self.down * (-(-stop // self.up) + self._blocks)

    def __call__(
        self, x_CT: NDArray[np.float32], start: int, stop: int, device: torch.device | str = "cpu"
    ) -> NDArray[np.float32]:
        """Resample a piece.

        Parameters
        ----------
        x_CT : ndarray of float32, shape (channels, n)
            What `needs` said; NaN where missing.
        start, stop : int
            Samples at 200 Hz.
        device : torch.device or str
            Where.

        Returns
        -------
        ndarray of float32, shape (channels, stop - start)
            NaN where missing.
        """
        behind = start - self.up * (start // self.up - self._blocks)
        if self.up == self.down:
            return x_CT[:, behind : behind + stop - start]
        import torchaudio.functional

        missing_CT = ~np.isfinite(x_CT)
        holes = bool(missing_CT.any())
        given = torch.from_numpy(np.ascontiguousarray(bridged(x_CT, missing_CT) if holes else x_CT)).to(device)
        y_CT = torchaudio.functional.resample(given, self.down, self.up, lowpass_filter_width=_ZEROS, rolloff=_ROLLOFF)
        out_CT: NDArray[np.float32] = y_CT[:, behind : behind + stop - start].cpu().numpy()
        if holes:
            nearest = np.rint((behind + np.arange(stop - start)) * self.down / self.up).astype(np.int64)
            out_CT[missing_CT[:, np.minimum(nearest, x_CT.shape[1] - 1)]] = np.nan
        return out_CT
