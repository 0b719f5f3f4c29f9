"""Spectrogram images: the right windows of both sources, changed together, masked where they are missing."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from hbac.common.errors import UserError
from hbac.data import EEGDataModule, SpectrogramDataModule
from hbac.data.epoch import EpochRow
from hbac.data.windows import WindowDataset, source_of
from hbac.labels.recipe import LabelRecipe
from hbac.recordings.columns import SPECTROGRAM_COLUMNS
from hbac.recordings.datasets import HMS, Part
from hbac.signal import EEGFrontEnd, ImageAugment, ImageFrontEnd, LogSTFT, Mixup, RawAugment
from hbac.signal.chance import row_keys, uniforms
from tests.helpers import random_spectrogram, write_spectrogram
from tests.signal.mirrored import mirror_of

SIZE = {"tile_height": 32, "tile_width": 64}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stores")


@pytest.fixture(scope="module")
def part(tiny_root: Path, stores: Path) -> Part:
    return HMS(tiny_root, stores).part("train")


@pytest.fixture
def broken(tiny_root: Path, tmp_path: Path) -> Path:
    """A copy of the data set to be spoilt."""
    return Path(shutil.copytree(tiny_root, tmp_path / "broken"))


def module(part: Part, **settings: object) -> SpectrogramDataModule:
    sources = str(settings.get("sources", "both"))
    defaults = {"front_end": ImageFrontEnd(sources, **SIZE), "fold_of_row": np.arange(len(part.rows)) % 3, "fold": 1}
    return SpectrogramDataModule(part, **(defaults | {"batch_size": 8, "seed": 5} | settings))  # type: ignore[arg-type]


def trained(data: SpectrogramDataModule, epoch: int = 0) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The first eight rows as a training batch, and the same without augmentation."""
    data.trainer = SimpleNamespace(training=True, current_epoch=epoch)  # type: ignore[assignment]
    picks = [EpochRow(row, row ^ 1, epoch) for row in range(8)]
    changed = data.on_after_batch_transfer(data.train_set.__getitems__(picks), 0)
    data.trainer.training = False
    return changed, data.on_after_batch_transfer(data.train_set.__getitems__(picks), 0)


def test_a_zoom_shows_what_the_label_speaks_of_wherever_the_window_was_cut(part: Part) -> None:
    image = {"zoom": LogSTFT(height=16, width=50, zoom_s=10)}
    front_end = ImageFrontEnd("eeg", image, tile_height=16, tile_width=50)
    moved, still = (
        module(part, sources="eeg", front_end=front_end, labels=LabelRecipe(jitter_s=seconds)) for seconds in (4.0, 0.0)
    )
    (found, _), (expected, _) = trained(moved), trained(still)
    assert len(set(moved.train_set.shift(np.arange(8), 0).tolist())) > 3
    # Samples that are missing have the mean of their window.
    torch.testing.assert_close(found["x"], expected["x"], atol=0.05, rtol=0)
    assert "shift" not in found


@pytest.mark.parametrize("name", ["train", "test"])
def test_windows_of_official_spectrograms(tiny_root: Path, stores: Path, name: str) -> None:
    part = HMS(tiny_root, stores).part(name)
    batch = WindowDataset(part, ("eeg", "official")).__getitems__(range(len(part.rows)))
    assert batch["official"].shape == (len(part.rows), 300, 400)
    for row, power in zip(part.rows.itertuples(), batch["official"], strict=True):
        table = pd.read_parquet(tiny_root / f"{name}_spectrograms" / f"{row.spectrogram_id}.parquet")
        start = int(getattr(row, "spectrogram_label_offset_seconds", 0)) // 2
        expected = table[list(SPECTROGRAM_COLUMNS)].to_numpy()[start : start + 300].astype(np.float16)
        np.testing.assert_array_equal(power.numpy(), expected)


@pytest.mark.parametrize(
    ("sources", "read"), [("eeg", {"eeg"}), ("official", {"official"}), ("both", {"eeg", "official"})]
)
def test_only_what_is_shown_is_read(part: Part, sources: str, read: set[str]) -> None:
    data = module(part, sources=sources)
    batch = next(iter(data.train_dataloader()))
    assert set(batch) & {"eeg", "official"} == read
    done = data.on_after_batch_transfer(batch, 0)
    assert not set(done) & {"eeg", "official"}
    assert done["x"].shape == (8, 8 if sources == "both" else 4, 32, 64)


def test_the_default_front_end_shows_the_sources(part: Part) -> None:
    assert SpectrogramDataModule(part, sources="official").images.sources == ("official",)
    assert SpectrogramDataModule(part).images.in_chans == 8


def test_both_sources_are_swapped_or_none(part: Part) -> None:
    data = module(part, augment={"raw": RawAugment(swap_p=0.5)})
    swapped = uniforms(row_keys(5, 2, data.train_set.row_ids[:8]), "swap?")[:, 0] < 0.5
    changed, plain = trained(data, epoch=2)
    mirrored = mirror_of(plain["x"], data.images.layout)
    expected = torch.where(swapped[:, None, None, None], mirrored, plain["x"])
    torch.testing.assert_close(changed["x"], expected)
    assert 0 < swapped.sum() < 8


def test_time_of_both_sources_is_reversed_or_none(part: Part) -> None:
    data = module(part, augment={"image": ImageAugment(reverse_p=0.5)})
    reversed_ = uniforms(row_keys(5, 0, data.train_set.row_ids[:8]), "reverse?")[:, 0] < 0.5
    changed, plain = trained(data)
    expected = torch.where(reversed_[:, None, None, None], plain["x"].flip(-1), plain["x"])
    torch.testing.assert_close(changed["x"], expected)
    assert 0 < reversed_.sum() < 8


def test_masks_leave_the_rest_as_it_is(part: Part) -> None:
    masks = {"image": ImageAugment(time_mask_p=1.0, frequency_mask_p=1.0)}
    changed, plain = trained(module(part, sources="official", front_end=ImageFrontEnd("official"), augment=masks))
    same = changed["x"] == plain["x"]
    assert (changed["x"][~same] == 0).all()
    assert 0.6 < same.float().mean() < 1


def test_mixup_mixes_image_and_target_alike(part: Part) -> None:
    changed, plain = trained(module(part, augment={"mixup": Mixup(mix_p=1.0)}))
    partner = torch.arange(8) ^ 1
    x, y = plain["x"], plain["x"][partner]
    share = ((changed["x"] - x) * (y - x)).sum((1, 2, 3)) / (y - x).square().sum((1, 2, 3))
    assert ((share > 0) & (share < 0.5)).all()
    expected = torch.lerp(plain["target"], plain["target"][partner], share[:, None])
    torch.testing.assert_close(changed["target"], expected, rtol=1e-3, atol=1e-4)


def test_chance_is_of_the_row_not_of_the_batch(part: Part) -> None:
    augment = {"raw": RawAugment(0.5, 0.5, gain_p=0.5), "image": ImageAugment(0.5, 0.5, frequency_mask_p=0.5)}
    data = module(part, augment=augment)
    data.trainer = SimpleNamespace(training=True, current_epoch=1)  # type: ignore[assignment]
    one, other = ([3, 1, 6, 2], [2, 3])
    batches = [data.on_after_batch_transfer(data.train_set.__getitems__(rows), 0)["x"] for rows in (one, other)]
    torch.testing.assert_close(batches[0][[3, 0]], batches[1])


def test_settings_that_do_not_go_together(part: Part) -> None:
    with pytest.raises(UserError, match="data.sources=eeg: the front-end makes its images from both"):
        SpectrogramDataModule(part, ImageFrontEnd(), sources="eeg")
    with pytest.raises(UserError, match="data.sources=both: the front-end makes its images from signals"):
        SpectrogramDataModule(part, EEGFrontEnd())  # type: ignore[arg-type]
    with pytest.raises(
        UserError, match="augment.signal: SpectrogramDataModule has no such stage; there are raw, image"
    ):
        module(part, augment={"signal": RawAugment()})
    with pytest.raises(UserError, match="augment.image: EEGDataModule has no such stage"):
        EEGDataModule(part, EEGFrontEnd(), augment={"image": ImageAugment()})
    with pytest.raises(UserError, match="unknown source 'mri'; there are: eeg, official"):
        source_of(part, "mri")


def spoil(root: Path) -> tuple[set[int], int]:
    """Take one file away, cut one, empty a region of a third; return the first two's ids and the third's."""
    gone, short, empty = (root / "train_spectrograms" / f"{500_000 + 3 * i}.parquet" for i in range(3))
    gone.unlink()
    write_spectrogram(short, random_spectrogram(250, np.random.default_rng(0)))
    power = random_spectrogram(310, np.random.default_rng(1))
    power[:, 100:200] = np.nan
    write_spectrogram(empty, power)
    return {500_000, 500_003}, 500_006


def test_spoilt_spectrograms_are_one_clear_error(broken: Path, tmp_path: Path) -> None:
    spoil(broken)
    with pytest.raises(UserError) as error:
        HMS(broken, tmp_path / "stores").part("train", official=True)
    assert "train_spectrograms/500000.parquet (train.csv line 2): " in str(error.value)
    assert "of train_spectrograms/500003.parquet, which has 250 (of 2 s each)" in str(error.value)
    HMS(broken, tmp_path / "stores").part("train", official=False)


def test_a_region_without_values_is_an_error(broken: Path, tmp_path: Path) -> None:
    power = random_spectrogram(310, np.random.default_rng(1))
    power[:, 100:200] = np.nan
    write_spectrogram(broken / "train_spectrograms" / "500006.parquet", power)
    with pytest.raises(UserError, match="500006.parquet: region RL is NaN in every row"):
        HMS(broken, tmp_path / "stores").part("train", official=True)


def test_spoilt_spectrograms_can_be_masked(broken: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lost, empty = spoil(broken)
    caplog.set_level(logging.WARNING, "hbac")
    part = HMS(broken, tmp_path / "stores", on_missing="mask").part("train", official=True)
    masked = part.rows["spectrogram_id"].isin(lost).to_numpy()
    assert f"{masked.sum()} of {len(masked)} rows have no official spectrogram" in caplog.text
    power = WindowDataset(part, ("official",)).__getitems__(range(len(part.rows)))["official"]
    assert "1 official spectrograms have a region without any value: masked" in caplog.text
    np.testing.assert_array_equal(power.isnan().all(2).all(1).numpy(), masked)
    of_empty = power[torch.tensor((part.rows["spectrogram_id"] == empty).to_numpy())]
    assert of_empty[:, :, 100:200].isnan().all()
    assert of_empty[:, :, :100].isfinite().any()


def test_a_data_set_without_spectrograms(broken: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.rmtree(broken / "train_spectrograms")
    with pytest.raises(UserError, match="the folder train_spectrograms/ is missing"):
        HMS(broken, tmp_path / "stores").part("train", official=True)
    caplog.set_level(logging.WARNING, "hbac")
    part = HMS(broken, tmp_path / "stores", on_missing="mask").part("train", official=True)
    assert "the folder train_spectrograms/ is missing" in caplog.text
    data = module(part)
    x = data.on_after_batch_transfer(next(iter(data.val_dataloader())), 0)["x"]
    assert not x[:, :4].any()
    assert x[:, 4:].any()


def test_another_way_to_treat_what_is_missing() -> None:
    with pytest.raises(UserError, match="unknown dataset.on_missing 'skip'; there are: error, mask"):
        HMS("x", "y", on_missing="skip")
