"""What the front-end makes of each label row, computed once and kept on disk.

A front-end has nothing to learn, so that its output is the same in each epoch and fold as long as no augmentation comes
before it. Of signals the filtered electrodes are kept, which serve every montage and can still be augmented. Beside the
file of features stands one of checksums, a CRC-32 for each row, which is compared whenever the row is read.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hbac.common.errors import UserError
from hbac.common.locks import locked
from hbac.common.progress import progress
from hbac.data.windows import WindowDataset

log = logging.getLogger("hbac.data")

_BATCH = 32  # rows computed at a time; a resumed file goes on at a multiple of it, and gets the same bits
_LARGEST_HALF = 65504.0
_CRC, _PARTIAL_CRC = ".crc", ".crc-partial"


@dataclass(frozen=True)
class FeatureCache:
    """A file of float16 features, one record for each label row of a part.

    float16 rounds by at most 2⁻¹¹ of a value, as the store does.
    """

    path: Path  # the finished file
    shape: tuple[int, ...]  # of one row's features
    # (n_rows,), a checksum of each row; None for a file of an earlier version, which is read as it is.
    crc: NDArray[np.uint32] | None = None

    def copy(self, row: NDArray[np.int64]) -> Tensor:
        """Copy the features of label rows at these positions, float16, shape (B, …).

        Where they are not what was written, the file is removed, to be made again by the next run, and a `UserError`
        says so.
        """
        features = np.empty((len(row), *self.shape), np.float16)
        # Read, not mapped: pages of a map would count as this process's memory, as many as the file has.
        with self.path.open("rb", buffering=0) as file:
            for record, position in zip(features, row.tolist(), strict=True):
                target = record.reshape(-1).view(np.uint8)
                file.seek(position * record.nbytes)
                n_read = file.readinto(target)
                if n_read != record.nbytes or (self.crc is not None and zlib.crc32(target) != self.crc[position]):
                    with suppress(OSError):
                        self.path.unlink()
                    raise UserError(
                        f"{self.path}: row {position} is not what was written: damaged, by the disk or by another "
                        "program; the next run makes it again"
                    )
        return torch.from_numpy(features)


def feature_cache(
    folder: Path,
    rows: WindowDataset,
    fingerprint: str,
    front_end: nn.Module,
    features: Callable[[Mapping[str, Tensor]], Tensor],
) -> FeatureCache:
    """Open a cache in the folder of all caches, after making what is missing of it.

    Several processes may ask at once; one of them computes. A killed one is gone on with. `rows` are all label rows of
    a part, `fingerprint` is of what the front-end reads of it (`hbac.recordings.datasets.Part.fingerprint_of`). The
    settings of the front-end, and of the modules in it, name the file; where it has ``filter_settings``, those alone.
    `features` maps the windows of each source to (B, …).
    """
    path = folder / f"{_name(fingerprint, len(rows), front_end)}.f16"
    sample = features(_windows(rows, range(1)))
    shape, row_bytes = tuple(sample.shape[1:]), sample[0].numel() * 2
    if (found := _opened(path, shape, row_bytes, len(rows))) is not None:
        return found
    folder.mkdir(parents=True, exist_ok=True)
    with locked(path.with_suffix(".lock")):
        if (found := _opened(path, shape, row_bytes, len(rows))) is None:
            _fill(path, rows, row_bytes, features)
    return found or FeatureCache(path, shape, _checksums(path.with_suffix(_CRC)))


def _opened(path: Path, shape: tuple[int, ...], row_bytes: int, n_rows: int) -> FeatureCache | None:
    if not path.is_file():
        return None
    crc = _checksums(path.with_suffix(_CRC)) if path.with_suffix(_CRC).is_file() else None
    if path.stat().st_size == row_bytes * n_rows and (crc is None or len(crc) == n_rows):
        return FeatureCache(path, shape, crc)
    log.warning("%s is damaged (%d bytes, must be %d): made again", path, path.stat().st_size, row_bytes * n_rows)
    return None


def _checksums(path: Path) -> NDArray[np.uint32]:
    content = path.read_bytes()
    return np.frombuffer(content[: len(content) // 4 * 4], "<u4")


def _sound(partial: Path, row_bytes: int) -> NDArray[np.uint32]:
    """Return the checksums of whole batches that an interrupted run has left; what is behind them is made anew."""
    crc_file = partial.with_suffix(_PARTIAL_CRC)
    if not (partial.is_file() and crc_file.is_file()):
        return np.zeros(0, np.uint32)
    crc = _checksums(crc_file)
    n = 0
    with partial.open("rb") as file:
        while n < len(crc) and zlib.crc32(file.read(row_bytes)) == crc[n]:
            n += 1
    return crc[: n // _BATCH * _BATCH]


def _fill(path: Path, rows: WindowDataset, row_bytes: int, features: Callable[[Mapping[str, Tensor]], Tensor]) -> None:
    partial = path.with_suffix(".partial")
    crc = _sound(partial, row_bytes)
    done = len(crc)
    needed, free = (len(rows) - done) * row_bytes, shutil.disk_usage(path.parent).free
    if needed > free:
        raise UserError(f"{path.parent}: data.cache needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free")
    try:
        with (
            partial.open("ab") as file,
            partial.with_suffix(_PARTIAL_CRC).open("wb") as crc_file,
            progress(f"caching {len(rows) * row_bytes / 1e9:.1f} GB of input") as tell,
        ):
            file.truncate(done * row_bytes)
            crc_file.write(crc.astype("<u4").tobytes())
            for start in range(done, len(rows), _BATCH):
                tell(start, len(rows))
                x = features(_windows(rows, range(start, min(start + _BATCH, len(rows)))))
                records = x.clamp(-_LARGEST_HALF, _LARGEST_HALF).half().cpu().numpy()
                file.write(records.tobytes())
                file.flush()
                crc_file.write(np.array([zlib.crc32(record.tobytes()) for record in records], "<u4").tobytes())
                crc_file.flush()
            os.fsync(file.fileno())
            os.fsync(crc_file.fileno())
        partial.with_suffix(_PARTIAL_CRC).replace(path.with_suffix(_CRC))
    except OSError as error:
        raise UserError(f"{partial}: cannot be written: {error.strerror}") from None
    partial.replace(path)


def _windows(rows: WindowDataset, positions: range) -> dict[str, Tensor]:
    batch = rows.__getitems__(positions)
    return {name: batch[name] for name in rows.sources}


def _name(fingerprint: str, n_rows: int, front_end: nn.Module) -> str:
    settings = [
        (name, type(module).__name__, getattr(module, "filter_settings", module.settings))
        for name, module in front_end.named_modules()
        if hasattr(module, "settings")
    ]
    described = json.dumps([fingerprint, n_rows, settings], sort_keys=True, default=str)
    return hashlib.sha256(described.encode()).hexdigest()[:16]
