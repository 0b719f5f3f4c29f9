"""The EEG-to-mel image of the public recipe, exactly, at a fraction of its cost.

librosa transforms 1,024 samples of which 896 are zeros, to 513 frequencies of which 103 lie below 20 Hz, and
takes logarithms of sixteen spectrograms. Here only what is not zero is computed: frames of 128 samples, two
thin matrix products (`hbac.signal.spectrogram_image.FramedPower`), at most two bins per mel, and one logarithm per
pixel.

References
----------
Mel scale and its normalisation: M. Slaney, "Auditory Toolbox" (1998), as in librosa,
doi:10.25080/Majora-7b98e3ed-003.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hbac.common.errors import UserError
from hbac.signal.constants import Constants
from hbac.signal.spectrogram_image import FramedPower, SpectrogramImage

# Legend of tensor names: B window, D derivation, T sample, H mel, K frequency bin, F frame, N frame of any
# window.

# Slaney's scale is linear below 1 kHz and logarithmic above.
_HZ_PER_MEL = 200 / 3
_KNEE_HZ = 1000.0
_LOG_STEP = math.log(6.4) / 27

# Rows of a mel matrix with at most so many bins each are summed bin by bin, others by a matrix product.
_SPARSE_BINS = 3


def mel_filters(n_mels: int, n_fft: int, low_hz: float, high_hz: float, sfreq: float) -> Tensor:
    """Triangular filters, evenly spaced on Slaney's mel scale and of equal area: float64 (n_mels, n_fft // 2 + 1).

    `low_hz` is the lower corner of the first filter, `high_hz` the upper one of the last. torchaudio has the same
    filters in float32 only, with corner frequencies rounded so that weights are wrong by up to 1e-3 when the filters
    are as narrow as here; that alone would break the parity with librosa.
    """

    def to_mel(hz: float) -> float:
        if hz < _KNEE_HZ:
            return hz / _HZ_PER_MEL
        return _KNEE_HZ / _HZ_PER_MEL + math.log(hz / _KNEE_HZ) / _LOG_STEP

    knee = _KNEE_HZ / _HZ_PER_MEL
    mels = torch.linspace(to_mel(low_hz), to_mel(high_hz), n_mels + 2, dtype=torch.float64)
    corners = torch.where(mels < knee, mels * _HZ_PER_MEL, _KNEE_HZ * (_LOG_STEP * (mels - knee)).exp())
    bins = torch.arange(n_fft // 2 + 1, dtype=torch.float64) * sfreq / n_fft
    lower, centre, upper = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    rising, falling = (bins - lower) / (centre - lower), (upper - bins) / (upper - centre)
    return torch.minimum(rising, falling).clamp(min=0) * 2 / (upper - lower)


@dataclass(eq=False, repr=False)
class MelImage(SpectrogramImage):
    """Mel spectrogram image of a window of EEG; by default that of the public recipe.

    With the defaults the image of each region is the mean over its four differences of the mel spectrogram in
    decibels below that difference's own maximum, floor −80, mapped to −1 … 1. A difference without any signal
    is 1 throughout (all of it equals its maximum), as in the recipe.

    Channels come in the order LL, LP, RP, RL, named after where they are: RP is the right parasagittal chain
    Fp2-F4-C4-P4-O2, RL the right lateral one Fp2-F8-T4-T6-O2. The public code computes the lateral chain third
    and calls it RP, the parasagittal one fourth; its images are ours with the last two channels exchanged.

    Parameters
    ----------
    montage, band, n_times, sfreq, height, width, zoom_s, floor_db, ceiling_db, reference
        See `SpectrogramImage`; `height` is the number of mels.
    n_fft : int
        Length of the transform in samples, which sets the spacing of the bins that the filters weight.
    win_length : int
        Length of the periodic Hann window in samples, at most `n_fft`.

    Examples
    --------
    >>> MelImage()(torch.randn(2, 20, 10000)).shape
    torch.Size([2, 4, 128, 256])
    """

    floor_db: float = -80.0
    ceiling_db: float = 0.0
    reference: str = "max"
    n_fft: int = 1024
    win_length: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        n_fft, win_length = self.n_fft, self.win_length
        if not 2 <= win_length <= n_fft:
            raise UserError(f"win_length={win_length}: from 2 to n_fft={n_fft} samples")
        filters_HK = mel_filters(self.height, n_fft, self.range.low_hz, self.range.high_hz, self.sfreq)
        if not bool((filters_HK > 0).any(1).all()):
            raise UserError(
                f"height={self.height}: some mels of the band {self.range} fall between the bins of n_fft={n_fft}; "
                "take fewer mels or a longer n_fft"
            )
        used = torch.nonzero((filters_HK > 0).any(0)).flatten()
        filters_HK = filters_HK[:, used]
        window = torch.hann_window(win_length, periodic=True, dtype=torch.float64)
        self._framed_power = FramedPower(window[None], used.double() * self.sfreq / n_fft, self.sfreq)
        most = int((filters_HK > 0).sum(1).max())
        self._n_sparse = most if most <= _SPARSE_BINS else 0
        weights, bins = filters_HK.topk(max(self._n_sparse, 1), dim=1)
        self._mel_constants = Constants({"filters_HK": filters_HK, "weights": weights, "bins": bins})

    def _power(self, x_BDT: Tensor) -> Tensor:
        power_KN = self._framed_power(self._frames(x_BDT, self.win_length))
        if self._n_sparse:
            weights, bins = self._mel_constants.get("weights", x_BDT), self._mel_constants.get("bins", x_BDT)
            power_HN = power_KN.index_select(0, bins[:, 0]).mul_(weights[:, :1])
            for i in range(1, self._n_sparse):
                power_HN.addcmul_(power_KN.index_select(0, bins[:, i]), weights[:, i : i + 1])
        else:
            power_HN = torch.mm(self._mel_constants.get("filters_HK", x_BDT), power_KN)
        return power_HN.view(self.height, *x_BDT.shape[:2], self._n_frames)
