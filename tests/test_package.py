"""What ``import hbac`` and ``python -m hbac`` offer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import hbac
from hbac.__main__ import COMMANDS


def answer(*arguments: str) -> str:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True).stdout


def test_dir_lists_what_there_is_and_nothing_else() -> None:
    rooms = {path.parent.name for path in Path(hbac.__file__).parent.glob("*/__init__.py")}
    assert set(dir(hbac)) == {"load", "Classifier", "__version__", "vocabulary", *rooms}
    assert all(getattr(hbac, name) is not None for name in dir(hbac))
    with pytest.raises(AttributeError, match="no attribute 'seizure'"):
        _ = hbac.seizure


def test_a_room_is_there_after_one_import_and_nothing_heavy_with_it() -> None:
    code = "import hbac, sys; print('torch' in sys.modules, hbac.signal.MelImage.__name__)"
    assert answer("-c", code).split() == ["False", "MelImage"]


def test_the_package_lists_its_commands() -> None:
    shown = answer("-m", "hbac")
    assert [name for name in COMMANDS if f"python -m hbac.{name}" not in shown] == []
    entry_points = [path.stem for path in Path(hbac.__file__).parent.glob("*.py") if "def main()" in path.read_text()]
    assert set(COMMANDS) == {*entry_points, "report", "export"} - {"__main__"}


@pytest.mark.parametrize("module", ["hbac", *(f"hbac.{name}" for name in COMMANDS)])
def test_the_version_is_ours(module: str) -> None:
    assert answer("-m", module, "--version") == f"hbac {hbac.__version__}\n"


def test_types_are_announced() -> None:
    assert (Path(hbac.__file__).parent / "py.typed").is_file()
