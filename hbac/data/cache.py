"""What the front-end makes of each label row, computed once and kept on disk.

A front-end has nothing to learn, so that its output is the same in each epoch and fold as long as no augmentation comes
before it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
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

_BATCH = 32  # rows computed at a time; a resumed file goes on at a multiple of it, and gets the same bits
_LARGEST_HALF = 65504.0


@dataclass(frozen=True)
class FeatureCache:
    """A file of float16 features, one record for each label row of a part.

    float16 rounds by at most 2⁻¹¹ of a value, as the store does.

    Parameters
    ----------
    path : Path
        The finished file.
    shape : tuple of int
        Of one row's features.
    """

    path: Path
    shape: tuple[int, ...]

    def copy(self, row: NDArray[np.int64]) -> Tensor:
        """Read some rows; as `hbac.data.windows.Copies.copy`."""
        features = np.empty((len(row), *self.shape), np.float16)
        # Read, not mapped: pages of a map would count as this process's memory, as many as the file has.
        with self.path.open("rb", buffering=0) as file:
            for record, position in zip(features, row, strict=True):
                file.seek(int(position) * record.nbytes)
                file.readinto(record.reshape(-1).view(np.uint8))
        return torch.from_numpy(features)


def feature_cache(
    folder: Path,
    rows: WindowDataset,
    fingerprint: str,
    front_end: nn.Module,
    features: Callable[[Mapping[str, Tensor]], Tensor],
) -> FeatureCache:
    """Open a cache, after making what is missing of it.

    Parameters
    ----------
    folder : Path
        Folder of all caches.
    rows : WindowDataset
        All label rows of a part, in order.
    fingerprint : str
        Of what the front-end reads of the part (`hbac.recordings.datasets.Part.fingerprint_of`).
    front_end : torch.nn.Module
        Its settings, and those of the modules in it, name the file.
    features : callable
        Maps the windows of each source to features (B, …).

    Returns
    -------
    FeatureCache
        Complete. Several processes may ask at once; one of them computes. A killed one is gone on with.

    Raises
    ------
    UserError
        When the disk has no room.
    """
    path = folder / f"{_name(fingerprint, len(rows), front_end)}.f16"
    sample = features(_windows(rows, range(1)))
    cache = FeatureCache(path, tuple(sample.shape[1:]))
    if path.is_file():
        return cache
    folder.mkdir(parents=True, exist_ok=True)
    with locked(path.with_suffix(".lock")):
        if not path.is_file():
            _fill(path, rows, sample[0].numel() * 2, features)
    return cache


def _fill(path: Path, rows: WindowDataset, row_bytes: int, features: Callable[[Mapping[str, Tensor]], Tensor]) -> None:
    partial = path.with_suffix(".partial")
    done = partial.stat().st_size // (row_bytes * _BATCH) * _BATCH if partial.is_file() else 0
    needed, free = (len(rows) - done) * row_bytes, shutil.disk_usage(path.parent).free
    if needed > free:
        raise UserError(f"{path.parent}: data.cache needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free")
    try:
        with partial.open("ab") as file, progress(f"caching {len(rows) * row_bytes / 1e9:.1f} GB of input") as report:
            file.truncate(done * row_bytes)
            for start in range(done, len(rows), _BATCH):
                report(start, len(rows))
                x = features(_windows(rows, range(start, min(start + _BATCH, len(rows)))))
                file.write(x.clamp(-_LARGEST_HALF, _LARGEST_HALF).half().cpu().numpy().tobytes())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(f"{partial}: cannot be written: {error.strerror}") from None
    partial.replace(path)


def _windows(rows: WindowDataset, positions: range) -> dict[str, Tensor]:
    batch = rows.__getitems__(positions)
    return {name: batch[name] for name in rows.sources}


def _name(fingerprint: str, n_rows: int, front_end: nn.Module) -> str:
    settings = [
        (name, type(module).__name__, module.settings)
        for name, module in front_end.named_modules()
        if hasattr(module, "settings")
    ]
    described = json.dumps([fingerprint, n_rows, settings], sort_keys=True, default=str)
    return hashlib.sha256(described.encode()).hexdigest()[:16]
