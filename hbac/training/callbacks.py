"""What happens beside the training: checkpoints, progress, the out-of-fold table."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import (
    BasePredictionWriter,
    Callback,
    EarlyStopping,
    LearningRateMonitor,
    ThroughputMonitor,
)

from hbac.common.errors import UserError
from hbac.data.epoch import REPEATED
from hbac.predictions import PredictionTable, TableMetadata
from hbac.training.averaging import weight_average
from hbac.training.checkpoints import checkpoint_callbacks
from hbac.training.epoch_lines import EpochLines, Place
from hbac.training.metrics import TRAIN_LOSS, monitored

ALL_ROWS = monitored("all")  # logged in each validation, whatever rows count


class TrainingStatistics(Callback):
    """Log each epoch's rate, the time that has passed, and the mean norm of the gradients before they are clipped."""

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note when it began."""
        self.fit_began = time.monotonic()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self.began, self.spent, self.windows = time.monotonic(), 0.0, 0
        self.norms: list[torch.Tensor] = []  # joined once an epoch: to log each costs a GPU some operations

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Measure the gradients, which mixed precision has scaled back by now."""
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        self.norms.append(torch.nn.utils.get_total_norm(gradients, foreach=True))

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the batch's windows."""
        self.windows += len(batch["row"])
        self.spent = time.monotonic() - self.began  # up to here, for the epoch's validation is not training

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the mean norm, the rate, and the seconds since training began, validation among them."""
        if self.norms:
            pl_module.log("train/grad_norm", torch.stack(self.norms).mean(), sync_dist=True)
        pl_module.log("train/windows_per_s", self.windows * trainer.world_size / self.spent, sync_dist=True)
        pl_module.log("train/elapsed_s", time.monotonic() - self.fit_began, sync_dist=True)


class Throughput(ThroughputMonitor):
    """Lightning's monitor of batches and windows a second over the last `window_size` steps."""

    def __init__(self, window_size: int = 20) -> None:
        super().__init__(batch_size_fn=lambda batch: len(batch["row"]), window_size=window_size)


class SeedSteps(Callback):
    """Seed torch's generators anew before each batch.

    Dropout then depends on seed, epoch and batch alone, and a run that was killed and resumed ends with the same
    weights, bit for bit, as one that was not. Once an epoch is not enough: how many numbers Lightning draws between the
    start of an epoch and its first batch differs in a resumed run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seed all devices."""
        numbers = (self.seed, trainer.current_epoch, batch_idx, trainer.global_rank)
        words = np.random.SeedSequence(numbers).generate_state(2)
        torch.manual_seed(int(words[0]) << 32 | int(words[1]))


class StopWhereNotFinite(Callback):
    """End a training whose loss is no longer a number: nothing better would ever come of it.

    What steps return is looked at only now and then, since waiting for it at each step would leave a GPU idle. Of
    several devices all stop where one of them has to.
    """

    EVERY = 50  # steps

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin to count."""
        self.losses: list[torch.Tensor] = []  # that nobody has looked at
        self.finite = 0  # steps before them, and before the first bad one

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the loss, and look at once where that takes no waiting."""
        self.losses.append(outputs["loss"].detach())
        if (not self.losses[0].is_cuda and trainer.world_size == 1) or (batch_idx + 1) % self.EVERY == 0:
            self._check(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look at the epoch's last steps, and at what became of the weights in the very last."""
        self._check(trainer)
        kl = trainer.callback_metrics.get(ALL_ROWS)  # own metrics may leave it out
        if kl is not None and not torch.isfinite(kl):
            self._stop(trainer, "the validation KL is not finite after")

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look at the epoch's last steps where nothing was validated, before a checkpoint is written."""
        self._check(trainer)

    def _check(self, trainer: L.Trainer) -> None:
        if self.losses:
            seen = self.finite + len(self.losses)
            finite = self.finite + torch.stack(self.losses).isfinite().long().cumprod(0).sum()
            if trainer.world_size > 1:
                torch.distributed.all_reduce(finite, torch.distributed.ReduceOp.MIN)
            self.losses, self.finite = [], int(finite)
            if self.finite < seen:
                self._stop(trainer, f"the loss is not finite in step {self.finite + 1} of")

    def _stop(self, trainer: L.Trainer, what: str) -> None:
        lr = max(group["lr"] for group in trainer.optimizers[0].param_groups)
        raise UserError(
            f"{what} epoch {trainer.current_epoch + 1}, at a learning rate of {lr:.3g}: training has diverged; "
            "a lower optimizer.lr may help"
        )


class Patience(EarlyStopping):
    """Lightning's early stopping, which also stops where a run that had just been stopped is typed again."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop before the first batch if the checkpoint says so."""
        trainer.should_stop = trainer.should_stop or self.wait_count >= self.patience


class Predictions(BasePredictionWriter):
    """Gather what all devices have predicted, each row once.

    `row` are positions in the data module's order, ascending, int, shape (n_rows,); `prob` their probabilities,
    float32, shape (n_rows, 6).
    """

    def __init__(self) -> None:
        super().__init__(write_interval="epoch")

    def write_on_epoch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        predictions: Sequence[Any],
        batch_indices: Sequence[Any],
    ) -> None:
        """Gather the batches of all devices, which are as large on each."""
        gathered = {}
        for name in ("row", "prob"):
            mine = torch.cat([batch[name] for batch in predictions]).to(pl_module.device)
            parts = [mine]
            if trainer.world_size > 1:
                parts = [torch.empty_like(mine) for _ in range(trainer.world_size)]
                torch.distributed.all_gather(parts, mine)
            gathered[name] = torch.cat(parts).cpu().numpy()
        order = np.argsort(gathered["row"], kind="stable")
        order = order[gathered["row"][order] > REPEATED]
        self.row, self.prob = gathered["row"][order], gathered["prob"][order]


class PredictionTableWriter(Predictions):
    """Write the prediction table when all held-out rows, in the data module's order, have been predicted."""

    def __init__(self, path: Path, rows: pd.DataFrame, fold: int, metadata: TableMetadata) -> None:
        super().__init__()
        self.path, self.rows, self.fold, self.metadata = path, rows, fold, metadata

    def write_on_epoch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        predictions: Sequence[Any],
        batch_indices: Sequence[Any],
    ) -> None:
        """Gather, and let the first process write."""
        super().write_on_epoch_end(trainer, pl_module, predictions, batch_indices)
        if trainer.is_global_zero:
            table = PredictionTable.from_arrays(self.rows.iloc[self.row], self.prob, self.metadata, fold=self.fold)
            table.write(self.path)


def make_callbacks(
    folder: Path,
    seed: int,
    monitor: str,
    ema: float = 0.0,
    patience: int | None = None,
    place: Place | None = None,
    train_loss: str = TRAIN_LOSS,
) -> list[Callback]:
    """Return the callbacks of every training run: checkpoints, learning rates, progress, and what was asked for.

    `monitor` is the metric of the validation, the lower the better, that chooses, and stops after `patience` epochs in
    which it has not improved. `ema` is the decay of the running mean of the weights (`hbac.training.averaging`), in (0,
    1); 0 for none. The loss is logged as `train_loss`; `place` is that of this training in its sweep.
    """
    asked_for: list[Callback] = []
    if ema:
        asked_for.append(weight_average(ema))
    if patience is not None:
        if not isinstance(patience, int) or patience < 1:
            raise UserError(f"patience={patience}: must be a whole number of epochs, 1 or more, or null")
        asked_for.append(Patience(monitor, patience=patience, check_on_train_epoch_end=False))
    return [
        SeedSteps(seed),
        TrainingStatistics(),
        StopWhereNotFinite(),
        *asked_for,
        *checkpoint_callbacks(folder, monitor),
        LearningRateMonitor(logging_interval="epoch"),
        EpochLines(monitor, place, train_loss),
    ]
