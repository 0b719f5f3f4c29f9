"""One recording on its way into a store: read a stretch at a time, checked by its samples, resampled, rounded."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hbac.common.errors import UserError
from hbac.common.files import hash_of_file
from hbac.recordings.amplitudes import N_LOOKS, VOLTS_BELOW, count_looks, looks_of
from hbac.recordings.declared import Declared
from hbac.recordings.footers import Footer
from hbac.recordings.outside import centred
from hbac.recordings.resample import resample
from hbac.recordings.store import BLOCK_BYTES, ITEM_BYTES
from hbac.recordings.timeline import Timeline, time_column
from hbac.vocabulary import WINDOW_SAMPLES

# What is decoded at a time in each thread.
_BATCH_BYTES = 8 << 20
# Of each column at a time; without it a column of a whole row group is held.
_READ_BYTES = 1 << 16
# Files up to this size are read at once; nearly all are.
_WHOLE_BYTES = 16 << 20
_FLOAT16_MAX = np.float32(65504)
# Values that torch copies in one thread: a builder's threads are as many as the cores already.
_SERIAL = 32_000
# Values that are transposed at a time, which stay in the processor's cache.
_TRANSPOSED = 1 << 18

# A stretch of a recording (columns, n), and the ends of its windows (`_ends_of_windows`).
Piece = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class Converted:
    """One recording that is written."""

    position: int  # in the plan
    source: tuple[int, int, str]  # size, time of change in ns and hash of the file that it was made from
    sha256: str  # of its stored rows
    crc: tuple[int, ...]  # CRC-32 of each of its blocks (`hbac.recordings.store.BLOCK_BYTES`)
    empty: str  # which columns are NaN throughout, packed to hexadecimal bits
    looks: tuple[int, ...]  # how many windows look like what (`hbac.recordings.amplitudes`)


def convert(
    footer: Footer,
    names: tuple[str | None, ...],
    kind: str,
    declared: Declared,
    position: int,
    write: Callable[[memoryview, int], None],
) -> Converted:
    """Copy one recording, a stretch at a time; returned are its hashes, and what the samples look like.

    `names` is what the file calls the store's columns, None where it has no such; `position` is the place in the plan;
    `write` is given bytes, and where they go, counted from the recording's first. A `UserError` where the file cannot
    be read, or cannot be what it should: its message has no path, the caller adds it.
    """
    n_columns = len(names)
    block_rows = rows_of_block(n_columns)
    empty = np.ones(n_columns, bool)
    looks = np.zeros(N_LOOKS, np.int64)
    digest, crcs, crc, n_rows = hashlib.sha256(), [], 0, 0
    content = _content(footer)
    pieces: Iterable[Piece] = _pieces(footer, content, names, kind, declared)
    if kind == "eeg":
        if declared.ratio != 1:
            pieces = _measured(resample((piece_CT for piece_CT, _, _ in pieces), declared.ratio))
        pieces = _counted(pieces, declared.n_resampled(footer.n_rows))
        if declared.fills(footer.n_rows):
            whole_CT = np.concatenate([piece_CT for piece_CT, _, _ in pieces], axis=1)
            pieces = _measured([centred(whole_CT, str(declared.outside))])
    else:
        pieces = _counted(pieces, footer.n_rows)
    for piece_CT, low_WC, high_WC in pieces:
        rows = memoryview(to_float16(piece_CT.T, np.stack([low_WC, high_WC])))  # type: ignore[arg-type]
        empty &= np.isnan(low_WC).all(axis=0)
        if kind == "eeg":
            looks += count_looks(looks_of(low_WC, high_WC))
        digest.update(rows)
        for start, stop in _parts(n_rows, len(rows), block_rows):
            crc = zlib.crc32(rows[start:stop], crc)
            if (n_rows + stop) % block_rows == 0:
                crcs.append(crc)
                crc = 0
        write(rows.cast("B"), n_rows * n_columns * ITEM_BYTES)
        n_rows += len(rows)
    if n_rows % block_rows:
        crcs.append(crc)
    source = (footer.size, footer.mtime_ns, _hash_of_source(footer, content))
    packed = np.packbits(empty).tobytes().hex()
    return Converted(position, source, digest.hexdigest(), tuple(crcs), packed, tuple(looks.tolist()))


def _measured(pieces: Iterable[NDArray[np.float32]]) -> Iterable[Piece]:
    return ((piece_CT, *_ends_of_windows(piece_CT)) for piece_CT in pieces)


def _ends_of_windows(piece_CT: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return least and largest value of each channel in each window, both (windows, channels); NaN where none is."""
    cuts = np.arange(0, max(1, piece_CT.shape[1] - WINDOW_SAMPLES // 2), WINDOW_SAMPLES)  # no window of a few samples
    return np.fmin.reduceat(piece_CT, cuts, axis=1).T, np.fmax.reduceat(piece_CT, cuts, axis=1).T


def _counted(pieces: Iterable[Piece], wanted: int) -> Iterator[Piece]:
    """Pass pieces on, as long as they are as many samples as the footer says."""
    n = 0
    for piece in pieces:
        n += piece[0].shape[1]
        if n > wanted:
            raise UserError("more rows than its footer says: changed while it was read?")
        yield piece
    if n != wanted:
        raise UserError(f"{n} rows, its footer says {wanted}: changed while it was read?")


def rows_of_block(n_columns: int) -> int:
    """Return how many rows of a store have one checksum."""
    return max(1, BLOCK_BYTES // (n_columns * ITEM_BYTES))


def _parts(before: int, n: int, block_rows: int) -> Iterator[tuple[int, int]]:
    """Cut rows where blocks end, having written some before."""
    start = 0
    while start < n:
        stop = min(n, start + block_rows - (before + start) % block_rows)
        yield start, stop
        start = stop


def _content(footer: Footer) -> bytes | None:
    """Read a file whole, to be decoded and hashed at once; None where it is large, and is read by parts, twice."""
    try:
        return footer.path.read_bytes() if footer.size <= _WHOLE_BYTES else None
    except OSError as error:
        raise UserError(f"cannot be read: {error}") from error


def _pieces(
    footer: Footer, content: bytes | None, names: tuple[str | None, ...], kind: str, declared: Declared
) -> Iterator[Piece]:
    """Yield stretches in microvolt or power, NaN where missing; check what only the samples tell."""
    found = [name for name in names if name is not None]
    time = time_column([(name, kind) for name, kind in footer.schema if name not in found])
    timeline = None if time is None else Timeline(time, kind, declared.rate_hz)
    batch_rows = max(256, _BATCH_BYTES // (4 * len(names)))
    factor = np.float32(declared.uv if kind == "eeg" else 1.0)
    peak, changes = 0.0, False
    for batch in _batches(content or footer.path, [*found, *([] if time is None else [time])], batch_rows):
        if not batch.num_rows:
            continue
        values_CT = np.empty((len(names), batch.num_rows), np.float32)
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        with np.errstate(over="ignore"):
            for values_T, name in zip(values_CT, names, strict=True):
                there = name is not None and not pa.types.is_null(columns[name].type)
                values_T[:] = columns[name].to_numpy(zero_copy_only=False) if there else np.nan
            if factor != 1:
                values_CT *= factor
        low_WC, high_WC = _ends_of_windows(values_CT)
        if np.isinf(low_WC).any() or np.isinf(high_WC).any():
            values_CT[np.isinf(values_CT)] = np.nan
            low_WC, high_WC = _ends_of_windows(values_CT)
        low, high = np.fmin.reduce(low_WC), np.fmax.reduce(high_WC)
        if timeline is not None:
            timeline.add(columns[time])
        if kind == "spectrogram" and (least := np.fmin.reduce(low)) < 0:
            raise UserError(f"values down to {least:g}: power is never below 0; these look like decibels or logarithms")
        if kind == "eeg" and declared.unit is None:
            peak = max(peak, float(np.fmax.reduce(np.maximum(-low, high))))
            changes = changes or bool((high > low).any())
        yield values_CT, low_WC, high_WC
    if timeline is not None:
        timeline.finish()
    if changes and peak < VOLTS_BELOW:
        raise UserError(
            f"no value above {peak:g}: this looks like volts, must be microvolts; dataset.unit=V (or mV) declares the "
            "unit of the files, dataset.unit=uV that it is microvolt"
        )


def _batches(source: Path | bytes, names: list[str], batch_rows: int) -> Iterator[Any]:
    """Yield a file's record batches; what goes wrong here is the source's fault, not the store's disk."""
    given, buffer_size = (source, _READ_BYTES) if isinstance(source, Path) else (pa.BufferReader(source), 0)
    try:
        with pq.ParquetFile(given, pre_buffer=False, buffer_size=buffer_size) as file:
            at_once = file.num_row_groups == 1 and file.metadata.num_rows <= batch_rows
            # The same batch for less: nothing is cut and joined.
            whole = file.read(names, use_threads=False).to_batches() if at_once else None
            for batch in whole or file.iter_batches(batch_rows, columns=names, use_threads=False):
                there = batch.schema.names
                if lost := [name for name in names if there.count(name) != 1]:
                    raise UserError(f"column {lost[0]} cannot be read by its name: damaged")
                yield batch
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise UserError(f"cannot be read: {error}") from error


def _hash_of_source(footer: Footer, content: bytes | None) -> str:
    if content is not None:
        return hashlib.sha256(content).hexdigest()
    try:
        return hash_of_file(footer.path)
    except OSError as error:
        raise UserError(f"cannot be read: {error}") from error


def to_float16(values: NDArray[np.float32], ends: NDArray[np.float32] | None = None) -> NDArray[np.float16]:
    """Round to what a store keeps; values beyond the range of float16 become its ends, NaN stays.

    `ends` are numbers of which the least and the largest are those of the values, where they are known.
    """
    import torch

    low, high = (f.reduce(values if ends is None else ends, axis=None, initial=np.nan) for f in (np.fmin, np.fmax))
    if low < -_FLOAT16_MAX or high > _FLOAT16_MAX:
        values = np.clip(values, -_FLOAT16_MAX, _FLOAT16_MAX)
    half = np.empty(values.shape, np.float16)
    rows = max(1, _TRANSPOSED // max(1, values[:1].size))
    for start in range(0, len(values), rows):
        # numpy transposes in less than half of torch's time, torch rounds in a tenth of numpy's
        in_order = torch.from_numpy(np.require(values[start : start + rows], np.float32, ["C", "W"]).reshape(-1))
        rounded = torch.from_numpy(half[start : start + rows].reshape(-1))
        for first in range(0, len(rounded), _SERIAL):
            rounded[first : first + _SERIAL].copy_(in_order[first : first + _SERIAL])
    return half
