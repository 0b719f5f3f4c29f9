"""A data set of one's own: recordings, and a table of what experts said of some moments in them.

The windows around these moments are copied once into files of the HMS layout beside the stores; from there on all is as
with any other data set.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping
from contextlib import suppress
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from hbac import __version__
from hbac.common.choices import check_choice
from hbac.common.errors import UserError
from hbac.common.files import beside, hash_of_file, read_json, remove_left_over, write_json
from hbac.common.locks import locked
from hbac.common.progress import progress
from hbac.reading.edf import is_edf
from hbac.reading.opened import MOST_INTERPOLATED, Recording, open_recording
from hbac.recordings.datasets import HMS, Part
from hbac.recordings.outside import OUTSIDE, fill_outside
from hbac.recordings.problems import Problems
from hbac.vocabulary import (
    CENTRAL_S,
    CHANNELS,
    CLASSES,
    CONSENSUS_NAMES,
    ELECTRODES,
    SFREQ,
    VOTE_COLUMNS,
    WINDOW_SAMPLES,
)

log = logging.getLogger("hbac.reading")

_NEEDED = ("file", "onset", "patient")
_PIECE = 120_000  # samples that are copied at a time
_LAYOUT = 1  # of what is written here
_MADE = "made.json"  # the hash of the table


class Recordings(HMS):
    """Labelled moments in recordings of any format that is read.

    A `UserError` for a value that cannot be.

    Parameters
    ----------
    root : str or Path
        Folder of the recordings.
    stores : str or Path
        Where windows and memory-mapped stores are kept.
    labels : str or Path
        A csv in that folder, or any path: ``file`` (relative to the folder), ``onset`` (seconds from the recording's
        start to that of what was judged), ``patient``, and the six votes or ``class``, which is one vote; ``duration``
        in seconds is ten where there is no such column. The window lies around the middle.
    outside : {"reflected", "repeated", "missing"}
        What windows are filled with beyond what was recorded.
    interpolate : int
        How many electrodes may be missing, and are made of their neighbours.
    unit : str, optional
        What values are in, whatever the files say: ``V``, ``mV`` or ``uV``.
    """

    def __init__(
        self,
        root: str | Path,
        stores: str | Path,
        labels: str | Path,
        outside: str = "reflected",
        interpolate: int = MOST_INTERPOLATED,
        unit: str | None = None,
    ) -> None:
        super().__init__(root, stores)
        self._files = Path(root)
        self._labels = Path(root) / labels if (Path(root) / labels).is_file() else Path(labels)
        self._outside = check_choice("dataset.outside", outside, OUTSIDE)
        self._settings = {"interpolate": interpolate, "unit": unit}

    def parts(self) -> list[str]:
        """Return the one part that there is."""
        return ["train"]

    def part(self, name: str, official: bool | None = None) -> Part:
        """Copy the windows where that was not done yet, then read them as any others.

        A `UserError` with all that is wrong with the table, or the first fault of a recording; for official
        spectrograms, which recordings have not, and a part other than ``train``.
        """
        if name != "train":
            raise UserError(
                f"dataset=recordings has no part {name}: it is labelled windows only; python -m hbac.infer "
                "recordings=FOLDER predicts along recordings"
            )
        if official:
            raise UserError("recordings have no official spectrograms: choose a model that reads EEG alone")
        events = read_events(self._labels, self._files)
        self.root = self.stores / f"windows-{self._digest(events)[:16]}"
        self.stores.mkdir(parents=True, exist_ok=True)
        with locked(self.stores / f"{self.root.name}.lock"):
            if not self._is_whole():
                self._copy(events)
        return super().part(name, official=False)

    def _is_whole(self) -> bool:
        if not self.root.exists():
            return False
        with suppress(UserError, OSError):
            if read_json(self.root / _MADE, {"train.csv": str})["train.csv"] == hash_of_file(self.root / "train.csv"):
                return True
        log.warning("%s is damaged, or of an earlier version, and made again", self.root)
        return False

    def _digest(self, events: pd.DataFrame) -> str:
        known = {name: _state_of(self._files / name) for name in sorted(set(events["file"]))}
        said = [_LAYOUT, __version__, self._outside, self._settings, known, events.to_csv(index=False)]
        return hashlib.sha256(json.dumps(said, default=str).encode()).hexdigest()

    def _copy(self, events: pd.DataFrame) -> None:
        remove_left_over(self.stores)
        partial = beside(self.root, "partial")
        shutil.rmtree(partial, ignore_errors=True)
        (partial / "train_eegs").mkdir(parents=True)
        rows: list[dict[str, Any]] = []
        try:
            with progress("copying the windows of recordings") as report:
                for done, (file, group) in enumerate(events.groupby("file", sort=False)):
                    report(done, events["file"].nunique())
                    recording = open_recording(self._files / str(file), **self._settings)  # type: ignore[arg-type]
                    recording.check_amplitudes()
                    _check_electrodes(recording)
                    _copy_windows(recording, group, partial / "train_eegs", rows, self._outside)
            pd.DataFrame(rows).to_csv(partial / "train.csv", index=False)
            write_json(partial / _MADE, {"train.csv": hash_of_file(partial / "train.csv")}, sealed=True)
            shutil.rmtree(self.root, ignore_errors=True)
            partial.replace(self.root)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _state_of(recording: Path) -> list[tuple[str, int, int]]:
    """Return name, size and time of each of its files: beside a header (``a.vhdr``) lie samples (``a.eeg``)."""
    files = {recording}
    if recording.is_dir():
        files |= {path for path in recording.rglob("*") if path.is_file()}
    elif not is_edf(recording):  # which is one file
        files |= {path for path in recording.parent.glob(f"{escape(recording.stem)}[.-]*") if path.is_file()}
    return [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(files)]


def _check_electrodes(recording: Recording) -> None:
    """Refuse a recording that lacks electrodes; warn of one whose electrodes do not all share a reference."""
    if lost := [name for name in recording.electrodes.missing if name not in recording.interpolated]:
        raise UserError(f"{recording.name}: {', '.join(lost)} missing; a data set needs all of 19")
    parts = dict(zip(CHANNELS, recording.electrodes.part, strict=True))
    if others := [name for name in ELECTRODES if parts[name] != parts[ELECTRODES[0]]]:
        log.warning(
            "%s: %s share no reference with %s: choose a montage that has no difference of theirs, such as "
            "longitudinal_bipolar", recording.name, ", ".join(others), ELECTRODES[0],
        )  # fmt: skip


def _copy_windows(
    recording: Recording, events: pd.DataFrame, folder: Path, rows: list[dict[str, Any]], outside: str
) -> None:
    """Write the stretches that windows lie in, overlapping ones together, and note a row for each event."""
    half = WINDOW_SAMPLES // 2
    events = events.assign(start=np.rint(events["middle_s"] * SFREQ).astype(np.int64) - half).sort_values("start")
    stop = -1
    first, eeg_id, sub_id = 0, len(rows) - 1, 0
    stretches: list[list[int]] = []
    for event in events.to_dict("records"):
        start = event["start"]
        inside = start >= 0 and start + WINDOW_SAMPLES <= recording.n_times
        if inside and start < stop:
            stretches[-1][2], sub_id = start + WINDOW_SAMPLES, sub_id + 1
        else:
            first, eeg_id, sub_id = start, len(rows), 0
            stretches.append([eeg_id, start, start + WINDOW_SAMPLES])
        stop = start + WINDOW_SAMPLES if inside else -1
        ids = {"eeg_id": eeg_id, "eeg_sub_id": sub_id, "eeg_label_offset_seconds": (start - first) / SFREQ}
        votes = {name: event[name] for name in VOTE_COLUMNS}
        most = CONSENSUS_NAMES[int(np.argmax(list(votes.values())))]
        rows.append({**ids, "label_id": len(rows), "patient_id": event["patient"], "expert_consensus": most, **votes})
    for number, begin, end in stretches:
        _write_stretch(folder / f"{number}.parquet", recording, begin, end, outside)


def _write_stretch(path: Path, recording: Recording, begin: int, end: int, outside: str) -> None:
    schema = pa.schema([(name, pa.float32()) for name in CHANNELS])
    with pq.ParquetWriter(path, schema) as writer:
        for a in range(begin, end, _PIECE):
            piece_CT = recording.read(a, min(a + _PIECE, end))
            if end - begin == WINDOW_SAMPLES:
                piece_CT = fill_outside(piece_CT, outside)
            if not np.isfinite(piece_CT).any() and end - begin == WINDOW_SAMPLES:
                where = f"nothing was recorded around {(begin + end) / 2 / SFREQ:g} s"
                raise UserError(f"{recording.name}: {where}; it is {recording.duration_s:g} s long")
            writer.write_table(pa.table([np.ascontiguousarray(x) for x in piece_CT], schema=schema))


def read_events(path: Path, root: Path) -> pd.DataFrame:
    """Read a table of labelled moments, whose files are relative to `root`; a `UserError` with all faults, by line.

    Columns are ``file``, ``middle_s``, ``patient`` (text) and the six votes.
    """
    try:
        # With a header, rows of one field more than it would be moved by one column.
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", header=None)
    except FileNotFoundError:
        raise UserError(f"dataset.labels={path}: there is no such file") from None
    except (OSError, ValueError) as error:
        raise UserError(f"dataset.labels={path}: cannot be read: {str(error).splitlines()[0]}") from None
    table.columns = pd.Index([str(column).strip().removesuffix("_s") for column in table.iloc[0]])
    table = table.iloc[1:]
    if (twice := table.columns[table.columns.duplicated()].drop("", errors="ignore")).size:
        raise UserError(f"{path}: more than one column {twice[0]}")
    by_class = "class" in table.columns
    wanted = (*_NEEDED, *(("class",) if by_class else VOTE_COLUMNS))
    if lacking := [name for name in wanted if name not in table.columns]:
        also = "" if by_class else ", or class in place of the votes"
        raise UserError(f"{path}: no column {', '.join(lacking)}{also}; found {', '.join(table.columns) or 'none'}")
    problems = Problems(f"labels {path}")
    rows: list[dict[str, Any]] = []
    patient_of: dict[str, str] = {}
    for line, record in enumerate(table.to_dict("records"), 2):
        row = _row({str(key): str(value) for key, value in record.items()}, root, f"line {line}", by_class, problems)
        if row is None:
            continue
        file = str((root / row["file"]).resolve())  # however it is spelt
        if patient_of.setdefault(file, row["patient"]) != row["patient"]:
            text = f"{row['file']} is of patient {row['patient']} here, and of {patient_of[file]} before"
            problems.add("two patients", f"line {line}: {text}")
        rows.append(row)
    if not rows and not len(problems):
        problems.add("no rows", f"{path.name} has no rows")
    problems.raise_if_any()
    return pd.DataFrame(rows)


def _row(
    record: Mapping[str, str], root: Path, where: str, by_class: bool, problems: Problems
) -> dict[str, Any] | None:
    file = root / record["file"]
    if not (file.is_file() or (file.suffix.lower() == ".mff" and file.is_dir())):  # no pipe, either
        problems.add("missing file", f"{where}: file {record['file']!r} is not in {root}")
        return None
    numbers = {"onset": record["onset"], "duration": record.get("duration") or f"{CENTRAL_S}"}
    numbers |= {} if by_class else {name: record[name] for name in VOTE_COLUMNS}
    values: dict[str, float] = {}
    for name, text in numbers.items():
        try:
            values[name] = float(text)
            if not 0 <= values[name] < 1e9 or "_" in text or not text.isascii():
                raise ValueError
        except ValueError:
            problems.add("number", f"{where}: {name} is {text!r}; must be a number, 0 or more")
            return None
    if not record["patient"].strip():
        problems.add("patient", f"{where}: no patient; folds are made by patient")
        return None
    if by_class:
        name = record["class"].strip().lower()
        if name not in CLASSES:
            problems.add("class", f"{where}: class is {record['class']!r}; must be one of {', '.join(CLASSES)}")
            return None
        votes = {column: int(column == f"{name}_vote") for column in VOTE_COLUMNS}
    else:
        votes = {column: int(values[column]) for column in VOTE_COLUMNS}
        if any(values[column] % 1 for column in VOTE_COLUMNS) or not sum(votes.values()):
            problems.add("votes", f"{where}: votes must be whole numbers, one or more in all")
            return None
    middle_s = values["onset"] + values["duration"] / 2
    return {"file": record["file"], "middle_s": middle_s, "patient": record["patient"].strip(), **votes}
