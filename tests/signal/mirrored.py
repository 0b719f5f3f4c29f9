"""What a finished image has to be for the mirrored head: each channel in its partner's place."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from hbac.signal.montage import REGION_MIRROR, REGIONS, Montage
from hbac.signal.tiles import ImageLayout


def mirror_of(image: Tensor, layout: ImageLayout, signals: Collection[str] = ()) -> Tensor:
    """Mirror what a layout made; `signals` are its pictures of signals, whose derivations have a sign, as no power."""
    mirrored = torch.zeros_like(image)
    places = {(tile.source, tile.index): tile for tile in layout.tiles}
    for tile in layout.tiles:
        names = layout.channels[tile.source]
        if tile.channel in REGIONS:
            partner, sign = names.index(REGION_MIRROR[tile.channel]), 1.0
        else:
            permutation, signs = Montage(tile.source, names).mirror
            partner, sign = permutation[tile.index], signs[tile.index] if tile.source in signals else 1.0
        layout.part(mirrored, tile).copy_(sign * layout.part(image, places[tile.source, partner]))
    return mirrored
