"""The official 10-minute spectrograms as images, normalised as the public recipe does.

They are one table of 400 columns a window: four regions by a hundred frequencies. Which columns are which
region is read from their names, never assumed from their position.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hbac.common.choices import check_choice
from hbac.common.errors import UserError
from hbac.signal.constants import Constants, portions
from hbac.signal.montage import REGION_MIRROR, REGIONS
from hbac.vocabulary import SPECTROGRAM_REGIONS, SPECTROGRAM_ROWS

# Legend of tensor names: B window, R row of the table (time), K its column, I image channel (region), H image
# row (frequency), W image column (time).

N_FREQUENCIES = 100
_LOWEST, _HIGHEST = math.exp(-4), math.exp(8)
_EPS = 1e-6


class OfficialImage(nn.Module):
    """Windows of the official spectrograms to images, one channel a region.

    Power is clipped to e⁻⁴ … e⁸, its logarithm taken, and each region of each window brought to mean 0 and standard
    deviation 1 over the whole window; missing values become 0, which is that mean. Of the time the central columns are
    shown; frequencies, rising with the row, are centred between rows of zeros.

    Parameters
    ----------
    regions : sequence of str
        Image channels in this order, names from LL, LP, RP, RL.
    n_rows : int
        Rows of the table that make a window (300 of 2 s); of more, the middle ones are taken.
    height, width : int
        Rows, at least 100, and columns, at most `n_rows`, of the image.
    columns : sequence of str or None
        Names of the table's columns, as ``LL_0.59``; None for those of the store: the regions of
        `hbac.vocabulary.SPECTROGRAM_REGIONS` in turn, each with its hundred frequencies rising.

    Attributes
    ----------
    channels : tuple of str
        The regions, `n_chans` in number.
    mirror : tuple of int or None
        Permutation of the channels that the mirrored head has; None when only one side is shown.

    Examples
    --------
    >>> OfficialImage()(torch.rand(2, 300, 400)).shape
    torch.Size([2, 4, 128, 256])
    """

    def __init__(
        self,
        regions: Sequence[str] = tuple(REGIONS),
        n_rows: int = SPECTROGRAM_ROWS,
        height: int = 128,
        width: int = 256,
        columns: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.channels = tuple(check_choice("region", region, REGIONS) for region in regions)
        if not self.channels or len(set(self.channels)) < len(self.channels):
            raise UserError(f"regions={list(regions)}: each at most once, and at least one of {', '.join(REGIONS)}")
        if height < N_FREQUENCIES or not 1 <= width <= n_rows:
            raise UserError(
                f"height={height}, width={width}: the height is at least {N_FREQUENCIES} frequencies, the width "
                f"from 1 to n_rows={n_rows}"
            )
        self.settings: dict[str, Any] = {
            "regions": list(self.channels),
            "n_rows": n_rows,
            "height": height,
            "width": width,
            "columns": None if columns is None else list(columns),
        }
        self.n_chans = len(self.channels)
        self.height, self.width, self.n_rows = height, width, n_rows
        partners = [REGION_MIRROR[region] for region in self.channels]
        both_sides = set(partners) == set(self.channels)
        self.mirror = tuple(self.channels.index(region) for region in partners) if both_sides else None
        where = _store_columns() if columns is None else _by_region(columns)
        self._n_columns = len(columns) if columns is not None else len(SPECTROGRAM_REGIONS) * N_FREQUENCIES
        missing = [region for region in self.channels if len(where.get(region, ())) != N_FREQUENCIES]
        if missing:
            found = {region: len(where.get(region, ())) for region in missing}
            raise UserError(f"columns: a region has {N_FREQUENCIES} columns, named as {missing[0]}_0.59; found {found}")
        self._constants = Constants({"index": torch.tensor([i for region in self.channels for i in where[region]])})

    def forward(self, power_BRK: Tensor) -> Tensor:
        """Make images (B, n_chans, height, width) of power as stored, (B, at least n_rows, 400), NaN where missing.

        Any floating type is taken; images are float64 for float64 and float32 otherwise.
        """
        if power_BRK.ndim != 3 or power_BRK.shape[1] < self.n_rows or power_BRK.shape[2] != self._n_columns:
            raise ValueError(
                f"spectrograms of shape {tuple(power_BRK.shape)}; expected (batch, at least {self.n_rows} rows, "
                f"{self._n_columns} columns)"
            )
        dtype = torch.float64 if power_BRK.dtype == torch.float64 else torch.float32
        shape = (power_BRK.shape[0], self.n_chans, self.height, self.width)
        image_BIHW = torch.zeros(shape, dtype=dtype, device=power_BRK.device)
        below = (self.height - N_FREQUENCIES) // 2
        for some in portions(power_BRK, on_cpu=2):
            image_BIHW[some, :, below : below + N_FREQUENCIES] = self._normalise(power_BRK[some], dtype)
        return image_BIHW

    def _normalise(self, power_BRK: Tensor, dtype: torch.dtype) -> Tensor:
        first = (power_BRK.shape[1] - self.n_rows) // 2
        index = self._constants.get("index", power_BRK)
        table_BKR = power_BRK[:, first : first + self.n_rows].to(dtype).transpose(1, 2).index_select(1, index)
        log_BIHR = table_BKR.clamp_(_LOWEST, _HIGHEST).log_()
        log_BIHR = log_BIHR.view(-1, self.n_chans, N_FREQUENCIES, self.n_rows)
        valid = ~log_BIHR.isnan()
        count = valid.to(dtype).sum((2, 3), keepdim=True).clamp_(min=1)
        mean = log_BIHR.where(valid, 0.0).sum((2, 3), keepdim=True) / count
        centred_BIHR = (log_BIHR - mean).where(valid, 0.0)
        # Once more, or the rounding of the mean is all there is to divide by in a region of one value.
        centred_BIHR = (centred_BIHR - centred_BIHR.sum((2, 3), keepdim=True) / count).where(valid, 0.0)
        deviation = (centred_BIHR.square().sum((2, 3), keepdim=True) / count).sqrt()
        left = (self.n_rows - self.width) // 2
        return centred_BIHR[..., left : left + self.width] / (deviation + _EPS)


def _store_columns() -> dict[str, list[int]]:
    return {
        region: list(range(i * N_FREQUENCIES, (i + 1) * N_FREQUENCIES)) for i, region in enumerate(SPECTROGRAM_REGIONS)
    }


def _by_region(columns: Sequence[str]) -> dict[str, list[int]]:
    """Column numbers of each region, by rising frequency."""
    found: dict[str, list[tuple[float, int]]] = {}
    for i, name in enumerate(columns):
        region, _, frequency = name.partition("_")
        if region in REGIONS:
            try:
                found.setdefault(region, []).append((float(frequency), i))
            except ValueError:
                raise UserError(
                    f"columns: {name!r} names no frequency; a spectrogram column is named as {region}_0.59"
                ) from None
    return {region: [i for _, i in sorted(pairs)] for region, pairs in found.items()}
