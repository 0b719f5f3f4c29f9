"""One small affine map of the logits for each vote population, around any network.

A label is the answer of one of two rating protocols: few votes, where three raters agreed, or many, on the hard
windows. They differ in class mix and in how sure one may be. With a temperature and six biases of its own for each, all
rows teach the features, and neither protocol miscalibrates the other.
"""

# B window, K class, P population

from __future__ import annotations

import torch
from torch import Tensor, nn

from hbac.common.errors import UserError
from hbac.vocabulary import MANY_VOTES, N_CLASSES

POPULATIONS = ("few_votes", "many_votes")


class PopulationHead(nn.Module):
    """A network whose logits are scaled and shifted by the population of a row; at the start, not at all.

    It predicts by the map of `population`, ``few_votes`` or ``many_votes``; a `UserError` for another one.
    """

    def __init__(self, network: nn.Module, population: str) -> None:
        super().__init__()
        self.network = network
        self.predict_by(population)
        self.log_scale = nn.Parameter(torch.zeros(len(POPULATIONS)))
        self.bias = nn.Parameter(torch.zeros(len(POPULATIONS), N_CLASSES))

    def predict_by(self, population: str) -> None:
        """Choose the map that rows without a number of votes are predicted by: ``few_votes`` or ``many_votes``."""
        if population not in POPULATIONS:
            raise UserError(
                f"population={population} with task.population_head=true: there is a map for each of "
                f"{', '.join(POPULATIONS)}, and one of them has to be predicted by"
            )
        self.population = population

    def forward(self, x: Tensor, n_votes_B: Tensor | None = None) -> Tensor:
        """Return logits (batch, 6) in the order of `hbac.vocabulary.CLASSES`, in float32, of the network's input.

        `n_votes_B`, how many experts voted, chooses each row's map; that of `population` where absent, and where it
        is 0.
        """
        logits_BK = self.network(x).float()
        map_B = torch.full((len(x),), POPULATIONS.index(self.population), device=x.device)
        if n_votes_B is not None:
            map_B = torch.where(n_votes_B > 0, (n_votes_B >= MANY_VOTES).long(), map_B)
        scaled_BK: Tensor = logits_BK * self.log_scale[map_B].exp()[:, None] + self.bias[map_B]
        return scaled_BK
