"""The prediction table: what is written is read back, and nothing wrong gets in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import hbac
from hbac.common.errors import UserError
from hbac.predictions.metadata import TableMetadata
from hbac.predictions.table import DTYPES, PredictionTable, concat
from tests.predictions.tables import fold_tables, make_rows, make_table


def test_schema_is_the_contract(tmp_path: Path):
    path = make_table(runs={0: tmp_path / "runs" / "fold0"}).write(tmp_path / "members" / "a.parquet")
    schema = pq.read_schema(path)
    assert schema.names == [
        *("eeg_id", "eeg_sub_id", "spectrogram_id", "patient_id", "label_id", "fold", "n_votes"),
        *("seizure_vote", "lpd_vote", "gpd_vote", "lrda_vote", "grda_vote", "other_vote"),
        *("seizure_prob", "lpd_prob", "gpd_prob", "lrda_prob", "grda_prob", "other_prob"),
    ]
    assert [str(kind) for kind in schema.types] == ["int64"] * 5 + ["int16", "int32"] + ["double"] * 12
    assert schema.metadata[b"hbac.member"] == b"a"
    assert schema.metadata[b"hbac.config_hash"] == b"c-a"
    assert schema.metadata[b"hbac.fold_hash"] == b"f0"
    assert schema.metadata[b"hbac.data_fingerprint"] == b"d0"
    assert schema.metadata[b"hbac.hbac_version"] == hbac.__version__.encode()
    assert schema.metadata[b"hbac.runs"] == b'{"0": "../runs/fold0"}'


def test_round_trip_and_moved_folder(tmp_path: Path):
    old = tmp_path / "old"
    table = make_table(runs={0: old / "runs" / "0", 3: old / "runs" / "3"}, extras={"epoch": "4"})
    table.write(old / "members" / "a.parquet")
    again = PredictionTable.read(old / "members" / "a.parquet")
    pd.testing.assert_frame_equal(again.frame, table.frame, check_exact=True)
    assert again.metadata == table.metadata
    old.rename(tmp_path / "new")
    moved = PredictionTable.read(tmp_path / "new" / "members" / "a.parquet")
    assert moved.metadata.runs == {0: tmp_path / "new" / "runs" / "0", 3: tmp_path / "new" / "runs" / "3"}


def test_test_rows_have_no_targets():
    rows = pd.DataFrame({"spectrogram_id": [5, 6], "eeg_id": [1, 2], "patient_id": [3, 3]})
    half = np.full((2, 6), np.float16(1 / 6))
    table = PredictionTable.from_arrays(rows, half, TableMetadata("m"))
    assert table.folds == [-1]
    assert np.isnan(table.targets).all()
    assert table.frame["n_votes"].tolist() == [0, 0]
    np.testing.assert_allclose(table.probs.sum(axis=1), 1, atol=1e-15)


def test_targets_are_shares_and_folds_are_kept():
    rows, fold = make_rows(10)
    table = PredictionTable.from_arrays(rows, np.full((10, 6), 1 / 6), TableMetadata("m"), fold)
    np.testing.assert_array_equal(table.frame["fold"], fold)
    votes = rows.filter(like="_vote").to_numpy()
    np.testing.assert_allclose(table.targets, votes / votes.sum(axis=1, keepdims=True))
    np.testing.assert_array_equal(table.frame["n_votes"], votes.sum(axis=1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.assign(lpd_prob=f.lpd_prob - 2), "row 0, column lpd_prob: .* is negative"),
        (lambda f: f.assign(lpd_prob=f.lpd_prob.where(f.index != 3)), "row 3, column lpd_prob: nan"),
        (lambda f: f.assign(gpd_prob=f.gpd_prob / 2), "row 0, columns seizure_prob … other_prob sum to"),
        (lambda f: f.assign(gpd_vote=f.gpd_vote.where(f.index != 2)), "row 2, column gpd_vote: nan"),
        (lambda f: f.assign(fold=f.fold.astype("int64")), "column fold is int64; it must be int16"),
        (lambda f: f.assign(fold=(f.fold * 0 - 2).astype("int16")), "row 0, column fold: -2"),
        (lambda f: f.assign(n_votes=f.n_votes.where(f.index > 0, 0).astype("int32")), "row 0, column n_votes: 0"),
        (lambda f: f.drop(columns="eeg_id"), "missing column.s. eeg_id"),
        (lambda f: f.assign(extra=1), "unknown column.s. extra"),
        (
            lambda f: f.assign(label_id=f.label_id.where(f.index != 5, 9039)),
            "row 5, column label_id: label_id 9039",
        ),
        (lambda f: f.iloc[:0], "no rows"),
    ],
)
def test_wrong_tables_are_refused_by_table_row_and_column(tmp_path, change, message):
    frame = change(make_table("a").frame)
    with pytest.raises(UserError, match=f"table a: .*{message}"):
        PredictionTable(frame, TableMetadata("a"))
    path = make_table("a").write(tmp_path / "a.parquet")
    arrow = pq.read_table(path)
    import pyarrow as pa

    bad = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(arrow.schema.metadata)
    pq.write_table(bad, path)
    with pytest.raises(UserError, match=rf"a\.parquet: .*{message}"):
        PredictionTable.read(path)


def test_unreadable_files(tmp_path: Path):
    with pytest.raises(UserError, match=r"none\.parquet: no such"):
        PredictionTable.read(tmp_path / "none.parquet")
    path = make_table().write(tmp_path / "a.parquet")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="not readable as parquet"):
        PredictionTable.read(path)
    pq.write_table(pq.read_table(make_table().write(path)).replace_schema_metadata(None), path)
    with pytest.raises(UserError, match=r"metadata lack hbac\.member"):
        PredictionTable.read(path)


def test_folds_put_together_are_the_whole(tmp_path: Path):
    parts = fold_tables()
    parts = [
        PredictionTable(p.frame, TableMetadata(**(vars(p.metadata) | {"runs": {p.folds[0]: tmp_path / str(i)}})))
        for i, p in enumerate(parts)
    ]
    whole = concat(parts[::-1])
    expected = make_table().frame.sort_values(["fold", "eeg_id"], ignore_index=True)
    pd.testing.assert_frame_equal(whole.frame, expected)
    assert whole.missing_folds == []
    assert whole.metadata.runs == {i: tmp_path / str(i) for i in range(5)}
    assert concat(parts[1:3]).missing_folds == [0, 3, 4]


def test_folds_that_do_not_go_together():
    parts = fold_tables()
    with pytest.raises(UserError, match="table a: fold 1 comes twice"):
        concat([parts[0], parts[1], parts[1]])
    with pytest.raises(UserError, match="member is 'b', that of table a is 'a'"):
        concat([parts[0], fold_tables("b")[1]])
    other = PredictionTable(parts[1].frame, TableMetadata(**(vars(parts[1].metadata) | {"fold_hash": "f1"})))
    with pytest.raises(UserError, match="fold_hash is 'f1', that of table a is 'f0'"):
        concat([parts[0], other])
    with pytest.raises(UserError, match="no fold tables"):
        concat([])


def test_dtypes_of_memory_and_file_agree():
    assert {column: str(kind) for column, kind in make_table().frame.dtypes.items()} == DTYPES


def test_any_flipped_bit_is_named(tmp_path: Path) -> None:
    """Of the rows and of hbac's metadata; what pandas or Arrow note besides decides nothing."""
    path = make_table().write(tmp_path / "t.parquet")
    content = path.read_bytes()
    good = PredictionTable.read(path)
    for place in np.random.default_rng(0).integers(0, 8 * len(content), 300).tolist():
        spoiled = bytearray(content)
        spoiled[place // 8] ^= 1 << place % 8
        path.write_bytes(spoiled)
        try:
            found = PredictionTable.read(path)
        except UserError as error:
            assert str(path) in str(error)
        else:
            pd.testing.assert_frame_equal(found.frame, good.frame, check_exact=True)
            assert found.metadata == good.metadata


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (b"hbac.n_folds", b"1" * 30, "n_folds is 1.11e"),
        (b"hbac.n_folds", b"-1", "n_folds is -1"),
        (b"hbac.n_folds", b"x", "damaged metadata"),
        (b"hbac.member", b"\xff\xfe", "damaged metadata"),
        (b"hbac.runs", b'{"0": 3}', "must be text"),
        (b"hbac.runs", b"[]", "must be an object"),
        (b"hbac.runs", b'{"x": "y"}', "damaged metadata"),
        (b"hbac.extras", b'{"a": 1}', "must be text"),
        (b"hbac.extras", b"[" * 100_000, "damaged metadata"),
        (b"hbac.config_hash", b"other", "not what was written"),
    ],
)
def test_damaged_metadata(tmp_path: Path, key: bytes, value: bytes, message: str) -> None:
    path = make_table().write(tmp_path / "t.parquet")
    arrow = pq.read_table(path)
    metadata = {**arrow.schema.metadata, key: value}
    if message != "not what was written":
        del metadata[b"hbac.sha256"]
    pq.write_table(arrow.replace_schema_metadata(metadata), path)
    with pytest.raises(UserError, match=rf"t\.parquet: .*{message}"):
        PredictionTable.read(path)


def test_a_table_of_an_earlier_version_has_no_hash(tmp_path: Path) -> None:
    path = make_table().write(tmp_path / "t.parquet")
    arrow = pq.read_table(path)
    metadata = {key: value for key, value in arrow.schema.metadata.items() if key != b"hbac.sha256"}
    pq.write_table(arrow.replace_schema_metadata(metadata), path)
    assert len(PredictionTable.read(path).frame) == 40


def test_a_column_that_stands_twice(tmp_path: Path) -> None:
    path = make_table().write(tmp_path / "t.parquet")
    arrow = pq.read_table(path)
    pq.write_table(arrow.append_column("fold", arrow["fold"]), path)
    with pytest.raises(UserError, match=r"t\.parquet: .*fold"):
        PredictionTable.read(path)
