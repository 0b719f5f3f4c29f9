"""Recordings that are held in memory: the same batches, in as much memory as there is."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from hbac.common.errors import UserError
from hbac.data import EEGDataModule, SpectrogramDataModule, resident
from hbac.data.base import MOST_WORKERS, WindowDataModule
from hbac.data.resident import NOWHERE, Resident, choose
from hbac.labels.recipe import LabelRecipe
from hbac.recordings.datasets import HMS, Part
from hbac.signal import EEGFrontEnd, ImageFrontEnd, Mixup

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def nothing_is_held() -> Iterator[None]:
    resident._held.clear()
    yield
    resident._held.clear()


@pytest.fixture(scope="module")
def part(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Part:
    return HMS(tiny_root, tmp_path_factory.mktemp("stores")).part("train", official=True)


def module(part: Part, kind: str, where: str, **settings: Any) -> WindowDataModule:
    folds = {"fold_of_row": np.arange(len(part.rows)) % 3, "fold": 1}
    if kind == "eeg":
        recipe = LabelRecipe(jitter_s=2.0)
        augment = {"mixup": Mixup(0.5)}
        return EEGDataModule(part, EEGFrontEnd(), labels=recipe, augment=augment, resident=where, **folds, **settings)
    front_end = ImageFrontEnd("both", tile_height=32, tile_width=64)
    return SpectrogramDataModule(part, front_end, resident=where, **folds, **settings)


def batches(data: WindowDataModule) -> Iterator[dict[str, torch.Tensor]]:
    data.trainer = SimpleNamespace(training=True, current_epoch=1)  # type: ignore[assignment]
    for loader in (data.train_dataloader(), data.val_dataloader()):
        for batch in loader:
            moved = data.transfer_batch_to_device(batch, CPU, 0)
            windows = {name: moved[name].clone() for name in data.sources}
            yield data.on_after_batch_transfer(moved, 0) | windows


@pytest.mark.parametrize("kind", ["eeg", "both"])
def test_batches_are_those_of_a_loader_bit_for_bit(part: Part, kind: str) -> None:
    read, held = (list(batches(module(part, kind, where, batch_size=3))) for where in ("none", "device"))
    assert len(read) == len(held) > 3
    for one, other in zip(read, held, strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            assert value.numpy().tobytes() == other[name].contiguous().numpy().tobytes(), name


def test_the_loader_of_held_recordings_brings_places_only(part: Part) -> None:
    data = module(part, "both", "host", batch_size=3, num_workers=2)
    loader = data.val_dataloader()
    assert loader.num_workers == 0
    batch = next(iter(loader))
    assert {name: (batch[name].dtype, batch[name].ndim) for name in data.sources} == {
        "eeg": (torch.int64, 1), "official": (torch.int64, 1)
    }  # fmt: skip
    assert data.hold()["eeg"].rows.shape == (part.eeg.rows_total, 20)


def test_the_next_fold_takes_what_is_held(part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    first = module(part, "eeg", "host").hold()["eeg"]
    assert module(part, "eeg", "host").hold()["eeg"] is first
    assert module(part, "eeg", "device").hold()["eeg"] is not first


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_windows_that_are_missing_are_nan(device: str) -> None:
    rows = torch.arange(24, dtype=torch.float16, device=device).view(12, 2)
    windows = Resident(rows, {}).cut(torch.tensor([3, NOWHERE, 9], device=device), 3, torch.device(device))
    assert (windows.shape, windows.dtype, windows.device.type) == ((3, 3, 2), torch.float16, device)
    if device == "cpu":
        assert windows[0].tolist() == [[6, 7], [8, 9], [10, 11]]
        assert windows[1].isnan().all()
        assert windows[2].tolist() == [[18, 19], [20, 21], [22, 23]]
        assert Resident(rows[:2], {}).cut(torch.tensor([NOWHERE]), 3, CPU).isnan().all()


def test_from_host_memory_each_window_is_fetched_by_itself() -> None:
    rows = torch.arange(24, dtype=torch.float16).view(12, 2)
    windows = Resident(rows, {}).cut(
        torch.tensor([3, NOWHERE]), 3, torch.device("meta")
    )  # another device than the rows'
    assert (windows.shape, windows.device.type) == ((2, 3, 2), "meta")


GB = 10**9


@pytest.mark.parametrize(
    ("needed", "on_device", "here", "chosen"),
    [(6, 10, 100, "device"), (6.1, 10, 100, "host"), (6.1, 10, 10, "none"), (61, 80, 101, "none")],
)
def test_auto_takes_what_has_room(
    needed: float, on_device: float, here: float, chosen: str, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(resident, "_free_on", lambda device: int(on_device * GB))
    monkeypatch.setattr(resident, "_free_here", lambda: int(here * GB))
    store: Any = SimpleNamespace(rows_total=int(needed * GB) // 40, columns=range(20), content="a")
    gpu = torch.device("cuda", 0)
    with caplog.at_level(logging.INFO, "hbac.data"):
        assert choose("auto", {"eeg": [store]}, gpu, n_here=1 if here < 101 else 2) == chosen
    (line,) = caplog.messages
    assert line.startswith(f"data.resident: eeg{',' if chosen != 'none' else ' take'} {needed:.1f} GB")
    assert choose("none", {"eeg": [store]}, gpu) == choose("auto", {"eeg": [store]}, CPU) == "none"
    if needed > on_device * 0.6:
        with pytest.raises(UserError, match=r"data.resident=device: eeg take .* GB, and .* GB are free"):
            monkeypatch.setattr(resident, "_free_on", lambda device: 0)
            choose("device", {"eeg": [store]}, gpu)


def test_a_gpu_gets_workers_where_nothing_is_held(part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    data = module(part, "eeg", "none", num_workers="auto")
    assert data._n_workers() == 0
    monkeypatch.setattr("hbac.data.base.os.cpu_count", lambda: 16)
    data.trainer = SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device("cuda")), num_devices=4)  # type: ignore[assignment]
    assert data._n_workers() == 3
    data.trainer.num_devices = 1  # type: ignore[union-attr]
    assert data._n_workers() == MOST_WORKERS
