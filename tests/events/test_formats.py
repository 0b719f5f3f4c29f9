"""Other people's tools read what we write, and find the events that we found."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hbac.events.bids import write_bids
from hbac.events.edf_plus import NO_EVENTS, write_annotations
from hbac.events.rule import EventRule, find_events
from hbac.events.szcore import write_szcore
from tests.events.courses import course_of

DURATION_S = 600.0
START = datetime.datetime(2024, 2, 3, 4, 5, 6)


@pytest.fixture(scope="module")
def events() -> pd.DataFrame:
    """A seizure from 20 to 50 s, LPDs from 100 to 160 s, a seizure from 200 to 216 s."""
    classes = ["other"] * 300
    classes[10:25], classes[50:80], classes[100:108] = ["seizure"] * 15, ["lpd"] * 30, ["seizure"] * 8
    return find_events(course_of(classes), EventRule())


def test_epilepsy2bids_and_timescoring_read_the_seizures(events: pd.DataFrame, tmp_path: Path) -> None:
    annotations = pytest.importorskip("epilepsy2bids.annotations")
    scoring = pytest.importorskip("timescoring.scoring")
    from timescoring.annotations import Annotation

    write_szcore(tmp_path / "seizures.tsv", events, DURATION_S, START)
    read = annotations.Annotations.loadTsv(str(tmp_path / "seizures.tsv"))
    assert read.getEvents() == [(20.0, 50.0), (200.0, 216.0)]
    assert [event["eventType"].value for event in read.events] == ["sz", "sz"]
    assert all(event["dateTime"] == START and event["recordingDuration"] == DURATION_S for event in read.events)
    assert all(event["confidence"] == 0.9 for event in read.events)
    read.saveTsv(str(tmp_path / "again.tsv"))
    assert (tmp_path / "again.tsv").read_text() == (tmp_path / "seizures.tsv").read_text()
    truth = Annotation([(22.0, 45.0), (400.0, 420.0)], 256, int(DURATION_S * 256))
    score = scoring.EventScoring(truth, Annotation(read.getEvents(), 256, int(DURATION_S * 256)))
    assert (score.tp, score.fp, score.refTrue) == (1, 1, 2)


def test_of_no_seizure_there_is_one_row_of_background(events: pd.DataFrame, tmp_path: Path) -> None:
    annotations = pytest.importorskip("epilepsy2bids.annotations")
    write_szcore(tmp_path / "seizures.tsv", events[events["class"] == "lpd"], DURATION_S)
    read = annotations.Annotations.loadTsv(str(tmp_path / "seizures.tsv"))
    (only,) = read.events
    assert (only["onset"], only["duration"], only["eventType"].value) == (0.0, DURATION_S, "bckg")
    assert only["dateTime"] == "n/a"
    assert read.getEvents() == []
    assert len(read.getMask(1)) == DURATION_S and not read.getMask(1).any()


def test_edfio_and_mne_read_the_annotations_and_nothing_of_a_patient(events: pd.DataFrame, tmp_path: Path) -> None:
    edfio, mne = pytest.importorskip("edfio"), pytest.importorskip("mne")
    write_annotations(tmp_path / "a.edf", events)
    read = edfio.read_edf(tmp_path / "a.edf")
    assert [(a.onset, a.duration, a.text) for a in read.annotations] == [
        (20, 30, "Seizure"),
        (100, 60, "LPD"),
        (200, 16, "Seizure"),
    ]
    assert (read.local_patient_identification, read.starttime) == ("X X X X", datetime.time(0, 0))
    assert read.local_recording_identification == "Startdate X X X X"
    found = mne.read_annotations(tmp_path / "a.edf")
    np.testing.assert_allclose(found.onset, [20, 100, 200])
    np.testing.assert_allclose(found.duration, [30, 60, 16])
    assert list(found.description) == ["Seizure", "LPD", "Seizure"]
    write_annotations(tmp_path / "dated.edf", events, START)
    dated = edfio.read_edf(tmp_path / "dated.edf")
    assert (dated.startdate, dated.starttime) == (START.date(), START.time())


def test_without_events_the_annotations_say_so(events: pd.DataFrame, tmp_path: Path) -> None:
    edfio = pytest.importorskip("edfio")
    write_annotations(tmp_path / "a.edf", events.iloc[:0])
    assert [a.text for a in edfio.read_edf(tmp_path / "a.edf").annotations] == [NO_EVENTS]


def test_the_bids_table_has_what_its_sidecar_explains(events: pd.DataFrame, tmp_path: Path) -> None:
    write_bids(tmp_path, events, EventRule(), "model a")
    table = pd.read_csv(tmp_path / "events.tsv", sep="\t")
    sidecar = json.loads((tmp_path / "events.json").read_text())
    assert list(table) == list(sidecar)
    assert list(table)[:2] == ["onset", "duration"]
    assert table["trial_type"].tolist() == ["seizure", "lpd", "seizure"]
    assert table["onset"].tolist() == [20, 100, 200]
    assert table["acns_duration"].tolist() == ["brief", "intermediate", "brief"]
    assert set(sidecar["trial_type"]["HED"]) == set(sidecar["trial_type"]["Levels"]) >= set(table["trial_type"])
    assert "model a" in sidecar["trial_type"]["Description"]


@pytest.mark.slow
def test_the_bids_validator_finds_nothing_wrong(events: pd.DataFrame, tmp_path: Path) -> None:
    """``HBAC_BIDS_VALIDATOR`` or ``bids-validator`` on the PATH: ``npm install -g bids-validator``."""
    command = os.environ.get("HBAC_BIDS_VALIDATOR") or shutil.which("bids-validator")
    if not command:
        pytest.skip("no bids-validator (npm install -g bids-validator)")
    edfio = pytest.importorskip("edfio")
    root, eeg = tmp_path / "bids", tmp_path / "bids" / "sub-01" / "eeg"
    eeg.mkdir(parents=True)
    edfio.Edf([edfio.EdfSignal(np.sin(np.arange(1000)), 100, label="Fz")]).write(eeg / "sub-01_task-rest_eeg.edf")
    write_bids(eeg, events, EventRule())
    for kind in ("tsv", "json"):
        (eeg / f"events.{kind}").rename(eeg / f"sub-01_task-rest_events.{kind}")
    required = {"TaskName": "rest", "EEGReference": "n/a", "SamplingFrequency": 100, "PowerLineFrequency": 50}
    (eeg / "sub-01_task-rest_eeg.json").write_text(json.dumps({**required, "SoftwareFilters": "n/a"}))
    (eeg / "sub-01_task-rest_channels.tsv").write_text("name\ttype\tunits\nFz\tEEG\tuV\n")
    description = {"Name": "test", "BIDSVersion": "1.9.0", "HEDVersion": "score_1.1.0"}
    (root / "dataset_description.json").write_text(json.dumps(description))
    (root / "README").write_text("A test of hbac.\n")
    done = subprocess.run([command, "--json", str(root)], capture_output=True, text=True, check=False)
    issues = json.loads(done.stdout)["issues"]
    about_events = [
        (issue["key"], file.get("evidence") or file.get("reason"))
        for issue in [*issues["errors"], *issues["warnings"]]
        for file in issue["files"]
        if issue["key"].startswith(("HED", "TSV", "CUSTOM", "JSON")) or "events" in str(file.get("file"))
    ]
    assert (issues["errors"], about_events) == ([], [])
