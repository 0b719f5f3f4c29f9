"""Worker processes have the order of the epoch where a run goes on."""

from __future__ import annotations

from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from torch import nn

from hbac.data import EEGDataModule
from hbac.recordings.datasets import HMS, Part
from hbac.training.quiet import quiet


@pytest.fixture(scope="module")
def part(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Part:
    return HMS(tiny_root, tmp_path_factory.mktemp("stores")).part("train")


class First(nn.Module):
    """The first sample of each window."""

    sources = ("eeg",)

    def forward(self, eeg_BTC: torch.Tensor) -> torch.Tensor:
        return eeg_BTC[:, 0].float().nan_to_num()


class Rows(L.LightningModule):
    """Notes which rows it is trained on, in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.seen: list[list[int]] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        assert self.trainer.estimated_stepping_batches > 0  # as schedules ask; Lightning makes the loader for it
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def on_train_epoch_start(self) -> None:
        self.seen.append([])

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        self.seen[-1] += batch["row_id"].tolist()
        return self.weight * 1.0

    def validation_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> None:
        pass


def rows_of_epochs(part: Part, folder: Path, epochs: int, num_workers: int) -> list[list[int]]:
    quiet()
    data = EEGDataModule(part, First(), np.arange(len(part.rows)) % 3, 1, batch_size=3, num_workers=num_workers)
    task, last = Rows(), folder / "last.ckpt"
    checkpoint = L.pytorch.callbacks.ModelCheckpoint(
        folder, "last", enable_version_counter=False, save_on_train_epoch_end=True
    )
    trainer = L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        callbacks=[checkpoint],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(task, data, ckpt_path=str(last) if last.exists() else None, weights_only=True)
    return task.seen


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_a_resumed_run_sees_the_rows_of_its_epochs(part: Part, tmp_path: Path, num_workers: int) -> None:
    whole = rows_of_epochs(part, tmp_path / "whole", 4, 0)
    assert len({tuple(rows) for rows in whole}) == 4
    first = rows_of_epochs(part, tmp_path / "cut", 2, num_workers)
    assert first + rows_of_epochs(part, tmp_path / "cut", 4, num_workers) == whole
