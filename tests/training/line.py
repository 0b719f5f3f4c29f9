"""A model of one weight, so that what training did with it can be said in closed form."""

from __future__ import annotations

from pathlib import Path

import lightning as L
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from hbac.training.callbacks import make_callbacks
from hbac.training.checkpoints import WholeCheckpoints, last_checkpoint
from hbac.training.quiet import quiet

N_STEPS = 4  # in an epoch


class Line(L.LightningModule):
    """A weight that falls by 1 at each step; its validation KL is the weight.

    The loss is no number in and after step `nan_from` of all; the validation KL in and after epoch `val_nan_from`.
    """

    def __init__(self, worse_from: float = 1000, nan_from: float = 1000, val_nan_from: float = 1000) -> None:
        super().__init__()
        self.weight, self.worse_from = nn.Parameter(torch.zeros(())), worse_from
        self.nan_from, self.val_nan_from = nan_from, val_nan_from
        self.validated: list[float] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        self.log("train/kl", self.weight.detach(), on_epoch=True, on_step=False)
        bad = self.global_step >= self.nan_from
        return self.weight * (float("nan") if bad else 1.0)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.validated.append(float(self.weight))
        late = self.current_epoch >= self.worse_from
        value = float(self.current_epoch) if late else float(self.weight)
        self.log("val/kl", float("nan") if self.current_epoch >= self.val_nan_from else value)


class Rows(L.LightningDataModule):
    batch_size = 1

    def train_dataloader(self) -> DataLoader[dict[str, int]]:
        return DataLoader([{"row": row} for row in range(N_STEPS)])  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader[dict[str, int]]:
        return DataLoader([{"row": 0}])  # type: ignore[arg-type]


def fitted(
    folder: Path, epochs: int, ema: float = 0.0, patience: int | None = None, export: str = "last", **task: float
) -> tuple[Line, int]:
    """Train in a folder, or go on there; returns the model and how many epochs it has had in all."""
    quiet()
    line = Line(**task)
    trainer = L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=L.pytorch.loggers.CSVLogger(folder),
        callbacks=make_callbacks(folder, 0, ema, patience),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        plugins=[WholeCheckpoints()],
    )
    trainer.fit(line, Rows(), ckpt_path=last_checkpoint(folder, export), weights_only=True)
    return line, trainer.current_epoch
