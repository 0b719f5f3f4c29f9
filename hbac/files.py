"""Files that are seen whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hbac.errors import UserError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Write a file beside its place, and move it there when it is complete.

    Parameters
    ----------
    path : Path
        The file. What was there before stays until the new one is complete. Its folder is made when missing.

    Yields
    ------
    Path
        Where to write. It is gone afterwards, whatever happens.

    Raises
    ------
    UserError
        When the disk is full, or may not be written to.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with whole_file(Path(folder) / "a.txt") as partial:
    ...         _ = partial.write_text("all of it")
    ...     [found.name for found in Path(folder).iterdir()]
    ['a.txt']
    """
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(path)
    except OSError as error:
        # Arrow has its own text before it: "Error writing bytes to file. Detail: [errno 28] No space left on device".
        reason = (error.strerror or str(error)).rpartition("] ")[2]
        raise UserError(f"{path}: cannot be written: {reason}") from None
    finally:
        with suppress(OSError):  # where its folder could not be made, there is nothing to remove
            partial.unlink(missing_ok=True)
