"""A loss of one's own, and the metric of the validation that training is watched by."""

import torch
from torch import Tensor

from hbac.labels.targets import logged
from hbac.training import Classifier
from hbac.training.metrics import PopulationKL


def brier(logits: Tensor, target: Tensor) -> Tensor:
    """Return each row's squared distance of probabilities from shares of votes."""
    return (logits.softmax(dim=1) - target).square().sum(dim=1)


class BrierScore(PopulationKL):
    """The divergences, and the Brier score of all rows."""

    def __init__(self) -> None:
        super().__init__()
        self.add_state("brier", torch.zeros(2), "sum")

    def update(self, log_prob: Tensor, target: Tensor, n_votes: Tensor) -> None:
        """Add a batch; rows without votes are there only to fill it."""
        super().update(log_prob, target, n_votes)
        counted = n_votes > 0
        self.brier += torch.stack([brier(log_prob, target)[counted].sum(), counted.sum()])

    def compute(self) -> dict[str, Tensor]:
        """Return all of them by name."""
        return {**super().compute(), "brier": self.brier[0] / self.brier[1]}


class BrierClassifier(Classifier):
    """Train by the Brier score, and choose and stop by it, too."""

    def configure_losses(self) -> None:
        """Choose the loss of a row, and the name it is logged under."""
        self.row_loss, self.train_loss = brier, "train/brier"

    def configure_metrics(self, population: str) -> None:
        """Choose what is measured on held-out rows, and what is watched; the lower the better."""
        self.metrics, self.monitor = BrierScore(), logged("brier")
