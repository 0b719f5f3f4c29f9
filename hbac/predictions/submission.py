"""The submission: one row per test EEG, checked by the metric's own rules before it gets its name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from hbac.common.errors import UserError
from hbac.common.files import whole_file
from hbac.evaluation.metric import check_distribution
from hbac.vocabulary import PROB_COLUMNS, VOTE_COLUMNS

SUBMISSION_COLUMNS = ("eeg_id", *VOTE_COLUMNS)


def check_submission(submission: pd.DataFrame, eeg_ids: npt.ArrayLike, name: str = "submission") -> None:
    """Check a submission as the competition would, against the EEGs that must be predicted, once each.

    A `UserError` for wrong columns; an EEG that is missing, unknown or twice there; a row that isn't a distribution.

    Examples
    --------
    >>> good = pd.DataFrame({"eeg_id": [1]} | dict.fromkeys(VOTE_COLUMNS, 1 / 6))
    >>> check_submission(good, [1])
    """
    if tuple(submission.columns) != SUBMISSION_COLUMNS:
        found = ", ".join(map(str, submission.columns))
        raise UserError(f"{name}: columns are {found}; they must be {', '.join(SUBMISSION_COLUMNS)}")
    given, wanted = submission["eeg_id"].to_numpy(), np.asarray(eeg_ids)
    repeated = submission["eeg_id"].duplicated().to_numpy()
    if repeated.any():
        row = int(np.argmax(repeated))
        raise UserError(f"{name}: row {row}, column eeg_id: {given[row]} stands twice")
    missing, extra = np.setdiff1d(wanted, given), np.setdiff1d(given, wanted)
    if len(missing) or len(extra):
        example = f"eeg_id {missing[0]} is missing" if len(missing) else f"eeg_id {extra[0]} isn't a test EEG"
        raise UserError(f"{name}: {example} ({len(missing)} of {len(wanted)} test EEGs missing, {len(extra)} unknown)")
    check_distribution(submission, VOTE_COLUMNS, name)


def write_submission(frame: pd.DataFrame, path: str | Path, eeg_ids: npt.ArrayLike | None = None) -> Path:
    """Write a submission; it appears whole and right or not at all.

    What was written is read back and checked, so that not even a rounding of the text can spoil it. `frame` has
    ``eeg_id`` and the six ``_vote`` columns or, as a prediction table, the six ``_prob`` columns, which are taken when
    both are there. `eeg_ids` are the test EEGs in the order wanted (that of ``sample_submission.csv``); those of
    `frame` where absent. A `UserError` as `check_submission`.
    """
    path = Path(path)
    for columns in (PROB_COLUMNS, VOTE_COLUMNS):
        if all(column in frame.columns for column in columns):
            break
    else:
        raise UserError(f"submission {path.name}: the six _prob or _vote columns are needed")
    if "eeg_id" not in frame.columns:
        raise UserError(f"submission {path.name}: missing column eeg_id")
    submission = frame.loc[:, ["eeg_id", *columns]].set_axis(list(SUBMISSION_COLUMNS), axis=1)
    wanted = submission["eeg_id"].to_numpy() if eeg_ids is None else np.asarray(eeg_ids)
    check_submission(submission, wanted, f"submission {path.name}")
    submission = submission.set_index("eeg_id").loc[wanted].reset_index()
    with whole_file(path) as partial:
        submission.to_csv(partial, index=False)
        check_submission(pd.read_csv(partial), wanted, f"submission {path.name}")
    return path
