"""The running mean of the weights is what is validated, kept and scored; early stopping stops."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from hbac.common.errors import UserError
from hbac.training.averaging import weight_average
from hbac.training.callbacks import CHECKPOINTS, last_checkpoint, make_callbacks, restore
from hbac.training.quiet import quiet

N_STEPS = 4  # in an epoch


class Line(L.LightningModule):
    """A weight that falls by 1 at each step; its validation KL is the weight."""

    def __init__(self, worse_from: int = 1000) -> None:
        super().__init__()
        self.weight, self.worse_from = nn.Parameter(torch.zeros(())), worse_from
        self.validated: list[float] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        self.log("train/kl", self.weight.detach(), on_epoch=True, on_step=False)
        return self.weight * 1.0

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.validated.append(float(self.weight))
        late = self.current_epoch >= self.worse_from
        self.log("val/kl", float(self.current_epoch) if late else float(self.weight))


class Rows(L.LightningDataModule):
    batch_size = 1

    def train_dataloader(self) -> DataLoader[dict[str, int]]:
        return DataLoader([{"row": row} for row in range(N_STEPS)])  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader[dict[str, int]]:
        return DataLoader([{"row": 0}])  # type: ignore[arg-type]


def fitted(folder: Path, epochs: int, ema: float = 0.0, patience: int | None = None, **task: int) -> tuple[Line, int]:
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
    )
    trainer.fit(line, Rows(), ckpt_path=last_checkpoint(folder), weights_only=True)
    return line, trainer.current_epoch


def mean_after(n_steps: int, decay: float) -> float:
    mean = -1.0  # the weight after the first step
    for n in range(1, n_steps):
        share = min(decay, (1 + n) / (10 + n))
        mean = share * mean + (1 - share) * -(n + 1)
    return mean


@pytest.mark.parametrize("decay", [0.3, 0.99])
def test_the_mean_is_validated_kept_and_restored(tmp_path: Path, decay: float) -> None:
    line, _ = fitted(tmp_path, 3, ema=decay)
    assert line.validated == pytest.approx([mean_after(N_STEPS * epoch, decay) for epoch in (1, 2, 3)], rel=1e-5)
    checkpoint = torch.load(tmp_path / CHECKPOINTS / "last.ckpt", weights_only=True)
    assert float(checkpoint["state_dict"]["weight"]) == pytest.approx(mean_after(3 * N_STEPS, decay), rel=1e-5)
    assert float(checkpoint["current_model_state"]["weight"]) == -3 * N_STEPS  # what training goes on from
    fresh = Line()
    restore(fresh, tmp_path, "last")
    assert float(fresh.weight.detach()) == pytest.approx(line.validated[-1], rel=1e-6)


def test_a_resumed_mean_goes_on(tmp_path: Path) -> None:
    fitted(tmp_path / "cut", 2, ema=0.9)
    resumed, _ = fitted(tmp_path / "cut", 4, ema=0.9)
    whole, _ = fitted(tmp_path / "whole", 4, ema=0.9)
    assert resumed.validated == whole.validated[2:]


def test_without_a_mean_the_weights_themselves(tmp_path: Path) -> None:
    line, _ = fitted(tmp_path, 2)
    assert line.validated == [-N_STEPS, -2 * N_STEPS]


def test_patience_ends_a_run_that_no_longer_improves(tmp_path: Path) -> None:
    _, epochs = fitted(tmp_path, 20, patience=3, worse_from=4)
    assert epochs == 4 + 3
    again, epochs = fitted(tmp_path, 20, patience=3, worse_from=4)  # typed again: it stays stopped
    assert epochs == 4 + 3
    assert not again.validated


def test_no_step_asks_the_device_for_a_value() -> None:
    callback, line = weight_average(0.9), Line().to("meta")  # where a value that is asked for is an error
    trainer: Any = SimpleNamespace(global_step=0)
    callback.setup(trainer, line, "fit")
    for _ in range(3):
        trainer.global_step += 1
        callback.on_train_batch_end(trainer, line, None, None, 0)
    assert callback.state_dict() == {"latest_update_step": 3}


@pytest.mark.parametrize("ema", [1.0, -0.5, 1])
def test_a_decay_that_cannot_be(ema: float) -> None:
    with pytest.raises(UserError, match="must be a number above 0 and below 1"):
        weight_average(ema)


@pytest.mark.parametrize("patience", [0, 1.5])
def test_a_patience_that_cannot_be(tmp_path: Path, patience: float) -> None:
    with pytest.raises(UserError, match=r"patience=.*a whole number of epochs, 1 or more, or null"):
        make_callbacks(tmp_path, 0, patience=patience)  # type: ignore[arg-type]
