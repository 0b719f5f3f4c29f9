"""Folds: by patient, stratified, the same for everyone, and guarded by a hash."""

from __future__ import annotations

import hashlib
import multiprocessing
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings

from hbac.common.errors import UserError
from hbac.labels.folds import FoldTable, fold_table, make_folds
from hbac.labels.leaks import check_folds
from hbac.labels.targets import consensus, sum_votes
from hbac.vocabulary import VOTE_COLUMNS


def label_rows(n_patients: int, seed: int = 0, rows_per_eeg: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    lines = []
    for patient in range(n_patients):
        label = rng.integers(6)
        for eeg in range(rng.integers(1, 4)):
            votes = rng.multinomial(8, np.where(np.arange(6) == label, 0.75, 0.05), size=rows_per_eeg)
            for sub, vote in enumerate(votes):
                ids = {"patient_id": 100 + patient, "eeg_id": 10 * patient + eeg, "eeg_sub_id": sub}
                spectrogram = {"spectrogram_id": 5000 + 10 * patient + eeg // 2}
                lines.append(ids | spectrogram | dict(zip(VOTE_COLUMNS, vote.tolist(), strict=True)))
    return pd.DataFrame(lines)


def test_patients_stay_together_and_classes_are_spread():
    rows = label_rows(300)
    table = make_folds(rows, n_folds=5, seed=3)
    fold = table.fold_of(rows["patient_id"])
    assert not any(check.offenders for check in check_folds(rows, fold))
    label = consensus(sum_votes(rows))
    fold_of_eeg = rows.groupby("eeg_id")["patient_id"].first().map(lambda p: table.fold_of([p])[0])
    counts = pd.crosstab(fold_of_eeg.to_numpy(), label).to_numpy()
    share = counts / counts.sum(axis=1, keepdims=True)
    overall = np.bincount(label) / len(label)
    assert np.abs(share - overall).max() < 0.03
    assert counts.sum(axis=1).max() - counts.sum(axis=1).min() <= 6


@settings(max_examples=25, deadline=None)
@given(st.integers(5, 40), st.integers(0, 10_000))
def test_order_of_rows_does_not_matter_and_no_fold_is_empty(n_patients, seed):
    rows = label_rows(n_patients, seed, rows_per_eeg=1)
    table = make_folds(rows, n_folds=5, seed=seed)
    shuffled = make_folds(rows.sample(frac=1, random_state=seed), n_folds=5, seed=seed)
    assert shuffled.hash == table.hash
    assert set(table.fold.tolist()) == {0, 1, 2, 3, 4}


def test_seed_and_number_of_folds_change_the_hash():
    rows = label_rows(40)
    hashes = {make_folds(rows, n, seed).hash for n, seed in [(5, 0), (5, 1), (4, 0)]}
    assert len(hashes) == 3


def test_written_table_is_read_back(tmp_path: Path):
    table = make_folds(label_rows(30), seed=1)
    table.write(tmp_path / "a" / "folds.csv")
    again = FoldTable.read(tmp_path / "a" / "folds.csv")
    assert again.hash == table.hash
    assert again.seed == 1 and again.n_folds == 5
    np.testing.assert_array_equal(again.fold, table.fold)
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["folds.csv"]


def test_an_edited_file_is_refused(tmp_path: Path):
    path = tmp_path / "folds.csv"
    make_folds(label_rows(30)).write(path)
    lines = path.read_text().splitlines()
    patient, fold = lines[5].split(",")
    lines[5] = f"{patient},{(int(fold) + 1) % 5}"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=r"folds\.csv: the content has the hash"):
        FoldTable.read(path)
    path.write_bytes("\n".join(lines).encode()[:-9] + b"\xff\xfe")
    with pytest.raises(UserError, match=r"folds\.csv: "):
        FoldTable.read(path)
    path.write_text("patient_id,fold\n1,0\n")
    with pytest.raises(UserError, match="not a fold table"):
        FoldTable.read(path)
    path.write_text(lines[0] + "\npatient_id,fold\n1,zero\n")
    with pytest.raises(UserError, match=r"folds\.csv"):
        FoldTable.read(path)


def test_a_patient_in_two_folds_of_an_edited_file_is_refused(tmp_path: Path):
    path = tmp_path / "folds.csv"
    table = make_folds(label_rows(30))
    table.write(path)
    lines = path.read_text().splitlines()
    patient, fold = lines[5].split(",")
    lines.insert(6, f"{patient},{(int(fold) + 1) % 5}")
    # Whoever edits it with care gives it the hash of the new content, too.
    content = "\n".join([lines[0].split("; ", 1)[1].rpartition("; ")[0], *lines[1:]]) + "\n"
    lines[0] = f"{lines[0].rpartition('=')[0]}={hashlib.sha256(content.encode()).hexdigest()}"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=r"folds\.csv: fold table: patient ids must be ascending and unique"):
        FoldTable.read(path)


def test_fold_table_is_made_once(tmp_path: Path):
    rows = label_rows(40)
    path = tmp_path / "folds.csv"
    first = fold_table(rows, path, n_folds=5, seed=0)
    stamp = path.stat().st_mtime_ns
    assert fold_table(rows.iloc[::-1], path, n_folds=5, seed=0).hash == first.hash
    assert path.stat().st_mtime_ns == stamp
    with pytest.raises(UserError, match=r"folds\.csv: made with n_folds=5, seed=0; asked for n_folds=4"):
        fold_table(rows, path, n_folds=4, seed=0)
    with pytest.raises(UserError, match=r"folds\.csv: fold table: 5 patient\(s\) have no fold.*patient_id 140"):
        fold_table(label_rows(45), path, n_folds=5, seed=0)


def _ask(path: Path) -> str:
    return fold_table(label_rows(40), path, n_folds=5, seed=0).hash


def test_several_processes_get_the_same_table(tmp_path: Path):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        hashes = pool.map(_ask, [tmp_path / "folds.csv"] * 4)
    assert len(set(hashes)) == 1
    assert not list(tmp_path.glob("*.partial*"))


def test_fewer_patients_than_folds():
    with pytest.raises(UserError, match="only 3 patients"):
        make_folds(label_rows(3), n_folds=5)
    with pytest.raises(UserError, match="n_folds=1"):
        make_folds(label_rows(3), n_folds=1)


@pytest.mark.parametrize("column", ["eeg_id", "spectrogram_id"])
def test_an_id_of_two_patients_is_an_error(column):
    rows = label_rows(20)
    stolen = int(rows[column].iloc[0])
    rows.loc[rows.index[-1], column] = stolen
    with pytest.raises(UserError, match=rf"{column} {stolen} belongs to 2 patients \(100, 119\)"):
        make_folds(rows)


def test_unknown_patient():
    table = FoldTable(np.array([3, 8]), np.array([1, 0]), n_folds=2, seed=0)
    with pytest.raises(UserError, match="patient_id 9"):
        table.fold_of([3, 9])
    with pytest.raises(UserError, match="patient_id 1"):
        table.fold_of([1])
