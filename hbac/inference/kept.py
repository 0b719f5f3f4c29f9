"""What is done of a prediction, chunk by chunk, so that one that was interrupted goes on where it stopped."""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import Timeout
from numpy.typing import NDArray

from hbac import __version__
from hbac.common.errors import UserError
from hbac.common.files import whole_file, with_digest, without_digest
from hbac.common.locks import locked

if TYPE_CHECKING:
    from hbac.inference.networks import Networks

log = logging.getLogger("hbac.infer")

Chunk = tuple[
    NDArray[np.float32], NDArray[np.int64]
]  # probabilities (runs, rows, 6), and what their windows looked like


@contextmanager
def keeping(kept: Path) -> Iterator[None]:
    """Make the folder and hold it; where it cannot be made, or another process holds it, a `UserError` says so."""
    try:
        kept.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{kept}: cannot be made: {error.strerror}") from None
    try:
        with locked(kept / ".lock", timeout_s=0):
            yield
    except Timeout:
        raise UserError(f"{kept}: another process is making this very prediction; wait for it") from None


def read_chunk(path: Path) -> Chunk | None:
    """Read probabilities and what their windows looked like; None for what is not there, or not what was written."""
    if not path.is_file():
        return None
    try:
        content = without_digest(path.read_bytes())
        if content is not None:
            file = io.BytesIO(content)
            return np.load(file, allow_pickle=False), np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        pass
    log.warning("%s is damaged: computed again", path)
    return None


def write_chunk(path: Path, prob_RNK: NDArray[np.float32], looks: NDArray[np.int64]) -> None:
    """Keep what is done, for `read_chunk`."""
    file = io.BytesIO()
    for array in (prob_RNK, looks):
        np.save(file, array, allow_pickle=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        partial.write_bytes(with_digest(file.getvalue()))


def chunk_path(kept: Path, first: int) -> Path:
    """Name the file of the chunk that begins at a row."""
    return kept / f"{first}.npy"


def kept_or(kept: Path | None, first: int, predict: Callable[[], Chunk]) -> Chunk:
    """Return the chunk that begins at a row as it is kept, or predict and keep it; without a folder only predict it."""
    if kept is None:
        return predict()
    chunk = read_chunk(path := chunk_path(kept, first))
    if chunk is None:
        chunk = predict()
        write_chunk(path, *chunk)
    return chunk


def kept_folder(outputs: Path, networks: Networks, *deciding: Any) -> Path:
    """Name the folder of an interrupted prediction, below ``outputs/cache``, after all that decides its result.

    That is the networks with their device and precision, and what is `deciding` else: fingerprint, split, variants,
    batch size. The blend does not: it is applied to what is kept. Nor does ``out``, which has the time of day in it.
    """
    described = json.dumps(
        [__version__, networks.hashes, networks.elsewhere or networks.device.type, networks.precision, *deciding],
        default=str,
    )
    return outputs / "cache" / f"infer-{hashlib.sha256(described.encode()).hexdigest()[:16]}"


def forget(kept: Path) -> None:
    """Delete what was kept, and nothing else, once the result is written."""
    with suppress(OSError):  # what else is there stays, and the folder with it
        for chunk in kept.glob("[0-9]*.npy"):
            chunk.unlink()
        (kept / ".lock").unlink(missing_ok=True)
        kept.rmdir()
