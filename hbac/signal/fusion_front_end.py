"""Several front-ends over the same windows: what each makes, side by side, for a network with a branch for each.

Their outputs differ in shape. They are handed on as one row of numbers for each window, so that all that is done to a
batch between front-end and network (mixtures, caches, copies to a device) needs no second way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hbac.common.errors import UserError
from hbac.signal.front_end import EEGFrontEnd
from hbac.signal.image_front_end import SOURCES, ImageFrontEnd

# Legend of tensor names: B window, N number.


class FusionFrontEnd(nn.Module):
    """What every branch's front-end makes of a window, flattened and joined in the branches' order.

    Parameters
    ----------
    branches : mapping of str to EEGFrontEnd or ImageFrontEnd
        At least two, by the names of the network's branches.

    Attributes
    ----------
    sources : tuple of str
        What `forward` takes: all that a branch reads, in this order.
    shapes : dict of str to tuple of int
        Shape of each branch's part, without the windows.

    Examples
    --------
    >>> signal, picture = EEGFrontEnd(montage="public_8"), ImageFrontEnd("official", tile_height=32, tile_width=64)
    >>> front_end = FusionFrontEnd({"signal": signal, "picture": picture})
    >>> front_end(torch.zeros(2, 10000, 20), torch.ones(2, 300, 400)).shape  # 8 x 2000 and 4 x 32 x 64
    torch.Size([2, 24192])
    """

    def __init__(self, branches: Mapping[str, EEGFrontEnd | ImageFrontEnd]) -> None:
        super().__init__()
        if len(branches) < 2:
            raise UserError(f"front_end.branches={list(branches)}: two or more; one alone is a front-end by itself")
        self.branches = nn.ModuleDict(dict(branches))
        self.sources = tuple(name for name in SOURCES if any(name in branch.sources for branch in branches.values()))
        self.shapes = {
            name: (branch.n_chans, branch.n_times)
            if isinstance(branch, EEGFrontEnd)
            else (branch.in_chans, branch.height, branch.width)
            for name, branch in branches.items()
        }
        self._arguments = {name: branch.network_arguments() for name, branch in branches.items()}

    def network_arguments(self) -> dict[str, Any]:
        """Return what a network's constructor has to know of its input: ``shapes``, and the same of each branch."""
        return {"shapes": {name: list(shape) for name, shape in self.shapes.items()}, "branches": self._arguments}

    def forward(self, *windows: Tensor, shift_B: Tensor | None = None) -> Tensor:
        """Make a network's input, (B, numbers of all branches), of one tensor for each of `sources`.

        `shift_B` says by how much windows were moved away from their labels, which zooms follow.
        """
        given = dict(zip(self.sources, windows, strict=True))
        made = (
            branch(
                *(given[name] for name in branch.sources),  # type: ignore[union-attr]
                **({"shift_B": shift_B} if isinstance(branch, ImageFrontEnd) else {}),
            )
            for branch in self.branches.values()
        )
        return torch.cat([part.flatten(1) for part in made], dim=1)
