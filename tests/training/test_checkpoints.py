"""Checkpoints are whole, two are kept, and a damaged one counts as absent."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from hbac.common.errors import UserError
from hbac.training.checkpoints import CHECKPOINTS, WholeCheckpoints, damage_of, last_checkpoint, restore
from tests.training.line import N_STEPS, Line, fitted


def epoch_of(path: str | Path | None) -> int:
    return int(torch.load(path, weights_only=True)["epoch"])


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


@pytest.fixture
def checkpoints(tmp_path: Path) -> Path:
    """Of a run of three epochs, whose best is the second."""
    fitted(tmp_path, 3, worse_from=2)
    return tmp_path / CHECKPOINTS


def test_two_are_kept_and_temporary_files_are_made_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = tmp_path / "full"
    nowhere.mkdir(mode=0o500)
    monkeypatch.setattr("tempfile.tempdir", str(nowhere / "gone"))
    fitted(tmp_path, 3, worse_from=2)
    folder = tmp_path / CHECKPOINTS
    assert {path.name for path in folder.iterdir()} == {"best.ckpt", "last.ckpt", "before_last.ckpt"}
    assert [epoch_of(folder / f"{name}.ckpt") for name in ("before_last", "last", "best")] == [1, 2, 1]


@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped", "gone"])
def test_a_damaged_one_counts_as_absent(checkpoints: Path, caplog: pytest.LogCaptureFixture, damage: str) -> None:
    last = checkpoints / "last.ckpt"
    assert last_checkpoint(checkpoints.parent) == str(last)
    if damage == "gone":
        last.unlink()
    elif damage == "flipped":
        flip(last, 8 * last.stat().st_size // 2)
    else:
        last.write_bytes(last.read_bytes()[: 700 if damage == "truncated" else 0])
    with caplog.at_level(logging.WARNING):
        found = last_checkpoint(checkpoints.parent)
    assert found == str(checkpoints / "before_last.ckpt")
    assert (str(last) in caplog.text) == (damage != "gone")
    line, epochs = fitted(checkpoints.parent, 5)
    assert epochs == 5
    assert float(line.weight.detach()) == -5 * N_STEPS
    assert [epoch_of(checkpoints / f"{name}.ckpt") for name in ("before_last", "last")] == [3, 4]


def test_two_damaged_ones_begin_anew(checkpoints: Path) -> None:
    for name in ("last", "before_last"):
        (checkpoints / f"{name}.ckpt").write_bytes(b"PK")
    assert last_checkpoint(checkpoints.parent) is None


def test_a_damaged_best_begins_anew_where_it_is_what_is_kept(
    checkpoints: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flip(checkpoints / "best.ckpt", 4000)
    assert last_checkpoint(checkpoints.parent) == str(checkpoints / "last.ckpt")
    with caplog.at_level(logging.WARNING):
        assert last_checkpoint(checkpoints.parent, "best") is None
    assert "the run begins anew" in caplog.text


def test_no_flipped_bit_goes_unnoticed(checkpoints: Path, tmp_path: Path) -> None:
    last = checkpoints / "last.ckpt"
    whole = torch.load(last, weights_only=True)
    rng = np.random.default_rng(0)
    silent = 0
    for bit in rng.integers(0, 8 * last.stat().st_size, 1500):
        flip(last, int(bit))
        if not damage_of(last):
            silent += 1  # padding, dates
            found = torch.load(last, weights_only=True)
            assert str(found) == str(whole)
        flip(last, int(bit))
    assert silent < 1000
    assert not damage_of(last)


def test_the_best_is_known_where_the_folder_was_moved(tmp_path: Path) -> None:
    fitted(tmp_path / "here", 3, worse_from=2)
    shutil.move(tmp_path / "here", tmp_path / "there")
    fitted(tmp_path / "there", 5, worse_from=2, export="best")  # a warning, as Lightning gives, would be an error
    assert epoch_of(tmp_path / "there" / CHECKPOINTS / "best.ckpt") == 1
    line = Line()
    restore(line, tmp_path / "there", "best")
    assert float(line.weight.detach()) == -2 * N_STEPS


def test_a_full_disk_is_said_and_leaves_what_was_there(small_disk: Callable[[str], Path]) -> None:
    disk = small_disk("1m")
    path = disk / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"weight": torch.zeros(1000)}, path)
    with pytest.raises(UserError, match="cannot be written: No space left on device"):
        WholeCheckpoints().save_checkpoint({"weight": torch.zeros(1_000_000)}, path)
    assert [found.name for found in disk.iterdir()] == ["last.ckpt"]
    assert not damage_of(path)
