"""How far a long step is: a bar with rate and time left on a terminal, one line elsewhere, nothing when it is quick."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager
from typing import Protocol, TypeVar

T = TypeVar("T", covariant=True)


class _Steps(Sized, Protocol[T]):
    def __iter__(self) -> Iterator[T]: ...


@contextmanager
def progress(doing: str) -> Iterator[Callable[[int, int], None]]:
    """Show the progress of a step that reports how much of how much is done.

    Parameters
    ----------
    doing : str
        What is being done, as the person reads it.

    Yields
    ------
    callable
        To be called as ``report(done, total)``. A step that never calls it (all was there already) shows nothing.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    task = bar.add_task(doing, total=None, visible=False)
    told = False

    def report(done: int, total: int) -> None:
        nonlocal told
        if not told and not console.is_terminal:
            sys.stderr.write(f"{doing} …\n")
        told = True
        bar.update(task, completed=done, total=total, visible=True)

    with bar:
        yield report


def track(steps: _Steps[T], doing: str) -> Iterator[T]:
    """Iterate, showing progress.

    Parameters
    ----------
    steps : iterable with a length
        What to iterate over.
    doing : str
        What is being done.

    Yields
    ------
    object
        The steps.
    """
    with progress(doing) as report:
        for done, step in enumerate(steps):
            report(done, len(steps))
            yield step
