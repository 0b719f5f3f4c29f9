"""Batches: the right windows, in an order that depends on seed and epoch alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from hbac.data import EEGDataModule
from hbac.data.epoch import EpochShuffle
from hbac.data.windows import WindowDataset, identity
from hbac.labels.recipe import LabelRecipe
from hbac.labels.targets import count_votes
from hbac.recordings.datasets import HMS, Part
from hbac.signal.augment import RawAugment
from hbac.signal.chance import row_keys
from hbac.signal.front_end import EEGFrontEnd
from hbac.vocabulary import VOTE_COLUMNS, WINDOW_SAMPLES


@pytest.fixture(scope="module")
def part(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Part:
    return HMS(tiny_root, tmp_path_factory.mktemp("stores")).part("train")


class Centre(nn.Module):
    """The sample in the middle of each window, so that a batch says where it came from."""

    sources = ("eeg",)

    def forward(self, eeg_BTC: torch.Tensor) -> torch.Tensor:
        return eeg_BTC[:, WINDOW_SAMPLES // 2].float()


def module(part: Part, **settings: object) -> EEGDataModule:
    fold_of_row = np.arange(len(part.rows)) % 3
    defaults = {"front_end": Centre(), "fold_of_row": fold_of_row, "fold": 1, "batch_size": 4, "seed": 5}
    return EEGDataModule(part, **(defaults | settings))  # type: ignore[arg-type]


def test_a_batch_holds_the_windows_of_its_rows(part: Part) -> None:
    windows = WindowDataset(part)
    rows = [7, 0, 3]
    batch = windows.__getitems__(rows)
    for k, row in enumerate(rows):
        label = part.rows.iloc[row]
        start = int(label["eeg_label_offset_seconds"] * 200)
        expected = part.eeg.window(int(label["eeg_id"]), start, WINDOW_SAMPLES)
        np.testing.assert_array_equal(batch["eeg"][k].numpy(), expected)
        votes = label[list(VOTE_COLUMNS)].to_numpy(float)
        np.testing.assert_allclose(batch["target"][k], votes / votes.sum(), rtol=1e-6)
        assert batch["n_votes"][k] == votes.sum()


def test_training_and_held_out_rows_part_the_table(part: Part) -> None:
    data = module(part)
    trained, held_out = set(data.rows_trained["label_id"]), set(data.rows_held_out["label_id"])
    assert trained | held_out == set(part.rows["label_id"])
    assert not trained & held_out
    assert len(held_out) == (np.arange(len(part.rows)) % 3 == 1).sum()


def test_the_recipe_keeps_rows_out_of_training_only(part: Part) -> None:
    data = module(part, labels=LabelRecipe(min_votes=10))
    folds, votes = np.arange(len(part.rows)) % 3, count_votes(part.rows)
    assert data.rows_trained["label_id"].tolist() == part.rows["label_id"][(folds != 1) & (votes >= 10)].tolist()
    assert len(data.rows_held_out) == len(module(part).rows_held_out)


def test_the_front_end_makes_the_input(part: Part) -> None:
    data = module(part)
    batch = next(iter(data.val_dataloader()))
    raw = batch["eeg"].clone()
    done = data.on_after_batch_transfer(batch, 0)
    assert "eeg" not in done
    torch.testing.assert_close(done["x"], raw[:, WINDOW_SAMPLES // 2].float(), equal_nan=True)


class Negative(nn.Module):
    def forward(self, eeg: torch.Tensor, key_B: torch.Tensor) -> torch.Tensor:
        return -eeg


@pytest.mark.parametrize("raw", [RawAugment(0.5, 0.5, gain_p=0.5), RawAugment(spread_p=0.5, gain_p=0.5), Negative()])
@pytest.mark.parametrize("front_end", [Centre(), EEGFrontEnd(), EEGFrontEnd("public_8")])
def test_electrodes_are_changed_before_the_front_end_or_in_it(part: Part, front_end: nn.Module, raw: nn.Module) -> None:
    data = module(part, front_end=front_end, augment={"raw": raw})
    data.trainer = SimpleNamespace(training=True, current_epoch=2)
    batch = data.train_set.__getitems__(list(range(8)))
    key_B = row_keys(5, 2, batch["row_id"])
    expected = front_end(raw(batch["eeg"].float(), key_B))
    assert not torch.equal(expected.nan_to_num(), front_end(batch["eeg"]).nan_to_num())
    got = data.on_after_batch_transfer(batch, 0)["x"]
    torch.testing.assert_close(got, expected, atol=0.05, rtol=1e-3, equal_nan=True)  # gains are rounded to the store's


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_order_is_a_function_of_seed_and_epoch(part: Part, num_workers: int) -> None:
    def order(epoch: int, seed: int = 5) -> list[int]:
        loader = module(part, seed=seed, num_workers=num_workers).train_dataloader()
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        return [int(row) for batch in loader for row in batch["row"]]

    assert order(0) == order(0)
    assert order(0) != order(1)
    assert order(0) != order(0, seed=6)


def test_every_row_comes_once_an_epoch() -> None:
    assert sorted(pick.row for pick in EpochShuffle(50, seed=1)) == list(range(50))


def test_a_module_without_folds_predicts_everything(part: Part) -> None:
    data = module(part, fold_of_row=None, fold=-1)
    assert len(data.held_out_set) == len(part.rows)
    assert len(data.train_set) == 0


def test_identity() -> None:
    batch = {"x": torch.zeros(1)}
    assert identity(batch) is batch
