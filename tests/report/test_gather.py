"""What a report compares: every way of naming runs, best first, and nothing that does not go together."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from hbac.common.errors import UserError
from hbac.ensembling.build import build_ensemble
from hbac.ensembling.collect import collect
from hbac.evaluation.metric import kl_divergence
from hbac.predictions import PredictionTable
from hbac.report.gather import gather
from tests.predictions.tables import make_table
from tests.reports import write_runs


def members(outputs: Path) -> list[Path]:
    return sorted((outputs / "runs").iterdir())


def test_members_and_ensembles_are_ranked_by_their_score(reported: Path) -> None:
    found = gather([reported / "ensembles" / "two", reported / "runs"], reported)
    assert len(found.members) == 3
    assert list(found.ensembles) == ["ensemble two"]
    for population, least in (("many_votes", 10), ("all", 0)):
        found = gather([reported / "ensembles" / "two", reported / "runs"], reported, population)
        scores = []
        for table in (found.tables[name] for name in found.names):
            counts = (table.frame["n_votes"] >= least).to_numpy()
            scores.append(kl_divergence(table.targets[counts], table.probs[counts]))
        assert scores == sorted(scores)
        np.testing.assert_allclose(found.joined.divergences[:, found.counts].mean(axis=1), scores, rtol=1e-5)
    assert found.label(found.names[1]) == f"2  {found.names[1]}"
    assert found.floor == {"all": 0.1, "up_to_7": 0.15, "10_or_more": 0.05}
    assert found.notes == ()


def test_a_member_reached_on_several_ways_counts_once(reported: Path) -> None:
    one = members(reported)[0]
    paths = [one / "fold1", one, one / "fold0", reported / "ensembles" / "two" / "ensemble.json", reported / "runs"]
    assert gather(paths, reported).names == gather([reported / "ensembles" / "two", reported / "runs"], reported).names
    assert gather([one / "fold1", one / "fold0"], reported).joined.present.all()


def test_a_member_without_all_folds_is_scored_on_its_rows_and_a_note_says_so(reported: Path) -> None:
    one, other, _ = members(reported)
    found = gather([one / "fold1", other], reported)
    assert "Not all predictions are of the same rows" in found.notes[0]
    (j,) = [j for j, name in enumerate(found.names) if name == one.name]
    table = PredictionTable.read(one / "fold1" / "predictions.parquet")
    assert np.nanmean(found.joined.divergences[j]) == pytest.approx(kl_divergence(table.targets, table.probs), rel=1e-5)
    assert np.isfinite(found.prob(one.name)).all(axis=1).sum() == len(table.frame)


def test_nothing_named_is_the_newest_ensemble_with_its_members(reported: Path) -> None:
    found = gather([], reported)
    assert (len(found.members), list(found.ensembles)) == (2, ["ensemble two"])


def test_without_an_ensemble_it_is_the_runs_that_go_with_the_newest(reported: Path, tmp_path: Path) -> None:
    shutil.copytree(reported / "runs", tmp_path / "runs")
    write_runs(tmp_path, reported / "data", [["band=2-9"]], n_folds=3)
    found = gather([], tmp_path)
    assert [name.rpartition("-")[0] for name in found.names] == ["resnet_gru-2-9"]
    assert found.notes == (
        "6 runs on other data or other folds than the newest run are left out: name them with runs=[…].",
    )


def test_the_ensemble_of_one_member_is_its_calibration_or_that_member(reported: Path, tmp_path: Path) -> None:
    build_ensemble(collect(members(reported)[:1]), tmp_path / "one", n_resamples=5)
    found = gather([tmp_path / "one"], tmp_path)
    assert (len(found.names), list(found.ensembles)) == (2, ["ensemble one"])
    build_ensemble(collect(members(reported)[:1]), tmp_path / "one", method="mean", n_resamples=5)
    found = gather([tmp_path / "one"], tmp_path)
    assert (len(found.names), found.ensembles) == (1, {})


def test_no_rows_to_rank_by(tmp_path: Path) -> None:
    table = make_table("a")
    few = PredictionTable(table.frame[table.frame["n_votes"] <= 7], table.metadata)
    few.write(tmp_path / "few.parquet")
    with pytest.raises(UserError, match="population=many_votes: there are no rows with 10 or more votes .*=all"):
        gather([tmp_path / "few.parquet"], tmp_path)
    assert gather([tmp_path / "few.parquet"], tmp_path, "all").names == ("a",)


def test_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither an ensemble nor a run"):
        gather([], tmp_path)
    with pytest.raises(UserError, match="no such run, sweep or ensemble"):
        gather([tmp_path / "gone"], tmp_path)


def test_other_data_and_test_rows_are_refused(reported: Path, tmp_path: Path) -> None:
    other = make_table("other").write(tmp_path / "other.parquet")
    with pytest.raises(UserError, match="don't go together"):
        gather([reported / "runs", other], reported)
    table = make_table("test")
    ids = table.frame[["eeg_id", "patient_id", "label_id"]]
    PredictionTable.from_arrays(ids, table.probs, table.metadata).write(tmp_path / "test.parquet")
    with pytest.raises(UserError, match="has test rows"):
        gather([tmp_path / "test.parquet"], tmp_path)
