"""Short-time spectrograms in physical units: one Hann window, or several orthogonal tapers (Slepian's).

Unlike the mel image these keep the gain: by default 0 dB is 1 µV²/Hz for every window, because dividing each
sample by its own maximum throws away how large the EEG is. Rows are evenly spaced in hertz.

References
----------
Multitaper estimation: Thomson 1982, "Spectrum estimation and harmonic analysis", doi:10.1109/PROC.1982.12433.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.signal.windows import dpss
from torch import Tensor

from hbac.common.errors import UserError
from hbac.signal.spectrogram_image import FramedPower, SpectrogramImage

# Legend of tensor names: B window, D derivation, T sample, H row (frequency), F frame, N frame of any window.


@dataclass(eq=False, repr=False)
class Multitaper(SpectrogramImage):
    """Multitaper spectrogram: the mean over orthogonal tapers, smooth in frequency and steady.

    Parameters
    ----------
    montage, band, n_times, sfreq, height, width, zoom_s, floor_db, ceiling_db, reference
        See `SpectrogramImage`; 0 dB of the fixed reference is 1 µV²/Hz.
    window_s : float
        Length of a frame in seconds.
    half_bandwidth : float
        Time-half-bandwidth product: power is averaged over ``2 * half_bandwidth / window_s`` hertz.
    n_tapers : int or None
        Number of tapers; None for ``2 * half_bandwidth - 1``.

    Examples
    --------
    >>> Multitaper(height=64, width=128)(torch.randn(1, 20, 10000)).shape
    torch.Size([1, 4, 64, 128])
    """

    window_s: float = 2.0
    half_bandwidth: float = 2.0
    n_tapers: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        half_bandwidth, sfreq = self.half_bandwidth, self.sfreq
        self._length = _frame_length(self.window_s, sfreq)
        n_tapers = max(1, round(2 * half_bandwidth) - 1) if self.n_tapers is None else self.n_tapers
        if not (0 < half_bandwidth < self._length / 2 and 1 <= n_tapers <= self._length):
            raise UserError(
                f"half_bandwidth={half_bandwidth:g}, n_tapers={n_tapers}: above 0 and at least 1, and both far "
                f"below the {self._length} samples of a frame"
            )
        tapers = torch.from_numpy(dpss(self._length, half_bandwidth, n_tapers).copy()) * math.sqrt(2 / sfreq / n_tapers)
        self._framed_power = FramedPower(tapers, _row_frequencies(self), sfreq, centre=(self._length - 1) / 2)

    def _power(self, x_BDT: Tensor) -> Tensor:
        power_HN = self._framed_power(self._frames(x_BDT, self._length))
        return power_HN.view(self.height, *x_BDT.shape[:2], self._n_frames)


@dataclass(eq=False, repr=False)
class LogSTFT(SpectrogramImage):
    """Power spectral density under a Hann window, in decibels.

    Parameters
    ----------
    montage, band, n_times, sfreq, height, width, zoom_s, floor_db, ceiling_db, reference
        See `SpectrogramImage`; 0 dB of the fixed reference is 1 µV²/Hz.
    window_s : float
        Length of a frame in seconds; two frequencies are told apart from ``2 / window_s`` hertz on.

    Examples
    --------
    >>> LogSTFT(montage="public_8", zoom_s=10)(torch.randn(1, 20, 10000)).shape
    torch.Size([1, 8, 128, 256])
    """

    window_s: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._length = _frame_length(self.window_s, self.sfreq)
        window = torch.hann_window(self._length, periodic=True, dtype=torch.float64)
        window *= (2 / self.sfreq / window.square().sum()).sqrt()
        self._framed_power = FramedPower(window[None], _row_frequencies(self), self.sfreq)

    def _power(self, x_BDT: Tensor) -> Tensor:
        power_HN = self._framed_power(self._frames(x_BDT, self._length))
        return power_HN.view(self.height, *x_BDT.shape[:2], self._n_frames)


def _frame_length(window_s: float, sfreq: float) -> int:
    length = 2 * round(window_s * sfreq / 2)
    if length < 4:
        raise UserError(f"window_s={window_s:g}: at least {4 / sfreq:g} s, four samples")
    return length


def _row_frequencies(image: SpectrogramImage) -> Tensor:
    """Rows stand for equal parts of the band; each is evaluated at its part's centre."""
    low, high = image.range.low_hz, image.range.high_hz
    return low + (torch.arange(image.height, dtype=torch.float64) + 0.5) * (high - low) / image.height
