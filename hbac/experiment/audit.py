"""The leak audit of a data set, as training and ``hbac.prepare`` make it; its checks are in `hbac.labels`.

To compare all recordings means to read all of them, once: what is found is kept in ``outputs/audit/``, under the data
set's fingerprint, for all folds and seeds. A training does it by itself where it is a matter of seconds, and otherwise
says that it has not been done.
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from hbac.common.errors import UserError
from hbac.common.files import read_json, write_json
from hbac.common.locks import locked
from hbac.common.progress import progress
from hbac.labels.duplicates import METHOD, QUESTION, Duplicates, SharedSignal, check_duplicates, find_duplicates
from hbac.labels.leaks import Audit, Check, check_folds, check_owners

if TYPE_CHECKING:
    from hbac.labels.folds import FoldTable
    from hbac.recordings.datasets import Part

log = logging.getLogger("hbac.experiment.audit")

_PAIR = {"eeg_id": int, "other_eeg_id": int, "start_s": float, "other_start_s": float, "length_s": float}
_SHAPE = {"compared": int, "featureless": int, "shared": [_PAIR]}

_told: set[tuple[str, ...]] = set()  # a sweep's jobs find the same, and say it once

# Stores up to this size are compared by a training without being asked: some seconds.
QUICK_BYTES = 2_000_000_000


def audit(part: Part, folds: FoldTable, outputs: Path, compare: bool | None = None) -> Audit:
    """Look for everything that a data set and its folds could leak; results are kept below `outputs`.

    `compare` says whether to compare the recordings with one another where nobody has done so yet; None: where that is
    quick. Whether a leak stops the command is the caller's affair (`Audit.require_none`).
    """
    fold = folds.fold_of(part.rows["patient_id"])
    checks = [*check_folds(part.rows, fold), *check_owners(part.rows)]
    n_bytes = part.eeg.rows_total * len(part.eeg.columns) * 2
    path = outputs / "audit" / f"{part.fingerprint[:12]}.json"
    found = kept_duplicates(part, path, n_bytes <= QUICK_BYTES if compare is None else compare)
    if found is None:
        checks.append(Check(QUESTION, 0, remark="not compared: python -m hbac.prepare audit=true does it once"))
    else:
        remark = f"{found.featureless:,} flat ones left out" if found.featureless else ""
        checks.append(check_duplicates(found.shared, found.compared, part.rows, fold, remark))
    return Audit(tuple(checks))


def require_no_leak(part: Part, folds: FoldTable, outputs: Path) -> None:
    """Audit before a training: say what was checked, once in a process, and stop at a leak.

    A `UserError` for a leak; names ids, files and folds.
    """
    found = audit(part, folds, outputs)
    found.require_none(f"data set {part.recordings.root}")
    if (lines := tuple(found.told())) not in _told:
        _told.add(lines)
        for line in lines:
            log.info("leak audit: %s", line)


def kept_duplicates(part: Part, path: Path, compare: bool) -> Duplicates | None:
    """Read from a file what a comparison of the recordings found, or else, where that is wanted, compare them.

    Of several processes one does, the others wait.
    """
    if (found := _read(part, path)) is not None or not compare:
        return found

    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_suffix(".lock")):
        if (found := _read(part, path)) is None:
            with progress("comparing the EEGs with one another") as tell:
                found = find_duplicates(part.eeg, part.rows, tell)
            content = {"method": METHOD, "fingerprint": part.fingerprint, **asdict(found)}
            write_json(path, content, sealed=True)
    return found


def _read(part: Part, path: Path) -> Duplicates | None:
    if not path.is_file():
        return None
    try:
        content = read_json(path, _SHAPE)
    except UserError as error:  # it can be made again
        log.warning("%s; the recordings are compared again", error)
        return None
    if content.pop("method", None) != METHOD or content.pop("fingerprint", None) != part.fingerprint:
        return None
    shared = tuple(SharedSignal(**{key: pair[key] for key in _PAIR}) for pair in content["shared"])
    return Duplicates(content["compared"], content["featureless"], shared)
