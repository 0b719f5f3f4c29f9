"""The course: what a model says along one recording, a row for each step, in a folder of the recording's own.

``predictions.parquet`` has the rows, ``recording.json`` what they are of. Rows tile the recording: row i speaks for
``[onset_s, onset_s + step_s)``, and its window of 50 s lies around the middle of that. All that follows (events, the
page, other people's tools) reads these two files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from hbac.common.errors import UserError
from hbac.common.files import SEAL, read_json, whole_file, write_json
from hbac.common.shapes import Maybe, check_shape
from hbac.evaluation.metric import check_distribution
from hbac.predictions.metadata import PREFIX
from hbac.predictions.parquet import as_frame, check_content, content_hash, read_parquet
from hbac.vocabulary import PROB_COLUMNS

COMMAND = "hbac.infer recordings"  # who a recording's files are said to be of
COURSE_FILE = "predictions.parquet"
RECORDING_FILE = "recording.json"

#: Column and type. ``onset_s``: seconds from the start of the recording. ``window_s``: length of the window around the
#: row's middle. ``signal_share``: how much of that window was recorded, 0 to 1. Probabilities are NaN, all six, where
#: less than half of the window's central ten seconds was recorded: nothing is said there.
COURSE_DTYPES: dict[str, str] = {
    "onset_s": "float64",
    **dict.fromkeys(PROB_COLUMNS, "float32"),
    "window_s": "float32",
    "signal_share": "float32",
}

_FACTS: dict[str, Any] = {
    "file": str,
    "file_sha256": str,
    "duration_s": float,
    "sfreq": float,
    "channels": [{"name": str, "label": str, "reference": str, "unit": str, "sfreq": float}],
    "ignored": [str],
    "interpolated": [str],
    "gaps": [[float]],
    "notes": [str],
    "start": Maybe(str),
    "patient": Maybe(str),
    "annotations": Maybe([{"onset_s": float, "duration_s": float, "text": str, "channel": Maybe(str)}]),
}
_METADATA: dict[str, Any] = {
    "step_s": float,
    "outside": str,
    "ensemble": str,
    "models": [{"member": str, "fold": int}],
}


@dataclass(frozen=True)
class RecordingFacts:
    """What is known of a recording besides its samples: the content of ``recording.json``."""

    file: str  # its name, without its folder
    file_sha256: str  # of what is in it
    duration_s: float  # from its first to its last sample, gaps included
    sfreq: float  # of the EEG in the file
    # What was read: ``name`` (of `hbac.vocabulary.CHANNELS`), ``label`` in the file, ``reference`` (empty where the
    # file says none), ``unit`` and ``sfreq`` in the file.
    channels: tuple[Mapping[str, Any], ...] = ()
    ignored: tuple[str, ...] = ()  # labels of what was not read
    interpolated: tuple[str, ...] = ()  # electrodes that the file lacks and that were made of their neighbours
    gaps: tuple[tuple[float, float], ...] = ()  # onset and duration of what was not recorded, s
    notes: tuple[str, ...] = ()  # what a reader forgave or did, one sentence each
    # The last three only where they were asked for (``keep=[start,patient,annotations]``) and the file knows: when it
    # began, its patient field, and ``onset_s``, ``duration_s``, ``text``, ``channel`` (or None) of each annotation.
    start: datetime | None = None
    patient: str | None = None
    annotations: tuple[Mapping[str, Any], ...] | None = None

    def write(self, folder: Path) -> None:
        """Write ``recording.json`` into the recording's folder; it is never seen half-written."""
        content = {name: getattr(self, name) for name in _FACTS}
        content["start"] = None if self.start is None else self.start.isoformat()
        write_json(folder / RECORDING_FILE, content, sealed=True)

    @classmethod
    def read(cls, folder: Path) -> RecordingFacts:
        """Read ``recording.json`` of a recording's folder.

        A `UserError` when it is missing, damaged, or of another shape.
        """
        content = read_json(folder / RECORDING_FILE, _FACTS)
        known: dict[str, Any] = {
            name: tuple(value) if isinstance(value := content.get(name), list) else value for name in _FACTS
        }
        known["gaps"] = tuple((float(onset_s), float(duration_s)) for onset_s, duration_s in content["gaps"])
        if known["start"] is not None:
            try:
                known["start"] = datetime.fromisoformat(known["start"])
            except ValueError:
                raise UserError(f"{folder / RECORDING_FILE}: start is {known['start']!r}, must be a date") from None
        return cls(**known)


@dataclass(frozen=True)
class Course:
    """Probabilities along a recording, checked; a `UserError` says which column and row is wrong."""

    frame: pd.DataFrame  # the columns of `COURSE_DTYPES`, a row for each step, in the order of time
    step_s: float  # from one row to the next, and the stretch that a row speaks for
    outside: str  # what windows are filled with beyond what was recorded: ``reflected``, ``repeated`` or ``missing``
    ensemble: str  # name of what predicted
    models: tuple[Mapping[str, Any], ...] = field(default=())  # of its networks: member, fold, montage, band

    def __post_init__(self) -> None:
        _check(self.frame, self.step_s, "course")

    def write(self, folder: Path) -> None:
        """Write ``predictions.parquet`` into the recording's folder; it is never seen half-written."""
        about = {"step_s": self.step_s, "outside": self.outside, "ensemble": self.ensemble, "models": list(self.models)}
        flat = {"course": json.dumps(about)}
        flat[SEAL] = content_hash(self.frame, COURSE_DTYPES, flat)
        table = pa.Table.from_pandas(self.frame, preserve_index=False)
        with whole_file(folder / COURSE_FILE) as partial:
            pq.write_table(table.replace_schema_metadata({PREFIX + key: value for key, value in flat.items()}), partial)

    @classmethod
    def read(cls, folder: Path) -> Course:
        """Read ``predictions.parquet`` of a recording's folder.

        A `UserError` when it is missing, no such table, or wrong.
        """
        path = folder / COURSE_FILE
        arrow = read_parquet(path)
        try:
            noted = {key.decode(): value.decode() for key, value in (arrow.schema.metadata or {}).items()}
            flat = {key: noted[PREFIX + key] for key in ("course", SEAL) if PREFIX + key in noted}
            about = json.loads(flat["course"])
        except (KeyError, ValueError, RecursionError):
            raise UserError(f"{path}: its metadata have no {PREFIX}course: not a table of {COMMAND}=") from None
        check_shape(about, _METADATA, f"{path}, {PREFIX}course")
        frame = as_frame(arrow, path)
        _check(frame, about["step_s"], str(path))
        check_content(frame, COURSE_DTYPES, flat, path, "predict the recording once more")
        return cls(frame, about["step_s"], about["outside"], about["ensemble"], tuple(about["models"]))


def _check(frame: pd.DataFrame, step_s: float, what: str) -> None:
    found = {column: str(frame[column].dtype) for column in frame.columns}
    if found != COURSE_DTYPES or list(found) != list(COURSE_DTYPES):
        raise UserError(f"{what}: columns {found}; must be {COURSE_DTYPES}")
    onset_s = frame["onset_s"].to_numpy()
    if not np.allclose(onset_s, np.arange(len(frame)) * step_s, rtol=0, atol=1e-6):
        raise UserError(f"{what}: onset_s must rise from 0 by {step_s:g}")
    share = frame["signal_share"].to_numpy()
    if not ((share >= 0) & (share <= 1)).all():
        raise UserError(f"{what}: signal_share must be from 0 to 1")
    said = frame.loc[~frame[list(PROB_COLUMNS)].isna().all(axis=1)].reset_index(drop=True)
    if len(said):
        check_distribution(said, PROB_COLUMNS, what)
