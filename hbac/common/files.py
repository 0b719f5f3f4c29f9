"""Files and folders that are seen whole or not at all."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hbac.common.errors import UserError


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


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Write a folder beside its place, and move it there when it is complete.

    Parameters
    ----------
    path : Path
        The folder. One that was there before stays until the new one is complete, and is then replaced.

    Yields
    ------
    Path
        An empty folder to write to. It is gone afterwards, whatever happens.

    Raises
    ------
    UserError
        When the disk is full, or may not be written to.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with whole_folder(Path(folder) / "report") as partial:
    ...         _ = (partial / "index.html").write_text("all of it")
    ...     [str(found.relative_to(folder)) for found in Path(folder).rglob("*.html")]
    ['report/index.html']
    """
    partial, old = (path.with_name(f"{path.name}.{what}-{os.getpid()}") for what in ("partial", "old"))
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        if path.is_dir():
            path.replace(old)  # a folder cannot be put in the place of one that is not empty
        partial.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        if old.is_dir() and not path.is_dir():
            old.replace(path)
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def write_text(path: Path, content: str) -> None:
    """Write a text file that is never seen half-written.

    Parameters
    ----------
    path : Path
        File to write.
    content : str
        The text.
    """
    with whole_file(path) as partial:
        partial.write_text(content, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file that is never seen half-written.

    Parameters
    ----------
    path : Path
        File to write.
    content : object
        Plain containers. What JSON has no number for (the score of no rows is NaN) becomes null.
    """
    write_text(path, json.dumps(without_nan(content), indent=2, allow_nan=False) + "\n")


def without_nan(content: Any) -> Any:
    """Put None where JSON has no number.

    Parameters
    ----------
    content : object
        Plain containers.

    Returns
    -------
    object
        The same, None for NaN and infinity.

    Examples
    --------
    >>> without_nan({"kl": [0.5, float("nan")]})
    {'kl': [0.5, None]}
    """
    if isinstance(content, Mapping):
        return {key: without_nan(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [without_nan(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Parameters
    ----------
    path : Path
        File to read.

    Returns
    -------
    object
        Plain containers.

    Raises
    ------
    UserError
        When there is no such file, or it is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a JSON file: {error}") from None
