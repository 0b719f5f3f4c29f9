"""Reading train.csv and test.csv: every field typed, every fault noted with its line as an editor counts."""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hbac.recordings.problems import Problems
from hbac.vocabulary import CONSENSUS_NAMES, SFREQ, VOTE_COLUMNS

TRAIN_COLUMNS = (
    "eeg_id",
    "eeg_sub_id",
    "eeg_label_offset_seconds",
    "spectrogram_id",
    "spectrogram_sub_id",
    "spectrogram_label_offset_seconds",
    "label_id",
    "patient_id",
    "expert_consensus",
    *VOTE_COLUMNS,
)
TEST_COLUMNS = ("eeg_id", "spectrogram_id", "patient_id")
# Models that read EEG alone do without.
SPECTROGRAM_COLUMNS = ("spectrogram_id", "spectrogram_sub_id", "spectrogram_label_offset_seconds")
UNKNOWN = -1
OFFSET_COLUMNS = ("eeg_label_offset_seconds", "spectrogram_label_offset_seconds")

# Offsets are written in decimal seconds, so a whole number of samples may be off by a rounding.
_SAMPLE_TOLERANCE = 0.01
_LONGEST_S = 1e8
_NO_NAMES = ("nan", "none", "null", "na", "n/a", "<na>", "inf", "-inf")  # what software writes where there is none


def read_rows(path: Path, part: str, problems: Problems, spectrograms: bool = False) -> pd.DataFrame:
    """Read the csv of one part.

    Columns may stand in any order, and others may be among them (they are left out). What is wrong is added to
    `problems`; the rows that have nothing wrong with them are returned, so that their files can be checked too: ids and
    votes int64, offsets float64, the consensus as text. The index is the line of the file (the header's is 1). A
    patient id that is text becomes a number of its own (`number_of_name`). Without `spectrograms`, where there are none
    of their columns, ids are −1 and offsets 0.
    """
    wanted = TRAIN_COLUMNS if part == "train" else TEST_COLUMNS
    fields, lines = _read_fields(path, wanted, problems, () if spectrograms else SPECTROGRAM_COLUMNS)
    if not lines:
        return pd.DataFrame({name: _empty(name) for name in wanted})
    table = _Table(path.name, fields, np.asarray(lines), problems)
    columns: dict[str, Any] = {}
    for name in wanted:
        if name not in fields:
            columns[name] = np.zeros(len(lines)) if name in OFFSET_COLUMNS else np.full(len(lines), UNKNOWN, np.int64)
        elif name == "patient_id":
            columns[name] = table.patients(name)
        elif name in OFFSET_COLUMNS:
            columns[name] = table.floats(name)
        elif name == "expert_consensus":
            columns[name] = table.names(name, CONSENSUS_NAMES)
        else:
            columns[name] = table.integers(name)
    if part == "train":
        table.check_votes(columns)
        table.check_offsets(columns)
        table.check_unique(columns, ("label_id",))
        table.check_unique(columns, ("eeg_id", "eeg_sub_id"))
    else:
        table.check_unique(columns, ("eeg_id",))
    return pd.DataFrame(columns, index=pd.Index(lines))[table.sound]


def _empty(name: str) -> NDArray[Any]:
    dtype: type = float if name in OFFSET_COLUMNS else object if name == "expert_consensus" else np.int64
    return np.empty(0, dtype)


def number_of_name(name: str) -> int:
    """Return the number that stands for a patient whose id is text: 2**62 or more, the same in every file."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 2 | 1 << 62


def _read_fields(
    path: Path, wanted: Sequence[str], problems: Problems, optional: Sequence[str]
) -> tuple[dict[str, list[str]], list[int]]:
    """Return the text of the wanted columns and the line of each row (pandas does not count lines)."""
    rows, lines = [], []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            if not header:
                problems.add("empty csv", f"{path.name} is empty; its first line must name the columns")
                return {}, []
            if not set(optional) & set(header):
                wanted = [name for name in wanted if name not in optional]
            missing = [name for name in wanted if name not in header]
            if missing:
                found = f"found {', '.join(header)}" if len(header) < 40 else f"found {len(header)} columns"
                problems.add("missing column", f"{path.name} line 1: no column {', '.join(missing)}; {found}")
            twice = [name for name in wanted if header.count(name) > 1]
            if twice:
                problems.add("double column", f"{path.name} line 1: more than one column {', '.join(twice)}")
            if missing or twice:
                return {}, []
            for row in reader:
                if len(row) == len(header):
                    rows.append(row)
                    lines.append(reader.line_num)
                elif row:  # a blank line is nothing, wherever it stands
                    text = f"{len(row)} fields, the header has {len(header)}"
                    problems.add("number of fields", f"{path.name} line {reader.line_num}: {text}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        problems.add("unreadable csv", f"{path.name} cannot be read as csv in UTF-8: {error}")
        return {}, []
    if not rows and not len(problems):
        problems.add("empty csv", f"{path.name} has a header and no rows")
    columns = list(zip(*rows, strict=True))
    return {name: list(columns[header.index(name)]) for name in wanted} if rows else {}, lines


class _Table:
    """The fields of one csv on their way to numbers; `sound` marks the rows with nothing wrong so far."""

    def __init__(self, file: str, fields: dict[str, list[str]], lines: NDArray[np.int64], problems: Problems) -> None:
        self.file = file
        self.fields = fields
        self.lines = lines
        self.problems = problems
        self.sound = np.ones(len(lines), bool)

    def fault(self, row: int, kind: str, text: str) -> None:
        self.sound[row] = False
        self.problems.add(kind, f"{self.file} line {self.lines[row]}: {text}")

    def integers(self, name: str) -> NDArray[np.int64]:
        return self._numbers(name, np.int64, _integer, "a whole number")

    def floats(self, name: str) -> NDArray[np.float64]:
        return self._numbers(name, np.float64, _finite, "a finite number")

    def _numbers(self, name: str, dtype: type, parse: Callable[[str], Any], valid: str) -> NDArray[Any]:
        """Convert a column; field by field only where numpy does not take it as a whole."""
        texts = self.fields[name]
        try:
            values: NDArray[Any] = np.array(texts).astype(dtype)
            if np.isfinite(values).all() and _is_plain("".join(texts)):
                return values
        except (ValueError, OverflowError):
            pass
        values = np.zeros(len(texts), dtype)
        for i, text in enumerate(texts):
            value = parse(text)
            if value is None:
                self.fault(i, f"{name} is no number", f"{name} is {text!r}, must be {valid}")
            else:
                values[i] = value
        return values

    def patients(self, name: str) -> NDArray[np.int64]:
        """Convert whole numbers, and text to numbers that stand for it."""
        return self._numbers(name, np.int64, patient_number, "a whole number or a name")

    def names(self, name: str, valid: Sequence[str]) -> NDArray[Any]:
        texts = np.array([text.strip() for text in self.fields[name]], dtype=object)
        for i in np.flatnonzero(~np.isin(texts.astype(str), valid)):
            self.fault(int(i), f"unknown {name}", f"{name} is {texts[i]!r}, must be one of {', '.join(valid)}")
        return texts

    def check_votes(self, columns: dict[str, Any]) -> None:
        votes = np.stack([columns[name] for name in VOTE_COLUMNS], axis=1)
        negative = (votes < 0).any(axis=1)
        for i in np.flatnonzero(negative):
            which = ", ".join(f"{n} {v}" for n, v in zip(VOTE_COLUMNS, votes[i], strict=True) if v < 0)
            self.fault(int(i), "negative votes", f"negative votes: {which}")
        # A vote that is no number has been noted and counts as 0 here; one fault for such a row is enough.
        for i in np.flatnonzero(~negative & self.sound & (votes.sum(axis=1) == 0)):
            self.fault(int(i), "no votes", "all votes are 0; a labelled row has at least one")

    def check_offsets(self, columns: dict[str, Any]) -> None:
        for name in OFFSET_COLUMNS:
            for i in np.flatnonzero((columns[name] < 0) | (columns[name] > _LONGEST_S)):
                text = f"{name} is {columns[name][i]:g}, must be 0 to {_LONGEST_S:g} seconds"
                self.fault(int(i), f"{name} out of range", text)
        samples = columns[OFFSET_COLUMNS[0]].clip(0, _LONGEST_S) * SFREQ
        for i in np.flatnonzero(np.abs(samples - np.rint(samples)) > _SAMPLE_TOLERANCE):
            text = f"{OFFSET_COLUMNS[0]} is {columns[OFFSET_COLUMNS[0]][i]:g}, {samples[i]:g} samples"
            kind = "offset between samples"
            self.fault(int(i), kind, f"{text} at {SFREQ:g} Hz: must be a whole number of samples")

    def check_unique(self, columns: dict[str, Any], names: tuple[str, ...]) -> None:
        keys = pd.DataFrame({name: columns[name] for name in names})[self.sound]
        repeated = keys.duplicated()
        if not repeated.any():
            return
        first: dict[tuple[int, ...], int] = {}
        for row, key in zip(keys.index, keys.itertuples(index=False, name=None), strict=True):
            if first.setdefault(key, row) != row:
                what = ", ".join(f"{name} {value}" for name, value in zip(names, key, strict=True))
                kind = f"duplicate {', '.join(names)}"
                self.fault(row, kind, f"{what} stands on line {self.lines[first[key]]} already")


def _integer(text: str) -> int | None:
    """Take ``3`` and ``3.0``, which pandas writes when a column had gaps once; None for anything else."""
    head, point, zeros = text.strip().partition(".")
    if not _is_plain(text):
        return None
    try:
        value = int(head)
    except ValueError:
        return None
    if (point and zeros.strip("0")) or not -(2**63) <= value < 2**63:
        return None
    return value


def patient_number(text: str) -> int | None:
    """Read a patient's id, a whole number or a name (`number_of_name`); None for neither: empty, ``nan``, 1.5."""
    text = text.strip()
    if (value := _integer(text)) is not None:
        return value
    if not text or text.lower() in _NO_NAMES or _finite(text) is not None:
        return None
    return number_of_name(text)


def _is_plain(text: str) -> bool:
    """Say whether it has nothing of what Python reads in numbers and nobody writes: 1_000, digits of other scripts."""
    return text.isascii() and "_" not in text


def _finite(text: str) -> float | None:
    if not _is_plain(text):
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
