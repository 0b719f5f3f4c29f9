"""How a store is built, so that it may be interrupted at any time.

All sizes are known from the footers. The raw file is laid out in a partial folder and filled recording by
recording; a journal names those that are safe on disk, and the next run goes on from it. When all is there the
folder gets its name in one step.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import suppress
from functools import partial as bound
from pathlib import Path
from typing import Any

import numpy as np

from hbac.common.errors import UserError
from hbac.recordings.converting import Converted, convert
from hbac.recordings.origins import ORIGINS_NAME, write_origins
from hbac.recordings.plan import Plan
from hbac.recordings.problems import SHOWN, Problems
from hbac.recordings.store import DATA_NAME, FORMAT_VERSION, INDEX_NAME, write_index

Progress = Callable[[int, int], None]
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

JOURNAL_NAME = "journal.txt"
# A kill loses at most so much work; each entry in the journal waits for the disk.
_SYNC_BYTES = 64 << 20


def _line(entry: Converted) -> str:
    text = json.dumps(vars(entry))
    return f"{zlib.crc32(text.encode()):08x} {text}\n"


def _entry(line: str) -> Converted | None:
    """Read a line, but not one that was being written when the run was killed, or was damaged since."""
    crc, _, text = line.removesuffix("\n").partition(" ")
    if not line.endswith("\n") or crc != f"{zlib.crc32(text.encode()):08x}":
        return None
    content = json.loads(text)
    entry: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
    return Converted(**entry)


def partial_of(folder: Path) -> Path:
    """Return where a store is built before it gets its name: ``<folder>.partial`` beside it."""
    return folder.with_name(f"{folder.name}.partial")


def write_store(plan: Plan, folder: Path, progress: Progress | None, n_threads: int) -> None:
    """Fill the partial folder, or what is left of it to fill, and give it its name. Whoever calls has the lock.

    `folder` must not exist; `progress` gets the bytes written so far and in all; `n_threads` files are converted at a
    time. A `UserError` where there is no room, or for all files that turn out to be damaged; an `OSError` where the
    disk fails meanwhile.
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
    _write_index(plan, partial, done)
    partial.replace(folder)
    (folder / JOURNAL_NAME).unlink()  # last: killed before the renaming, the next run needs it


def _resume(plan: Plan, partial: Path) -> dict[int, Converted]:
    """Return what an interrupted run left finished, by position; start afresh where it was another store's."""
    journal = partial / JOURNAL_NAME
    done: dict[int, Converted] = {}
    try:
        header, *lines = journal.read_text().splitlines(keepends=True)
        usable = header == f"{plan.fingerprint}\n" and (partial / DATA_NAME).stat().st_size == plan.n_bytes
        if usable:
            entries = [entry for entry in map(_entry, lines) if entry is not None]
            files = [(footer.size, footer.mtime_ns) for footer in plan.footers]
            done = {entry.position: entry for entry in entries if entry.source[:2] == files[entry.position]}
    except (OSError, ValueError, TypeError, IndexError):
        usable = False
    if not usable and partial.exists():
        _require_ours(partial)
        shutil.rmtree(partial)
    partial.mkdir(exist_ok=True)
    # Written anew: an entry appended behind a torn line would be lost.
    text = "".join([f"{plan.fingerprint}\n", *(_line(entry) for entry in done.values())])
    fresh = journal.with_suffix(".new")
    with fresh.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(journal)
    return done


def foreign_files(folder: Path) -> list[str]:
    """Name the files and folders that are no part of a store, finished or not."""
    names = (DATA_NAME, INDEX_NAME, ORIGINS_NAME, JOURNAL_NAME, Path(JOURNAL_NAME).with_suffix(".new").name)
    torn = tuple(f"{name}.partial-" for name in names)  # a kill may leave what was being written
    found = sorted(path.name for path in folder.iterdir())
    return [name for name in found if name not in names and not name.startswith(torn)]


def _require_ours(partial: Path) -> None:
    """Refuse a folder that is called like one of ours and holds something else: it is about to be removed."""
    others = foreign_files(partial) if partial.is_dir() else [partial.name]
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
    done: dict[int, Converted],
    progress: Progress | None,
    n_threads: int,
) -> None:
    """Convert what is not done yet, some files at a time; files that fail are reported when all are tried."""
    sizes = [length * plan.row_bytes for length in plan.lengths]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).tolist()
    written = sum(sizes[position] for position in done)
    if progress is not None:
        progress(written, plan.n_bytes)
    problems = Problems(f"files for the store {partial.with_suffix('')}")
    unsynced: list[Converted] = []
    pool = ThreadPoolExecutor(n_threads)
    jobs: dict[Future[Converted], int] = {
        pool.submit(_convert, plan, position, bound(_write_at, fd, offsets[position])): position
        for position in range(len(sizes))
        if position not in done
    }
    with (partial / JOURNAL_NAME).open("a") as journal:
        try:
            for job in as_completed(jobs):
                position = jobs.pop(job)
                try:
                    entry = job.result()
                except UserError as error:
                    problems.add("file", f"{plan.footers[position].path}: {error}")
                    if len(problems) >= SHOWN:  # a data set in volts need not be read to its end
                        break
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


def _convert(plan: Plan, position: int, write: Callable[[memoryview, int], None]) -> Converted:
    return convert(plan.footers[position], plan.names[position], plan.kind, plan.declared, position, write)


def _write_at(fd: int, base: int, content: memoryview, offset: int) -> None:
    offset += base
    while content:
        n = os.pwrite(fd, content, offset)
        content, offset = content[n:], offset + n


def _commit(unsynced: list[Converted], fd: int, journal: int) -> None:
    """Write to the journal what is safe on disk, in this order."""
    os.fsync(fd)
    os.write(journal, "".join(_line(entry) for entry in unsynced).encode())
    os.fsync(journal)
    unsynced.clear()


def _write_index(plan: Plan, folder: Path, done: Mapping[int, Converted]) -> None:
    entries = [done[position] for position in range(len(plan.ids))]
    n_columns = len(plan.columns)
    packed = [np.frombuffer(bytes.fromhex(entry.empty), np.uint8) for entry in entries]
    arrays = {
        "ids": np.array(plan.ids, np.int64),
        "lengths": np.array(plan.lengths, np.int64),
        "empty": np.stack([np.unpackbits(bits, count=n_columns).astype(bool) for bits in packed]),
        "looks": np.array([entry.looks for entry in entries], np.int64),
        "crc": np.array([crc for entry in entries for crc in entry.crc], np.uint32),
    }
    content = hashlib.sha256(json.dumps([plan.kind, plan.columns, plan.ids, plan.lengths]).encode())
    for entry in entries:
        content.update(bytes.fromhex(entry.sha256))
    header = {
        "format_version": FORMAT_VERSION,
        "kind": plan.kind,
        "columns": plan.columns,
        "fingerprint": plan.fingerprint,
        "content": content.hexdigest(),
    }
    write_index(folder / INDEX_NAME, header, arrays)
    write_origins(folder, [entry.source for entry in entries])
