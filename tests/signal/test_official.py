"""Official spectrograms: the recipe in numpy, its columns, missing values."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hbac.signal.official import OfficialImage
from tests.helpers import random_spectrogram

# In the files the regions stand as LL, RL, LP, RP; in images from left to right as LL, LP, RP, RL.
FIRST_COLUMN = {"LL": 0, "LP": 200, "RP": 300, "RL": 100}


def _recipe(table_RK: np.ndarray) -> np.ndarray:
    """The public recipe as domain.md words it, in float64."""
    first = (len(table_RK) - 300) // 2
    images = []
    for start in FIRST_COLUMN.values():
        image = table_RK[first : first + 300, start : start + 100].T.astype(np.float64)
        image = np.log(np.clip(image, np.exp(-4), np.exp(8)))
        image = (image - np.nanmean(image)) / (np.nanstd(image) + 1e-6)
        images.append(np.pad(np.nan_to_num(image)[:, 22:-22], ((14, 14), (0, 0))))
    return np.stack(images)


@pytest.mark.parametrize("n_rows", [300, 341])
def test_equals_the_recipe(n_rows: int) -> None:
    tables = np.stack([random_spectrogram(n_rows, np.random.default_rng(i)) for i in range(3)])
    tables[1, 50:120, 100:200] = np.nan
    tables[2, :, 7] = 1e6
    wanted = np.stack([_recipe(table) for table in tables])
    image = OfficialImage()
    assert np.abs(image(torch.from_numpy(tables).double()).numpy() - wanted).max() < 1e-9
    got32 = image(torch.from_numpy(tables))
    assert got32.dtype == torch.float32
    assert np.abs(got32.numpy() - wanted).max() < 1e-4
    assert np.abs(image(torch.from_numpy(tables).half()).numpy() - wanted).max() < 0.01


@pytest.mark.parametrize("region", list(FIRST_COLUMN))
def test_each_region_is_read_from_its_own_columns(region: str) -> None:
    table = torch.ones(1, 300, 400)
    start = FIRST_COLUMN[region]
    table[0, 140:160, start + 60 : start + 100] = 100
    image = OfficialImage()(table)[0]
    lit = [name for i, name in enumerate(("LL", "LP", "RP", "RL")) if image[i].max() > 0.5]
    assert lit == [region]
    shown = image[("LL", "LP", "RP", "RL").index(region)]
    assert shown[14 + 60 : 14 + 100, 118:138].min() > 0.5  # high frequencies in the last rows, the middle of time
    assert shown[:74].max() <= 0


def test_missing_and_constant_regions_are_zero() -> None:
    table = torch.full((2, 300, 400), float("nan"))
    table[1] = 3.0
    image = OfficialImage()(table)
    assert not image[0].any()
    assert image[1].abs().max() < 1e-6


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(1, 299, 400\); expected \(batch, at least 300 rows, 400 columns\)"):
        OfficialImage()(torch.zeros(1, 299, 400))
    with pytest.raises(ValueError, match="400 columns"):
        OfficialImage()(torch.zeros(1, 300, 399))
