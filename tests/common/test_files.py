"""Files that are seen whole or not at all, and what a killed process left beside them."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from hbac.common.files import beside, remove_left_over, whole_file
from hbac.common.processes import is_running

KILLED = """
import os, signal, sys
from pathlib import Path
from hbac.common.files import whole_file
with whole_file(Path(sys.argv[1]) / "b.txt") as other, whole_file(Path(sys.argv[1]) / "a.txt") as partial:
    other.mkdir()
    partial.write_text("half of")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_goes_with_the_next_write(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert len(list(tmp_path.glob("*.partial-*"))) == 2
    (tmp_path / "mine.partial-notes").write_text("not one of ours")
    elsewhere = tmp_path / f"b.txt.partial-{platform.node()}x-1"
    elsewhere.write_text("of another machine")
    running = tmp_path / f"c.txt.partial-{platform.node()}-{os.getpid()}"
    running.write_text("is being written")
    with whole_file(tmp_path / "other.txt") as partial:
        partial.write_text("all of it")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"other.txt", "mine.partial-notes", elsewhere.name, running.name}


def test_a_name_beside_says_whose_it_is(tmp_path: Path) -> None:
    name = beside(tmp_path / "a.b", "old").name
    assert name == f"a.b.old-{platform.node()}-{os.getpid()}"


def test_a_folder_is_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remove_left_over(tmp_path)
    monkeypatch.setattr(Path, "iterdir", lambda folder: pytest.fail("looked again"))
    remove_left_over(tmp_path)


def test_which_processes_are_running() -> None:
    assert is_running(os.getpid())
    assert is_running(1)  # of somebody else
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    assert not is_running(process.pid)
    assert is_running(10**30)
