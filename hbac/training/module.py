"""The LightningModule of every classifier: loss, metrics, optimiser, schedule."""

from __future__ import annotations

import logging
from collections.abc import Callable
from inspect import signature
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torchmetrics import Metric

from hbac.common.errors import UserError
from hbac.data.epoch import REPEATED
from hbac.data.windows import Batch
from hbac.labels.targets import DEFAULT_POPULATION, logged
from hbac.models.population_head import PopulationHead
from hbac.models.rates import ParameterGroup, layerwise_groups
from hbac.training.metrics import TRAIN_LOSS, PopulationKL, monitored

log = logging.getLogger("hbac.train")

# B window, K class


class Classifier(L.LightningModule):
    """Train a network on shares of votes.

    The loss is the KL divergence between the shares and the network's softmax, weighted by row: the competition's
    metric itself. For another loss, or other metrics, derive a class, override `configure_losses` or
    `configure_metrics`, and name it (``examples/own_network``). Networks with a method
    ``parameter_groups(lr)`` get their own groups of learning rates. Biases and normalisations are spared weight decay,
    whatever the groups (`hbac.models.rates`).

    A `UserError` for an `lr_decay` out of its range, or one that the network cannot have.

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
    population_head : bool
        Whether the network is a `hbac.models.population_head.PopulationHead`, which is told how many experts voted.
    compile : bool or str
        Whether PyTorch compiles the network, and how: true or ``default``, or ``max-autotune``. Where it cannot, a
        warning says why, and the network is trained as it is.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: Callable[[Any], Optimizer],
        schedule: Callable[[Optimizer, int], LRScheduler] | None = None,
        lr_decay: float = 1.0,
        population: str = DEFAULT_POPULATION,
        population_head: bool = False,
        compile: bool | str = False,
    ) -> None:
        super().__init__()
        self.make_optimizer, self.make_schedule, self.lr_decay = optimizer, schedule, lr_decay
        self.compile_mode = "default" if compile is True else compile
        self.configure_models(network, population_head)
        self.configure_losses()
        self.configure_metrics(population)

    def configure_models(self, network: nn.Module, population_head: bool) -> None:
        """Take the network, if it can be trained as was asked."""
        assert isinstance(network, PopulationHead) == population_head
        self.network, self.population_head = network, population_head
        below, asked = self._below_head(), f"task.lr_decay={self.lr_decay}"
        if not 0 < self.lr_decay <= 1:
            raise UserError(f"{asked}: must be above 0 and at most 1")
        if self.lr_decay < 1 and not hasattr(below, "layers"):
            raise UserError(f"{asked}: {type(below).__name__} does not say what its layers are")
        if self.lr_decay < 1 and any(getattr(part, "backbone_lr_factor", 1.0) != 1 for part in below.modules()):
            raise UserError(f"{asked} and model.backbone_lr_factor exclude one another")

    def configure_losses(self) -> None:
        """Choose the loss of a row, a function of logits and targets, both (batch, 6), and what it is logged as."""
        self.row_loss: Callable[[Tensor, Tensor], Tensor] = soft_target_kl
        self.train_loss = TRAIN_LOSS

    def configure_metrics(self, population: str) -> None:
        """Make the validation's metrics, and choose by which of them, the lower the better, training is watched.

        They get logarithms of probabilities and targets, both (batch, 6), and numbers of votes (batch,).
        """
        self.metrics: Metric = PopulationKL()
        self.monitor = monitored(population)

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
        """Return all parameters in groups (`hbac.models.rates`), with the rate, and maybe the weight decay, of each."""
        rate, network = _rate_of(self.make_optimizer), self._below_head()
        if self.lr_decay == 1 and hasattr(network, "parameter_groups"):
            groups: list[ParameterGroup] = network.parameter_groups(rate)  # type: ignore[operator]
        else:
            layers: Any = [network] if self.lr_decay == 1 else network.layers()  # type: ignore[operator]
            groups = layerwise_groups(layers, rate, self.lr_decay)
        if isinstance(self.network, PopulationHead):
            groups.append({"params": [self.network.log_scale, self.network.bias], "lr": rate, "weight_decay": 0.0})
        return groups

    def setup(self, stage: str) -> None:
        """Let the network be compiled when it is first called."""
        if self.compile_mode:
            self.network.compile(mode=self.compile_mode)

    def forward(self, x: Tensor, n_votes_B: Tensor | None = None) -> Tensor:
        """Return logits (batch, 6) in the order of `hbac.vocabulary.CLASSES`, in float32 whatever the precision.

        `x` is the front-end's output; by `n_votes_B` a `PopulationHead` chooses a row's map in training, which no other
        network looks at.
        """
        inputs = (x, n_votes_B) if self.population_head else (x,)
        try:
            logits_BK: Tensor = self.network(*inputs)
        except Exception as error:  # compilers have many of their own
            if self.network._compiled_call_impl is None:
                raise
            self.network._compiled_call_impl = None
            reason = (str(error) or type(error).__name__).strip().splitlines()[0]
            log.warning("compile=%s does not work here, the network is trained without: %s", self.compile_mode, reason)
            logits_BK = self.network(*inputs)
        return logits_BK.float()

    def loss(self, logits_BK: Tensor, batch: Batch) -> Tensor:
        """Return the mean loss of a batch, its rows weighted by ``weight``; a scalar, in nats.

        Over several devices its mean is that of all their rows.
        """
        weight_B = batch["weight"]
        return (self.row_loss(logits_BK, batch["target"]) * weight_B).sum() / _mean_over_devices(weight_B.sum())

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        loss = self.loss(self(batch["x"], batch["n_votes"]), batch)
        settings: dict[str, Any] = {"on_step": False, "on_epoch": True, "prog_bar": True, "sync_dist": True}
        self.log(self.train_loss, loss, batch_size=len(batch["x"]), **settings)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the validation's metrics."""
        n_votes_B = torch.where(batch["row"] > REPEATED, batch["n_votes"], -1)  # which is in no population
        self.metrics.update(self(batch["x"]).log_softmax(dim=1), batch["target"], n_votes_B)

    def on_validation_epoch_end(self) -> None:
        """Log the validation's metrics."""
        values = {logged(name): value.float() for name, value in self.metrics.compute().items()}
        self.metrics.reset()
        self.log(self.monitor, values.pop(self.monitor, torch.tensor(float("nan"))), prog_bar=True, sync_dist=True)
        self.log_dict(values, sync_dist=True)

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Return ``row`` (batch,), the rows' positions or `REPEATED`, and ``prob`` (batch, 6)."""
        return {"row": batch["row"], "prob": self(batch["x"]).softmax(dim=1)}

    def _below_head(self) -> nn.Module:
        return self.network.network if isinstance(self.network, PopulationHead) else self.network


def soft_target_kl(logits_BK: Tensor, target_BK: Tensor) -> Tensor:
    """Return the KL divergence, in nats, of each row's softmax from its target, shares of votes that sum to 1."""
    return F.kl_div(logits_BK.log_softmax(dim=1), target_BK, reduction="none").sum(dim=1)


def _mean_over_devices(value: Tensor) -> Tensor:
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return value
    torch.distributed.all_reduce(value)
    return value / torch.distributed.get_world_size()


def _rate_of(make_optimizer: Callable[[Any], Optimizer]) -> float:
    """Return the learning rate that a partial carries, or else the optimiser's own default."""
    keywords = getattr(make_optimizer, "keywords", {})
    default = signature(make_optimizer).parameters["lr"].default
    return float(keywords.get("lr", default))
