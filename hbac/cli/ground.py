"""What a command stands on: its streams, its environment, the disk; none of it may end in a traceback."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any

from hbac.common.errors import UserError


class _Forgiving(io.FileIO):
    """A stream whose reader may go away (``| head``) while what is computed goes on."""

    def write(self, data: Any, /) -> int:
        """Write, or pretend to."""
        try:
            return super().write(data) or 0
        except BrokenPipeError:
            return memoryview(data).nbytes


def open_streams() -> None:
    """Make standard output and error writable whatever they are: closed, a pipe that closes, or without Unicode."""
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:  # closed: the next file to be opened would get its number, and what is printed
            opened = os.open(os.devnull, os.O_WRONLY)
            if opened != number:
                os.dup2(opened, number)
            stream = os.fdopen(number, "w", encoding="utf-8")
        elif stream is getattr(sys, f"__{name}__") and hasattr(stream, "fileno"):
            stream.flush()
            buffer = io.BufferedWriter(_Forgiving(stream.fileno(), "w", closefd=False))
            by_line = stream.line_buffering or stream.write_through  # PYTHONUNBUFFERED, as containers set it
            settings = {"encoding": stream.encoding, "errors": "replace", "line_buffering": by_line}
            stream = io.TextIOWrapper(buffer, write_through=name == "stderr", **settings)
        setattr(sys, name, stream)


def keep_below(outputs: Path) -> None:
    """Keep what W&B writes besides its runs below `outputs`: a home directory may be read-only, or not there."""
    folder = str((outputs / "cache" / "wandb").absolute())
    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_ARTIFACT_DIR"):
        os.environ.setdefault(name, folder)


def unusable(error: OSError) -> UserError:
    """Say which file or folder could not be used, if it is known, and why."""
    where = f"{error.filename}: " if error.filename else ""
    if isinstance(error, FileExistsError | NotADirectoryError):
        return UserError(f"{where}a file stands where a folder is needed")
    return UserError(f"{where}cannot be used: {error.strerror or error}")
