"""From paths a user may give to prediction tables: runs, members, sweeps, ensembles, table files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from hbac.common.errors import UserError
from hbac.common.files import read_json
from hbac.ensembling.ensemble_file import ENSEMBLE_FILE, MEMBERS
from hbac.predictions.foreign import member_of, read_table
from hbac.predictions.table import PredictionTable, concat
from hbac.runs.folder import TABLE_FILE

JOBS = "jobs"  # a sweep's list of its runs, one file a job


def find_tables(path: Path) -> list[Path]:
    """List the prediction tables that a path stands for; runs of a sweep that have not finished have none.

    It may be a table (``.parquet`` or ``.csv``); a run folder; the folder of a member's folds, or of several members
    (``outputs/runs``); a sweep folder; an ensemble folder. A `UserError` when the path does not exist or has no table.
    """
    if path.is_file():
        return find_tables(path.parent) if path.name == ENSEMBLE_FILE else [path]
    if not path.is_dir():
        raise UserError(f"{path}: there is no such run, sweep or ensemble folder, nor such a table")
    if (path / JOBS).is_dir():
        runs = [path / read_json(job, {"run": str})["run"] for job in sorted((path / JOBS).glob("*.json"))]
        tables = [run / TABLE_FILE for run in runs if (run / TABLE_FILE).is_file()]
    elif (path / ENSEMBLE_FILE).is_file():
        tables = sorted((path / MEMBERS).glob("*.parquet"))
    elif (path / TABLE_FILE).is_file():
        tables = [path / TABLE_FILE]
    else:
        tables = sorted(path.glob(f"fold*/{TABLE_FILE}")) or sorted(path.glob(f"*/fold*/{TABLE_FILE}"))
    if not tables:
        raise UserError(
            f"{path}: no prediction table in it; give a run folder (with {TABLE_FILE}), a folder with fold0, fold1 …, "
            f"a sweep or an ensemble folder"
        )
    return tables


def ensembles_in(outputs: Path) -> list[Path]:
    """List the ``ensemble.json`` of all sweeps and ensembles below the folder of all outputs."""
    return [file for kind in ("sweeps", "ensembles") for file in outputs.glob(f"{kind}/*/{ENSEMBLE_FILE}")]


def newest_ensemble(outputs: Path) -> Path:
    """Return the ``ensemble.json`` below the folder of all outputs that was written last.

    A `UserError` when there is none.
    """
    found = ensembles_in(outputs)
    if not found:
        raise UserError(
            f"there is no ensemble in {outputs}; make one with `python -m hbac.train … -m fold=0,1,2,3,4` or "
            "`python -m hbac.ensemble members=[…]`, or name one: ensemble=PATH"
        )
    return max(found, key=lambda path: path.stat().st_mtime_ns)


def collect(paths: Sequence[str | Path], folds: str | Path | None = None) -> Iterator[PredictionTable]:
    """Read all that some paths stand for (`find_tables`): one out-of-fold table a member, its folds put together.

    Members come in the order of first appearance, and only one is read at a time. A table reached on two ways counts
    once. A table of other code is a member of its own, called after its file, and after its folder too where two files
    have one name; `folds` is the fold table of those of them that say no fold. A `UserError` when a path has no table,
    or a table is damaged.
    """
    files = dict.fromkeys(table.resolve() for path in paths for table in find_tables(Path(path)))
    groups: dict[tuple[str, str], list[Path]] = {}
    foreign: list[Path] = []
    for file in files:
        member = member_of(file)
        if member is None:
            foreign.append(file)
        groups.setdefault(member or (str(file), ""), []).append(file)
    names = _names(foreign)
    for group in groups.values():
        tables = [read_table(file, folds, names.get(file)) for file in group]
        try:
            joined = concat(tables) if len(tables) > 1 else tables[0]
        except UserError as error:
            raise UserError(f"{error} (of {', '.join(map(str, group))})") from None
        yield joined


def _names(files: Sequence[Path]) -> dict[Path, str]:
    """Call files by the end of their paths, as short as tells them apart: ``oof``, or ``a/oof`` and ``b/oof``."""
    parts = {file: file.with_suffix("").parts[1:] for file in files}
    names = {file: part[-1] for file, part in parts.items()}
    for length in range(2, max((len(part) for part in parts.values()), default=0) + 1):
        taken = Counter(names.values())
        names |= {file: "/".join(parts[file][-length:]) for file, name in names.items() if taken[name] > 1}
    taken = Counter(names.values())  # a.csv beside a.parquet
    return {file: file.name if taken[name] > 1 else name for file, name in names.items()}
