"""The running mean of the weights, which is often better than any of the weights that it was made of."""

from __future__ import annotations

import lightning as L
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from hbac.common.errors import UserError


def weight_average(decay: float) -> WeightAveraging:
    """Return Lightning's averaging callback with an exponential mean over optimiser steps.

    It is the mean that is validated, written to checkpoints as the module's state, exported and scored; training goes
    on from the weights themselves, which checkpoints hold beside it. Running statistics of normalisations are averaged
    as the weights are.

    `decay`, in (0, 1), is the share of the mean that stays at each step: 0.998 looks back over some 500 steps. While
    fewer steps have passed, ``(1 + n) / (10 + n)`` where that is smaller, so that the first weights, which are random,
    do not count for long.

    References
    ----------
    Polyak and Juditsky (1992), Acceleration of stochastic approximation by averaging, doi:10.1137/0330046.
    """
    if not (isinstance(decay, float) and 0 < decay < 1):
        raise UserError(f"ema={decay}: must be a number above 0 and below 1, such as 0.998, or 0 for none")
    return _ExponentialAveraging(decay)


class _ExponentialAveraging(WeightAveraging):
    """Count the steps in the host's memory: read from a device, the count would stop it at each of them."""

    def __init__(self, decay: float) -> None:
        super().__init__(multi_avg_fn=self._update)
        self._decay = decay

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if stage == "fit":
            assert self._average_model is not None
            self._average_model.n_averaged = torch.tensor(0)

    def _update(self, mean: list[Tensor], current: list[Tensor], _: Tensor) -> None:
        assert self._average_model is not None
        n = int(self._average_model.n_averaged)
        decay = min(self._decay, (1 + n) / (10 + n))
        get_ema_multi_avg_fn(decay)(mean, current, None)  # type: ignore[no-untyped-call]
