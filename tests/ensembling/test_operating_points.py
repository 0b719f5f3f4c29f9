"""The file beside an ensemble: what it says is of the ensemble's out-of-fold rows that count."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hbac.common.errors import UserError
from hbac.ensembling.build import build_ensemble
from hbac.ensembling.operating_points import OPERATING_FILE, OperatingPoints
from hbac.labels.targets import population_of
from hbac.vocabulary import CLASSES
from tests.ensembling.standin import make_standin


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("operating") / "ensemble"
    build_ensemble(make_standin(n_rows=1500, n_members=2, seed=5).tables(), out, n_resamples=20)
    return out


def test_thresholds_are_of_the_out_of_fold_rows_that_count(ensemble: Path) -> None:
    from hbac.predictions import PredictionTable

    table = PredictionTable.read(ensemble / "oof.parquet")
    counts = population_of("many_votes").contains(table.frame["n_votes"])
    found = OperatingPoints.read(ensemble)
    assert (found.population, found.rows) == ("many_votes", counts.sum())
    label, prob = table.targets[counts].argmax(axis=1), table.probs[counts]
    for k, name in enumerate(CLASSES):
        assert found.classes[name].rows == (label == k).sum()
        for point in found.classes[name].points:
            called = prob[:, k] >= found.threshold(name, point.recall)
            assert called[label == k].mean() >= point.recall
            assert called[label != k].mean() * 100 == pytest.approx(point.alarms.estimate)
            assert set(point.by_fold) == set(table.frame["fold"][counts][label == k])
    right = prob.argmax(axis=1) == label
    assert found.answered[0.9].estimate <= 1
    assert (right.mean() >= 0.9) == (found.answered[0.9].estimate == 1)


def test_it_is_read_as_it_was_written_and_checked(ensemble: Path, tmp_path: Path) -> None:
    found = OperatingPoints.read(ensemble / OPERATING_FILE)
    again = OperatingPoints.read(found.write(tmp_path))
    assert (tmp_path / OPERATING_FILE).read_bytes() == (ensemble / OPERATING_FILE).read_bytes()
    assert repr(again) == repr(found)  # NaN is not equal to itself
    content = json.loads((tmp_path / OPERATING_FILE).read_text())
    content["classes"]["lpd"]["points"] = [{"recall": 0.9}]
    (tmp_path / OPERATING_FILE).write_text(json.dumps(content))
    with pytest.raises(UserError, match="changed|not what its entry"):
        OperatingPoints.read(tmp_path)
    del content["sha256"]
    (tmp_path / OPERATING_FILE).write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"classes\.lpd\.points\[0\]"):
        OperatingPoints.read(tmp_path)


def test_what_is_not_there_is_said(ensemble: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file.*hbac.ensemble"):
        OperatingPoints.read(tmp_path)
    found = OperatingPoints.read(ensemble)
    with pytest.raises(UserError, match=r"recall of 0.5; there are those of 0.9, 0.95, 0.99"):
        found.threshold("gpd", 0.5)
