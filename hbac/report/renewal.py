"""A report that is made anew whenever a fold is finished."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from hbac.common.errors import UserError
from hbac.ensembling.collect import ensembles_in, find_tables
from hbac.ensembling.ensemble_file import ENSEMBLE_FILE
from hbac.report.gather import RUNS

EVERY_S = 5.0
State = frozenset[tuple[Path, int]]


def tables_now(paths: Sequence[Path], outputs: Path) -> State:
    """List the prediction tables that a report would read now, with when they were written, in nanoseconds.

    Without paths these are of all runs and ensembles, as the report takes them; empty as long as there is none.
    """
    ensembles = ensembles_in(outputs) if not paths else (path / ENSEMBLE_FILE for path in paths)
    files = [path for path in ensembles if path.is_file()]
    for path in paths or [outputs / RUNS]:
        with suppress(UserError):  # nothing there yet
            files += find_tables(path)
    found = set()
    for file in files:
        with suppress(OSError):  # gone in between
            found.add((file, file.stat().st_mtime_ns))
    return frozenset(found)


def changes(
    look: Callable[[], State], every_s: float = EVERY_S, wait: Callable[[float], None] = time.sleep
) -> Iterator[State]:
    """Look every so many seconds, and say what there is once it is not empty, and whenever it is another."""
    before: State = frozenset()
    while True:
        now = look()
        if now != before:
            before = now
            yield now
        wait(every_s)
