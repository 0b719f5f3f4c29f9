"""Settings become a rule; the files of a recording are written beside one another."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from hbac.cli.launch import conf_dir
from hbac.common.errors import UserError
from hbac.ensembling.operating_points import OperatingPoints
from hbac.events.event_files import EVENT_FILES, rule_of, write_events
from hbac.events.rule import EVENT_CLASSES, EventRule
from hbac.predictions.course import RecordingFacts
from tests.events.courses import course_of
from tests.predictions.tables import make_table

FACTS = RecordingFacts("a.edf", "0" * 64, 300.0, 256.0)


def settings(**changed: Any) -> dict[str, Any]:
    return yaml.safe_load((conf_dir() / "events" / "default.yaml").read_text()) | changed


def test_the_defaults_are_those_of_the_rule(tmp_path: Path) -> None:
    assert rule_of(settings(), tmp_path) == EventRule()


def test_thresholds_by_class_leave_the_others_out(tmp_path: Path) -> None:
    rule = rule_of(settings(threshold={"lpd": 0.3, "seizure": 0.4}, join_s=20), tmp_path)
    assert rule == EventRule({"seizure": 0.4, "lpd": 0.3}, join_s=20)


@pytest.mark.parametrize(
    ("threshold", "message"),
    [
        (0, "seizure is 0, must be"),
        ({"lpd": 1.5}, "lpd is 1.5, must be"),
        ({"lpd": "x"}, "lpd is 'x', must be"),
        ({"lpds": 0.5}, "lpds"),
        ({"other": 0.5}, "other"),
    ],
)
def test_what_is_no_threshold_is_refused(threshold: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        rule_of(settings(threshold=threshold), tmp_path)


def test_a_recall_takes_the_thresholds_of_the_operating_points(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = make_table(n=60)
    counts = table.targets.argmax(axis=1) != 1  # no LPD
    points = OperatingPoints.of(table, np.asarray(counts), "all", n_resamples=5)
    points.write(tmp_path)
    (tmp_path / "ensemble.json").write_text("{}")
    for place in (tmp_path, tmp_path / "ensemble.json"):
        rule = rule_of(settings(recall=0.95), place)
        own = {name: points.threshold(name, 0.95) for name in EVENT_CLASSES if name != "lpd"}
        assert rule.threshold == {**own, "lpd": 0.5}
    assert "lpd 0.5" in caplog.text
    with pytest.raises(UserError, match=r"recall of 0\.5"):
        rule_of(settings(recall=0.5), tmp_path)
    with pytest.raises(UserError, match="no operating points"):
        rule_of(settings(recall=0.9), tmp_path / "nowhere" / "ensemble.json")


def test_all_files_tell_of_the_same_events_and_none_of_a_patient(tmp_path: Path) -> None:
    pytest.importorskip("edfio")
    who = RecordingFacts(
        "a.edf", "0" * 64, 300.0, 256.0, start=datetime(2024, 2, 3, 4, 5, 6), patient="MRN-7 F 02-MAR-1950 Secret"
    )
    course = course_of(["other"] * 20 + ["seizure"] * 10 + ["gpd"] * 20)
    events = write_events(tmp_path, course, who, EventRule())
    assert {path.name for path in tmp_path.iterdir()} == set(EVENT_FILES)
    assert events["class"].tolist() == ["seizure", "gpd"]
    assert pd.read_csv(tmp_path / "events.tsv", sep="\t")["trial_type"].tolist() == ["seizure", "gpd"]
    szcore = pd.read_csv(tmp_path / "seizures.tsv", sep="\t")
    assert szcore[["onset", "duration", "eventType"]].to_numpy().tolist() == [[40.0, 20.0, "sz"]]
    assert szcore["dateTime"].tolist() == ["2024-02-03 04:05:06"]
    assert not [path.name for path in tmp_path.iterdir() if b"Secret" in path.read_bytes()]
    write_events(tmp_path, course, FACTS, EventRule())
    dated = [path.name for path in tmp_path.iterdir() if b"2024" in path.read_bytes() or b"FEB" in path.read_bytes()]
    assert dated == []
