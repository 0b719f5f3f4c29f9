"""What EEG and spectrogram files must be like, checked from their footers and the rows that point into them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hbac.recordings.columns import TIME_COLUMN, ColumnsError, columns_of, find_columns
from hbac.recordings.declared import UNDECLARED, UNITS_UV, Declared
from hbac.recordings.footers import Footer, Schema
from hbac.recordings.problems import Problems
from hbac.vocabulary import CENTRAL_S, SFREQ, SPECTROGRAM_ROW_S, SPECTROGRAM_ROWS, WINDOW_S, WINDOW_SAMPLES

log = logging.getLogger("hbac.recordings")

_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
# A column of type null has no value at all.
VALUE_TYPES = ("float", "double", "halffloat", *_INTEGERS, "null")
# What recorders and other data sets use; a recording that is just as long as its windows would be at one of
# these rates was not resampled.
_OTHER_RATES_HZ = (100, 125, 128, 250, 256, 400, 500, 512, 1000, 1024, 2000)


def check_eegs(
    rows: pd.DataFrame,
    starts: NDArray[np.int64],
    footers: Mapping[int, Footer],
    part: str,
    problems: Problems,
    declared: Declared = UNDECLARED,
) -> None:
    """Check EEG files: columns, types, rate and unit as far as footers tell, rows enough for every window.

    `rows` are indexed by the csv's lines, `starts` are the first samples of their windows; a test EEG has exactly one
    window's samples. Rows whose ``eeg_id`` has no footer are left alone (they were noted before). Faults go to
    `problems`.
    """
    sound = {}
    for key, footer in footers.items():
        where = _where(footer)
        if fault := _column_fault(footer.schema, "eeg"):
            problems.add("columns", f"{where}: {fault}")
        elif footer.sfreq is not None and abs(footer.sfreq - declared.rate_hz) > 1e-6:
            text = f"its metadata say {footer.sfreq:g} Hz, must be {declared.rate_hz:g} Hz"
            problems.add("sampling rate", f"{where}: {text}: dataset.sfreq={footer.sfreq:g} declares the rate")
        elif footer.unit is not None and footer.unit != (declared.unit or "uV"):
            text = f"its metadata say {footer.unit}, must be {declared.unit or 'uV'}"
            hint = f"dataset.unit={footer.unit} declares the unit" if footer.unit in UNITS_UV else "convert the file"
            problems.add("unit", f"{where}: {text}: {hint}")
        elif part == "test" and (fault := _test_fault(footer.n_rows, declared)):
            problems.add("number of rows", f"{where}: {footer.n_rows:,} rows, {fault}")
        else:
            sound[key] = footer
    if part == "test":
        return
    ids = rows["eeg_id"].to_numpy()
    if declared.sfreq is None and sound:
        _check_lengths(ids, starts, sound, part, problems, declared)
    lengths = {key: declared.n_stored(footer.n_rows) for key, footer in sound.items()}
    offset_name = "eeg_label_offset_seconds"
    last = _last_starts(ids, starts)
    for line, key, start in _short(rows.index.to_numpy(), ids, starts, WINDOW_SAMPLES, lengths):
        footer = sound[key]
        rate = _rate_of(footer.n_rows, WINDOW_S + last[key] / SFREQ)
        # In rows of the file, so that one can look there.
        scale, rate_hz = declared.rate_hz / SFREQ, declared.rate_hz
        hint = f"; it would be long enough as {rate} Hz: dataset.sfreq={rate} declares the rate" if rate else ""
        hint = hint if rate and rate < rate_hz else ""
        hint = hint or ("" if start else _fill_hint(footer.n_rows, declared))
        first, behind = round(start * scale), round((start + WINDOW_SAMPLES) * scale)
        text = (
            f"{offset_name} {start / SFREQ:g} needs the rows {first:,} to {behind:,} of "
            f"{_where(footer)}, which has {footer.n_rows:,} ({footer.n_rows / rate_hz:g} s at {rate_hz:g} Hz)"
        )
        problems.add("EEG too short", f"{part}.csv line {line}: {text}{hint}")


def _test_fault(n_rows: int, declared: Declared) -> str:
    """Say what is wrong with the number of rows of a test EEG, empty where nothing is."""
    spans_s = (WINDOW_S, CENTRAL_S) if declared.outside is not None else (WINDOW_S,)
    rates = {rate: span_s for span_s in spans_s if (rate := _rate_of(n_rows, span_s))}
    ours = n_rows in [round(span_s * declared.rate_hz) for span_s in spans_s]
    if declared.n_stored(n_rows) == WINDOW_SAMPLES and (ours or declared.sfreq is not None or not rates):
        return ""
    text = f"a test EEG has exactly {round(WINDOW_S * declared.rate_hz):,} (50 s at {declared.rate_hz:g} Hz)"
    for rate, span_s in rates.items():
        if rate != declared.rate_hz:
            text += f"; {span_s:g} s at {rate} Hz would have as many: dataset.sfreq={rate} declares the rate"
    return text + _fill_hint(n_rows, declared)


def _fill_hint(n_rows: int, declared: Declared) -> str:
    if declared.outside is not None or not declared.may_fill(n_rows):
        return ""
    return "; dataset.outside=reflected puts EEGs of 10 to 50 s in the middle of a window, mirrored at their ends"


def check_spectrograms(
    rows: pd.DataFrame,
    starts: NDArray[np.int64],
    footers: Mapping[int, Footer],
    part: str,
    problems: Problems,
) -> NDArray[np.bool_]:
    """Check spectrogram files: columns, types, rows enough for every window; arguments are as for `check_eegs`.

    Returned is a mask (n_rows,) of the rows whose window can be read.
    """
    sound = {}
    for key, footer in footers.items():
        if fault := _column_fault(footer.schema, "spectrogram"):
            problems.add("columns", f"{_where(footer)}: {fault}")
        else:
            sound[key] = footer
    ids = rows["spectrogram_id"].to_numpy()
    for line, key, start in _short(
        rows.index.to_numpy(), ids, starts, SPECTROGRAM_ROWS, {key: footer.n_rows for key, footer in sound.items()}
    ):
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
def value_columns(schema: Schema, columns: tuple[str, ...], kind: str) -> tuple[str | None, ...]:
    """Find the columns of a file by name; a `ColumnsError` where one is missing, twice, or holds no numbers.

    Cached, for nearly all files share a schema.
    """
    names = find_columns([name for name, _ in schema], columns, kind)
    types = dict(schema)
    wrong = [name for name in names if name is not None and types[name] not in VALUE_TYPES]
    if wrong:
        text = f"column {wrong[0]} is {types[wrong[0]]} ({len(wrong)} such), must be a floating point or whole number"
        raise ColumnsError(text)
    return names


@cache
def _column_fault(schema: Schema, kind: str) -> str:
    """Say what is wrong with a schema, empty where nothing is; cached, too."""
    try:
        value_columns(schema, columns_of(kind), kind)
    except ColumnsError as error:
        return str(error)
    time = dict(schema).get(TIME_COLUMN)
    if kind == "spectrogram" and time not in VALUE_TYPES:
        return (
            f"column {TIME_COLUMN!r} is {time}, must be a number of seconds" if time else f"no column {TIME_COLUMN!r}"
        )
    return ""


def _where(footer: Footer) -> str:
    return f"{footer.path.parent.name}/{footer.path.name}"


def _short(
    lines: NDArray[np.int64],
    ids: NDArray[np.int64],
    starts: NDArray[np.int64],
    length: int,
    n_rows: Mapping[int, int],
) -> list[tuple[int, int, int]]:
    """Return (line, id, start) of the windows that reach beyond their file."""
    endless = np.iinfo(np.int64).max
    there = np.array([n_rows.get(key, endless) for key in ids.tolist()], np.int64)
    return [(int(lines[i]), int(ids[i]), int(starts[i])) for i in np.flatnonzero(starts > there - length)]


def _last_starts(ids: NDArray[np.int64], starts: NDArray[np.int64]) -> dict[int, int]:
    last = pd.Series(starts).groupby(ids).max()
    return {int(key): int(start) for key, start in zip(last.index, last, strict=True)}


def _rate_of(n_rows: int, duration_s: float) -> int | None:
    """Return the usual sampling rate, other than ours, at which so many rows are just so many seconds."""
    return next((rate for rate in _OTHER_RATES_HZ if n_rows == round(rate * duration_s)), None)


def _exact_rates(
    ids: NDArray[np.int64], starts: NDArray[np.int64], footers: Mapping[int, Footer], ten_seconds: bool
) -> dict[int, int | None]:
    """Return for each recording the rate at which it is just as long as its windows need, if there is one.

    With ``ten_seconds`` also as long as what is labelled of a window.
    """
    ours, rates = round(SFREQ), {}
    for key, last in _last_starts(ids, starts).items():
        if key in footers:
            spans_s = [WINDOW_S + last / SFREQ, *([CENTRAL_S] if ten_seconds and not last else [])]
            n_rows = footers[key].n_rows
            found = [ours if n_rows == round(ours * span_s) else _rate_of(n_rows, span_s) for span_s in spans_s]
            rates[key] = ours if ours in found else next(filter(None, found), None)
    return rates


def _check_lengths(
    ids: NDArray[np.int64],
    starts: NDArray[np.int64],
    footers: Mapping[int, Footer],
    part: str,
    problems: Problems,
    declared: Declared,
) -> None:
    """Find recordings of another rate by their lengths: long enough, they would be read at the wrong speed.

    Where every recording ends with its last window at some usual rate, that is no chance. One of that length among
    recordings of any length may be one: it is counted in a warning.
    """
    fills = declared.outside is not None  # else those of a lower rate are too short
    rates = _exact_rates(ids, starts, footers, fills)
    other = {k: rate for k, rate in rates.items() if rate is not None and (rate > SFREQ or (fills and rate != SFREQ))}
    if not other:
        return
    found = sorted(set(other.values()))
    hint = (
        f"dataset.sfreq={found[0]} declares the rate of the files, dataset.sfreq={SFREQ:g} that they are as they should"
    )
    if len(other) == len(rates) and len(found) == 1:
        text = f"every EEG is exactly as long as its windows are at {found[0]} Hz, and not at {SFREQ:g} Hz"
        problems.add("sampling rate", f"{part}_eegs/: {text}: {hint}")
    elif None not in rates.values():
        for key, rate in other.items():
            text = f"{footers[key].n_rows:,} rows are just what its windows are at {rate} Hz, and not at {SFREQ:g} Hz"
            problems.add("sampling rate", f"{_where(footers[key])}: {text}: {hint}, or resample it")
    else:
        rates_hz = ", ".join(map(str, found))
        log.warning(
            "%d of %d EEGs are exactly as long as their windows are at %s Hz: if that is their rate, %s",
            len(other), len(rates), rates_hz, hint,
        )  # fmt: skip
