"""One small affine map of the logits for each vote population, around any network.

A label is the answer of one of two rating protocols: few votes, where three raters agreed, or many, on the hard
windows. They differ in class mix and in how sure one may be. With a temperature and six biases of its own for each, all
rows teach the features, and neither protocol miscalibrates the other.
"""

# B window, K class, P population

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from hbac.common.choices import check_choice
from hbac.vocabulary import MANY_VOTES, N_CLASSES

POPULATIONS = ("few_votes", "many_votes")


class PopulationHead(nn.Module):
    """A network whose logits are scaled and shifted by the population of a row; at the start, not at all.

    It predicts by the map of `population`, ``few_votes`` or ``many_votes``, or, for windows of neither protocol, by the
    mean of what both say, ``all``. A `UserError` for another one.
    """

    def __init__(self, network: nn.Module, population: str) -> None:
        super().__init__()
        self.network = network
        self.predict_by(population)
        self.log_scale = nn.Parameter(torch.zeros(len(POPULATIONS)))
        self.bias = nn.Parameter(torch.zeros(len(POPULATIONS), N_CLASSES))

    def predict_by(self, population: str) -> None:
        """Choose how rows without a number of votes are predicted: ``few_votes``, ``many_votes`` or ``all``."""
        self.population = check_choice("population", population, (*POPULATIONS, "all"))

    def forward(self, x: Tensor, n_votes_B: Tensor | None = None) -> Tensor:
        """Return logits (batch, 6) in the order of `hbac.vocabulary.CLASSES`, in float32, of the network's input.

        `n_votes_B`, how many experts voted, chooses each row's map; that of `population` where absent, and where it
        is 0.
        """
        logits_BK = self.network(x).float()
        by_map_PBK = logits_BK * self.log_scale.exp()[:, None, None] + self.bias[:, None]
        if self.population == "all":
            predicted_BK: Tensor = by_map_PBK.log_softmax(dim=2).logsumexp(dim=0) - math.log(len(POPULATIONS))
        else:
            predicted_BK = by_map_PBK[POPULATIONS.index(self.population)]
        if n_votes_B is None:
            return predicted_BK
        few_BK, many_BK = by_map_PBK
        voted_BK = torch.where(n_votes_B[:, None] >= MANY_VOTES, many_BK, few_BK)
        out_BK: Tensor = torch.where(n_votes_B[:, None] > 0, voted_BK, predicted_BK)
        return out_BK
