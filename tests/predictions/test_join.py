"""Joining members: on ids, never on position."""

from __future__ import annotations

import numpy as np
import pytest

from hbac.common.errors import UserError
from hbac.predictions.join import join_tables
from hbac.predictions.table import NO_ID, PredictionTable
from tests.predictions.tables import make_table


def shuffled(table: PredictionTable, seed: int) -> PredictionTable:
    return PredictionTable(table.frame.sample(frac=1, random_state=seed, ignore_index=True), table.metadata)


def changed(table: PredictionTable, row: int, column: str, value: float) -> PredictionTable:
    frame = table.frame.copy()
    frame.loc[row, column] = value
    return PredictionTable(frame, table.metadata)


def test_rows_meet_by_id_whatever_their_order():
    a, b = make_table("a"), make_table("b", seed=1)
    plain = join_tables([a, b])
    mixed = join_tables([shuffled(a, 3), shuffled(b, 4)])
    assert plain.members == ("a", "b")
    np.testing.assert_array_equal(plain.probs, mixed.probs)
    np.testing.assert_array_equal(plain.frame.to_numpy(), mixed.frame.to_numpy())
    row = int(np.flatnonzero(plain.frame["eeg_id"] == 1007)[0])
    np.testing.assert_allclose(plain.probs[1, row], b.probs[7], rtol=1e-6)
    assert plain.present.all()


def test_rows_without_label_id_meet_by_eeg():
    tables = [make_table("a"), make_table("b", seed=1)]
    tables = [PredictionTable(t.frame.assign(label_id=NO_ID), t.metadata) for t in tables]
    joined = join_tables([tables[0], shuffled(tables[1], 0)])
    np.testing.assert_allclose(joined.probs[1], tables[1].probs, rtol=1e-6)
    with pytest.raises(UserError, match="either all tables have label_id or none"):
        join_tables([tables[0], make_table("b")])


def test_missing_rows():
    a, b = make_table("a"), make_table("b", seed=1)
    short = PredictionTable(b.frame.drop(index=[4, 9]), b.metadata)
    for order in ([a, short], [short, a]):
        with pytest.raises(UserError, match=r"table b: lacks 2 of 40 rows .* for example label_id 9030"):
            join_tables(order)
        joined = join_tables(order, on_missing="renormalise")
        m = joined.members.index("b")
        assert joined.present.sum(axis=1)[m] == 38
        assert joined.frame.loc[~joined.present[m], "eeg_id"].tolist() == [1009, 1004]
    with pytest.raises(UserError, match="unknown on_missing 'drop'"):
        join_tables([a, short], on_missing="drop")


@pytest.mark.parametrize(
    ("column", "value"),
    [("patient_id", 7), ("fold", 4), ("n_votes", 99), ("eeg_id", 5), ("spectrogram_id", 1)],
)
def test_tables_that_disagree_name_table_row_and_column(column, value):
    with pytest.raises(
        UserError, match=rf"table b: row 6 \(label_id 9033\), column {column}: {value}, but \d+ in table a"
    ):
        join_tables([make_table("a"), changed(make_table("b"), 6, column, value)])


def test_targets_that_disagree():
    b = make_table("b")
    frame = b.frame.copy()
    votes = frame.filter(like="_vote").drop(columns="n_votes", errors="ignore").columns
    frame.loc[6, votes] = 0.0
    frame.loc[6, "lrda_vote"] = 1.0
    with pytest.raises(UserError, match=r"table b: row 6 .* column [a-z]+_vote"):
        join_tables([make_table("a"), PredictionTable(frame, b.metadata)])


@pytest.mark.parametrize("name", ["fold_hash", "data_fingerprint"])
def test_hashes_that_disagree_name_the_members(name):
    with pytest.raises(UserError, match=rf"members a and c don't go together: {name} is . in|members a and c .*{name}"):
        join_tables([make_table("a"), make_table("b"), make_table("c", **{name: "other"})])
    assert join_tables([make_table("a"), make_table("c", **{name: ""})]).members == ("a", "c")


def test_names_must_differ():
    with pytest.raises(UserError, match="two tables are called a"):
        join_tables([make_table("a"), make_table("a", seed=1)])
    with pytest.raises(UserError, match="no prediction tables"):
        join_tables([])
