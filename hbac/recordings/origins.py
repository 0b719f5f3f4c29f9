"""What a store was made from: size, time of change and hash of each file, so that rewritten ones are noticed.

Size and time are looked at whenever a store is opened, at no cost; only a file of which they have changed is read
again, and it is its content that counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from hbac.common.errors import UserError
from hbac.common.files import hash_of_file, whole_file, with_digest, without_digest
from hbac.recordings.footers import Footer

ORIGINS_NAME = "origins.safetensors"


def write_origins(folder: Path, files: Sequence[tuple[int, int, str]]) -> None:
    """Write what a store was made from: size, time of change in ns and hash of each file.

    In the order of the store's ids.
    """
    arrays: dict[str, NDArray[np.generic]] = {
        "size": np.array([size for size, _, _ in files], np.int64),
        "mtime_ns": np.array([mtime_ns for _, mtime_ns, _ in files], np.int64),
        "sha256": np.array([list(bytes.fromhex(digest)) for _, _, digest in files], np.uint8),
    }
    with whole_file(folder / ORIGINS_NAME) as partial:
        partial.write_bytes(with_digest(save(arrays)))


def changed_files(folder: Path, footers: Sequence[Footer], n_threads: int = 4) -> list[Path]:
    """Find the files that are not what a store was made from; none for one of an earlier version, which did not know.

    `footers` are those of the files as they are now, in the order of the store's ids. Where all have the content that
    they had, though some were copied or touched since, that is noted, and they are not read again next time.
    """
    try:
        content = without_digest((folder / ORIGINS_NAME).read_bytes())
    except OSError:
        return []
    try:
        if content is None:
            raise ValueError("damaged")
        arrays = load(content)
        known = list(zip(*(arrays[name].tolist() for name in ("size", "mtime_ns", "sha256")), strict=True))
        hashes = [bytes(digest).hex() for _, _, digest in known]
        unsure = [i for i, f in enumerate(footers) if tuple(known[i][:2]) != (f.size, f.mtime_ns)]
    except (SafetensorError, KeyError, ValueError, IndexError):
        return [folder / ORIGINS_NAME]  # nobody knows: made again
    if not unsure:
        return []
    try:
        with ThreadPoolExecutor(n_threads) as pool:
            found = list(pool.map(hash_of_file, [footers[i].path for i in unsure]))
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read: {error.strerror}") from error
    changed = [footers[i].path for i, digest in zip(unsure, found, strict=True) if digest != hashes[i]]
    if not changed:
        try:
            write_origins(folder, [(f.size, f.mtime_ns, h) for f, h in zip(footers, hashes, strict=True)])
        except UserError:
            return []  # a store that may not be written to is as good
    return changed
