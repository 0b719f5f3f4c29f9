"""Layouts: how the images of several sources become the one image that a network for pictures reads.

A layout is one table that says where on the image each channel of each source lies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hbac.common.choices import check_choice
from hbac.common.errors import UserError
from hbac.signal.constants import Constants, full_precision
from hbac.signal.montage import AVERAGE, REGIONS

# Legend of tensor names: B window, I source channel, H row, W column, C channel of the finished image.

KINDS = ("tiles", "stack")
DIFFERENCES = ("others", "neighbours")


@dataclass(frozen=True)
class Tile:
    """Where one channel of one source lies on the finished image."""

    source: str  # which picture: eeg …
    channel: str  # and its channel: LL
    index: int  # number of the channel in its source
    plane: int | None  # channel of the finished image; None where all its channels are equal
    rows: slice
    columns: slice


class ImageLayout(nn.Module):
    """Put the channels of one or more sources on one image.

    ``tiles`` lays them out side by side in one plane, a column of tiles a source, repeated in `in_chans` equal
    channels: with both sources it is the 512 x 512 of the public recipe (official spectrograms left, EEG right).
    ``stack`` makes each a channel of its own. One source alone is a list of one.

    Parameters
    ----------
    kind : {"tiles", "stack"}
        The layout.
    sources : sequence of str
        Names of the sources in their order.
    channels : mapping of str to sequence of str, or None
        Channel names of each source; None, or a source left out: the four regions LL, LP, RP, RL.
    tile_height, tile_width : int
        Size that every source channel is brought to; smaller ones make training possible on a CPU.
    in_chans : int
        Equal channels of the ``tiles`` layout.
    differences : sequence of {"others", "neighbours"}
        What the channels of the ``tiles`` layout show after the first, in place of being equal: each picture minus
        the mean of the others of its source, or minus the mean of those that share an electrode with it (along a
        chain the next ones; at its ends the end of the parallel chain).

    Examples
    --------
    >>> layout = ImageLayout()
    >>> images = {"official": torch.zeros(1, 4, 128, 256), "eeg": torch.ones(1, 4, 128, 256)}
    >>> layout(images).shape
    torch.Size([1, 3, 512, 512])
    """

    def __init__(
        self,
        kind: str = "tiles",
        sources: Sequence[str] = ("official", "eeg"),
        channels: Mapping[str, Sequence[str]] | None = None,
        tile_height: int = 128,
        tile_width: int = 256,
        in_chans: int = 3,
        differences: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.kind = check_choice("layout", kind, KINDS)
        self.sources = tuple(sources)
        if not self.sources or len(set(self.sources)) < len(self.sources):
            raise UserError(f"sources={list(sources)}: at least one, each once")
        if min(tile_height, tile_width, in_chans) < 1:
            raise UserError(f"tile_height={tile_height}, tile_width={tile_width}, in_chans={in_chans}: at least 1")
        for source in channels or {}:
            check_choice("source in channels", source, self.sources)
        self.channels = {source: tuple((channels or {}).get(source, REGIONS)) for source in self.sources}
        self.settings: dict[str, Any] = {
            "kind": kind,
            "sources": list(self.sources),
            "channels": {source: list(names) for source, names in self.channels.items()},
            "tile_height": tile_height,
            "tile_width": tile_width,
            "in_chans": in_chans,
            "differences": list(differences),
        }
        for difference in differences:
            check_choice("front_end.differences", difference, DIFFERENCES)
        if differences and kind != "tiles":
            raise UserError(
                f"front_end.differences=[{','.join(differences)}]: only with front_end.layout=tiles; set it to []"
            )
        # What is subtracted, by source: the weight of each channel in what each shows.
        self._means = {
            source: Constants({name: _mean_of(name, source, names) for name in differences})
            for source, names in self.channels.items()
        }
        self._size = (tile_height, tile_width)
        self.tiles = tuple(self._table())
        most = max(len(names) for names in self.channels.values())
        if kind == "tiles":
            self.n_chans = 1 + len(differences) if differences else in_chans
            self.height, self.width = most * tile_height, len(self.sources) * tile_width
        else:
            self.n_chans, self.height, self.width = len(self.tiles), tile_height, tile_width

    def _table(self) -> list[Tile]:
        height, width = self._size
        tiles = []
        for column, source in enumerate(self.sources):
            for row, channel in enumerate(self.channels[source]):
                if self.kind == "tiles":
                    rows = slice(row * height, (row + 1) * height)
                    columns = slice(column * width, (column + 1) * width)
                    tiles.append(Tile(source, channel, row, None, rows, columns))
                else:
                    tiles.append(Tile(source, channel, row, len(tiles), slice(0, height), slice(0, width)))
        return tiles

    def part(self, image_BCHW: Tensor, tile: Tile) -> Tensor:
        """Return a view of a finished image where a tile lies: (B, in_chans or 1, tile_height, tile_width)."""
        planes = slice(None) if tile.plane is None else slice(tile.plane, tile.plane + 1)
        return image_BCHW[:, planes, tile.rows, tile.columns]

    def forward(self, images: Mapping[str, Tensor]) -> Tensor:
        """Compose the image (B, n_chans, height, width) of tensors (B, channels of the source, any height, any width).

        There are zeros where there is no tile. Equal channels share their memory: clone before writing into it.
        """
        sized = {}
        for source in self.sources:
            if source not in images:
                raise ValueError(f"no images of source {source!r}; given: {', '.join(images) or 'none'}")
            if images[source].shape[1] != len(self.channels[source]):
                raise ValueError(
                    f"source {source!r} has {images[source].shape[1]} channels; the layout was made for "
                    f"{len(self.channels[source])}: {', '.join(self.channels[source])}"
                )
            image = images[source]
            if tuple(image.shape[-2:]) != self._size:
                image = F.interpolate(image, self._size, mode="bilinear", antialias=True, align_corners=False)
            sized[source] = torch.stack([image, *self._differences(source, image)], dim=2)
        some = sized[self.sources[0]]
        planes = some.shape[2] if self.kind == "tiles" else self.n_chans
        image_BCHW = some.new_zeros((some.shape[0], planes, self.height, self.width))
        for tile in self.tiles:
            self.part(image_BCHW, tile).copy_(sized[tile.source][:, tile.index])
        return image_BCHW.expand(-1, self.n_chans, -1, -1)

    def _differences(self, source: str, image_BIHW: Tensor) -> list[Tensor]:
        with full_precision(image_BIHW):
            return [
                image_BIHW - torch.einsum("ij,bjhw->bihw", self._means[source].get(name, image_BIHW), image_BIHW)
                for name in self.settings["differences"]
            ]


def _mean_of(difference: str, source: str, names: tuple[str, ...]) -> Tensor:
    """Weights (I, I) of the mean over the other channels of a source, or over those of the same electrodes."""
    electrodes = [set(REGIONS.get(name, name.split("-"))) - {AVERAGE} for name in names]
    counts = torch.tensor(
        [
            [i != k and (difference == "others" or bool(own & others)) for k, others in enumerate(electrodes)]
            for i, own in enumerate(electrodes)
        ],
        dtype=torch.float64,
    )
    lonely = [name for name, n in zip(names, counts.sum(1).tolist(), strict=True) if not n]
    if lonely:
        raise UserError(
            f"front_end.differences: {difference}: {source} shows {lonely[0]} and nothing "
            f"{'else' if difference == 'others' else 'that shares an electrode with it'}; choose a montage of chains, "
            "such as alternating_16"
        )
    return counts / counts.sum(1, keepdim=True)
