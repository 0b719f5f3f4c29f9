"""What chooses, stops and slows a training down looks at the rows that count, and at no others."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from hbac.training import Classifier
from hbac.training.callbacks import make_callbacks
from hbac.training.checkpoints import CHECKPOINTS
from hbac.training.quiet import quiet
from hbac.training.schedules import reduce_on_plateau

EPOCHS = 4


class Disagreeing(L.LightningDataModule):
    """Rows with few votes all show class 0 and are trained on; those with many show class 1."""

    batch_size = 4

    def rows(self, n_votes: tuple[int, ...]) -> DataLoader[dict[str, Tensor]]:
        rows = [
            {
                "x": torch.ones(1),
                "target": torch.eye(6)[int(votes >= 10)],
                "weight": torch.tensor(1.0),
                "n_votes": torch.tensor(float(votes)),
                "row": torch.tensor(0),
            }
            for votes in n_votes
        ]
        return DataLoader(rows, batch_size=4)  # type: ignore[arg-type]

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        return self.rows((3, 3, 3, 3))

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        return self.rows((3, 12))


def trained(folder: Path, population: str, patience: int | None = None, slowed: bool = False) -> tuple[L.Trainer, int]:
    """The trainer, and the epoch whose weights are the best ones."""
    quiet()
    network = nn.Linear(1, 6)
    nn.init.zeros_(network.weight)
    nn.init.zeros_(network.bias)
    schedule = partial(reduce_on_plateau, factor=0.5, patience=0) if slowed else None
    task = Classifier(network, partial(torch.optim.SGD, lr=0.5), schedule, population=population)
    trainer = L.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        logger=L.pytorch.loggers.CSVLogger(folder),
        callbacks=make_callbacks(folder, 0, task.monitor, patience=patience),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(task, Disagreeing())
    best = torch.load(folder / CHECKPOINTS / "best.ckpt", weights_only=True)
    return trainer, int(best["epoch"])


@pytest.mark.parametrize(("population", "best"), [("many_votes", 0), ("few_votes", EPOCHS - 1)])
def test_the_best_epoch_is_that_of_the_rows_that_count(tmp_path: Path, population: str, best: int) -> None:
    trainer, found = trained(tmp_path, population)
    assert found == best
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert metrics["val/kl"] == pytest.approx((metrics["val/kl_up_to_7"] + metrics["val/kl_10_or_more"]) / 2)
    assert metrics["val/kl_up_to_7"] < 1.0 < metrics["val/kl_10_or_more"]


def test_a_run_stops_where_the_rows_that_count_get_worse(tmp_path: Path) -> None:
    assert trained(tmp_path / "many", "many_votes", patience=1)[0].current_epoch == 2
    assert trained(tmp_path / "few", "few_votes", patience=1)[0].current_epoch == EPOCHS


def test_a_plateau_is_one_of_the_rows_that_count(tmp_path: Path) -> None:
    rates = [
        trained(tmp_path / population, population, slowed=True)[0].optimizers[0].param_groups[0]["lr"]
        for population in ("many_votes", "few_votes")
    ]
    assert rates == pytest.approx([0.5 * 0.5 ** (EPOCHS - 1), 0.5])


def test_a_validation_without_rows_that_count_says_so_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a trial run over a few batches."""
    monkeypatch.setattr(Disagreeing, "val_dataloader", lambda self: self.rows((3, 3)))
    trainer, _ = trained(tmp_path, "many_votes")
    assert torch.isnan(trainer.callback_metrics["val/kl_10_or_more"])
    assert trainer.current_epoch == EPOCHS
