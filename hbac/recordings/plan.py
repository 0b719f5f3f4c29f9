"""What a store of some files will be: which recording goes where, how large it gets, and its fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hbac.common.errors import UserError
from hbac.recordings.checks import value_columns
from hbac.recordings.columns import ColumnsError
from hbac.recordings.declared import UNDECLARED, Declared
from hbac.recordings.footers import Footer, read_footers
from hbac.recordings.problems import Problems
from hbac.recordings.store import ITEM_BYTES

# Of what is hashed here. Stores have a version of their own; one that is still read keeps its name.
_VERSION = 1


@dataclass(frozen=True)
class Plan:
    """What goes where in a store: recordings in rising order of their ids, one behind the other."""

    kind: str  # eeg or spectrogram
    columns: tuple[str, ...]
    ids: tuple[int, ...]  # rising
    footers: tuple[Footer, ...]
    # For each recording, what its file calls the columns; None for an EKG that it has not.
    names: tuple[tuple[str | None, ...], ...]
    declared: Declared  # rate and unit of the files
    fingerprint: str  # hex sha256 of all this

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return ITEM_BYTES * len(self.columns)

    @cached_property
    def lengths(self) -> list[int]:
        """Rows of each recording in the store."""
        return [stored_rows(footer.n_rows, self.kind, self.declared) for footer in self.footers]

    @cached_property
    def n_bytes(self) -> int:
        """Bytes of the raw file."""
        return self.row_bytes * sum(self.lengths)


def stored_rows(n_rows: int, kind: str, declared: Declared) -> int:
    """Return how many rows of a store a file with so many rows becomes."""
    return declared.n_stored(n_rows) if kind == "eeg" else n_rows


def fingerprint(
    footers: Mapping[int, Footer], columns: Sequence[str], kind: str, declared: Declared = UNDECLARED
) -> str:
    """Hash (hex sha256) which files a store is made of, by id, with its columns, kind, and the declared rate and unit.

    Files count with name, size, rows and the hash of their footers: a data set may be moved or copied and keeps its
    store. What is in them is not read for this; a store knows it of its own files (`hbac.recordings.origins`).
    """
    described = declared.described() if kind == "eeg" else []
    digest = hashlib.sha256(json.dumps([_VERSION, kind, list(columns), *described]).encode())
    for key in sorted(footers):
        footer = footers[key]
        digest.update(json.dumps([key, footer.path.name, footer.size, footer.n_rows, footer.sha256]).encode())
    return digest.hexdigest()


def make_plan(
    files: Mapping[int, Path],
    columns: Sequence[str],
    folder: Path,
    kind: str,
    footers: Mapping[int, Footer] | None,
    declared: Declared = UNDECLARED,
) -> Plan:
    """Find out what a store of these files, by id, will be; `folder`, the store's, is for messages.

    Footers that have not been read already are read. A `UserError` names all files that cannot be read or lack a
    column.
    """
    if not files:
        raise UserError(f"no files to build the store {folder} from")
    found = read_footers(files) if footers is None else footers
    problems = Problems(f"files for the store {folder}")
    sound: dict[int, Footer] = {}
    names = []
    for key in sorted(files):
        footer = found[key]
        try:
            if isinstance(footer, UserError):
                raise footer
            names.append(value_columns(footer.schema, tuple(columns), kind))
            sound[key] = footer
        except (UserError, ColumnsError) as error:
            problems.add("file", f"{files[key]}: {error}")
    problems.raise_if_any()
    digest = fingerprint(sound, columns, kind, declared)
    return Plan(kind, tuple(columns), tuple(sound), tuple(sound.values()), tuple(names), declared, digest)
