"""``python -m hbac.report`` as a user types it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hbac.report", *arguments], capture_output=True, text=True, check=False
    )


def test_runs_and_ensembles_become_a_folder(reported: Path, tmp_path: Path) -> None:
    runs = ",".join(str(path) for path in sorted((reported / "runs").iterdir()))
    result = run(f"runs=[{runs},{reported}/ensembles/two]", f"outputs={tmp_path}", "windows=4")
    assert result.returncode == 0, result.stderr
    (out,) = (tmp_path / "reports").iterdir()
    assert {"index.html", "eeg.html", "plotly.min.js", "report.css"} <= {path.name for path in out.iterdir()}
    assert f"report:     {out}/index.html  (members: 3, ensembles: 1" in result.stdout
    index = (out / "index.html").read_text()
    assert "ensemble two" in index
    assert '<a href="eeg.html">Look at 4 windows</a>' in index
    assert len(list((out / "eeg").iterdir())) == 4


def test_recordings_that_were_moved_are_named(reported: Path, tmp_path: Path) -> None:
    shutil.copytree(reported / "runs", tmp_path / "runs")
    (reported / "data").rename(tmp_path / "moved")
    try:
        without = run(f"outputs={tmp_path}", f"out={tmp_path}/without", "windows=2")
        where = f"dataset.root={tmp_path}/moved"
        named = run(f"outputs={tmp_path}", f"out={tmp_path}/named", "windows=2", "dataset=hms", where)
    finally:
        (tmp_path / "moved").rename(reported / "data")
    assert (without.returncode, named.returncode) == (0, 0), without.stderr + named.stderr
    assert f"No EEG page: the recordings are not in {reported}/data" in without.stderr
    assert not (tmp_path / "without" / "eeg.html").exists()
    assert (tmp_path / "named" / "eeg.html").is_file()


def test_other_recordings_are_refused(reported: Path, tiny_root: Path, tmp_path: Path) -> None:
    result = run(f"runs=[{reported}/runs]", f"outputs={tmp_path}", "dataset=hms", f"dataset.root={tiny_root}")
    assert result.returncode == 2
    assert "these are not the recordings that the predictions are of" in result.stderr
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["runs=[/not/there]"], "/not/there: there is no such run, sweep or ensemble folder"),
        (["windows=-1"], "windows=-1: must be a whole number, 0 or more"),
        ([], "there is neither an ensemble nor a run"),
    ],
)
def test_bad_input_is_one_message(tmp_path: Path, arguments: list[str], message: str) -> None:
    result = run(*arguments, f"outputs={tmp_path}")
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "reports").exists()
