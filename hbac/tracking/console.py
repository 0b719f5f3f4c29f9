"""What the commands print: progress while they work, one table at the end, the next command to type."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console
from rich.progress import track as rich_track
from rich.table import Table

if TYPE_CHECKING:
    from hbac.labels.folds import FoldTable
    from hbac.recordings.datasets import Part

T = TypeVar("T")


def track(steps: Iterable[T], doing: str) -> Iterable[T]:
    """Show a progress bar with time left on a terminal; be quiet elsewhere.

    Parameters
    ----------
    steps : iterable
        With a length.
    doing : str
        What is being done.

    Returns
    -------
    iterable
        The same steps.
    """
    console = Console(stderr=True)
    return rich_track(steps, doing, console=console, transient=True) if console.is_terminal else steps


def show(table: Table) -> None:
    """Print a table on standard output, as wide as it needs where nobody's terminal limits it.

    Parameters
    ----------
    table : rich.table.Table
        What to print.
    """
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def part_table(parts: Mapping[str, Part], folds: FoldTable) -> None:
    """Print what ``hbac.prepare`` found.

    Parameters
    ----------
    parts : mapping of str to Part
        By name.
    folds : FoldTable
        Of the training part.
    """
    table = Table("part", "label rows", "EEGs", "patients", "store", "fingerprint")
    for name, part in parts.items():
        counts = [len(part.rows), part.rows["eeg_id"].nunique(), part.rows["patient_id"].nunique()]
        table.add_row(name, *(f"{n:,}" for n in counts), str(part.eeg.folder), part.fingerprint[:12])
    show(table)
    sys.stdout.write(f"{folds.n_folds} folds by patient, hash {folds.hash[:12]}\n")


def submission_lines(ensemble: Path, n_rows: int, submission: Path) -> None:
    """Say what ``hbac.infer`` wrote.

    Parameters
    ----------
    ensemble : Path
        What predicted.
    n_rows : int
        Test EEGs.
    submission : Path
        The file.
    """
    sys.stdout.write(f"{n_rows} test EEGs predicted with {ensemble}\nsubmission: {submission}\n")


def ensemble_table(result: Any, out: Path) -> None:
    """Print the members and their blend.

    Parameters
    ----------
    result : EnsembleResult
        What `hbac.ensembling.build.build_ensemble` returned.
    out : Path
        The ensemble's folder.
    """
    raise NotImplementedError
