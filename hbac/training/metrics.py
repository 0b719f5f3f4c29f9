"""KL divergence on the vote populations, gathered over an epoch."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from hbac.labels.targets import POPULATIONS
from hbac.vocabulary import CLASSES, N_CLASSES

# B window, K class, P population


class PopulationKL(Metric):
    """Mean KL divergence over all rows and over the vote populations; per class over all rows.

    The metric of the competition, in nats: ``sum_k t_k log(t_k / p_k)``, averaged over rows. A population without
    rows is left out.
    """

    full_state_update = False
    terms: Tensor  # PK
    rows: Tensor  # P

    def __init__(self) -> None:
        super().__init__()
        self.add_state("terms", torch.zeros(len(POPULATIONS), N_CLASSES), "sum")
        self.add_state("rows", torch.zeros(len(POPULATIONS)), "sum")

    def update(self, log_prob_BK: Tensor, target_BK: Tensor, n_votes_B: Tensor) -> None:
        """Add a batch.

        Parameters
        ----------
        log_prob_BK : Tensor, shape (batch, 6)
            Logarithms of predicted probabilities.
        target_BK : Tensor, shape (batch, 6)
            Shares of votes that sum to 1.
        n_votes_B : Tensor, shape (batch,)
            How many experts voted.
        """
        terms_BK = torch.xlogy(target_BK, target_BK) - target_BK * log_prob_BK
        inside = [(n_votes_B >= group.least) & (n_votes_B <= group.most) for group in POPULATIONS.values()]
        inside_PB = torch.stack(inside).to(terms_BK)
        self.terms += inside_PB @ terms_BK
        self.rows += inside_PB.sum(dim=1)

    def compute(self) -> dict[str, Tensor]:
        """Return ``kl``, ``kl_up_to_7``, ``kl_10_or_more`` and ``kl_<class>``, the parts of ``kl``."""
        kl_PK = self.terms / self.rows.clamp(min=1)[:, None]
        names = ["kl" if name == "all" else f"kl_{name}" for name in POPULATIONS]
        scores = zip(names, kl_PK.sum(dim=1), self.rows.tolist(), strict=True)
        by_population = {name: kl for name, kl, n_rows in scores if n_rows or name == "kl"}
        return by_population | {f"kl_{name}": kl_PK[0, k] for k, name in enumerate(CLASSES)}
