"""A store of recordings as it lies on disk, opened: many recordings behind one another in one raw file.

A store is a folder. ``recordings.f16`` holds the rows of all recordings, float16, C order, in rising order of the
ids. ``index.safetensors`` says which rows are whose, with a checksum of each block of 128 KiB; ``origins.safetensors``
what they were made from. Opening one costs milliseconds however large it is; samples are read when they are asked for,
each block is compared with its checksum the first time, and what the operating system keeps of them in memory it takes
back when others need it.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import weakref
import zlib
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from hbac.common.errors import UserError

FORMAT_VERSION = 2
DATA_NAME = "recordings.f16"
INDEX_NAME = "index.safetensors"
ITEM_BYTES = 2
BLOCK_BYTES = 1 << 17
_UNCHECKED = 1  # the format before there were blocks; still read


class Store:
    """Recordings of one kind, read-only; made by `hbac.recordings.dataset_stores.build_store`.

    Pickled, it is its folder's name: a worker process opens it anew. Forked, it may be used as it is, since reading
    moves no file position that processes would share. A `UserError` where the folder is no store, or a damaged one.
    """

    folder: Path
    kind: str  # eeg or spectrogram
    columns: tuple[str, ...]  # channels, or regions and frequencies
    ids: NDArray[np.int64]  # (n_ids,), rising
    lengths: NDArray[np.int64]  # (n_ids,), rows of each recording
    empty: NDArray[np.bool_]  # (n_ids, n_columns): a recording's column is NaN throughout
    looks: NDArray[np.int64]  # (n_ids, 6): how many windows of each EEG look like what (`hbac.recordings.amplitudes`)
    fingerprint: str  # hex sha256 of which files the store was made from
    content: str  # hex sha256 of what is in it

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        header, arrays = _read_index(self.folder)
        self.kind = header["kind"]
        self.columns = tuple(header["columns"])
        self.fingerprint = header["fingerprint"]
        self.content = header.get("content", self.fingerprint)
        self.ids, self.lengths, self.empty = arrays["ids"], arrays["lengths"], arrays["empty"]
        self.looks = arrays["looks"]
        self._crc = arrays["crc"]
        ends = np.cumsum(self.lengths)
        self._first = ends - self.lengths
        self.rows_total = int(ends[-1]) if len(ends) else 0
        self._row_bytes = ITEM_BYTES * len(self.columns)
        # Of a store of the earlier format one block, and checksum, is a whole recording: too much to check on the way.
        self._checked = header["format_version"] != _UNCHECKED
        self._block_rows = max(1, BLOCK_BYTES // self._row_bytes) if self._checked else max(1, self.rows_total)
        n_blocks = -(-self.lengths // self._block_rows)
        self._first_block = np.cumsum(n_blocks) - n_blocks
        if len(self._crc) != n_blocks.sum():
            raise _damaged(self.folder, f"{self.folder / INDEX_NAME} has {len(self._crc):,} checksums")
        self._sound = np.zeros(len(self._crc), bool)
        path = self.folder / DATA_NAME
        try:
            self._fd = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise _damaged(self.folder, f"{path} cannot be opened: {error.strerror}") from error
        weakref.finalize(self, os.close, self._fd)
        size, expected = os.fstat(self._fd).st_size, self.rows_total * self._row_bytes
        if size != expected:
            raise _damaged(self.folder, f"{path} has {size:,} bytes, its index says {expected:,}")

    def __reduce__(self) -> tuple[type[Store], tuple[Path]]:
        return Store, (self.folder,)

    def __repr__(self) -> str:
        gigabytes = self.rows_total * self._row_bytes / 1e9
        return f"Store({self.folder}: {len(self.ids)} of {self.kind}, {gigabytes:.3g} GB)"

    @cached_property
    def rows(self) -> NDArray[np.float16]:
        """All rows as one read-only map, shape (rows_total, n_columns)."""
        shape = (self.rows_total, len(self.columns))
        mapped = mmap.mmap(self._fd, 0, access=mmap.ACCESS_READ)
        return np.frombuffer(mapped, np.float16).reshape(shape)

    def n_rows(self, recording_id: int) -> int:
        """Return how many rows a recording, one of `ids`, has."""
        return int(self.lengths[self._positions(np.array([recording_id], np.int64))[0]])

    def window(self, recording_id: int, start: int, n: int) -> NDArray[np.float16]:
        """Return a read-only view (n, n_columns) of `n` rows from `start` on, without copying.

        A `KeyError` where the store has no such recording, an `IndexError` where the rows are not all in it.
        """
        row = int(self.rows_of([recording_id], [start], n)[0])
        self._check(recording_id, start, n)
        return self.rows[row : row + n]

    def copy_windows(self, ids: ArrayLike, starts: ArrayLike, n: int) -> NDArray[np.float16]:
        """Copy windows of `n` rows, one behind the other, to (B, n, n_columns): what feeds training.

        Rows go from the file's pages straight to their place; nothing stays mapped, so the memory that the process
        shows does not grow with what it has read. Errors are as of `window`, and a `UserError` where rows are not what
        was stored.
        """
        rows = self.rows_of(ids, starts, n)
        for recording_id, start in zip(np.asarray(ids).tolist(), np.asarray(starts).tolist(), strict=True):
            self._check(int(recording_id), int(start), n)
        windows = np.empty((len(rows), n, len(self.columns)), np.float16)
        if windows.size:
            for window, row in zip(windows, rows.tolist(), strict=True):
                self._read_into(window.data.cast("B"), row * self._row_bytes)
        return windows

    def rows_of(self, ids: ArrayLike, starts: ArrayLike, n: int) -> NDArray[np.int64]:
        """Return where windows of `n` rows begin among all `rows`: int64, shape (B,); as `copy_windows` takes them."""
        ids, starts = np.asarray(ids, np.int64), np.asarray(starts, np.int64)
        positions = self._positions(ids)
        lengths = self.lengths[positions]
        bad = (starts < 0) | (starts + n > lengths)
        if n < 0 or bad.any():
            b = int(np.argmax(bad))
            what = f"rows {starts[b]} to {starts[b] + n} of recording {ids[b]}"
            raise IndexError(f"{what}, which has {lengths[b]} rows, in {self.folder}")
        rows: NDArray[np.int64] = self._first[positions] + starts
        return rows

    def damaged_ids(self) -> list[int]:
        """Read everything, and return the recordings whose bytes have changed since the store was made."""
        damaged = []
        for recording_id, length in zip(self.ids.tolist(), self.lengths.tolist(), strict=True):
            try:
                self._compare(recording_id, 0, length)
            except UserError:
                damaged.append(recording_id)
        return damaged

    def _check(self, recording_id: int, start: int, n: int) -> None:
        """Compare blocks that have not been read yet with their checksums; damage ends the store."""
        if not self._checked:
            return
        try:
            self._compare(recording_id, start, n)
        except UserError:
            discard(self.folder)
            raise

    def _compare(self, recording_id: int, start: int, n: int) -> None:
        position = int(np.searchsorted(self.ids, recording_id))
        length, first_row = int(self.lengths[position]), int(self._first[position])
        first = start // self._block_rows
        numbers = int(self._first_block[position]) + np.arange(first, -(-(start + n) // self._block_rows))
        for number in numbers[~self._sound[numbers]].tolist():
            begin = (number - int(self._first_block[position])) * self._block_rows
            end = min(begin + self._block_rows, length)
            crc = 0
            for row in range(begin, end, 1 << 16):
                buffer = bytearray((min(end, row + (1 << 16)) - row) * self._row_bytes)
                self._read_into(memoryview(buffer), (first_row + row) * self._row_bytes)
                crc = zlib.crc32(buffer, crc)
            if crc != int(self._crc[number]):
                where = f"rows {begin:,} to {end:,} of recording {recording_id} in {self.folder / DATA_NAME}"
                raise UserError(
                    f"{where} are not what was stored (CRC): the store is damaged, by the disk or by another program; "
                    "the next run builds it again"
                )
            self._sound[number] = True

    def _read_into(self, target: memoryview, offset: int) -> None:
        while target:
            n = os.preadv(self._fd, [target], offset)  # may read less than asked for, beyond 2 GB it must
            if n <= 0:
                raise _damaged(self.folder, f"{self.folder / DATA_NAME} ends before byte {offset:,}")
            target, offset = target[n:], offset + n

    def _positions(self, ids: NDArray[np.int64]) -> NDArray[np.intp]:
        positions = np.searchsorted(self.ids, ids)
        known = self.ids.take(positions, mode="clip") == ids if len(self.ids) else np.zeros(len(ids), bool)
        if not known.all():
            raise KeyError(f"no recording {ids[~known][0]} in {self.folder}")
        return positions


class DamagedStoreError(UserError):
    """A store that has to be built again."""


def _damaged(folder: Path, what: str) -> UserError:
    return DamagedStoreError(f"{what}: the store is damaged; delete the folder {folder}, the next run builds it again")


def discard(folder: Path) -> None:
    """Take the index away from a store, so that the next run builds it again; if it may be written to."""
    with suppress(OSError):
        (folder / INDEX_NAME).unlink(missing_ok=True)


def write_index(path: Path, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write the index of a store, a header of plain values and arrays by name, with a hash of itself."""
    # One entry, for several would come in an order of chance, and the same store would not be the same bytes.
    text = json.dumps({**header, "index": _hash_of_index(header, arrays)})
    with path.open("wb") as file:  # not by safetensors itself, which has another error for a full disk
        file.write(save(dict(arrays), metadata={"store": text}))
        file.flush()
        os.fsync(file.fileno())


def _hash_of_index(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256(json.dumps({key: value for key, value in header.items() if key != "index"}).encode())
    for name in sorted(arrays):
        digest.update(json.dumps([name, str(arrays[name].dtype), arrays[name].shape]).encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()


def _read_index(folder: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    path = folder / INDEX_NAME
    if not path.is_file():
        raise DamagedStoreError(f"{folder} is no store: {INDEX_NAME} is missing")
    try:
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {})["store"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if header["format_version"] == _UNCHECKED:
            return header, {**arrays, "looks": np.zeros((len(arrays["ids"]), 0), np.int64)}
        if header["format_version"] != FORMAT_VERSION:
            found = f"format version {header['format_version']}, this is {FORMAT_VERSION}"
            raise UserError(f"{path}: {found}; delete the folder {folder}, the next run builds it again")
        if header["index"] != _hash_of_index(header, arrays):
            raise _damaged(folder, f"{path} is not what was written")
        return header, arrays
    except (SafetensorError, KeyError, TypeError, OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise _damaged(folder, f"{path} cannot be read ({error})") from error
