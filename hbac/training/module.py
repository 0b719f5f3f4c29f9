"""The LightningModule of every classifier: loss, metrics, optimiser, schedule."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from hbac.common.errors import UserError
from hbac.data.windows import Batch
from hbac.labels.targets import DEFAULT_POPULATION
from hbac.models.population_head import PopulationHead
from hbac.models.rates import ParameterGroup, layerwise_groups
from hbac.training.metrics import PopulationKL, monitored

# B window, K class


class Classifier(L.LightningModule):
    """Train a network on shares of votes.

    The loss is the KL divergence between the shares and the network's softmax, weighted by row: the competition's
    metric itself. Networks with a method ``parameter_groups(lr)`` get their own groups of learning rates. Biases and
    normalisations are spared weight decay, whatever the groups (`hbac.models.rates`).

    Parameters
    ----------
    network : torch.nn.Module
        Maps the front-end's output to logits (batch, 6).
    optimizer : callable
        Parameters (or groups) to optimiser.
    schedule : callable, optional
        (optimiser, total steps) to a scheduler; see `hbac.training.schedules`.
    lr_decay : float
        Learning rate of each layer over that of the next one, in (0, 1]; below 1 keeps more of what the first layers
        know, as in a second stage. Needs a network with a method ``layers()``.
    population : str
        The rows whose validation KL is watched (`hbac.training.metrics.monitored`).

    Raises
    ------
    UserError
        For an `lr_decay` out of its range, or one that the network cannot have.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: Callable[[Any], Optimizer],
        schedule: Callable[[Optimizer, int], LRScheduler] | None = None,
        lr_decay: float = 1.0,
        population: str = DEFAULT_POPULATION,
    ) -> None:
        super().__init__()
        if not 0 < lr_decay <= 1:
            raise UserError(f"task.lr_decay={lr_decay}: must be above 0 and at most 1")
        inner = _below_head(network)
        if lr_decay < 1 and not hasattr(inner, "layers"):
            raise UserError(f"task.lr_decay={lr_decay}: {type(inner).__name__} does not say what its layers are")
        if lr_decay < 1 and getattr(inner, "backbone_lr_factor", 1.0) != 1:
            raise UserError(f"task.lr_decay={lr_decay} and model.backbone_lr_factor exclude one another")
        self.network, self.lr_decay, self.monitor = network, lr_decay, monitored(population)
        self.make_optimizer, self.make_schedule = optimizer, schedule
        self.configure_metrics()

    def configure_metrics(self) -> None:
        """Make the metrics, one set for each split."""
        self.val_kl = PopulationKL()

    def configure_optimizers(self) -> Any:
        """Return the optimiser and its schedule, stepped with each step of the optimiser, or after each validation."""
        optimizer = self.make_optimizer(self.parameter_groups())
        if self.make_schedule is None:
            return optimizer
        schedule = self.make_schedule(optimizer, int(self.trainer.estimated_stepping_batches))
        when: dict[str, Any] = {"interval": "step"}
        if isinstance(schedule, ReduceLROnPlateau):
            # Once an epoch, after the validation. Not `interval: epoch`, which Lightning steps after it has written the
            # checkpoint: a run that goes on from there would miss that step.
            when |= {"frequency": int(self.trainer.num_training_batches), "monitor": self.monitor}
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, **when}}

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return all parameters in groups, each with its rate, and its weight decay where that is not the optimiser's.

        Returns
        -------
        list of dict
            As `hbac.models.rates.layerwise_groups` makes them.
        """
        rate, network = _rate_of(self.make_optimizer), _below_head(self.network)
        if self.lr_decay == 1 and hasattr(network, "parameter_groups"):
            groups: list[ParameterGroup] = network.parameter_groups(rate)  # type: ignore[operator]
        else:
            layers: Any = [network] if self.lr_decay == 1 else network.layers()  # type: ignore[operator]
            groups = layerwise_groups(layers, rate, self.lr_decay)
        if isinstance(self.network, PopulationHead):
            groups.append({"params": [self.network.log_scale, self.network.bias], "lr": rate, "weight_decay": 0.0})
        return groups

    def forward(self, x: Tensor, n_votes_B: Tensor | None = None) -> Tensor:
        """Return logits.

        Parameters
        ----------
        x : Tensor
            The front-end's output, (batch, …).
        n_votes_B : Tensor, shape (batch,), optional
            By which a `PopulationHead` chooses a row's map in training; no other network looks at it.

        Returns
        -------
        Tensor, shape (batch, 6)
            Logits in the order of `hbac.vocabulary.CLASSES`, in float32 whatever the precision.
        """
        logits: Tensor = self.network(x, n_votes_B) if isinstance(self.network, PopulationHead) else self.network(x)
        return logits.float()

    def loss(self, logits_BK: Tensor, batch: Batch) -> Tensor:
        """Return the weighted mean KL divergence of a batch, in nats.

        Parameters
        ----------
        logits_BK : Tensor, shape (batch, 6)
            What `forward` returned.
        batch : dict of Tensor
            With ``target`` (batch, 6) and ``weight`` (batch,).

        Returns
        -------
        Tensor
            A scalar.
        """
        kl_B = F.kl_div(logits_BK.log_softmax(dim=1), batch["target"], reduction="none").sum(dim=1)
        weight_B = batch["weight"]
        return (kl_B * weight_B).sum() / weight_B.sum()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch.

        Parameters
        ----------
        batch : dict of Tensor
            A training batch.
        batch_idx : int
            Not used.

        Returns
        -------
        Tensor
            A scalar.
        """
        loss = self.loss(self(batch["x"], batch["n_votes"]), batch)
        self.log("train/kl", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(batch["x"]))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the validation metrics.

        Parameters
        ----------
        batch : dict of Tensor
            A validation batch.
        batch_idx : int
            Not used.
        """
        self.val_kl.update(self(batch["x"]).log_softmax(dim=1), batch["target"], batch["n_votes"])

    def on_validation_epoch_end(self) -> None:
        """Log the validation metrics."""
        values = self.val_kl.compute()
        self.val_kl.reset()
        logged = {self.monitor: torch.tensor(float("nan"))} | {f"val/{name}": kl.float() for name, kl in values.items()}
        self.log(self.monitor, logged.pop(self.monitor), prog_bar=True)
        self.log_dict(logged)

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Return the probabilities of a batch.

        Parameters
        ----------
        batch : dict of Tensor
            Any batch.
        batch_idx : int
            Not used.

        Returns
        -------
        dict of Tensor
            ``row`` (batch,) positions of the rows, ``prob`` (batch, 6).
        """
        return {"row": batch["row"], "prob": self(batch["x"]).softmax(dim=1)}


def _below_head(network: nn.Module) -> nn.Module:
    return network.network if isinstance(network, PopulationHead) else network


def _rate_of(make_optimizer: Callable[[Any], Optimizer]) -> float:
    """Return the learning rate that a partial carries, or else the optimiser's own default."""
    keywords = getattr(make_optimizer, "keywords", {})
    default = signature(make_optimizer).parameters["lr"].default
    return float(keywords.get("lr", default))
