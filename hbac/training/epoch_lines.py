"""How far a training is, on standard error: a line an epoch, and on a terminal a bar within the epoch."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from hbac.common.progress import progress
from hbac.training.metrics import TRAIN_LOSS


@dataclass(frozen=True)
class Place:
    """Where a training stands in a sweep."""

    what: str  # fold, or job where the sweep is over more than folds
    number: int  # of this one, from 0
    total: int  # how many there are; 0 where that is not known, as where they run side by side

    def __str__(self) -> str:
        return f"{self.what} {self.number + 1}" + (f" of {self.total}" if self.total else "")


class EpochLines(Callback):
    """One line an epoch: metrics `train_loss` and `monitor`, rate, time left of this training and of the whole sweep.

    `place` is None outside a sweep.
    """

    def __init__(self, monitor: str, place: Place | None = None, train_loss: str = TRAIN_LOSS) -> None:
        self.monitor, self.place, self.train_loss = monitor, place, train_loss
        self.bar = ExitStack()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note when it began."""
        self.first_epoch, self.began = trainer.current_epoch, time.monotonic()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin a bar."""
        if on_terminal() and trainer.is_global_zero:
            self.update = self.bar.enter_context(progress(f"  {self._epoch(trainer)}", log=False))

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar."""
        if on_terminal() and trainer.is_global_zero:
            self.update(batch_idx + 1, int(trainer.num_training_batches))

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the line."""
        self.bar.close()
        if not trainer.is_global_zero:
            return
        done, epochs = trainer.current_epoch + 1, int(trainer.max_epochs or 0)
        each_s = (time.monotonic() - self.began) / (done - self.first_epoch)
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        shown = {"train": self.train_loss, "val": self.monitor}
        scores = "".join(f"   {name} {values[metric]:.4f}" for name, metric in shown.items() if metric in values)
        windows = trainer.num_training_batches * trainer.datamodule.batch_size * trainer.world_size  # type: ignore[attr-defined]
        left_s = each_s * (epochs - done)
        left = f"{_clock(left_s)} left"
        if self.place is not None and (more := self.place.total - self.place.number - 1) > 0:
            left += f", {_clock(left_s + more * each_s * epochs)} of the sweep"
        sys.stderr.write(f"  {self._epoch(trainer)}{scores}   {windows / each_s:.0f} windows/s   {left}\n")

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Take the bar away."""
        self.bar.close()

    def _epoch(self, trainer: L.Trainer) -> str:
        place = "" if self.place is None else f"{self.place}, "
        return f"{place}epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"


def on_terminal() -> bool:
    """Say whether a person watches: only then are there progress bars."""
    return sys.stdout.isatty() and sys.stderr.isatty()


def _clock(seconds: float) -> str:
    """Write a time as a person reads it: ``40 s``, ``4:10``, ``2:04:10``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
