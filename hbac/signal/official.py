"""The official 10-minute spectrograms as images, normalised as the public recipe does.

They are one table of 400 columns a window, as the store has it: the regions of `hbac.vocabulary.SPECTROGRAM_REGIONS` in
turn, each with its hundred frequencies rising.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from hbac.signal.constants import Constants, portions
from hbac.signal.montage import REGIONS
from hbac.vocabulary import SPECTROGRAM_REGIONS, SPECTROGRAM_ROWS

# Legend of tensor names: B window, R row of the table (time), K its column, I image channel (region), H image
# row (frequency), W image column (time).

N_FREQUENCIES = 100
_HEIGHT, _WIDTH = 128, 256
_LOWEST, _HIGHEST = math.exp(-4), math.exp(8)
_EPS = 1e-6


class OfficialImage(nn.Module):
    """Windows of the official spectrograms to images (128 x 256), one channel a region: LL, LP, RP, RL.

    Power is clipped to e⁻⁴ … e⁸, its logarithm taken, and each region of each window brought to mean 0 and standard
    deviation 1 over the whole window; missing values become 0, which is that mean. Of the time the central columns are
    shown; frequencies, rising with the row, are centred between rows of zeros.

    Examples
    --------
    >>> OfficialImage()(torch.rand(2, 300, 400)).shape
    torch.Size([2, 4, 128, 256])
    """

    channels = tuple(REGIONS)
    # What caches of its images have been named after.
    settings: ClassVar[dict[str, object]] = {
        "regions": list(channels),
        "n_rows": SPECTROGRAM_ROWS,
        "height": _HEIGHT,
        "width": _WIDTH,
        "columns": None,
    }

    def __init__(self) -> None:
        super().__init__()
        first = [N_FREQUENCIES * SPECTROGRAM_REGIONS.index(region) for region in self.channels]
        index = torch.tensor(first)[:, None] + torch.arange(N_FREQUENCIES)
        self._constants = Constants({"index": index.flatten()})

    def forward(self, power_BRK: Tensor) -> Tensor:
        """Make images (B, 4, 128, 256) of power as stored, (B, at least 300, 400), NaN where missing.

        Of more rows, the middle 300 are taken. Any floating type; images are float64 for float64 and float32 otherwise.
        """
        n_columns = len(self.channels) * N_FREQUENCIES
        if power_BRK.ndim != 3 or power_BRK.shape[1] < SPECTROGRAM_ROWS or power_BRK.shape[2] != n_columns:
            raise ValueError(
                f"spectrograms of shape {tuple(power_BRK.shape)}; expected (batch, at least {SPECTROGRAM_ROWS} rows, "
                f"{n_columns} columns)"
            )
        dtype = torch.float64 if power_BRK.dtype == torch.float64 else torch.float32
        shape = (power_BRK.shape[0], len(self.channels), _HEIGHT, _WIDTH)
        image_BIHW = torch.zeros(shape, dtype=dtype, device=power_BRK.device)
        below = (_HEIGHT - N_FREQUENCIES) // 2
        for some in portions(power_BRK, on_cpu=2):
            image_BIHW[some, :, below : below + N_FREQUENCIES] = self._normalise(power_BRK[some], dtype)
        return image_BIHW

    def _normalise(self, power_BRK: Tensor, dtype: torch.dtype) -> Tensor:
        first = (power_BRK.shape[1] - SPECTROGRAM_ROWS) // 2
        index = self._constants.get("index", power_BRK)
        table_BKR = power_BRK[:, first : first + SPECTROGRAM_ROWS].to(dtype).transpose(1, 2).index_select(1, index)
        log_BIHR = table_BKR.clamp_(_LOWEST, _HIGHEST).log_()
        log_BIHR = log_BIHR.view(-1, len(self.channels), N_FREQUENCIES, SPECTROGRAM_ROWS)
        valid = ~log_BIHR.isnan()
        count = valid.to(dtype).sum((2, 3), keepdim=True).clamp_(min=1)
        mean = log_BIHR.where(valid, 0.0).sum((2, 3), keepdim=True) / count
        centred_BIHR = (log_BIHR - mean).where(valid, 0.0)
        # Once more, or the rounding of the mean is all there is to divide by in a region of one value.
        centred_BIHR = (centred_BIHR - centred_BIHR.sum((2, 3), keepdim=True) / count).where(valid, 0.0)
        deviation = (centred_BIHR.square().sum((2, 3), keepdim=True) / count).sqrt()
        left = (SPECTROGRAM_ROWS - _WIDTH) // 2
        return centred_BIHR[..., left : left + _WIDTH] / (deviation + _EPS)
