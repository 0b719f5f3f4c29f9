"""The leak audit: what must not stand on both sides of a fold, counted and named.

A leak is not seen in the scores, it makes them better. So every training and every ensemble looks for leaks before it
does anything else, says what it looked at, and stops when there is one. ``python -m hbac.prepare audit=true`` does all
of it, the comparison of the recordings themselves included (`hbac.labels.duplicates`). What weights and predictions
have learned from is checked in `hbac.labels.lineage`.

A check says what a leak of its kind would be, how many were looked at, and which leak; an audit is a list of checks. To
add one, make a `Check` and put it into the audit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from hbac.common.errors import UserError

# What an id column counts, and whether rows can be told apart without it.
_COUNTED = {"patient_id": "patients", "eeg_id": "EEGs", "spectrogram_id": "spectrograms"}
_REQUIRED = ("patient_id", "eeg_id")
_NO_ID = -1  # tables of other code may lack an id
_SHOWN = 3  # offenders that a message writes out


@dataclass(frozen=True)
class Check:
    """One question of the audit and its answer."""

    question: str  # what a leak would be, in the plural: "patients in more than one fold"
    examined: int  # how many were looked at
    offenders: tuple[str, ...] = ()  # those that leak, each with the ids, files and folds to find it by
    remedy: str = ""  # what a person can do about them
    remark: str = ""  # what else should be known, such as why nothing was examined

    def __str__(self) -> str:
        counts = f"{len(self.offenders):,} of {self.examined:,} {self.question}"
        return f"{counts} ({self.remark})" if self.remark else counts


@dataclass(frozen=True)
class Audit:
    """All checks of one audit, in the order in which they are told."""

    checks: tuple[Check, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing leaks."""
        return not any(check.offenders for check in self.checks)

    def lines(self) -> list[str]:
        """Say in one line a check what was checked, with counts."""
        return [str(check) for check in self.checks]

    def told(self) -> list[str]:
        """Say in one line how many checks found nothing, and in one each what the others found, or remark."""
        quiet = [check for check in self.checks if not check.offenders and not check.remark]
        first = [f"nothing leaks in {len(quiet)} checks"] if quiet else []
        return first + [str(check) for check in self.checks if check not in quiet]

    def require_none(self, where: str) -> None:
        """Stop at a leak in what was audited.

        The error names, for each kind, how many of how many leak, and the first of them.
        """
        if self.ok:
            return
        parts = []
        for check in self.checks:
            if check.offenders:
                more = len(check.offenders) - _SHOWN
                named = "; ".join(check.offenders[:_SHOWN]) + (f"; and {more:,} more" if more > 0 else "")
                counts = f"{len(check.offenders):,} of {check.examined:,} {check.question}"
                parts.append(f"{counts}: {named}" + (f": {check.remedy}" if check.remedy else ""))
        raise UserError(f"{where}: leak: {'. '.join(parts)}")


def check_folds(rows: pd.DataFrame, fold: npt.ArrayLike) -> list[Check]:
    """Look for patients, EEGs and spectrograms in more than one fold; an id of −1 is unknown and left out.

    Examples
    --------
    >>> rows = pd.DataFrame({"patient_id": [1, 1, 2], "eeg_id": [5, 6, 7]})
    >>> [str(check) for check in check_folds(rows, [0, 1, 1])]
    ['1 of 2 patients in more than one fold', '0 of 3 EEGs in more than one fold']
    """
    folds = np.asarray(fold)
    if folds.shape != (len(rows),):
        raise UserError(f"folds of shape {folds.shape} for {len(rows)} rows")
    checks = []
    for column, examined, shared in _shared(rows, folds.astype(np.int64)):
        offenders = [f"{column} {name} in folds {', '.join(map(str, found))}" for name, found in shared]
        checks.append(Check(f"{_COUNTED[column]} in more than one fold", examined, tuple(offenders)))
    return checks


def check_owners(rows: pd.DataFrame) -> list[Check]:
    """Look for EEGs and spectrograms of more than one patient, which no folds by patient could keep apart."""
    known = rows[rows["patient_id"] != _NO_ID] if "patient_id" in rows else rows
    checks = []
    for column, examined, shared in _shared(known, None):
        if column != "patient_id":
            offenders = [
                f"{column} {name} belongs to {len(found)} patients ({', '.join(map(str, found[:4]))})"
                for name, found in shared
            ]
            remedy = "folds by patient cannot keep them apart; correct patient_id"
            checks.append(Check(f"{_COUNTED[column]} of more than one patient", examined, tuple(offenders), remedy))
    return checks


def check_apart(rows_trained: pd.DataFrame, rows_held_out: pd.DataFrame) -> list[Check]:
    """Look for patients, EEGs and spectrograms of any part that are both trained on and validated on."""
    columns = [column for column in _COUNTED if column in rows_trained and column in rows_held_out]
    both = pd.concat([rows_trained[columns], rows_held_out[columns]], ignore_index=True)
    side = np.repeat([0, 1], [len(rows_trained), len(rows_held_out)])
    return [
        Check(
            f"{_COUNTED[column]} both trained and validated on",
            examined,
            tuple(f"{column} {name}" for name, _ in shared),
        )
        for column, examined, shared in _shared(both, side)
    ]


def _shared(
    rows: pd.DataFrame, group: npt.NDArray[np.int64] | None
) -> list[tuple[str, int, list[tuple[int, Sequence[int]]]]]:
    """For each id column: its name, how many ids there are, and those in several groups with these groups.

    The groups are the rows' patients where none are given.
    """
    for column in _REQUIRED:
        if column not in rows.columns:
            raise UserError(f"label rows: missing column {column}")
    groups = rows["patient_id"].to_numpy(dtype=np.int64) if group is None else group
    found = []
    for column in _COUNTED:
        if column in rows.columns:
            ids = rows[column].to_numpy(dtype=np.int64)
            known = ids != _NO_ID
            pairs = np.unique(np.stack([ids[known], groups[known]]), axis=1)
            names, first, counts = np.unique(pairs[0], return_index=True, return_counts=True)
            shared = [
                (int(names[i]), pairs[1, first[i] : first[i] + counts[i]].tolist()) for i in np.flatnonzero(counts > 1)
            ]
            found.append((column, len(names), shared))
    return found
