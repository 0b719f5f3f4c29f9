"""KL divergence on the vote populations, whole and per class, gathered over an epoch and over devices."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from hbac.labels.targets import POPULATIONS, kl_name, logged, population_of
from hbac.vocabulary import CLASSES, N_CLASSES

# B window, K class, P population

TRAIN_LOSS = "train/kl"


def monitored(population: str) -> str:
    """Name what training is watched by, as it is logged: what stops it, lowers its rate, and chooses the best epoch.

    Examples
    --------
    >>> monitored("many_votes"), monitored("all")
    ('val/kl_10_or_more', 'val/kl')
    """
    return logged(kl_name(population_of(population).name))


class PopulationKL(Metric):
    """Mean KL divergence over all rows and over the vote populations, whole and per class.

    The metric of the competition, in nats: ``sum_k t_k log(t_k / p_k)``, averaged over rows. The part of class k is the
    mean of its term, so that the parts of a population sum to its score; single ones may be negative. A population
    without rows is left out.
    """

    full_state_update = False
    terms: Tensor  # PK
    rows: Tensor  # P

    def __init__(self) -> None:
        super().__init__()
        self.add_state("terms", torch.zeros(len(POPULATIONS), N_CLASSES), "sum")
        self.add_state("rows", torch.zeros(len(POPULATIONS)), "sum")

    def update(self, log_prob_BK: Tensor, target_BK: Tensor, n_votes_B: Tensor) -> None:
        """Add a batch: logarithms of probabilities, shares of votes, and how many experts voted."""
        # A class that nobody voted for costs nothing, also where its probability has underflown to 0.
        costs_BK = torch.where(target_BK > 0, target_BK * log_prob_BK, 0.0)
        terms_BK = torch.xlogy(target_BK, target_BK) - costs_BK
        inside = [(n_votes_B >= group.least) & (n_votes_B <= group.most) for group in POPULATIONS.values()]
        inside_PB = torch.stack(inside).to(terms_BK)
        with torch.autocast(terms_BK.device.type, enabled=False):  # a product in 16 bits keeps two digits of a score
            self.terms += inside_PB.float() @ terms_BK.float()
        self.rows += inside_PB.sum(dim=1)

    def compute(self) -> dict[str, Tensor]:
        """Return every divergence under its `kl_name`."""
        kl_PK = self.terms / self.rows.clamp(min=1)[:, None]
        found: dict[str, Tensor] = {}
        for population, kl_K, n_rows in zip(POPULATIONS, kl_PK, self.rows.tolist(), strict=True):
            if n_rows or population == "all":
                found[kl_name(population)] = kl_K.sum()
                found |= {kl_name(population, name): kl_K[k] for k, name in enumerate(CLASSES)}
        return found
