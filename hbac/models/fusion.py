"""Several networks in one: each reads its own view of the window, and one head reads what all of them have found."""

# Shapes: B window, N number of a window's flattened input, F feature, H head, K class

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn

from hbac.common.errors import UserError
from hbac.models.parts import check_counts, check_shares, start_uniform
from hbac.models.rates import ParameterGroup, layerwise_groups
from hbac.vocabulary import N_CLASSES


class Fusion(nn.Module):
    """Branches that end before their last layer, their features joined, a linear head; a head for each branch, too.

    A branch that another one outdoes early is taught little by the joint head. In training some rows of each batch are
    therefore answered by a branch's own head: of every `period` rows the last ones, by one branch each. Rows stand in a
    batch by chance, so that this is the joint loss with the branches' losses added, at no cost.

    A `UserError` for fewer than two branches, names that are not those of the shapes, and settings out of range.

    Parameters
    ----------
    branches : mapping of str to torch.nn.Module
        Two or more networks of this package, by the names of the front-end's branches. The ``final_layer`` of each
        becomes the branch's own head.
    shapes : mapping of str to sequence of int
        Shape of each branch's input without the windows, as `hbac.signal.FusionFrontEnd` joins them.
    n_outputs : int
        Classes.
    auxiliary : float
        Share of the rows that are answered by the branches' own heads in training; 0 for none, below 1.
    dropout : float
        Share of the joined features that are dropped before the joint head, 0 to 1.

    References
    ----------
    Joint heads over picture and raw branches: second and eighth, auxiliary heads: fifteenth place of the Kaggle
    competition "HMS - Harmful Brain Activity Classification" (2024), write-ups 492254 and 492482.

    Examples
    --------
    >>> from hbac.models import EfficientNet, ResNetGRU
    >>> shapes = {"signal": (18, 2000), "picture": (8, 32, 64)}
    >>> network = Fusion({"signal": ResNetGRU(), "picture": EfficientNet("test_efficientnet")}, shapes)
    >>> network(torch.zeros(2, 18 * 2000 + 8 * 32 * 64)).shape
    torch.Size([2, 6])
    """

    def __init__(
        self,
        branches: Mapping[str, nn.Module],
        shapes: Mapping[str, Sequence[int]],
        n_outputs: int = N_CLASSES,
        auxiliary: float = 0.25,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        check_counts({"n_outputs": n_outputs})
        check_shares({"auxiliary": auxiliary, "dropout": dropout})
        if len(branches) < 2 or set(branches) != set(shapes):
            raise UserError(
                f"model.branches={list(branches)}: needs two or more, of the front-end's names {list(shapes)}"
            )
        for name, branch in branches.items():
            if not isinstance(getattr(branch, "final_layer", None), nn.Linear):
                raise UserError(
                    f"model.branches.{name}: {type(branch).__name__} has no linear final_layer to go before"
                )
        self.n_outputs = n_outputs
        self.shapes = {name: tuple(shapes[name]) for name in shapes}
        heads: dict[str, Any] = {name: branches[name].final_layer for name in shapes}
        self.heads = nn.ModuleDict(heads)
        for branch in branches.values():
            branch.final_layer = nn.Identity()
        self.branches = nn.ModuleDict({name: branches[name] for name in shapes})
        #: Of so many rows in a batch the last ones are the branches' own; 0 for none.
        self.period = max(len(branches) + 1, round(len(branches) / auxiliary)) if auxiliary else 0
        self.head_dropout = nn.Dropout(dropout)
        self.final_layer = nn.Linear(sum(head.in_features for head in heads.values()), n_outputs)
        start_uniform(self.final_layer)

    def forward(self, x_BN: Tensor) -> Tensor:
        """Map what the branches' front-ends made, flattened and joined, to logits (window, class)."""
        parts = torch.split(x_BN, [math.prod(shape) for shape in self.shapes.values()], dim=1)
        features = [
            self.branches[name](torch.unflatten(part, 1, shape))
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        ]
        logits_BK: Tensor = self.final_layer(self.head_dropout(torch.cat(features, dim=1)))
        if not (self.training and self.period):
            return logits_BK
        own = [head(found) for head, found in zip(self.heads.values(), features, strict=True)]
        logits_BHK = torch.stack([*own, logits_BK], dim=1)
        place_B = torch.arange(len(x_BN), device=x_BN.device) % self.period
        # Ahead of the branches' places all rows are the joint head's, which stands behind theirs.
        head_B = torch.where(place_B < self.period - len(own), len(own), self.period - 1 - place_B)
        return logits_BHK.gather(1, head_B.view(-1, 1, 1).expand(-1, 1, self.n_outputs)).squeeze(1)

    def parameter_groups(self, lr: float) -> list[ParameterGroup]:
        """Return the optimiser's groups: each branch's own, and `lr` for all heads."""
        groups: list[ParameterGroup] = []
        for branch in self.branches.values():
            own = getattr(branch, "parameter_groups", None)
            groups += layerwise_groups([branch], lr) if own is None else own(lr)
        return groups + layerwise_groups([nn.ModuleList([self.heads, self.final_layer])], lr)

    def layers(self) -> list[nn.Module]:
        """Return what has weights, from input to output: the branches' layers side by side, then all heads."""
        stacks = [branch.layers()[::-1] for branch in self.branches.values()]  # type: ignore[operator]
        side_by_side = [nn.ModuleList([part for part in layer if part is not None]) for layer in zip_longest(*stacks)]
        return [*side_by_side[::-1], nn.ModuleList([*self.heads.values(), self.final_layer])]
