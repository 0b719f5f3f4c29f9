"""How a store is built, so that it may be interrupted at any time.

All sizes are known from the footers. The raw file is laid out in a partial folder and filled recording by
recording; a journal names those that are safe on disk, and the next run goes on from it. When all is there the
folder gets its name in one step.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors.numpy import save_file

from hbac.common.errors import UserError
from hbac.recordings.mapped import DATA_NAME, FORMAT_VERSION, INDEX_NAME
from hbac.recordings.plan import Plan
from hbac.recordings.problems import Problems

Progress = Callable[[int, int], None]
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_JOURNAL = "journal.txt"
# A kill loses at most so much work; each entry in the journal waits for the disk.
_SYNC_BYTES = 64 << 20
# What is decoded at a time in each thread.
_BATCH_BYTES = 8 << 20
# Of each column at a time; without it a column of a whole row group is held.
_READ_BYTES = 1 << 16
_FLOAT16_MAX = np.float16(65504)


@dataclass(frozen=True)
class _Done:
    """One recording that is written: its place in the plan, checksum, and which columns are NaN throughout."""

    position: int
    crc: int
    empty: NDArray[np.bool_]

    def line(self) -> str:
        return f"{self.position} {self.crc} {np.packbits(self.empty).tobytes().hex()}\n"

    @classmethod
    def parse(cls, line: str, n_columns: int) -> _Done:
        position, crc, bits = line.split()
        packed = np.frombuffer(bytes.fromhex(bits), np.uint8)
        return cls(int(position), int(crc), np.unpackbits(packed, count=n_columns).astype(bool))


def partial_of(folder: Path) -> Path:
    """Return where a store is built before it gets its name.

    Parameters
    ----------
    folder : Path
        The store's folder.

    Returns
    -------
    Path
        ``<folder>.partial`` beside it.
    """
    return folder.with_name(f"{folder.name}.partial")


def build(plan: Plan, folder: Path, progress: Progress | None, n_threads: int) -> None:
    """Fill the partial folder, or what is left of it to fill, and give it its name. Whoever calls has the lock.

    Parameters
    ----------
    plan : Plan
        What goes where.
    folder : Path
        The store's folder; must not exist.
    progress : callable or None
        Called with the bytes written so far and in all.
    n_threads : int
        Files converted at a time.

    Raises
    ------
    UserError
        When there is no room, or for all files that turn out to be damaged.
    OSError
        When the disk fails or fills up meanwhile.
    """
    partial = partial_of(folder)
    done = _resume(plan, partial)
    data = partial / DATA_NAME
    _check_room(plan, data)
    fd = os.open(data, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        os.ftruncate(fd, plan.n_bytes)
        _fill(plan, partial, fd, done, progress, n_threads)
        os.fsync(fd)
    finally:
        os.close(fd)
    _write_index(plan, partial / INDEX_NAME, done)
    partial.replace(folder)
    (folder / _JOURNAL).unlink()  # last: killed before the renaming, the next run needs it


def _resume(plan: Plan, partial: Path) -> dict[int, _Done]:
    """Return what an interrupted run left finished, by position; start afresh where it was another store's."""
    journal = partial / _JOURNAL
    done: dict[int, _Done] = {}
    try:
        header, *lines = journal.read_text().splitlines(keepends=True)
        usable = header == f"{plan.fingerprint}\n" and (partial / DATA_NAME).stat().st_size == plan.n_bytes
        if usable:
            # A line without its end was being written when the run was killed.
            entries = [_Done.parse(line, len(plan.columns)) for line in lines if line.endswith("\n")]
            done = {entry.position: entry for entry in entries}
    except (OSError, ValueError):
        usable = False
    if not usable and partial.exists():
        _require_ours(partial)
        shutil.rmtree(partial)
    partial.mkdir(exist_ok=True)
    # Written anew: an entry appended behind a torn line would be lost.
    text = "".join([f"{plan.fingerprint}\n", *(entry.line() for entry in done.values())])
    fresh = journal.with_suffix(".new")
    with fresh.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(journal)
    return done


def _require_ours(partial: Path) -> None:
    """Refuse a folder that is called like one of ours and holds something else: it is about to be removed."""
    ours = {DATA_NAME, INDEX_NAME, _JOURNAL, Path(_JOURNAL).with_suffix(".new").name}
    others = [path.name for path in partial.iterdir() if path.name not in ours] if partial.is_dir() else [partial.name]
    if others:
        raise UserError(f"{partial}: {others[0]!r} is no part of an unfinished store; move it away")


def _check_room(plan: Plan, data: Path) -> None:
    written = data.stat().st_blocks * 512 if data.exists() else 0
    needed = plan.n_bytes - written
    free = shutil.disk_usage(data.parent).free
    if needed > free:
        if not written:
            shutil.rmtree(data.parent)
        raise UserError(
            f"the store {data.parent.with_suffix('')} needs {needed / 1e9:,.3f} GB of disk, "
            f"{free / 1e9:,.3f} GB are free: make room or choose another folder for the stores"
        )


def _fill(
    plan: Plan,
    partial: Path,
    fd: int,
    done: dict[int, _Done],
    progress: Progress | None,
    n_threads: int,
) -> None:
    """Convert what is not done yet, some files at a time; files that fail are reported when all are tried."""
    sizes = [footer.n_rows * plan.row_bytes for footer in plan.footers]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).tolist()
    written = sum(sizes[position] for position in done)
    if progress is not None:
        progress(written, plan.n_bytes)
    problems = Problems(f"files for the store {partial.with_suffix('')}")
    unsynced: list[_Done] = []
    pool = ThreadPoolExecutor(n_threads)
    jobs: dict[Future[_Done], int] = {
        pool.submit(_convert, plan, position, fd, offsets[position]): position
        for position in range(len(sizes))
        if position not in done
    }
    with (partial / _JOURNAL).open("a") as journal:
        try:
            for job in as_completed(jobs):
                position = jobs.pop(job)
                try:
                    entry = job.result()
                except UserError as error:
                    problems.add("unreadable file", f"{plan.footers[position].path}: {error}")
                    continue
                done[position] = entry
                unsynced.append(entry)
                written += sizes[position]
                if sum(sizes[entry.position] for entry in unsynced) >= _SYNC_BYTES:
                    _commit(unsynced, fd, journal.fileno())
                if progress is not None:
                    progress(written, plan.n_bytes)
        finally:
            # Also when the disk is full or somebody pressed Ctrl-C: what is finished need not be done again.
            pool.shutdown(wait=True, cancel_futures=True)
            with suppress(OSError):
                _commit(unsynced, fd, journal.fileno())
    problems.raise_if_any()


def _commit(unsynced: list[_Done], fd: int, journal: int) -> None:
    """Write to the journal what is safe on disk, in this order."""
    os.fsync(fd)
    os.write(journal, "".join(entry.line() for entry in unsynced).encode())
    os.fsync(journal)
    unsynced.clear()


def _convert(plan: Plan, position: int, fd: int, offset: int) -> _Done:
    """Copy one recording to its place, a batch of rows at a time."""
    footer, names = plan.footers[position], plan.names[position]
    n_columns = len(names)
    batch_rows = max(256, _BATCH_BYTES // (4 * n_columns))
    empty = np.ones(n_columns, bool)
    crc, n_rows = 0, 0
    for batch in _batches(footer.path, names, batch_rows):
        values = np.empty((n_columns, batch.num_rows), np.float32)
        with np.errstate(over="ignore"):
            for j, name in enumerate(names):
                values[j] = batch.column(name).to_numpy(zero_copy_only=False)
        rows = np.ascontiguousarray(_to_float16(values).T)
        empty &= np.isnan(values).all(axis=1)
        n_rows += len(rows)
        if n_rows > footer.n_rows:
            break
        target = memoryview(rows.data).cast("B")
        crc = zlib.crc32(target, crc)
        while target:
            n = os.pwrite(fd, target, offset)
            target, offset = target[n:], offset + n
    if n_rows != footer.n_rows:
        raise UserError(f"{n_rows} rows, its footer says {footer.n_rows}: changed while it was read?")
    return _Done(position, crc, empty)


def _batches(path: Path, names: tuple[str, ...], batch_rows: int) -> Iterator[Any]:
    """Yield a file's record batches; what goes wrong here is the source's fault, not the store's disk."""
    try:
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=_READ_BYTES) as file:
            yield from file.iter_batches(batch_rows, columns=list(names), use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"cannot be read: {error}") from error


def _to_float16(values: NDArray[np.float32]) -> NDArray[np.float16]:
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if np.isinf(half).any():
        half = np.clip(half, -_FLOAT16_MAX, _FLOAT16_MAX)
    return half


def _write_index(plan: Plan, path: Path, done: Mapping[int, _Done]) -> None:
    entries = [done[position] for position in range(len(plan.ids))]
    arrays = {
        "ids": np.array(plan.ids, np.int64),
        "lengths": np.array([footer.n_rows for footer in plan.footers], np.int64),
        "empty": np.stack([entry.empty for entry in entries]),
        "crc": np.array([entry.crc for entry in entries], np.uint32),
    }
    header = {
        "format_version": FORMAT_VERSION,
        "kind": plan.kind,
        "columns": plan.columns,
        "fingerprint": plan.fingerprint,
    }
    # One entry, for several would come in an order of chance, and the same store would not be the same bytes.
    save_file(arrays, path, metadata={"store": json.dumps(header)})
    with path.open("rb") as file:
        os.fsync(file.fileno())
