"""Fixtures for every room."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hbac.ensembling.build import build_ensemble
from hbac.ensembling.collect import collect
from tests.browser import Browser
from tests.helpers import write_hms_layout
from tests.reports import write_runs


@pytest.fixture(scope="session")
def iiic_root() -> Path:
    """The folder of real windows beside the repository; tests that ask for it are skipped without it."""
    root = Path(__file__).resolve().parents[2] / "shared" / "data" / "iiic"
    if not root.is_dir():
        pytest.skip(f"no real windows at {root}")
    return root


@pytest.fixture(scope="session")
def raters_path() -> Path:
    """The votes of SPaRCNet's twenty raters beside the repository; tests that ask for them are skipped without."""
    path = Path(__file__).resolve().parents[2] / "shared" / "data" / "experts" / "sparcnet_raters.parquet"
    if not path.is_file():
        pytest.skip(f"no raters at {path}")
    return path


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A read-only data set of 12 EEGs with spectrograms; write to a copy where a test changes it."""
    return write_hms_layout(tmp_path_factory.mktemp("tiny"), n_eegs=12, with_spectrograms=True)


@pytest.fixture(scope="session")
def conf() -> Path:
    """The folder of the configs."""
    return Path(__file__).resolve().parents[1] / "conf"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A disk of a given size, such as ``2m``; needs the right to mount."""
    folder = tmp_path / "disk"

    def mount(size: str) -> Path:
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
            folder.rmdir()
            pytest.skip("may not mount a small disk")
        return folder

    yield mount
    if folder.is_dir():
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Callable[[Path], None]]:
    """Make a folder read-only, also to root, who runs these tests in a container; needs the right to mount."""
    mounted = []

    def protect(folder: Path) -> None:
        if not shutil.which("mount"):
            pytest.skip("may not mount a folder read-only")
        for command in (["mount", "--bind", str(folder), str(folder)], ["mount", "-o", "remount,ro,bind", str(folder)]):
            if subprocess.run(command, capture_output=True).returncode:
                pytest.skip("may not mount a folder read-only")
            mounted.append(folder)

    yield protect
    for folder in dict.fromkeys(mounted):
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outputs with runs of three members on two folds, and the ensemble ``ensembles/two`` of the first two."""
    outputs = tmp_path_factory.mktemp("reported")
    root = write_hms_layout(outputs / "data", n_eegs=24, n_test=0)
    runs = write_runs(outputs, root, [["band=0.5-20"], ["band=1-12"], ["band=0.5-40", "labels.min_votes=1"]])
    build_ensemble(collect(runs[:2]), outputs / "ensembles" / "two", n_resamples=50)
    return outputs


@pytest.fixture(scope="session")
def _chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    found = Browser(tmp_path_factory.mktemp("chromium"))
    yield found
    found.close()


@pytest.fixture
def browser(_chromium: Browser) -> Browser:
    """A headless Chromium; tests that ask for it are skipped where there is none."""
    return _chromium
