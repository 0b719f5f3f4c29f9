"""Morlet scalogram: as many cycles of every frequency under the window, so short for fast waves and long for slow.

Wavelets are Gaussians in frequency, so that one FFT of a derivation, multiplied with one Gaussian a row, is the
whole continuous transform. Only some samples of it are needed; taking every d-th sample in time is folding the
spectrum onto itself, so that the inverse transforms are d times shorter and still exact.

References
----------
Morlet wavelets on EEG: Tallon-Baudry & Bertrand 1999, "Oscillatory gamma activity in humans and its role in
object representation", doi:10.1016/S1364-6613(99)01299-1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy.fft import next_fast_len
from torch import Tensor

from hbac.common.errors import UserError
from hbac.signal.constants import Constants
from hbac.signal.spectrogram_image import SpectrogramImage

# Legend of tensor names: B window, D derivation, T sample, S frequency bin, H row (frequency), F frame.


@dataclass(eq=False, repr=False)
class MorletScalogram(SpectrogramImage):
    """Power of Morlet wavelets at frequencies evenly spaced in octaves.

    Power is that of the sine which would explain it: a sine of amplitude A µV has A² / 2 µV² at its frequency,
    whatever the frequency. Columns are the mean over the column's duration.

    Parameters
    ----------
    montage, band, n_times, sfreq, height, width, zoom_s, floor_db, ceiling_db, reference
        See `SpectrogramImage`; the band must start above 0, and 0 dB of the fixed reference is 1 µV².
    n_cycles : float
        Cycles within ``2 * pi`` standard deviations of the wavelet: it lasts ``n_cycles / (2 * pi * f)``
        seconds and is ``f / n_cycles`` hertz wide (standard deviations).

    Examples
    --------
    >>> MorletScalogram(height=32, width=64)(torch.randn(1, 20, 10000)).shape
    torch.Size([1, 4, 32, 64])
    """

    # The product of spectra and wavelets takes megabytes a derivation.
    _windows_at_once = 8

    band: str = "0.5-20"
    n_cycles: float = 6.0

    def __post_init__(self) -> None:
        super().__post_init__()
        n_times, sfreq, n_cycles = self.n_times, self.sfreq, self.n_cycles
        if self.range.low_hz <= 0:
            raise UserError(
                f"band={self.band}: octaves never reach 0 Hz; a scalogram's band must start above it, as 0.5-20"
            )
        if not n_cycles >= 1:
            raise UserError(f"n_cycles={n_cycles:g}: at least 1")
        octaves = math.log2(self.range.high_hz / self.range.low_hz)
        part = (torch.arange(self.height, dtype=torch.float64) + 0.5) / self.height
        #: Centre frequency of each row in hertz.
        self.frequency_hz = self.range.low_hz * 2 ** (octaves * part)

        # The power is needed at `_samples` places of each column, `step` input samples apart: one place where that
        # is enough, several where the shortest wavelet (a standard deviation, in samples) would fall between columns.
        shortest = n_cycles / (2 * math.pi * self.range.high_hz) * sfreq
        step = max(d for d in range(1, self._hop + 1) if self._hop % d == 0 and d <= max(1.0, 1.5 * shortest))
        self._samples = self._hop // step
        # The window is extended by four standard deviations of the longest wavelet on both sides; the length of the
        # transform is a multiple of the step, or its spectrum could not be folded.
        longest = n_cycles / (2 * math.pi * self.range.low_hz) * sfreq
        self._pad = min(math.ceil(4 * longest), n_times - 1)
        self._n_out = next_fast_len(math.ceil((n_times + 2 * self._pad + self._hop) / step))
        self._n_fft = self._n_out * step

        # Only bins where any wavelet has a weight: five standard deviations above the highest row.
        highest = min(self.range.high_hz * (1 + 5 / n_cycles), sfreq / 2)
        bins = torch.arange(math.ceil(highest / sfreq * self._n_fft) + 1, dtype=torch.float64)
        bins = bins[bins <= self._n_fft // 2]
        width_hz = self.frequency_hz[:, None] / n_cycles
        wavelets = torch.exp(-0.5 * ((bins * sfreq / self._n_fft - self.frequency_hz[:, None]) / width_hz) ** 2)
        wavelets[:, 0] = 0  # a constant is not a wave
        # A turn of the phase moves the first sample to where the first column begins. The factor is 2 for the analytic
        # signal (its negative frequencies are left out), 1 / step for the shorter inverse transform, 1 / sqrt(2) from
        # amplitude to root mean square.
        first = self._pad + self._first_centre - (self._samples - 1) / 2 * step
        shift = torch.polar(torch.ones_like(bins), 2 * math.pi * bins * first / self._n_fft)
        kernel = wavelets * shift * (2 / step / math.sqrt(2))
        self._n_bins = len(bins)
        self._wavelets = Constants({"kernel_HS": F.pad(kernel, (0, -self._n_bins % self._n_out))})

    def _power(self, x_BDT: Tensor) -> Tensor:
        kernel_HS = self._wavelets.get("kernel_HS", x_BDT)
        extended = F.pad(x_BDT, (self._pad, self._pad), mode="reflect")
        spectrum_BDS = torch.fft.rfft(extended, self._n_fft)[..., : self._n_bins]
        spectrum_BDS = F.pad(spectrum_BDS, (0, kernel_HS.shape[-1] - self._n_bins))
        # Taking every step-th sample in time adds up the bins that lie n_out apart: the kernel was filled up with zeros
        # to a multiple of n_out for that.
        product_BDHS = spectrum_BDS[..., None, :] * kernel_HS
        folded = product_BDHS.view(*product_BDHS.shape[:-1], -1, self._n_out).sum(-2)
        wave_BDHT = torch.fft.ifft(folded)[..., : self._n_frames * self._samples]
        power_BDHT = torch.view_as_real(wave_BDHT).square().sum(-1)
        power_BDHF: Tensor = power_BDHT.view(*power_BDHT.shape[:-1], -1, self._samples).mean(-1)
        return power_BDHF.permute(2, 0, 1, 3)
