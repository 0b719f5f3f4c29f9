"""The ten minutes around a window: regions, frequencies and time where a reader expects them."""

from __future__ import annotations

import base64
import gzip
from pathlib import Path

import numpy as np

from hbac.recordings.columns import SPECTROGRAM_COLUMNS, SPECTROGRAM_HZ
from hbac.recordings.datasets import HMS
from hbac.report.official_picture import official_layout, official_levels, officials


def unpacked(found: dict | None) -> np.ndarray:
    assert found is not None
    return np.frombuffer(gzip.decompress(base64.b64decode(found["levels"])), np.uint8).reshape(4, 25, 300)


def test_what_is_strong_is_bright_in_its_region_and_at_its_time() -> None:
    power_TF = np.ones((300, 400))
    power_TF[100:110, SPECTROGRAM_COLUMNS.index(f"RP_{SPECTROGRAM_HZ[40]:g}")] = 1000
    power_TF[200, :] = np.nan
    level = unpacked(official_levels(power_TF))
    assert (level[..., 200] == 255).all()
    i, h, t = np.nonzero((level > 0) & (level < 255))
    assert official_layout()["regions"][i[0]] == "RP"
    assert (set(i), set(h), set(t)) == ({3}, {10}, set(range(100, 110)))
    assert official_levels(np.full((300, 400), np.nan)) is None


def test_it_is_read_from_the_windows_own_file(tiny_root: Path, tmp_path: Path) -> None:
    part = HMS(tiny_root, tmp_path / "stores").part("train")
    found = list(officials(part, np.array([0, 5])))
    assert all(unpacked(one).max() >= 254 for one in found)
    assert not list(tmp_path.glob("stores/*spectrogram*"))  # no store was made
