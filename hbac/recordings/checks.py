"""What EEG and spectrogram files must be like, checked from their footers and the rows that point into them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hbac.recordings.columns import TIME_COLUMN, ColumnsError, columns_of, find_columns
from hbac.recordings.footers import Footer
from hbac.recordings.problems import Problems
from hbac.vocabulary import SFREQ, SPECTROGRAM_ROW_S, SPECTROGRAM_ROWS, WINDOW_S, WINDOW_SAMPLES

VALUE_TYPES = ("float", "double", "int16", "int32")
_TIME_TYPES = (*VALUE_TYPES, "int64")
# What recorders and other data sets use; a recording that is just as long as its windows would be at one of
# these rates was not resampled.
_OTHER_RATES_HZ = (100, 125, 128, 250, 256, 400, 500, 512, 1000, 1024, 2000)
# In microvolts, an EEG that stays below 10 nV does not exist; in volts, none goes above.
_VOLTS_BELOW = 0.01


def check_eegs(
    rows: pd.DataFrame,
    starts: NDArray[np.int64],
    footers: Mapping[int, Footer],
    part: str,
    problems: Problems,
) -> None:
    """Check EEG files: columns, types, rate and unit as far as they show, rows enough for every window.

    Parameters
    ----------
    rows : pandas.DataFrame
        Rows of the csv, indexed by its lines.
    starts : numpy.ndarray of int64, shape (n_rows,)
        First sample of each row's window.
    footers : mapping of int to Footer
        Footers by ``eeg_id``; rows without one are left alone (they were noted before).
    part : {"train", "test"}
        A test EEG has exactly one window's samples.
    problems : Problems
        Where faults are noted.
    """
    sound = {}
    for key, footer in footers.items():
        where = _where(footer)
        fault = _column_fault(footer.schema, "eeg")
        if fault:
            problems.add(*_prefixed(fault, where))
        elif footer.sfreq is not None and abs(footer.sfreq - SFREQ) > 1e-6:
            text = f"its metadata say {footer.sfreq:g} Hz, must be {SFREQ:g} Hz: resample it first"
            problems.add("sampling rate", f"{where}: {text}")
        elif footer.abs_max is not None and 0 < footer.abs_max < _VOLTS_BELOW:
            text = f"no value above {footer.abs_max:g}: this looks like volts, must be microvolts"
            problems.add("unit", f"{where}: {text}")
        elif part == "test" and footer.n_rows != WINDOW_SAMPLES:
            text = f"{footer.n_rows:,} rows, a test EEG has exactly {WINDOW_SAMPLES:,} (50 s at 200 Hz)"
            rate = _rate_of(footer.n_rows, WINDOW_S)
            hint = f"; 50 s at {rate} Hz would have as many: resample it first" if rate else ""
            problems.add("number of rows", f"{where}: {text}{hint}")
        else:
            sound[key] = footer
    if part == "test":
        return
    ids = rows["eeg_id"].to_numpy()
    rate = _common_other_rate(ids, starts, sound)
    if rate:
        text = f"every EEG is exactly as long as its windows are at {rate} Hz, and longer than at {SFREQ:g} Hz"
        problems.add("sampling rate", f"{part}_eegs/: {text}: resample to {SFREQ:g} Hz first")
    offset_name = "eeg_label_offset_seconds"
    last = _last_starts(ids, starts)
    for line, key, start in _short(rows.index.to_numpy(), ids, starts, WINDOW_SAMPLES, sound):
        footer = sound[key]
        rate = _rate_of(footer.n_rows, WINDOW_S + last[key] / SFREQ)
        hint = f"; it would be long enough as {rate} Hz: resample it first" if rate and rate < SFREQ else ""
        text = (
            f"{offset_name} {start / SFREQ:g} needs the rows {start:,} to {start + WINDOW_SAMPLES:,} of "
            f"{_where(footer)}, which has {footer.n_rows:,} ({footer.n_rows / SFREQ:g} s at {SFREQ:g} Hz)"
        )
        problems.add("EEG too short", f"{part}.csv line {line}: {text}{hint}")


def check_spectrograms(
    rows: pd.DataFrame,
    starts: NDArray[np.int64],
    footers: Mapping[int, Footer],
    part: str,
    problems: Problems,
) -> NDArray[np.bool_]:
    """Check spectrogram files: columns, types, a time step of 2 s, rows enough for every window.

    Parameters
    ----------
    rows : pandas.DataFrame
        Rows of the csv, indexed by its lines.
    starts : numpy.ndarray of int64, shape (n_rows,)
        First spectrogram row of each row's window.
    footers : mapping of int to Footer
        Footers by ``spectrogram_id``; rows without one are left alone (they were noted before).
    part : {"train", "test"}
        Names the csv.
    problems : Problems
        Where faults are noted.

    Returns
    -------
    numpy.ndarray of bool, shape (n_rows,)
        True for the rows whose window can be read.
    """
    sound = {}
    for key, footer in footers.items():
        where = _where(footer)
        fault = _column_fault(footer.schema, "spectrogram")
        if fault:
            problems.add(*_prefixed(fault, where))
            continue
        step_s = _time_step(footer)
        if step_s is not None and abs(step_s - SPECTROGRAM_ROW_S) > 1e-6:
            text = f"a time step of {step_s:g} s on average, must be {SPECTROGRAM_ROW_S:g} s"
            problems.add("time step", f"{where}: {text} (column {TIME_COLUMN!r})")
        else:
            sound[key] = footer
    ids = rows["spectrogram_id"].to_numpy()
    for line, key, start in _short(rows.index.to_numpy(), ids, starts, SPECTROGRAM_ROWS, sound):
        footer = sound[key]
        offset = f"spectrogram_label_offset_seconds {start * SPECTROGRAM_ROW_S:g}" if part == "train" else "600 s"
        text = (
            f"{offset} needs the rows {start:,} to {start + SPECTROGRAM_ROWS:,} of {_where(footer)}, "
            f"which has {footer.n_rows:,} (of 2 s each)"
        )
        problems.add("spectrogram too short", f"{part}.csv line {line}: {text}")
    n_rows = np.array([sound[key].n_rows if key in sound else 0 for key in ids.tolist()], np.int64)
    whole: NDArray[np.bool_] = starts + SPECTROGRAM_ROWS <= n_rows
    return whole


@cache
def _column_fault(schema: tuple[tuple[str, str], ...], kind: str) -> tuple[str, str] | None:
    """Return kind and text of what is wrong with a schema; cached, for nearly all files share one."""
    types = dict(schema)
    try:
        names = find_columns([name for name, _ in schema], columns_of(kind), kind)
    except ColumnsError as error:
        return "columns", str(error)
    wrong = [name for name in names if types[name] not in VALUE_TYPES]
    if wrong:
        valid = "float32, float64, int16 or int32"
        return "column type", f"column {wrong[0]} is {types[wrong[0]]} ({len(wrong)} such), must be {valid}"
    if kind == "spectrogram":
        if TIME_COLUMN not in types:
            return "columns", f"no column {TIME_COLUMN!r}"
        if types[TIME_COLUMN] not in _TIME_TYPES:
            return "column type", f"column {TIME_COLUMN!r} is {types[TIME_COLUMN]}, must be a number of seconds"
    return None


def _prefixed(fault: tuple[str, str], where: str) -> tuple[str, str]:
    kind, text = fault
    return kind, f"{where}: {text}"


def _where(footer: Footer) -> str:
    return f"{footer.path.parent.name}/{footer.path.name}"


def _time_step(footer: Footer) -> float | None:
    """Return the mean step of ``time`` in seconds; the column is read only where the footer has no range."""
    if footer.n_rows < 2:
        return None
    span = footer.time_span
    if span is None:
        time = pq.read_table(footer.path, columns=[TIME_COLUMN])[TIME_COLUMN].to_numpy()
        span = (float(np.nanmin(time)), float(np.nanmax(time)))
    return (span[1] - span[0]) / (footer.n_rows - 1)


def _short(
    lines: NDArray[np.int64],
    ids: NDArray[np.int64],
    starts: NDArray[np.int64],
    length: int,
    footers: Mapping[int, Footer],
) -> list[tuple[int, int, int]]:
    """Return (line, id, start) of the windows that reach beyond their file."""
    endless = np.iinfo(np.int64).max
    n_rows = np.array([footers[key].n_rows if key in footers else endless for key in ids.tolist()], np.int64)
    return [(int(lines[i]), int(ids[i]), int(starts[i])) for i in np.flatnonzero(starts > n_rows - length)]


def _last_starts(ids: NDArray[np.int64], starts: NDArray[np.int64]) -> dict[int, int]:
    last = pd.Series(starts).groupby(ids).max()
    return {int(key): int(start) for key, start in zip(last.index, last, strict=True)}


def _rate_of(n_rows: int, duration_s: float) -> int | None:
    """Return the usual sampling rate, other than ours, at which so many rows are just so many seconds."""
    return next((rate for rate in _OTHER_RATES_HZ if n_rows == round(rate * duration_s)), None)


def _common_other_rate(ids: NDArray[np.int64], starts: NDArray[np.int64], footers: Mapping[int, Footer]) -> int | None:
    """Return the higher rate at which all recordings are just as long as their windows need.

    A recording at a higher rate is long enough and would be read at the wrong speed without a word. One alone
    may have that length by chance, several do not.
    """
    if len(footers) < 2:
        return None
    last = _last_starts(ids, starts)
    rates = {_rate_of(footer.n_rows, WINDOW_S + last[key] / SFREQ) for key, footer in footers.items()}
    rate = rates.pop() if len(rates) == 1 else None
    return rate if rate and rate > SFREQ else None
