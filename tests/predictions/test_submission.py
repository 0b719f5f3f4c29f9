"""The submission: right, or not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hbac.common.errors import UserError
from hbac.evaluation.metric import kl_divergence
from hbac.predictions import PredictionTable, TableMetadata
from hbac.predictions.submission import write_submission
from hbac.vocabulary import VOTE_COLUMNS


@pytest.fixture
def table() -> PredictionTable:
    rows = pd.DataFrame({"spectrogram_id": [5, 6, 7], "eeg_id": [11, 12, 13], "patient_id": [1, 2, 3]})
    probs = np.random.default_rng(0).dirichlet(np.full(6, 0.1), 3)
    return PredictionTable.from_arrays(rows, probs, TableMetadata("m"))


def test_columns_order_and_values(tmp_path: Path, table):
    path = write_submission(table.frame, tmp_path / "out" / "submission.csv", [13, 11, 12])
    text = path.read_text().splitlines()
    assert text[0] == "eeg_id,seizure_vote,lpd_vote,gpd_vote,lrda_vote,grda_vote,other_vote"
    submission = pd.read_csv(path)
    assert submission["eeg_id"].tolist() == [13, 11, 12]
    np.testing.assert_array_equal(submission[list(VOTE_COLUMNS)].to_numpy(), table.probs[[2, 0, 1]])
    solution = pd.DataFrame(np.eye(6)[:3], columns=list(VOTE_COLUMNS)).assign(eeg_id=[11, 12, 13])
    assert np.isfinite(kl_divergence(solution, submission))
    assert [p.name for p in path.parent.iterdir()] == ["submission.csv"]


@pytest.mark.parametrize(
    ("change", "ids", "message"),
    [
        (lambda f: f, [11, 12, 13, 14], "eeg_id 14 is missing .1 of 4"),
        (lambda f: f, [11, 12], "eeg_id 13 isn't a test EEG"),
        (lambda f: f.assign(eeg_id=11), [11], "row 1, column eeg_id: 11 stands twice"),
        (lambda f: f.assign(gpd_prob=np.nan), [11, 12, 13], "row 0, column gpd_vote: nan"),
        (lambda f: f.assign(gpd_prob=0.9), [11, 12, 13], "sum to"),
        (lambda f: f.drop(columns="eeg_id"), None, "missing column eeg_id"),
        (lambda f: f[["eeg_id"]], None, "the six _prob or _vote columns"),
    ],
)
def test_a_wrong_submission_is_not_written(tmp_path, table, change, ids, message):
    with pytest.raises(UserError, match=message):
        write_submission(change(table.frame), tmp_path / "submission.csv", ids)
    assert list(tmp_path.iterdir()) == []
