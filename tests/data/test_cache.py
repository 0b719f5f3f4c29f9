"""The cache of the front-end's output: the same batches as without it, one file for all folds, whole or not there."""

from __future__ import annotations

import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from hbac.common.errors import UserError
from hbac.data import EEGDataModule, SpectrogramDataModule
from hbac.recordings.datasets import HMS, Part
from hbac.signal import EEGFrontEnd, ImageAugment, ImageFrontEnd, RawAugment, SignalAugment
from tests.helpers import write_hms_layout


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Part:
    root = write_hms_layout(tmp_path_factory.mktemp("data"), n_eegs=40, seed=2, with_spectrograms=True)
    part = HMS(root, tmp_path_factory.mktemp("stores")).part("train", official=True)
    assert len(part.rows) > 64  # more than two batches of the cache
    return part


def eeg(part: Part, **settings: Any) -> EEGDataModule:
    raw = RawAugment(swap_p=0.5, drop_p=0.5, gain_p=0.5, spread_p=0.5)
    augment = {"raw": raw, "signal": SignalAugment(sfreq=40.0, reverse_p=0.5, zero_p=0.5)}
    front_end = settings.pop("front_end", EEGFrontEnd())
    return module(EEGDataModule(part, front_end, **({"augment": augment} | folds(part) | settings)))


def public(part: Part, **settings: Any) -> EEGDataModule:
    return eeg(part, front_end=EEGFrontEnd("public_8", notch="auto"), **settings)


def images(part: Part, **settings: Any) -> SpectrogramDataModule:
    front_end = ImageFrontEnd(tile_height=32, tile_width=64)
    augment = {"image": ImageAugment(reverse_p=0.5)}
    return module(SpectrogramDataModule(part, front_end, **({"augment": augment} | folds(part) | settings)))


def folds(part: Part) -> dict[str, Any]:
    return {"fold_of_row": np.arange(len(part.rows)) % 3, "fold": 1}


def module(data: Any) -> Any:
    data.trainer = SimpleNamespace(training=True, current_epoch=3)
    return data


@pytest.mark.parametrize("make", [eeg, public, images])
@pytest.mark.parametrize("training", [True, False])
def test_cached_batches_are_those_computed_anew(make: Any, training: bool, part: Part, tmp_path: Path) -> None:
    plain, cached = make(part), make(part, cache=tmp_path)
    batches = []
    for data in (plain, cached):
        data.trainer.training = training
        rows = data.train_set if training else data.held_out_set
        batches.append(data.on_after_batch_transfer(rows.__getitems__([5, 0, 17]), 0))
    assert set(batches[0]) == set(batches[1])
    # float16 keeps eleven bits: of an electrode of 100 µV a thirtieth of a microvolt, of a difference twice that.
    atol = 1e-3 if make is images else 0.1 / 32
    torch.testing.assert_close(batches[0]["x"], batches[1]["x"], rtol=2**-10, atol=atol)
    assert torch.equal(batches[0]["target"], batches[1]["target"])


def test_folds_and_montages_share_a_file_and_bands_do_not(part: Part, tmp_path: Path) -> None:
    eeg(part, cache=tmp_path, fold=1)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.f16")}
    eeg(part, cache=tmp_path, fold=2)
    eeg(part, cache=tmp_path, front_end=EEGFrontEnd("average_reference", scale_uv=10))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.f16")} == before
    EEGDataModule(part, EEGFrontEnd(band="1-12"), cache=tmp_path)
    assert len(list(tmp_path.glob("*.f16"))) == 2


def test_a_killed_cache_goes_on_and_ends_with_the_same_bytes(part: Part, tmp_path: Path) -> None:
    data = eeg(part, cache=tmp_path / "whole")
    (whole,) = (tmp_path / "whole").glob("*.f16")
    row_bytes = 2 * 20 * 2000
    partial = tmp_path / "killed" / whole.with_suffix(".partial").name
    partial.parent.mkdir()
    # The first batch of 32 rows (of another content, to see that it is kept) and a torn row behind it.
    partial.write_bytes(b"\0" * (32 * row_bytes) + whole.read_bytes()[: row_bytes // 2])
    crc = np.full(33, zlib.crc32(b"\0" * row_bytes), "<u4")
    partial.with_suffix(".crc-partial").write_bytes(crc.tobytes())
    eeg(part, cache=partial.parent)
    resumed = (partial.parent / whole.name).read_bytes()
    assert resumed[: 32 * row_bytes] == b"\0" * (32 * row_bytes)
    assert resumed[32 * row_bytes :] == whole.read_bytes()[32 * row_bytes :]
    assert not partial.exists()
    assert len(data.train_set) == (np.arange(len(part.rows)) % 3 != 1).sum()


def test_what_a_killed_cache_left_damaged_is_made_anew(part: Part, tmp_path: Path) -> None:
    eeg(part, cache=tmp_path)
    (whole,) = tmp_path.glob("*.f16")
    content, crc = whole.read_bytes(), whole.with_suffix(".crc").read_bytes()
    whole.with_suffix(".partial").write_bytes(flipped(content, 5))
    whole.with_suffix(".crc-partial").write_bytes(crc)
    whole.unlink()
    eeg(part, cache=tmp_path)
    assert whole.read_bytes() == content
    assert whole.with_suffix(".crc").read_bytes() == crc


def flipped(content: bytes, bit: int) -> bytes:
    spoiled = bytearray(content)
    spoiled[bit // 8] ^= 1 << bit % 8
    return bytes(spoiled)


@pytest.mark.parametrize("bit", [0, 3_000_000, -1])
def test_a_flipped_bit_is_named_and_the_cache_made_again(part: Part, tmp_path: Path, bit: int) -> None:
    data = eeg(part, cache=tmp_path)
    (whole,) = tmp_path.glob("*.f16")
    content = whole.read_bytes()
    before = data.held_out_set.__getitems__(range(len(data.held_out_set)))["features"]
    whole.write_bytes(flipped(content, bit % (8 * len(content))))
    row = bit % (8 * len(content)) // (8 * 2 * 20 * 2000)
    with pytest.raises(UserError, match=rf"{whole.name}: row {row} is not what was written"):
        data.train_set.parts[0].cached.copy(np.arange(len(part.rows)))
    again = eeg(part, cache=tmp_path)
    assert whole.read_bytes() == content
    assert torch.equal(again.held_out_set.__getitems__(range(len(again.held_out_set)))["features"], before)


@pytest.mark.parametrize("bit", [0, 9, 100])
def test_a_flipped_bit_of_a_checksum_too(part: Part, tmp_path: Path, bit: int) -> None:
    data = eeg(part, cache=tmp_path)
    (whole,) = tmp_path.glob("*.f16")
    contents = whole.read_bytes(), whole.with_suffix(".crc").read_bytes()
    del data
    whole.with_suffix(".crc").write_bytes(flipped(contents[1], bit))
    with pytest.raises(UserError, match=f"{whole.name}: row {bit // 32} is not what was written"):
        eeg(part, cache=tmp_path).train_set.parts[0].cached.copy(np.arange(len(part.rows)))
    eeg(part, cache=tmp_path)
    assert (whole.read_bytes(), whole.with_suffix(".crc").read_bytes()) == contents


@pytest.mark.parametrize("name", ["features", "checksums"])
def test_a_cache_cut_short_is_made_again(
    part: Part, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    eeg(part, cache=tmp_path)
    (whole,) = tmp_path.glob("*.f16")
    path = whole if name == "features" else whole.with_suffix(".crc")
    content = path.read_bytes()
    path.write_bytes(content[:-5])
    eeg(part, cache=tmp_path)
    assert path.read_bytes() == content
    assert "is damaged" in caplog.text


def test_a_cache_without_checksums_is_read_as_it_is(part: Part, tmp_path: Path) -> None:
    eeg(part, cache=tmp_path)
    (whole,) = tmp_path.glob("*.f16")
    inode = whole.stat().st_ino
    whole.with_suffix(".crc").unlink()
    eeg(part, cache=tmp_path).held_out_set.__getitems__([0])
    assert whole.stat().st_ino == inode


def test_augmentation_before_the_front_end_needs_fresh_windows(part: Part, tmp_path: Path) -> None:
    message = r"data\.cache: augment\.raw changes the windows anew in each epoch"
    with pytest.raises(UserError, match=message):
        images(part, cache=tmp_path, augment={"raw": RawAugment(swap_p=0.5)})
    with pytest.raises(UserError, match=message):  # nobody knows whether it could follow the filter
        eeg(part, cache=tmp_path, augment={"raw": torch.nn.Identity()})
    assert not list(tmp_path.iterdir())


def test_a_disk_without_room(part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(UserError, match=r"data\.cache needs 0\.\d GB, 0\.0 GB are free"):
        eeg(part, cache=tmp_path)


def test_other_spectrograms_of_the_same_eegs_are_not_mistaken(tmp_path: Path) -> None:
    root = write_hms_layout(tmp_path / "data", n_eegs=6, n_test=0, with_spectrograms=True)
    for store in ("one", "two"):
        images(HMS(root, tmp_path / store).part("train", official=True), cache=tmp_path / "cache")
        path = min((root / "train_spectrograms").glob("*.parquet"))
        frame = pd.read_parquet(path)
        (frame * np.where(frame.columns == "time", 1, 2)).astype(frame.dtypes).to_parquet(path, index=False)
    assert len(list((tmp_path / "cache").glob("*.f16"))) == 2
    eeg(HMS(root, tmp_path / "two").part("train", official=False), cache=tmp_path / "signals")
    eeg(HMS(root, tmp_path / "two").part("train", official=True), cache=tmp_path / "signals")
    assert len(list((tmp_path / "signals").glob("*.f16"))) == 1  # signals do not read them
