"""What the rows of a prediction table can't say: who predicted, with which settings, on which folds of which data."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import hbac
from hbac.common.errors import UserError
from hbac.common.shapes import check_shape

PREFIX = "hbac."  # of the keys in a file's metadata
HASHES = ("config_hash", "fold_hash", "data_fingerprint")
_MOST_FOLDS = 32_767  # what the column can name


@dataclass(frozen=True)
class TableMetadata:
    """What the rows of a prediction table can't say; hashes are empty where they are unknown.

    A `UserError` for a name of nothing, or with control characters.
    """

    member: str  # the same for all folds of one setting
    config_hash: str = ""  # of the resolved config without the fold
    fold_hash: str = ""  # of the fold table
    data_fingerprint: str = ""  # of the data set
    n_folds: int = 0  # of the fold table; 0 when unknown
    hbac_version: str = hbac.__version__  # that predicted; empty when it was other code
    runs: Mapping[int, Path] = field(default_factory=dict)  # by fold; absolute, in the file relative to its folder
    extras: Mapping[str, str] = field(default_factory=dict)  # anything else worth keeping

    def __post_init__(self) -> None:
        # Names are printed, and a terminal obeys control characters; Unicode has some that reorder a whole line.
        if not self.member or not self.member.isprintable():
            raise UserError(f"member {self.member!r}: a name needs letters, and no line breaks or control characters")


def parse_metadata(flat: Mapping[str, str], path: Path) -> TableMetadata:
    """Read what a table's file says of itself; its runs, in the file relative to its folder, become absolute.

    A `UserError` when it is damaged.
    """
    try:
        runs = json.loads(flat.get(PREFIX + "runs", "{}"))
        extras = json.loads(flat.get(PREFIX + "extras", "{}"))
        check_shape([runs, extras], [{str: str}], f"{path}: runs and extras in its metadata")
        n_folds = int(flat.get(PREFIX + "n_folds", "0"))
        if not 0 <= n_folds <= _MOST_FOLDS:
            raise ValueError(f"n_folds is {n_folds:.3g}, must be 0 to {_MOST_FOLDS:,}")
        return TableMetadata(
            member=flat[PREFIX + "member"],
            config_hash=flat[PREFIX + "config_hash"],
            fold_hash=flat[PREFIX + "fold_hash"],
            data_fingerprint=flat[PREFIX + "data_fingerprint"],
            n_folds=n_folds,
            hbac_version=flat[PREFIX + "hbac_version"],
            runs={int(k): Path(os.path.normpath(path.parent.absolute() / run)) for k, run in runs.items()},
            extras=extras,
        )
    except UserError:
        raise
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: damaged metadata ({error})") from error
