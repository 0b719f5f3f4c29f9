"""Folds by patient, made once per data set, kept in a small text file with a hash.

Windows of one patient look alike. A fold that shares a patient, an EEG or a spectrogram with another one gives
a score that no new patient will confirm, and so does a second split made by another script. Therefore: one
function that makes the split, one file that keeps it, one hash that every table, checkpoint and ensemble
carries.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from hbac.common.errors import UserError
from hbac.common.files import whole_file
from hbac.common.locks import locked
from hbac.labels.leaks import Audit, check_folds, check_owners
from hbac.labels.targets import consensus, sum_votes

_HEADER = re.compile(r"# hbac folds 1; n_folds=(\d+); seed=(-?\d+); sha256=([0-9a-f]{64})")
_COLUMNS = "patient_id,fold"


@dataclass(frozen=True)
class FoldTable:
    """Which fold each patient is in; a `UserError` where ids are not ascending, or a fold is out of range or empty."""

    patient_id: npt.NDArray[np.int64]  # (patients,); ascending, without repetition
    fold: npt.NDArray[np.int16]  # of each patient, 0 … n_folds − 1
    n_folds: int  # 2 or more
    seed: int  # what the split was drawn with
    hash: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "patient_id", np.asarray(self.patient_id, dtype=np.int64))
        object.__setattr__(self, "fold", np.asarray(self.fold, dtype=np.int16))
        if self.patient_id.shape != self.fold.shape or (np.diff(self.patient_id) <= 0).any():
            raise UserError("fold table: patient ids must be ascending and unique, one fold each")
        if set(np.unique(self.fold).tolist()) != set(range(self.n_folds)):
            raise UserError(
                f"fold table: folds {sorted(set(self.fold.tolist()))}; each of 0 … {self.n_folds - 1} must "
                "have at least one patient, and there is no other"
            )
        object.__setattr__(self, "hash", hashlib.sha256(self._content().encode()).hexdigest())

    def _content(self) -> str:
        pairs = zip(self.patient_id.tolist(), self.fold.tolist(), strict=True)
        lines = [f"n_folds={self.n_folds}; seed={self.seed}", _COLUMNS, *(f"{p},{f}" for p, f in pairs)]
        return "\n".join(lines) + "\n"

    def fold_of(self, patient_ids: npt.ArrayLike) -> npt.NDArray[np.int16]:
        """Return the folds of patients, given in any order and any number of times; each must be in the table.

        Examples
        --------
        >>> table = FoldTable(np.array([3, 8]), np.array([1, 0]), n_folds=2, seed=0)
        >>> table.fold_of([8, 3, 3]).tolist()
        [0, 1, 1]
        """
        ids = np.asarray(patient_ids, dtype=np.int64)
        place = np.minimum(np.searchsorted(self.patient_id, ids), len(self.patient_id) - 1)
        unknown = self.patient_id[place] != ids
        if unknown.any():
            names = np.unique(ids[unknown])
            raise UserError(
                f"fold table: {len(names)} patient(s) have no fold, for example patient_id {names[0]}; "
                "the table was made for other rows"
            )
        return self.fold[place]

    def write(self, path: str | Path) -> None:
        """Write the table as text; the file appears whole or not at all."""
        path = Path(path)
        body = self._content().split("\n", 1)[1]
        header = f"# hbac folds 1; n_folds={self.n_folds}; seed={self.seed}; sha256={self.hash}\n"
        with whole_file(path) as partial:
            partial.write_text(header + body, encoding="utf-8")

    @classmethod
    def read(cls, path: str | Path) -> FoldTable:
        """Read a table that `write` wrote; a `UserError` where there is none, or it was changed since."""
        path = Path(path)
        if not path.is_file():
            raise UserError(f"{path}: no such fold table")
        try:
            header, _, body = path.read_text(encoding="utf-8").partition("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: not a fold table of hbac: {error}") from error
        match = _HEADER.fullmatch(header.strip())
        lines = body.split()
        if match is None or not lines or lines[0] != _COLUMNS:
            raise UserError(f"{path}: not a fold table of hbac (first lines must be '# hbac folds 1; …', '{_COLUMNS}')")
        try:
            pairs = np.array([line.split(",") for line in lines[1:]], dtype=np.int64).reshape(-1, 2)
            table = cls(pairs[:, 0], pairs[:, 1].astype(np.int16), int(match[1]), int(match[2]))
        except ValueError as error:
            raise UserError(f"{path}: {error}") from error
        if table.hash != match[3]:
            raise UserError(
                f"{path}: the content has the hash {table.hash[:12]}…, the file says {match[3][:12]}…; "
                "it was edited or damaged: restore it, or delete it to make new folds (no older run fits these)"
            )
        return table


def make_folds(rows: pd.DataFrame, n_folds: int = 5, seed: int = 0) -> FoldTable:
    """Split the patients of a data set, with like shares of the classes in each fold.

    Each EEG counts once, under the class that most of its summed votes name, so that a patient with 700 windows of one
    recording doesn't outweigh all others. The result depends on the content of `rows`, not on their order.

    Parameters
    ----------
    rows : DataFrame
        Label rows: ``patient_id, eeg_id, spectrogram_id`` and the six vote columns.
    n_folds : int
        Number of folds, 2 or more; none will be empty.
    seed : int
        Seed of the shuffle.

    Raises
    ------
    UserError
        Fewer patients than folds, fewer than 2 folds, a missing column, or an EEG or a spectrogram of two patients.

    References
    ----------
    scikit-learn's StratifiedGroupKFold, doi:10.48550/arXiv.1201.0490.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # a second of imports that reading a table does without

    votes = sum_votes(rows, by=("patient_id", "eeg_id"))
    Audit(tuple(check_owners(rows))).require_none("label rows")
    patient = votes.index.get_level_values("patient_id").to_numpy(dtype=np.int64)
    patients = np.unique(patient)
    if n_folds < 2:
        raise UserError(f"n_folds={n_folds}; at least 2 are needed")
    if len(patients) < n_folds:
        raise UserError(f"n_folds={n_folds}, but there are only {len(patients)} patients; use fewer folds")
    label = consensus(votes)
    frequent = np.bincount(label) >= n_folds
    label = np.where(frequent[label], label, -1)  # classes too rare to stratify count as one
    splitter = StratifiedGroupKFold(n_splits=n_folds, shuffle=True, random_state=seed)
    fold_of_eeg = np.empty(len(label), dtype=np.int16)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        for fold, (_, held_out) in enumerate(splitter.split(label, label, groups=patient)):
            fold_of_eeg[held_out] = fold
    fold_of_patient = fold_of_eeg[np.searchsorted(patient, patients)]
    _fill_empty(fold_of_patient, n_folds)
    return FoldTable(patients, fold_of_patient, n_folds, seed)


def _fill_empty(fold: npt.NDArray[np.int16], n_folds: int) -> None:
    """Move patients out of the fullest folds, in place: with few patients the splitter can leave one empty."""
    counts = np.bincount(fold, minlength=n_folds)
    for empty in np.flatnonzero(counts == 0):
        fullest = int(np.bincount(fold, minlength=n_folds).argmax())
        fold[np.flatnonzero(fold == fullest)[-1]] = empty


def fold_table(rows: pd.DataFrame, path: str | Path, n_folds: int = 5, seed: int = 0) -> FoldTable:
    """Read the fold table of a data set, or make and write it (`make_folds`) when there is none yet.

    Several processes may ask at the same time: one of them makes the file, the others read it. A `UserError` where it
    was made with another seed or number of folds, lacks patients of `rows`, or is damaged; the rows leak between folds;
    or as `make_folds`.
    """
    path = Path(path)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_name(f"{path.name}.lock")):
            if not path.is_file():
                make_folds(rows, n_folds, seed).write(path)
    table = FoldTable.read(path)
    if (table.n_folds, table.seed) != (n_folds, seed):
        raise UserError(
            f"{path}: made with n_folds={table.n_folds}, seed={table.seed}; asked for n_folds={n_folds}, "
            f"seed={seed}. Folds are made once per data set: ask for these, or give another path"
        )
    try:
        fold = table.fold_of(rows["patient_id"].to_numpy())
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    Audit(tuple(check_folds(rows, fold))).require_none(str(path))
    return table
