"""The HMS layout: the tables and files of a data set, read and checked before anything else happens.

A data set is a folder with ``train.csv``, ``train_eegs/<eeg_id>.parquet``, ``train_spectrograms/
<spectrogram_id>.parquet`` and the same with ``test``; `hbac.recordings.columns` says how columns are named.
Everything is checked here once, at the border, from the tables and the files' footers alone, and all that is
wrong is told in one message.

A window of an EEG is its rows ``[200 * offset, 200 * offset + 10000)`` (50 s at 200 Hz); a window of a
spectrogram its 300 rows (600 s) from ``offset // 2``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hbac.common.errors import UserError
from hbac.recordings.checks import check_eegs, check_spectrograms
from hbac.recordings.declared import UNDECLARED, Declared
from hbac.recordings.footers import Footer, read_footers
from hbac.recordings.problems import Problems
from hbac.recordings.tables import UNKNOWN, read_rows
from hbac.vocabulary import SFREQ, SPECTROGRAM_ROW_S

log = logging.getLogger("hbac.recordings")

PARTS = ("train", "test")


@dataclass(frozen=True, eq=False)
class Recordings:
    """One part of a data set, checked."""

    root: Path
    part: str  # train or test
    # One row for each labelled window, numbered from 0. Train: the columns of train.csv (ids and votes int64,
    # offsets float64 seconds). Test: eeg_id, spectrogram_id, patient_id.
    rows: pd.DataFrame
    eeg_dir: Path
    spectrogram_dir: Path | None  # None for a data set without them
    # Of every EEG file the rows name, by eeg_id.
    eeg_footers: Mapping[int, Footer] = field(repr=False, default_factory=dict)
    # By spectrogram_id; empty for a data set without them.
    spectrogram_footers: Mapping[int, Footer] = field(repr=False, default_factory=dict)
    # (n_rows,): rows whose official spectrogram cannot be read and counts as missing throughout; None where that would
    # have been an error.
    masked: NDArray[np.bool_] | None = field(repr=False, default=None)
    declared: Declared = UNDECLARED  # rate and unit of the EEG files

    def eeg_starts(self) -> NDArray[np.int64]:
        """Return where the window of each row begins in its EEG: samples at 200 Hz."""
        return _eeg_starts(self.rows)

    def spectrogram_starts(self) -> NDArray[np.int64]:
        """Return where the window of each row begins in its spectrogram file: rows of 2 s."""
        return _spectrogram_starts(self.rows)


def _eeg_starts(rows: pd.DataFrame) -> NDArray[np.int64]:
    return np.rint(_offsets_s(rows, "eeg") * SFREQ).astype(np.int64)


def _spectrogram_starts(rows: pd.DataFrame) -> NDArray[np.int64]:
    starts: NDArray[np.int64] = np.floor(_offsets_s(rows, "spectrogram") / SPECTROGRAM_ROW_S).astype(np.int64)
    return starts


def _offsets_s(rows: pd.DataFrame, kind: str) -> NDArray[np.float64]:
    """Return a column of ``train.csv``; 0 for rows of ``test.csv``, which has none."""
    name = f"{kind}_label_offset_seconds"
    return rows[name].to_numpy(float) if name in rows else np.zeros(len(rows))


def read_recordings(
    root: Path | str,
    part: str = "train",
    *,
    spectrograms: bool | None = None,
    mask_spectrograms: bool = False,
    cache_dir: Path | str | None = None,
    declared: Declared = UNDECLARED,
) -> Recordings:
    """Read and check one part of a data set, ``train`` or ``test``.

    No samples are read: tables and footers say enough to find missing files, wrong columns and types, recordings
    shorter than their labels claim and, as far as that can be known, other rates and units.

    `spectrograms` demands the official ones and their columns in the csv, or leaves them alone; None takes them if
    their folder is there. Masked, those that are missing, unreadable or too short are no error: their rows are marked
    in `Recordings.masked`, and a warning counts them. In `cache_dir`, as the folder of the stores, is kept what the
    footers said, which makes the next call quick (the 28,000 files of HMS: a second in place of one minute).

    A `UserError` for all that is wrong, with file and row; the first 20 written out, the rest counted by kind.
    """
    root = Path(root)
    if part not in PARTS:
        raise UserError(f"part={part!r}: a data set has the parts {' and '.join(PARTS)}")
    if not root.is_dir():
        what = "is a file" if root.is_file() else "does not exist"
        raise UserError(f"the data set's folder {root} {what}; dataset.root must name a folder with {part}.csv")
    table, eeg_dir = root / f"{part}.csv", root / f"{part}_eegs"
    if not table.is_file():
        if os.path.lexists(table):
            raise UserError(f"{table} is no file that can be read: a folder, a pipe, or a link that leads nowhere")
        found = ", ".join(sorted(p.name for p in root.iterdir())[:8]) or "nothing"
        raise UserError(f"{table} is missing; the folder holds {found}")
    spectrogram_dir = root / f"{part}_spectrograms"
    with_spectrograms = spectrogram_dir.is_dir() if spectrograms is None else spectrograms

    problems = Problems(f"data set {root}, part {part}")
    rows = read_rows(table, part, problems, spectrograms is True)
    if spectrograms is None and not rows.empty and (rows["spectrogram_id"] == UNKNOWN).all():
        with_spectrograms = False
    cache = None if cache_dir is None else Path(cache_dir)
    eeg_footers = _footers(rows, "eeg_id", eeg_dir, table.name, problems, cache)
    check_eegs(rows, _eeg_starts(rows), eeg_footers, part, problems, declared)
    spectrogram_footers: dict[int, Footer] = {}
    masked = None
    if with_spectrograms:
        faults = Problems(problems.title) if mask_spectrograms else problems
        spectrogram_footers = _footers(rows, "spectrogram_id", spectrogram_dir, table.name, faults, cache)
        whole = check_spectrograms(rows, _spectrogram_starts(rows), spectrogram_footers, part, faults)
        if mask_spectrograms:
            masked = ~whole
            used = set(rows.loc[whole, "spectrogram_id"])
            spectrogram_footers = {key: footer for key, footer in spectrogram_footers.items() if key in used}
            _warn_of(faults, masked)
    problems.raise_if_any()
    return Recordings(
        root=root,
        part=part,
        rows=rows.reset_index(drop=True),
        eeg_dir=eeg_dir,
        spectrogram_dir=spectrogram_dir if with_spectrograms else None,
        eeg_footers=eeg_footers,
        spectrogram_footers=spectrogram_footers,
        masked=masked,
        declared=declared,
    )


def _warn_of(faults: Problems, masked: NDArray[np.bool_]) -> None:
    if masked.any():
        share = f"{masked.sum():,} of {len(masked):,} rows have no official spectrogram and get a masked one"
        log.warning("%s: %s; the first fault: %s", faults.title, share, faults.lines[0])


def _footers(
    rows: pd.DataFrame, id_column: str, folder: Path, table: str, problems: Problems, cache: Path | None
) -> dict[int, Footer]:
    """Read the footers of the files that the rows name; note those that are missing or unreadable."""
    if rows.empty:
        return {}
    if not folder.is_dir():
        problems.add("missing folder", f"the folder {folder.name}/ is missing; {table} names files in it")
        return {}
    lines = rows.index.to_series().groupby(rows[id_column]).first()
    found = read_footers({int(key): folder / f"{key}.parquet" for key in lines.index}, cache)
    footers = {}
    for key, line in lines.items():
        footer = found[int(key)]  # type: ignore[call-overload]
        if isinstance(footer, Footer):
            footers[int(key)] = footer  # type: ignore[call-overload]
        else:
            kind = "missing file" if "missing" in str(footer) else "unreadable file"
            where = f"{folder.name}/{key}.parquet"
            problems.add(kind, f"{where} ({table} line {line}): {footer}")
    return footers
