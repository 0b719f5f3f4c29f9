"""Events and page beside the predictions along a recording: made once, replaced when they change, and nothing else."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hbac.common.errors import UserError
from hbac.events.event_files import EVENT_FILES
from hbac.events.rule import EventRule
from hbac.predictions.course import RecordingFacts
from hbac.reading.opened import Recording, open_recording
from hbac.report.recording_folder import blocks_of, check_recording_folder, summarise
from tests.events.courses import course_of
from tests.recorded import brain, write_edf

SECONDS = 130.0
EXTREME = EventRule(dict.fromkeys(EventRule().threshold, 0.95))


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """Bipolar, as CHB-MIT has it: no electrode shares a reference with those of another chain."""
    chains = (("FP1", "F7", "T7", "P7", "O1"), ("FP2", "F8", "T8", "P8", "O2"))
    names = [f"{a}-{b}" for chain in chains for a, b in pairwise(chain)]
    path = tmp_path_factory.mktemp("edf") / "a.edf"
    eeg = brain(SECONDS, 256.0, len(names))
    return open_recording(write_edf(path, dict(zip(names, eeg, strict=True)), 256.0), interpolate=0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    course_of(["other"] * 30 + ["seizure"] * 20 + ["other"] * 15).write(tmp_path)
    RecordingFacts("a.edf", "0" * 64, SECONDS, 256.0).write(tmp_path)
    return tmp_path


def test_a_page_is_made_once_and_again_when_the_rule_changes(
    folder: Path, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    found = summarise(folder, recording, EventRule())
    assert found.page == folder / "page" / "index.html"
    assert found.events["class"].tolist() == ["seizure"]
    assert found.hours["likeliest"].sum() == pytest.approx(SECONDS / 3600)
    assert {path.name for path in folder.iterdir()} >= {*EVENT_FILES, "page"}
    assert sorted(path.name for path in (folder / "page" / "eeg").iterdir()) == ["0.js", "1.js", "2.js"]
    before = found.page.stat().st_mtime_ns
    assert summarise(folder, recording, EventRule()).page == found.page
    assert found.page.stat().st_mtime_ns == before
    changed = summarise(folder, recording, EXTREME)
    assert changed.events.empty and found.page.stat().st_mtime_ns > before
    assert pd.read_csv(folder / "events.tsv", sep="\t").empty
    assert summarise(folder, None, EXTREME).page == found.page
    assert summarise(folder, None, EventRule()).page is None
    assert "page=true makes it again" in caplog.text


def test_only_derivations_that_the_recording_has_are_shown(folder: Path, recording: Recording) -> None:
    page = summarise(folder, recording, EventRule()).page
    assert page is not None
    text = page.read_text().rpartition('id="recording">')[2].partition("</script>")[0]
    montages = json.loads(text)["montages"]
    assert list(montages) == ["longitudinal_bipolar", "transverse_bipolar", "public_8"]
    shown = {row["name"] for group in montages["longitudinal_bipolar"] for row in group}
    assert shown == {"Fp1-F7", "F7-T3", "T3-T5", "T5-O1", "Fp2-F8", "F8-T4", "T4-T6", "T6-O2"}
    assert "as recorded" not in page.read_text()


def test_what_somebody_else_wrote_is_not_touched(folder: Path, recording: Recording) -> None:
    (folder / "events.tsv").write_text("mine")
    with pytest.raises(UserError, match=r"events\.tsv"):
        check_recording_folder(folder)
    with pytest.raises(UserError, match=r"events\.tsv"):
        summarise(folder, recording, EventRule())
    assert (folder / "events.tsv").read_text() == "mine"
    assert not (folder / "page").exists()
    (folder / "events.tsv").unlink()
    (folder / "page").mkdir()
    (folder / "page" / "note.txt").write_text("mine")
    with pytest.raises(UserError, match=r"note\.txt"):
        check_recording_folder(folder)


def test_without_a_recording_there_are_events_and_no_page(folder: Path) -> None:
    found = summarise(folder, None, EventRule())
    assert found.page is None and len(found.events) == 1
    assert not (folder / "page").exists()


def test_blocks_are_the_recording(recording: Recording) -> None:
    whole = np.concatenate([*blocks_of(recording)])
    np.testing.assert_array_equal(whole, recording.read(0, recording.n_times).T)
