"""What a command may replace: the files that the same command wrote, as long as they are what it wrote.

Each folder that a command writes to gets a manifest: who wrote which file, and the file's hash. Whatever else stands in
a file's place belongs to somebody: it is refused before anything is computed, and nothing is touched.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain, islice
from pathlib import Path

from hbac.common.errors import UserError
from hbac.common.files import hash_of_file
from hbac.common.locks import locked_folder
from hbac.common.processes import is_running

MANIFEST = ".hbac-made.json"
_ASIDE = ".hbac-partial-"
_STAGED = f"{_ASIDE}{platform.node()}-"  # and the process of this machine that writes there
_SHOWN = 3  # files that a message names

Made = dict[str, list[str]]  # file in the folder, in POSIX form: hashes of what the command wrote there


def check_free(folder: Path, command: str, names: Iterable[str] = (), own_folders: Sequence[str] = ()) -> None:
    """Refuse to write where something stands that the command, such as ``hbac.report``, did not write.

    `names` are files that it will write; `own_folders` are folders in there that are filled, and read, as a whole,
    ``.`` for all of it: nothing else may be in them. A `UserError` names the first files in the way, none of which is
    touched.
    """
    above = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not above.is_dir():
        raise UserError(f"{folder}: {above} is a file; choose another place (out=PATH)")
    if not os.access(above, os.W_OK):
        raise UserError(f"{folder}: {above} may not be written to; choose another place (out=PATH)")
    made = _manifest(folder).get(command, {})
    inside = (found for own in own_folders for found in _files(folder, folder / own))
    not_free = (name for name in chain(sorted(names), inside) if not _free(folder, name, made))
    if in_the_way := list(dict.fromkeys(islice(not_free, _SHOWN + 1))):  # a whole home folder may be in the way
        shown = ", ".join(map(repr, in_the_way[:_SHOWN])) + (" …" if len(in_the_way) > _SHOWN else "")
        raise UserError(
            f"{folder}: {shown}: something else than {command} wrote, or changed since; it replaces only what it wrote "
            "itself: choose another place (out=PATH), or move these files away"
        )


def is_as_written(path: Path) -> bool:
    """Say whether a file is what a command wrote there, as far as a manifest beside or above it knows of it."""
    for folder in path.absolute().parents[:2]:
        for made in _manifest(folder).values():
            if digests := made.get(path.absolute().relative_to(folder).as_posix()):
                return hash_of_file(path) in digests
    return True


@contextmanager
def replacing(folder: Path, command: str, last: str, own_folders: Sequence[str] = ()) -> Iterator[Path]:
    """Write a set of files aside, and put all of them in their places when the set is complete.

    Yielded is an empty folder to write to, inside `folder`, which is made when missing; it is gone afterwards, whatever
    happens. What the command wrote before is replaced; in `own_folders` (see `check_free`) also what it writes no more.
    While files are put there, the file `last` is missing: it goes before all others and comes after them, so that a set
    is never taken for complete that is half old and half new, whenever the process is killed. A `UserError` when
    something else is in the way, the disk is full, or may not be written to.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name:
    ...     for text in ("one", "other"):
    ...         with replacing(Path(name) / "made", "hbac.example", last="a.txt") as staged:
    ...             _ = (staged / "a.txt").write_text(text)
    ...     [found.read_text() for found in Path(name).glob("made/*.txt")]
    ['other']
    """
    check_free(folder, command, [last], own_folders)
    staged, is_new = folder / f"{_STAGED}{os.getpid()}", not folder.exists()
    try:
        _remove_left_over(folder)
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir(parents=True)
        yield staged
        with locked_folder(folder):  # of two commands, each puts its whole set there, one after the other
            _put(staged, folder, command, last, own_folders)
    except UserError as error:
        raise UserError(str(error).replace(str(staged), str(folder))) from None
    except OSError as error:
        raise UserError(f"{folder / last}: cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(staged, ignore_errors=True)
        if is_new:
            with suppress(OSError):  # not empty: something was written
                folder.rmdir()


def _put(staged: Path, folder: Path, command: str, last: str, own_folders: Sequence[str]) -> None:
    new = {name: [hash_of_file(staged / name)] for name in _files(staged, staged)}
    check_free(folder, command, new, own_folders)
    old = _manifest(folder).get(command, {})
    # Both first: whatever is there when the process is killed, the next run knows it for its own.
    _write_manifest(
        staged, folder, command, {name: [*old.get(name, []), *new.get(name, [])] for name in {**old, **new}}
    )
    (folder / last).unlink(missing_ok=True)
    stale = [name for own in own_folders for name in _files(folder, folder / own) if name not in new]
    for name in stale:  # `check_free` has found them to be of this command
        (folder / name).unlink()
    for name in sorted(new, key=lambda name: name == last):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (staged / name).replace(folder / name)
    kept = {name: hashes for name, hashes in old.items() if name not in stale and (folder / name).is_file()}
    _write_manifest(staged, folder, command, kept | new)


def _free(folder: Path, name: str, made: Made) -> bool:
    """Say whether nothing is lost when a file is written: there is none, or it is what this command wrote there."""
    path = folder / name
    if not os.path.lexists(path):
        parents = [folder.joinpath(*path.relative_to(folder).parts[:n]) for n in range(1, len(Path(name).parts))]
        return all(parent.is_dir() or not os.path.lexists(parent) for parent in parents)
    inside = path.resolve().is_relative_to(folder.resolve())  # and not behind a link
    return inside and path.is_file() and not path.is_symlink() and hash_of_file(path) in made.get(name, ())


def _files(folder: Path, inside: Path) -> Iterator[str]:
    """List what is in a folder of the folder, but for our own bookkeeping."""
    for path in inside.rglob("*"):
        found = path.relative_to(folder)
        is_ours = found.name == MANIFEST or found.parts[0].startswith(_ASIDE)
        if not is_ours and (path.is_symlink() or not path.is_dir()):
            yield found.as_posix()


def _manifest(folder: Path) -> dict[str, Made]:
    """Read what was written to a folder, by command; a manifest that cannot be read vouches for nothing."""
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return {
            str(command): {str(name): [str(digest) for digest in digests] for name, digests in made.items()}
            for command, made in content.items()
        }
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _write_manifest(staged: Path, folder: Path, command: str, made: Mapping[str, list[str]]) -> None:
    content = _manifest(folder) | {command: {name: made[name] for name in sorted(made)}}
    (staged / MANIFEST).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (staged / MANIFEST).replace(folder / MANIFEST)


def _remove_left_over(folder: Path) -> None:
    """Remove what killed processes had written aside, here and in the folders beside this one."""
    for left_over in [*folder.glob(f"{_STAGED}*"), *folder.absolute().parent.glob(f"*/{_STAGED}*")]:
        number = left_over.name.removeprefix(_STAGED)
        if number.isdecimal() and not is_running(int(number)):
            shutil.rmtree(left_over, ignore_errors=True)
            with suppress(OSError):
                left_over.parent.rmdir()  # was made for it, and is empty
