"""Mains in recordings: a notch that takes it out, and a look at a window's spectrum that says which there is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.signal
import torch
from torch import Tensor

# Legend of tensor names: B window, C channel, S frequency bin.

MAINS_HZ = (50, 60)

#: What a filter's ``notch`` may be.
NOTCHES = (None, *MAINS_HZ, "auto")

# Between the frequencies at which one pass of the notch leaves half of the power.
_WIDTH_HZ = 2.0

# There is mains where the power within half a hertz of it is so many times that beside it: of 60 bins and 19 electrodes
# the mean of noise alone differs by a few hundredths.
_FACTOR = 2.0


def notch_filter(mains_hz: float, sfreq: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Return zeros, poles and gain, as scipy has them, of a filter that takes out mains and its harmonics."""
    zeros, poles, gain = np.empty(0), np.empty(0), 1.0
    for hz in np.arange(mains_hz, sfreq / 2, mains_hz):
        z, p, k = scipy.signal.tf2zpk(*scipy.signal.iirnotch(hz, hz / _WIDTH_HZ, sfreq))
        zeros, poles, gain = np.append(zeros, z), np.append(poles, p), gain * float(k)
    return zeros, poles, gain


class MainsFinder:
    """Find mains in the spectra of windows: of `n_fft` samples, at least two seconds, at `sfreq` hertz."""

    def __init__(self, n_fft: int, sfreq: float) -> None:
        hz_S = np.arange(n_fft // 2 + 1) * sfreq / n_fft
        around = ((-0.5, 0.5), (-3.5, -1.5), (1.5, 3.5))  # at mains, below it, above it
        self._bins = [
            [slice(*np.searchsorted(hz_S, [mains + low, mains + high]).tolist()) for low, high in around]
            for mains in MAINS_HZ
        ]

    def __call__(self, spectrum_BCS: Tensor) -> Tensor:
        """Look at all channels of a window together, in spectra (..., C, n_fft // 2 + 1).

        Returned are integers (...): 0 for no mains, else its place in `MAINS_HZ` and 1.
        """
        return self.of_power(lambda some: spectrum_BCS[..., some].abs().square())

    def of_power(self, power: Callable[[slice], Tensor]) -> Tensor:
        """Look at all channels of a window together, whose spectrum is there in another form.

        `power` returns the squared magnitudes (..., C, bins) of some bins; what is found is returned as by calling this
        object.
        """
        excess = []
        for bins in self._bins:
            at_B, below_B, above_B = (power(some).mean((-2, -1)) for some in bins)
            excess.append(at_B / torch.maximum(below_B, above_B).clamp(min=torch.finfo(at_B.dtype).tiny))
        return torch.stack([torch.full_like(excess[0], _FACTOR), *excess]).argmax(0)
