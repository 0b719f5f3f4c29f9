"""Tables from elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hbac.common.errors import UserError
from hbac.ensembling.build import build_ensemble
from hbac.labels.folds import FoldTable
from hbac.predictions.foreign import UncheckedTableWarning, read_table
from hbac.predictions.join import join_tables
from hbac.recordings.tables import number_of_name
from hbac.vocabulary import PROB_COLUMNS, VOTE_COLUMNS
from tests.predictions.tables import make_table

pytestmark = pytest.mark.filterwarnings("ignore::hbac.predictions.foreign.UncheckedTableWarning")


def fold_table_of(frame: pd.DataFrame) -> FoldTable:
    pairs = frame[["patient_id", "fold"]].drop_duplicates().sort_values("patient_id")
    return FoldTable(pairs["patient_id"].to_numpy(), pairs["fold"].to_numpy(), n_folds=5, seed=0)


def counted(frame: pd.DataFrame, times: dict[int, int] | None = None) -> pd.DataFrame:
    """Counts of votes in place of shares, of some rows multiplied."""
    n = frame["n_votes"].to_numpy() * np.array([(times or {}).get(row, 1) for row in range(len(frame))])
    return frame.assign(**{column: np.rint(frame[column] * n).astype(int) for column in VOTE_COLUMNS}, n_votes=n)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_plain_files_join_with_ours(tmp_path: Path, suffix):
    ours, theirs = make_table("ours"), make_table("theirs", seed=1)
    path = tmp_path / f"theirs.{suffix}"
    frame = theirs.frame.sample(frac=1, random_state=0)
    frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    with pytest.warns(UncheckedTableWarning, match=r"theirs\.\w+: made by other code.*which config, data and fold"):
        read = read_table(path)
    assert read.metadata.member == "theirs"
    assert read.metadata.hbac_version == ""
    joined = join_tables([ours, read])
    np.testing.assert_allclose(joined.probs[1], join_tables([ours, theirs]).probs[1], rtol=1e-6)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_patients_whose_ids_are_text_are_those_of_the_data_set(tmp_path: Path, suffix):
    """`hbac.recordings.tables` numbers them; a table of other code has the text, as its author's train.csv had."""
    frame = make_table().frame
    names = {patient: f"P_{patient}" for patient in frame["patient_id"]}
    named = frame.assign(patient_id=frame["patient_id"].map(names))
    path = tmp_path / f"theirs.{suffix}"
    named.to_csv(path, index=False) if suffix == "csv" else named.to_parquet(path)
    numbers = frame["patient_id"].map(lambda patient: number_of_name(names[patient]))
    folds = fold_table_of(frame.assign(patient_id=numbers))
    for given in (None, folds):
        assert read_table(path, given).frame["patient_id"].tolist() == numbers.tolist()
    named.loc[3, "patient_id"] = None
    named.to_parquet(tmp_path / "b.parquet")
    with pytest.raises(UserError, match=r"row 3, column patient_id: nan; a whole number or a name is needed"):
        read_table(tmp_path / "b.parquet")


def test_csv_files_as_spreadsheets_write_them(tmp_path: Path):
    """Spaces behind commas, a byte order mark, Windows' line ends."""
    table = make_table()
    text = table.frame.to_csv(index=False).replace(",", ", ").replace("\n", "\r\n")
    (tmp_path / "a.CSV").write_bytes(b"\xef\xbb\xbf" + text.encode())
    np.testing.assert_allclose(read_table(tmp_path / "a.CSV").probs, table.probs, rtol=1e-12)
    head, rest = table.frame.to_csv(index=False).split("\n", 1)  # a comma behind each row moves nothing
    (tmp_path / "b.csv").write_text(head + "\n" + rest.replace("\n", ",\n"))
    np.testing.assert_allclose(read_table(tmp_path / "b.csv").probs, table.probs, rtol=1e-12)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace(",", ";"), "its only column is 'eeg_id;.*must be separated by commas"),
        (lambda text: text.replace("lpd_prob", "seizure_prob", 1), "more than one column seizure_prob"),
        (lambda text: text.splitlines()[0] + "\n", "has no rows"),
        (lambda text: text.replace("\n", ",0.5\n").replace(",0.5\n", "\n", 1), "not readable as csv"),
    ],
    ids=["semicolons", "a column twice", "no rows", "a field behind each row"],
)
def test_csv_files_whose_columns_are_not_what_they_seem(tmp_path: Path, change, words: str):
    path = tmp_path / "a.csv"
    path.write_text(change(make_table().frame.to_csv(index=False)))
    with pytest.raises(UserError, match=words):
        read_table(path)


def test_rounded_probabilities_are_divided_by_their_sum_and_the_warning_counts_them(tmp_path: Path):
    table = make_table("a")
    frame = table.frame.copy()
    frame.loc[:4, list(PROB_COLUMNS)] *= 1.0005
    frame.to_parquet(tmp_path / "b.parquet")
    said = r"probabilities of 5 rows add up to 1 only within 0.0005 and were divided by their sum"
    with pytest.warns(UncheckedTableWarning, match=said):
        read = read_table(tmp_path / "b.parquet")
    np.testing.assert_allclose(read.probs, table.probs, rtol=1e-12)


@pytest.mark.parametrize("precision", [np.float32, np.float16])
def test_low_precision_is_taken_out(tmp_path: Path, precision):
    """A softmax of single precision can answer 1.0000001: not an error, and not worth a word either."""
    table = make_table("a")
    prob = table.probs.astype(precision)
    prob[:3] = np.eye(6)[:3] * precision(1 + np.finfo(precision).eps)
    table.frame.assign(**{column: prob[:, k] for k, column in enumerate(PROB_COLUMNS)}).to_csv(tmp_path / "b.csv")
    with pytest.warns(UncheckedTableWarning) as said:
        read = read_table(tmp_path / "b.csv")
    assert ("divided" in str(said[0].message)) == (precision is np.float16)
    np.testing.assert_allclose(read.probs.sum(axis=1), 1, atol=1e-15)
    np.testing.assert_array_equal(read.probs[:3], np.eye(6)[:3])
    np.testing.assert_allclose(read.probs[3:], table.probs[3:], rtol=2 * np.finfo(precision).eps, atol=1e-7)


def test_shares_of_three_digits_are_divided_by_their_sum(tmp_path: Path):
    table = make_table("a")
    rounded = table.frame.round(dict.fromkeys(VOTE_COLUMNS, 4))
    assert (rounded[list(VOTE_COLUMNS)].sum(axis=1) - 1).abs().max() > 5e-5
    rounded.to_csv(tmp_path / "b.csv", index=False)
    with pytest.warns(UncheckedTableWarning, match=r"shares of votes of \d+ rows add up to 1 only within 0\.0001"):
        read = read_table(tmp_path / "b.csv")
    np.testing.assert_allclose(read.targets, table.targets, atol=2e-4)
    np.testing.assert_allclose(read.targets.sum(axis=1), 1, atol=1e-15)


@pytest.mark.parametrize("kind", [str, float, "int8", "uint8"])
def test_folds_of_any_type_and_first_number(tmp_path: Path, kind):
    table = make_table("a")
    table.frame.assign(fold=(table.frame["fold"] + 1).astype(kind)).to_parquet(tmp_path / "b.parquet")
    assert read_table(tmp_path / "b.parquet").folds == [1, 2, 3, 4, 5]


def test_our_own_file_is_read_without_a_warning(tmp_path: Path, recwarn):
    table = make_table("a")
    assert read_table(table.write(tmp_path / "x.parquet")).metadata == table.metadata
    assert not recwarn.list


def test_counts_of_votes_become_shares(tmp_path: Path):
    table = make_table("a")
    frame = table.frame.copy()
    n = frame["n_votes"].to_numpy()
    frame[list(VOTE_COLUMNS)] = np.rint(table.targets * n[:, None]).astype(int)
    frame.drop(columns=["n_votes", "eeg_sub_id", "spectrogram_id", "label_id"]).to_csv(tmp_path / "b.csv", index=False)
    with pytest.warns(UncheckedTableWarning, match="eeg_sub_id, spectrogram_id, label_id"):
        read = read_table(tmp_path / "b.csv")
    np.testing.assert_allclose(read.targets, table.targets, atol=1e-12)
    assert read.frame["n_votes"].tolist() == n.tolist()
    assert (read.frame["label_id"] == -1).all()


def test_folds_from_a_file(tmp_path: Path):
    table = make_table("a")
    folds = fold_table_of(table.frame)
    folds.write(tmp_path / "folds.csv")
    table.frame.drop(columns="fold").to_csv(tmp_path / "b.csv", index=False)
    read = read_table(tmp_path / "b.csv", folds=tmp_path / "folds.csv")
    assert read.frame["fold"].tolist() == table.frame["fold"].tolist()
    assert read.metadata.fold_hash == folds.hash
    assert read.metadata.n_folds == 5
    with pytest.raises(UserError, match=r"missing column\(s\) fold; give folds=PATH"):
        read_table(tmp_path / "b.csv")
    wrong = table.frame.assign(fold=((table.frame["fold"] + 1) % 5).astype("int16"))
    wrong.to_csv(tmp_path / "c.csv", index=False)
    with pytest.raises(UserError, match=r"c\.csv: row 0, column fold: 1, but patient_id 300 is in fold 0"):
        read_table(tmp_path / "c.csv", folds=folds)
    stranger = table.frame.assign(patient_id=7).drop(columns="fold")
    stranger.to_csv(tmp_path / "d.csv", index=False)
    with pytest.raises(UserError, match="patient_id 7"):
        read_table(tmp_path / "d.csv", folds=folds)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns=["eeg_id", "lpd_prob"]), "missing column.s. eeg_id, lpd_prob"),
        (lambda f: f.assign(lpd_prob=f.lpd_prob.where(f.index != 3)), "row 3, column lpd_prob: nan"),
        (lambda f: f.assign(lpd_prob=f.lpd_prob - 1), "row 0, column lpd_prob: .* negative"),
        (lambda f: f.assign(lpd_prob=f.lpd_prob / 2), "row 0, columns seizure_prob … other_prob sum to"),
        (lambda f: f.assign(lpd_vote=f.lpd_vote + 0.3), "row 24, column lpd_vote: 1.3 is greater than 1"),
        (lambda f: f.assign(patient_id=f.patient_id + 0.5), "row 0, column patient_id: 300.5; a whole number"),
        (
            lambda f: f.assign(n_votes=f.n_votes.where(f.index != 3, 0)),
            "row 3, column n_votes: 0; .* at least one vote",
        ),
        (lambda f: f.assign(fold=f.fold.astype(int) + 40_000), "row 0, column fold: 40000; at most 32767 is possible"),
        (lambda f: counted(f).assign(n_votes=f.n_votes + 1), r"row 0, column n_votes: \d+, but the columns .* add up"),
        (lambda f: counted(f, {4: 0}), "row 4, columns seizure_vote … other_vote: no votes"),
        (lambda f: counted(f).assign(lpd_vote=f.lpd_vote.where(f.index != 3)), "row 3, column lpd_vote: nan"),
        (lambda f: f.assign(lpd_prob="x"), "column lpd_prob is .*; it must be numeric"),
        (lambda f: pd.concat([f, f.iloc[[2]]]), "row 40, column label_id: label_id 9037 stands twice"),
    ],
)
def test_wrong_tables_are_named(tmp_path: Path, change, message):
    change(make_table("a").frame).to_csv(tmp_path / "bad.csv", index=False)
    with pytest.raises(UserError, match=rf"bad.*{message}"):
        read_table(tmp_path / "bad.csv")


def test_ids_that_other_code_does_not_give_are_not_compared(tmp_path: Path):
    ours, theirs = make_table("ours"), make_table("theirs", seed=1)
    theirs.frame.drop(columns=["spectrogram_id", "eeg_sub_id"]).to_csv(tmp_path / "b.csv", index=False)
    joined = join_tables([ours, read_table(tmp_path / "b.csv")])
    assert joined.frame["spectrogram_id"].min() == 2000
    other_way = join_tables([read_table(tmp_path / "b.csv"), ours])
    pd.testing.assert_frame_equal(joined.frame, other_way.frame)


def test_no_file(tmp_path: Path):
    with pytest.raises(UserError, match=r"x\.csv: no such"):
        read_table(tmp_path / "x.csv")
    (tmp_path / "y.csv").write_text("")
    with pytest.raises(UserError, match=r"y\.csv: not readable as csv"):
        read_table(tmp_path / "y.csv")


def test_shares_without_a_number_of_votes_are_taken_and_told(tmp_path: Path):
    """Whoever needs the number says so; a table that knows it teaches one that does not."""
    table = make_table("a")
    table.frame.drop(columns="n_votes").to_csv(tmp_path / "b.csv", index=False)
    with pytest.warns(UncheckedTableWarning, match="could not be checked: .*n_votes"):
        read = read_table(tmp_path / "b.csv")
    assert (read.frame["n_votes"] == 0).all()
    np.testing.assert_allclose(read.targets, table.targets)
    for order in ([table, read], [read, table]):
        joined = join_tables(order)
        np.testing.assert_array_equal(joined.n_votes, table.frame.sort_values("label_id")["n_votes"])
    with pytest.raises(UserError, match=r"table\(s\) b: no row says its number of votes, .*population=all"):
        build_ensemble([read], tmp_path / "e", n_resamples=10)
    result = build_ensemble([read], tmp_path / "e", population="all", n_resamples=10)
    assert np.isfinite(result.nested_kl)
