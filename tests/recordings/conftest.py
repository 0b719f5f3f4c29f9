"""A data set to spoil, and the files of a store."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import random_eeg, write_eeg

LENGTHS = {7: 10_000, 3: 12_345, 20: 1, 11: 70_000}  # more than one batch in the last


@pytest.fixture
def root(tiny_root: Path, tmp_path: Path) -> Path:
    """A copy of the small data set that a test may spoil."""
    return Path(shutil.copytree(tiny_root, tmp_path / "set"))


@pytest.fixture(scope="module")
def arrays() -> dict[int, np.ndarray]:
    return {key: random_eeg(n, np.random.default_rng(key), nan_share=0.01) for key, n in LENGTHS.items()}


@pytest.fixture(scope="module")
def files(arrays: dict[int, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    folder = tmp_path_factory.mktemp("eegs")
    return {key: write_eeg(folder / f"{key}.parquet", eeg) for key, eeg in arrays.items()}
