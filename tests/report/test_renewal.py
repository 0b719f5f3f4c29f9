"""Watching: a new report for each fold that is finished, and none in between."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

from hbac.report.renewal import changes, tables_now


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
