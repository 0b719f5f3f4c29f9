"""Watching: a new report for each fold that is finished, and none in between."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import pytest

from hbac.report.renewal import changes, tables_now
from tests.test_commands import SMALL_NET, command
from tests.warm import environment


def test_it_says_when_something_is_there_and_when_it_changed() -> None:
    states = [[], [], ["a"], ["a"], ["a", "b"], ["a", "b"], ["b"]]
    looks = iter([frozenset((Path(name), 1) for name in state) for state in states])
    waited: list[float] = []
    found = list(islice(changes(lambda: next(looks), 3.0, waited.append), 3))
    assert [sorted(path.name for path, _ in state) for state in found] == [["a"], ["a", "b"], ["b"]]
    assert waited == [3.0] * 6


def test_tables_are_those_that_a_report_reads(reported: Path, tmp_path: Path) -> None:
    assert tables_now([tmp_path / "sweep"], tmp_path) == frozenset()
    runs = tables_now([reported / "runs"], reported)
    assert len(runs) == 6  # three members, two folds
    everything = tables_now([], reported)
    assert everything > runs
    table = next(iter(runs))[0]
    os.utime(table, ns=(1, 1))
    assert tables_now([reported / "runs"], reported) != runs
    os.utime(table)


@pytest.mark.slow
def test_a_report_is_made_anew_while_a_sweep_runs(tmp_path: Path) -> None:
    told = tmp_path / "told.txt"
    line = [sys.executable, "-m", "hbac.report", "watch=true", "out=live", "windows=2", "saliency_s=0"]
    with told.open("w") as file:
        watching = subprocess.Popen(line, cwd=tmp_path, env=environment(), stdout=file, stderr=file)
    try:
        small = ["dataset.size=tiny", "labels.n_folds=2", "logger=csv", *SMALL_NET]
        command(tmp_path, "hbac.train", *small, "-m", "band=0.5-20,1-12", "fold=0,1")
        until = time.monotonic() + 300
        while "ensembles: 1" not in told.read_text() and time.monotonic() < until and watching.poll() is None:
            time.sleep(1)
        watching.send_signal(signal.SIGINT)
        assert watching.wait(60) == 130
    finally:
        watching.kill()
    made = re.findall(r"report:     live/index.html  \(members: (\d), ensembles: (\d)", told.read_text())
    assert len(made) > 1, told.read_text()  # while it ran, and when it was blended
    assert made[-1] == ("2", "1")
    page = (tmp_path / "live" / "index.html").read_text()
    assert '<meta http-equiv="refresh"' in page
    assert "2 members and 1 ensemble" in page
    assert [path.name for path in tmp_path.glob("live*")] == ["live"]
