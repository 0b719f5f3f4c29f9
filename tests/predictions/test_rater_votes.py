"""Votes by named rater: two layouts, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hbac.common.errors import UserError
from hbac.predictions.rater_votes import RaterTable, read_opinions, read_raters, vote_counts
from hbac.recordings.tables import number_of_name
from hbac.vocabulary import CLASSES, PROB_COLUMNS, VOTE_COLUMNS

SZ, LPD, GPD, LRDA, GRDA, OTHER = range(6)


def write(path: Path, frame: pd.DataFrame) -> Path:
    frame.to_csv(path, index=False) if path.suffix.lower() == ".csv" else frame.to_parquet(path)
    return path


@pytest.fixture
def wide() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "label_id": [7, 8, 9],
            "patient_id": [1, 1, 2],
            "rater_ann": [0, 1, -1],
            "rater_bo": [5, 2, -1],
            "rater_cy": ["LPD", "seizure", None],
        }
    )


@pytest.mark.parametrize("suffix", [".csv", ".CSV", ".parquet"])
def test_codes_and_names(wide: pd.DataFrame, tmp_path: Path, suffix: str) -> None:
    found = read_raters(write(tmp_path / f"votes{suffix}", wide))
    assert found.names == ("ann", "bo", "cy")
    assert found.votes.tolist() == [[OTHER, GRDA, LPD], [SZ, LPD, SZ]]  # nobody rated the third
    assert found.ids["label_id"].tolist() == [7, 8]
    assert found.patients.tolist() == [1, 1]
    assert found.probs is None
    counts = vote_counts(found)
    assert counts.loc[1, list(VOTE_COLUMNS)].tolist() == [2, 1, 0, 0, 0, 0]


def test_one_row_a_vote(tmp_path: Path) -> None:
    """As the EEG page saves it."""
    votes = pd.DataFrame(
        {
            "rater": ["bo", "ann", "bo"],
            "label_id": [8, 8, 3],
            "class": ["lpd", "Other", "GRDA"],
            "certainty": [80, 50, 100],
        }
    )
    found = read_raters(write(tmp_path / "votes.csv", votes))
    assert found.names == ("ann", "bo")
    assert found.votes.tolist() == [[-1, GRDA], [OTHER, LPD]]
    assert found.ids["label_id"].tolist() == [3, 8]
    assert found.patients.tolist() == [0, 1]  # nobody says whose they are
    with pytest.raises(UserError, match=r"votes.csv: row 1: bo has voted on label_id 8 before"):
        read_raters(write(tmp_path / "votes.csv", votes.assign(rater="bo")))


def test_rows_are_matched_by_label_id(wide: pd.DataFrame, tmp_path: Path) -> None:
    found, place = read_raters(write(tmp_path / "v.csv", wide)).of_rows([1, 8, 2])
    assert place.tolist() == [1]
    assert found.votes.tolist() == [[SZ, LPD, SZ]]


def test_probabilities_come_along(wide: pd.DataFrame, tmp_path: Path) -> None:
    prob = np.full((3, 6), 1 / 6)
    frame = wide.assign(**{column: prob[:, k] for k, column in enumerate(PROB_COLUMNS)})
    found = read_raters(write(tmp_path / "v.parquet", frame))
    assert found.probs is not None
    np.testing.assert_allclose(found.probs, prob[:2])
    with pytest.raises(UserError, match="only some of the columns"):
        read_raters(write(tmp_path / "v.parquet", frame.drop(columns="lpd_prob")))
    with pytest.raises(UserError, match="row 0, column lpd_prob: 2 is greater than 1"):
        read_raters(write(tmp_path / "v.parquet", frame.assign(lpd_prob=2.0)))


def test_what_is_wrong_is_named(wide: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "v.csv"
    for frame, message in [
        (
            wide.assign(rater_ann=[0, 9, 1]),
            r"v.csv: row 1, column rater_ann: 9; a vote is -1 \(not rated\), 0 \(other\)",
        ),
        (wide.assign(rater_cy=["lpd", "spike", ""]), r"row 1, column rater_cy: spike; a vote is nothing .* seizure"),
        (wide.assign(label_id=[7, 7, 8]), "row 1, column label_id: 7 stands twice"),
        (wide.assign(patient_id=["", 1, 2]), "row 0, column patient_id: nan; a whole number"),
        (wide.assign(label_id=[1e300, 7, 8]), "row 0, column label_id: 1e\\+300; at most 9223372036854775807"),
        (wide.assign(rater_ann=[True, False, True]), "row 0, column rater_ann: True; a vote is nothing"),
        (wide[["label_id"]].assign(rater_ann=-1), "nobody rated anything"),
    ]:
        with pytest.raises(UserError, match=message):
            read_raters(write(path, frame))
    with pytest.raises(UserError, match="no such table of raters"):
        read_raters(tmp_path / "no.csv")


def test_counts_of_votes_have_no_raters(tmp_path: Path) -> None:
    counts = pd.DataFrame({"label_id": [1], **{column: [3] for column in VOTE_COLUMNS}})
    with pytest.raises(UserError, match=r"no named raters: columns rater_…, .*counts of votes, .*not who does"):
        read_raters(write(tmp_path / "counts.csv", counts))


def test_the_twenty_raters_of_sparcnet(raters_path: Path) -> None:
    found = read_raters(raters_path)
    assert isinstance(found, RaterTable)
    assert (len(found.names), found.votes.shape) == (20, (35_740, 20))
    majority_share = np.bincount(vote_counts(found)[list(VOTE_COLUMNS)].to_numpy().argmax(axis=1), minlength=6) / 35_740
    assert majority_share[CLASSES.index("gpd")] == pytest.approx(0.272, abs=0.01)


def test_opinions_are_votes_of_the_data_sets_rows(tmp_path: Path) -> None:
    rows = pd.DataFrame({"label_id": [3, 8, 9], "eeg_id": [30, 80, 80]})
    said = pd.DataFrame(
        {
            "rater": ["bo", "ann", "bo"],
            "label_id": [8, 8, 3],
            "eeg_id": [80, 80, 30],
            "class": ["lpd", "Other", "GRDA"],
            "certainty": [80, 50, 100],
        }
    )
    votes = read_opinions(write(tmp_path / "said.csv", said), rows)
    assert votes.tolist() == [[0, 0, 0, 0, 1, 0], [0, 0.8, 0, 0, 0, 0.5], [0] * 6]
    sure = read_opinions(write(tmp_path / "said.csv", said.drop(columns=["certainty", "eeg_id"])), rows)
    assert sure.tolist() == [[0, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, 1], [0] * 6]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("certainty", 101, "said.csv: row 1, column certainty: 101; it is 0 to 100"),
        ("certainty", "sure", "said.csv: row 1, column certainty: sure"),
        ("certainty", [0.8, 1], "said.csv: column certainty: none is above 1; it is 0 to 100"),
        ("class", "spike", "said.csv: row 1, column class: spike; a vote is"),
        ("label_id", 5, r"labels.opinions=.*said.csv: label_id 5 of eeg_id 80: no row of this data set, as 1 of the"),
        ("eeg_id", 7, r"labels.opinions=.*said.csv: label_id 8 of eeg_id 7: no row of this data set, as 1 of the"),
    ],
)
def test_opinions_that_are_refused(column: str, value: object, message: str, tmp_path: Path) -> None:
    rows = pd.DataFrame({"label_id": [3, 8], "eeg_id": [30, 80]})
    said = pd.DataFrame(
        {"rater": "bo", "label_id": [3, 8], "eeg_id": [30, 80], "class": ["lpd", "gpd"], "certainty": [80, 50]}
    ).astype({column: object})
    said.loc[slice(None) if isinstance(value, list) else 1, column] = value
    with pytest.raises(UserError, match=message):
        read_opinions(write(tmp_path / "said.csv", said), rows)


def test_patients_may_have_names(wide: pd.DataFrame, tmp_path: Path) -> None:
    named = write(tmp_path / "v.csv", wide.assign(patient_id=["ann", "ann", "7"]))
    first, second = read_raters(named).patients
    assert first == second == number_of_name("ann")
    votes = pd.DataFrame(
        {"rater": ["a", "b"], "label_id": [1, 1], "class": ["lpd", "gpd"], "patient_id": ["ann", "bo"]}
    )
    with pytest.raises(UserError, match="label_id 1 has more than one patient_id"):
        read_raters(write(tmp_path / "votes.csv", votes))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rater,label_id,class\nx,ann,1,lpd\nx,bo,1,gpd\n", "not readable as csv"),  # a field more than the header
        ("rater,label_id,class,class\nann,1,lpd,gpd\n", "more than one column class"),
        ("label_id,rater_a,rater_a\n1,0,1\n", "more than one column rater_a"),
        ("rater;label_id;class\nann;1;lpd\n", "columns must be separated by commas"),
    ],
)
def test_no_field_is_taken_for_another(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "v.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_raters(tmp_path / "v.csv")


def test_what_pandas_noted_may_be_damaged(wide: pd.DataFrame, tmp_path: Path) -> None:
    for damaged in (b"{", b"\xa0", b"[]", b'{"columns": 3}'):
        table = pa.Table.from_pandas(wide[["label_id", "rater_ann"]]).replace_schema_metadata({b"pandas": damaged})
        pq.write_table(table, tmp_path / "v.parquet", store_schema=False)
        assert read_raters(tmp_path / "v.parquet").names == ("ann",)
