"""Tables in, ensemble folder out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hbac.common.errors import UserError
from hbac.ensembling.build import build_ensemble
from hbac.ensembling.ensemble_file import Ensemble
from hbac.evaluation.metric import kl_divergence
from hbac.predictions.table import PredictionTable, concat
from tests.ensembling.standin import make_standin


@pytest.fixture(scope="module")
def tables() -> list[PredictionTable]:
    made = make_standin(n_rows=1500, n_members=6, seed=5).tables()
    return [
        PredictionTable(
            t.frame, replace(t.metadata, runs={k: Path("/runs") / t.metadata.member / f"fold{k}" for k in range(5)})
        )
        for t in made
    ]


def test_writes_the_folder(tables, tmp_path: Path):
    result = build_ensemble(tables, tmp_path / "e", n_resamples=200)
    found = sorted(p.relative_to(tmp_path / "e").as_posix() for p in (tmp_path / "e").rglob("*") if p.is_file())
    members = sorted(f"members/{t.metadata.member}.parquet" for t in tables)
    assert found == [
        ".hbac-made.json",
        "ensemble.json",
        *members,
        "oof.parquet",
        "operating_points.json",
        "summary.csv",
    ]

    oof = PredictionTable.read(tmp_path / "e" / "oof.parquet")
    many = (oof.frame["n_votes"] >= 10).to_numpy()
    assert kl_divergence(oof.targets[many], oof.probs[many]) == pytest.approx(result.nested_kl)
    assert oof.metadata.member == "ensemble"
    assert oof.metadata.fold_hash == "standin"

    ensemble = Ensemble.read(tmp_path / "e")
    assert ensemble.method == "convex"
    assert ensemble.population == "many_votes"
    assert ensemble.extras["rows_counted"] == many.sum()
    assert ensemble.nested.low < ensemble.nested.estimate < ensemble.nested.high
    assert ensemble.in_sample.estimate <= ensemble.nested.estimate
    assert len(ensemble.members) + len(ensemble.dropped) == 6
    first = ensemble.members[0]
    assert first.runs == tuple(Path("/runs") / first.name / f"fold{k}" for k in range(5))
    assert first.table == tmp_path / "e" / "members" / f"{first.name}.parquet"
    alone = PredictionTable.read(first.table)
    assert first.kl == pytest.approx(kl_divergence(alone.targets[many], alone.probs[many]))

    summary = pd.read_csv(tmp_path / "e" / "summary.csv")
    assert summary["name"].iloc[0] == "ensemble"
    scores = [column for column in summary if column.startswith("kl_") and not column.endswith(("_low", "_high"))]
    assert scores == ["kl_10_or_more", "kl_up_to_7", "kl_all", "kl_calibrated"]
    assert summary["kl_10_or_more"].iloc[0] == pytest.approx(result.nested_kl)
    assert summary["kl_10_or_more"].iloc[1:].is_monotonic_increasing
    assert np.isnan(summary["kl_calibrated"].iloc[0])
    assert (summary["kl_calibrated"] < summary["kl_10_or_more"])[1:].all()  # the stand-in's members are too sure there
    assert (summary["kl_all_low"] < summary["kl_all"]).all() and (summary["kl_all"] < summary["kl_all_high"]).all()
    assert summary["folds"].tolist() == [5] * 7


def test_again_and_in_any_order_gives_the_same_bytes(tables, tmp_path: Path):
    build_ensemble(tables, tmp_path / "e", n_resamples=50)
    files = [p for p in (tmp_path / "e").rglob("*") if p.is_file()]
    before = {p: p.read_bytes() for p in files}
    rng = np.random.default_rng(0)
    mixed = [PredictionTable(t.frame.sample(frac=1, random_state=1), t.metadata) for t in tables]
    build_ensemble([mixed[i] for i in rng.permutation(6)], tmp_path / "e", n_resamples=50)
    same = [p.name for p in files if "members" not in p.parts]
    assert {n: (tmp_path / "e" / n).read_bytes() for n in same} == {
        p.name: content for p, content in before.items() if p.name in same
    }


def test_members_of_an_earlier_ensemble_do_not_stay(tables, tmp_path: Path):
    build_ensemble(tables, tmp_path, n_resamples=10)
    build_ensemble(tables[:2], tmp_path, n_resamples=10)
    assert sorted(p.stem for p in (tmp_path / "members").iterdir()) == sorted(t.metadata.member for t in tables[:2])


def test_a_lone_member_is_calibrated_unless_the_mean_is_asked_for(tables, tmp_path: Path):
    many = (tables[0].frame["n_votes"] >= 10).to_numpy()
    raw = kl_divergence(tables[0].targets[many], tables[0].probs[many])
    result = build_ensemble(tables[:1], tmp_path, n_resamples=10)
    assert result.ensemble.method == "log_linear"
    assert result.nested_kl < raw - 0.03
    assert result.summary["kl_calibrated"].iloc[1] == pytest.approx(result.nested_kl)
    assert result.summary["kl_10_or_more"].tolist() == pytest.approx([result.nested_kl, raw], abs=1e-6)
    np.testing.assert_allclose(
        Ensemble.read(tmp_path).apply(tables[0].probs[None]), result.ensemble.apply(tables[0].probs[None])
    )
    plain = build_ensemble(tables[:1], tmp_path, method="mean", n_resamples=10)
    assert plain.nested_kl == plain.ensemble.in_sample.estimate == pytest.approx(raw, abs=1e-6)


def test_every_population_can_count(tables, tmp_path: Path):
    """A blend is better on the rows that it was fitted on than one that was fitted on others; all are scored on all."""
    found = {
        name: build_ensemble(tables, tmp_path, population=name, n_resamples=10).summary.iloc[0]
        for name in ("many_votes", "few_votes", "all")
    }
    for name, other, column in (
        ("many_votes", "few_votes", "kl_10_or_more"),
        ("few_votes", "many_votes", "kl_up_to_7"),
        ("all", "many_votes", "kl_all"),
    ):
        assert found[name][column] < found[other][column] - 0.005
        assert found[name].index[5] == column
    with pytest.raises(UserError, match="unknown population 'many'; there are: many_votes, few_votes, all"):
        build_ensemble(tables, tmp_path, population="many")


def split(table: PredictionTable) -> list[PredictionTable]:
    return [PredictionTable(part, table.metadata) for _, part in table.frame.groupby("fold")]


def test_missing_folds(tables, tmp_path: Path):
    short = concat([part for part in split(tables[1]) if part.folds[0] not in (1, 3)])
    with pytest.raises(UserError, match=rf"table {tables[1].metadata.member}: fold\(s\) 1, 3 of 5 are missing"):
        build_ensemble([tables[0], short], tmp_path)
    assert list(tmp_path.iterdir()) == []
    result = build_ensemble([tables[0], short], tmp_path, allow_missing_folds=True, n_resamples=10)
    assert result.notes == (f"fold(s) 1, 3 are missing: {tables[1].metadata.member}",)
    shorter = PredictionTable(short.frame.iloc[:-1], short.metadata)
    with pytest.raises(UserError, match=f"table {tables[1].metadata.member}: lacks 1 of 1500 rows"):
        build_ensemble([tables[0], shorter], tmp_path, allow_missing_folds=True)
    assert len(result.table.frame) == 1500
    assert result.summary.set_index("name")["folds"].to_dict()[tables[1].metadata.member] == 3
    both = [concat([p for p in split(t) if p.folds[0] in (0, 2)]) for t in tables[:2]]
    assert build_ensemble(both, tmp_path, allow_missing_folds=True, n_resamples=10).table.folds == [0, 2]
    single = [split(t)[0] for t in tables[:2]]
    result = build_ensemble(single, tmp_path, allow_missing_folds=True, n_resamples=10)
    assert result.ensemble.method == "mean"
    assert any("rows of fold 0 only" in note for note in result.notes)


def test_members_tables_are_read_one_at_a_time_and_written_whole(tables, tmp_path: Path):
    build_ensemble((table for table in tables), tmp_path, n_resamples=10)
    for table in tables:
        written = PredictionTable.read(tmp_path / "members" / f"{table.metadata.member}.parquet")
        assert written.metadata.runs == table.metadata.runs
        expected = table.frame.sort_values("label_id", ignore_index=True)
        pd.testing.assert_frame_equal(written.frame, expected, rtol=0, atol=1e-7)


def test_no_rows_with_many_votes(tables, tmp_path: Path):
    """What a population without rows has no score for is empty in the csv and null in JSON, never NaN."""
    few = [PredictionTable(t.frame[t.frame["n_votes"] < 8], t.metadata) for t in tables[:2]]
    message = "population=many_votes: rows with 10 or more votes stand in no fold of 0, 1, 2, 3, 4, .*population=all"
    for method in ("convex", "mean"):
        with pytest.raises(UserError, match=message):
            build_ensemble(few, tmp_path, method, n_resamples=10)
    one_fold = [
        PredictionTable(t.frame[(t.frame["n_votes"] < 8) | (t.frame["fold"] == 3)], t.metadata) for t in tables[:2]
    ]
    with pytest.raises(UserError, match=r"stand only in fold 3 of 0, 1, 2, 3, 4, and 2 fold\(s\) of them are needed"):
        build_ensemble(one_fold, tmp_path, n_resamples=10)
    assert not list(tmp_path.iterdir())
    build_ensemble(few, tmp_path, population="few_votes", n_resamples=10, comparisons=True)
    assert pd.read_csv(tmp_path / "summary.csv")["kl_10_or_more"].isna().all()
    assert pd.read_csv(tmp_path / "comparisons" / "scores.csv")["kl_10_or_more"].isna().all()
    for file in ("ensemble.json", "summary.csv", "comparisons/scores.csv"):
        assert "nan" not in (tmp_path / file).read_text().lower()


def test_members_that_do_not_go_together_leave_nothing(tables, tmp_path: Path):
    other = PredictionTable(tables[1].frame, replace(tables[1].metadata, fold_hash="elsewhere"))
    names = f"{tables[0].metadata.member} and {tables[1].metadata.member}"
    with pytest.raises(UserError, match=f"members {names} don't go together: fold_hash"):
        build_ensemble([tables[0], other], tmp_path / "e")
    test_rows = tables[0].frame.assign(fold=np.int16(-1))
    with pytest.raises(UserError, match="has test rows"):
        build_ensemble([PredictionTable(test_rows, tables[0].metadata)], tmp_path / "e")
    with pytest.raises(UserError, match="no prediction tables"):
        build_ensemble([], tmp_path / "e")
    assert not (tmp_path / "e").exists()


def test_report_and_every_method_through_the_file(tables, tmp_path: Path):
    result = build_ensemble(tables[:4], tmp_path, method="auto", n_resamples=40, comparisons=True)
    scores = pd.read_csv(tmp_path / "comparisons" / "scores.csv", index_col="name")
    assert scores.loc["ensemble", "kl_10_or_more"] == pytest.approx(result.nested_kl)
    assert sorted(p.stem for p in (tmp_path / "comparisons").iterdir()) == [
        *("against_best", "disagreement", "leave_one_out", "scores")
    ]
    ensemble = Ensemble.read(tmp_path)
    by_method = ensemble.extras["nested_kl_by_method"]
    assert by_method[ensemble.method] == min(by_method.values()) <= result.nested_kl
    by_name = {t.metadata.member: t for t in tables}
    order = [by_name[member.name].frame.sort_values("label_id") for member in ensemble.members]
    probs = np.stack([frame.filter(like="_prob").to_numpy() for frame in order])
    targets = order[0].filter(regex="^(?!n_).*_vote").to_numpy()
    many = (order[0]["n_votes"] >= 10).to_numpy()
    found = kl_divergence(targets[many], ensemble.apply(probs)[many])
    assert found == pytest.approx(ensemble.in_sample.estimate, abs=1e-5)


def test_a_patient_in_two_folds_is_a_leak(tables, tmp_path: Path):
    table = tables[0]
    frame = table.frame.copy()
    row = int(np.flatnonzero(frame["patient_id"] == frame["patient_id"].mode()[0])[0])
    frame.loc[row, "fold"] = (frame.loc[row, "fold"] + 1) % 5
    patient = frame.loc[row, "patient_id"]
    words = rf"table {table.metadata.member}: leak: 1 of \d+ patients in more than one fold: patient_id {patient} in"
    with pytest.raises(UserError, match=words):
        build_ensemble([PredictionTable(frame, table.metadata), *tables[1:]], tmp_path, n_resamples=10)
    assert not list(tmp_path.iterdir())


def test_tables_that_leak_together(tables, tmp_path: Path):
    """Each by itself keeps a patient in one fold; the rows that only one of them has put it into another one."""
    one, other = (table.frame for table in tables[:2])
    patient = int(one["patient_id"].mode()[0])
    rows = np.flatnonzero(one["patient_id"] == patient)
    theirs = other.drop(index=rows[:-1]).copy()
    theirs.loc[rows[-1], "fold"] = (theirs.loc[rows[-1], "fold"] + 1) % 5
    pair = [
        PredictionTable(one.drop(index=rows[-1]), tables[0].metadata),
        PredictionTable(theirs, tables[1].metadata),
    ]
    names = ", ".join(table.metadata.member for table in pair)
    with pytest.raises(UserError, match=rf"tables {names}: leak: 1 of \d+ patients .*: patient_id {patient} in folds"):
        build_ensemble(pair, tmp_path, on_missing="renormalise", n_resamples=10)


def test_the_audit_is_told(tables, tmp_path: Path):
    lines = build_ensemble(tables[:2], tmp_path, n_resamples=10).audit.lines()
    assert lines[0] == f"0 of {tables[0].frame['patient_id'].nunique():,} patients in more than one fold"
    assert len(lines) == 3
