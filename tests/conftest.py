"""Fixtures for every room."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import write_hms_layout


@pytest.fixture(scope="session")
def iiic_root() -> Path:
    """The folder of real windows beside the repository; tests that ask for it are skipped without it."""
    root = Path(__file__).resolve().parents[2] / "shared" / "data" / "iiic"
    if not root.is_dir():
        pytest.skip(f"no real windows at {root}")
    return root


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A read-only data set of 12 EEGs with spectrograms; write to a copy where a test changes it."""
    return write_hms_layout(tmp_path_factory.mktemp("tiny"), n_eegs=12, with_spectrograms=True)


@pytest.fixture(scope="session")
def conf() -> Path:
    """The folder of the configs."""
    return Path(__file__).resolve().parents[1] / "conf"
