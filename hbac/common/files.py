"""Files that are seen whole or not at all."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import platform
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hbac.common.errors import UserError
from hbac.common.processes import is_running
from hbac.common.shapes import check_shape

_DIGEST = 32  # bytes
SEAL = "sha256"  # the entry of a JSON file that holds the hash of all others
_looked_at: set[Path] = set()


def beside(path: Path, what: str) -> Path:
    """Name what this process keeps beside a file or folder while it writes it: ``partial`` or ``old``.

    `remove_left_over` can tell from the name whose it is.
    """
    return path.with_name(f"{path.name}.{what}-{platform.node()}-{os.getpid()}")


def remove_left_over(folder: Path) -> None:
    """Remove what killed processes of this machine left in a folder under names of `beside`; a process looks once."""
    if folder in _looked_at:
        return
    _looked_at.add(folder)
    left = re.compile(rf".+\.(?:partial|old)-{re.escape(platform.node())}-(\d+)")
    for path in folder.iterdir():
        found = left.fullmatch(path.name)
        if found and not is_running(int(found[1])):
            with suppress(OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Write a file beside its place, and move it there when it is complete.

    What was there before stays until then. The file's folder is made when missing; what is yielded is where to write,
    and is gone afterwards, whatever happens. A `UserError` where the disk is full, or may not be written to.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with whole_file(Path(folder) / "a.txt") as partial:
    ...         _ = partial.write_text("all of it")
    ...     [found.name for found in Path(folder).iterdir()]
    ['a.txt']
    """
    partial = beside(path, "partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_left_over(path.parent)
        yield partial
        partial.replace(path)
    except OSError as error:
        # Arrow has its own text before it: "Error writing bytes to file. Detail: [errno 28] No space left on device".
        reason = (error.strerror or str(error)).rpartition("] ")[2]
        raise UserError(f"{path}: cannot be written: {reason}") from None
    finally:
        with suppress(OSError):  # where its folder could not be made, there is nothing to remove
            partial.unlink(missing_ok=True)


def new_folder(path: Path) -> Path:
    """Make a folder that was not there before: of several commands that ask for one name, each gets its own.

    Where it is there already, a number is put behind its name. A `UserError` where it cannot be made.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [new_folder(Path(folder) / "sweep").name for _ in range(3)]
    ['sweep', 'sweep-2', 'sweep-3']
    """
    if path.name in ("", ".."):  # the current folder, or the one above it
        path = path.resolve()
    for number in itertools.count(1):
        folder = path if number == 1 else path.with_name(f"{path.name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(f"{folder}: cannot be made: {error.strerror or error}") from None
        return folder
    raise AssertionError("numbers do not end")


@contextmanager
def fresh_folder(path: Path, found: bool = False) -> Iterator[Path]:
    """Make a folder as `new_folder` does, or take the one `found`; take it away again if nothing was written to it."""
    folder = path if found else new_folder(path)
    try:
        yield folder
    finally:
        if not found:
            with suppress(OSError):  # it is not empty
                folder.rmdir()


def write_text(path: Path, content: str) -> None:
    """Write a text file that is never seen half-written."""
    with whole_file(path) as partial:
        partial.write_text(content, encoding="utf-8")


def hash_of_file(path: Path) -> str:
    """Return the SHA-256 of a file in 64 hexadecimal digits, as ``sha256sum`` writes it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def with_digest(content: bytes) -> bytes:
    """Put the SHA-256 of bytes behind them."""
    return content + hashlib.sha256(content).digest()


def without_digest(content: bytes) -> bytes | None:
    """Take off what `with_digest` put behind bytes; None where they are not those that were written.

    Examples
    --------
    >>> without_digest(with_digest(b"all of it")), without_digest(with_digest(b"all of it")[1:])
    (b'all of it', None)
    """
    content, digest = content[:-_DIGEST], content[-_DIGEST:]
    return content if hashlib.sha256(content).digest() == digest else None


def write_json(path: Path, content: Any, *, sealed: bool = False) -> None:
    """Write plain containers as a JSON file that is never seen half-written.

    What JSON has no number for (the score of no rows is NaN) becomes null. A `sealed` object gets an entry ``sha256``
    of all its other entries, which `read_json` checks.
    """
    plain = without_nan(content)
    if sealed:
        plain = {**plain, SEAL: _seal(plain)}
    write_text(path, json.dumps(plain, indent=2, allow_nan=False) + "\n")


def _seal(content: Mapping[str, Any]) -> str:
    # Through JSON once: what it makes of keys and numbers is what will be read.
    plain = json.loads(json.dumps(content))
    return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def without_nan(content: Any) -> Any:
    """Put None where JSON has no number: NaN and infinity.

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


def with_nan(value: float | None) -> float:
    """Take a number as `without_nan` leaves it: null is NaN."""
    return math.nan if value is None else float(value)


def read_json(path: Path, shape: Any = None) -> Any:
    """Read a JSON file, check it against the hash that it carries, if it does, and take that out.

    `shape` is what must be in it (`hbac.common.shapes.check_shape`). A `UserError` where there is no such file, it is
    no JSON, was changed since it was written, or has another shape.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        stated = content.pop(SEAL, None) if isinstance(content, dict) else None
        changed = stated is not None and stated != _seal(content)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:  # also of a number with more digits than Python takes
        raise UserError(f"{path}: not a JSON file: {error}") from None
    if changed:
        raise UserError(
            f"{path}: its content is not what its entry {SEAL} says: damaged, or edited by hand. Restore it or make it "
            f"again; without the entry {SEAL} it is read as it is"
        )
    if shape is not None:
        check_shape(content, shape, str(path))
    return content
