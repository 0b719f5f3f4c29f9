"""How far a long step is: a bar with rate and time left on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager
from typing import Protocol, TypeVar

T = TypeVar("T", covariant=True)
LINE_EACH_S = 20.0  # where nobody watches: often enough for a log, seldom enough to read it


class _Steps(Sized, Protocol[T]):
    def __iter__(self) -> Iterator[T]: ...


@contextmanager
def progress(doing: str, log: bool = True) -> Iterator[Callable[[int, int], None]]:
    """Show the progress of a step: yields a function, to be called as ``update(done, total)``.

    A step that never calls it (all was there already) shows nothing. Without `log`, for steps of seconds, a log gets no
    lines.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.text import Text

    class RateAndTimeLeft(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(_pace(task.completed, task.total or 0, task.elapsed or 0))

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), RateAndTimeLeft())
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    task = bar.add_task(doing, total=None, visible=False)
    began = told = 0.0
    first = 0

    def update(done: int, total: int) -> None:
        nonlocal began, told, first
        now = time.monotonic()
        if not began:
            began, first = now, done
            bar.reset(task, visible=True)
        bar.update(task, completed=done, total=total)
        if log and not console.is_terminal and (not told or now - told > LINE_EACH_S):
            pace = _pace(done - first, total - first, now - began)
            sys.stderr.write(f"{doing}: {done} of {total}, {pace}\n" if told else f"{doing} …\n")
            told = now

    with bar:
        yield update


def _pace(done: float, total: float, seconds: float) -> str:
    """Say how fast it goes and how long it will still take, once that can be known."""
    if not done or not seconds:
        return ""
    rate = done / seconds
    left = round((total - done) / rate)
    shown = f"{rate:.0f}/s" if rate >= 10 else f"{rate:.2g}/s"
    return f"{shown}, {left // 60}:{left % 60:02d} left"


def track(steps: _Steps[T], doing: str, log: bool = True) -> Iterator[T]:
    """Iterate over what has a length, showing progress, also in a log where `log`."""
    with progress(doing, log) as update:
        for done, step in enumerate(steps):
            update(done, len(steps))
            yield step
