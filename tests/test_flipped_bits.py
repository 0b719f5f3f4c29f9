"""One bit flipped in a file that a command left: it is named, made again, or nothing has changed; never other values.

Here are the kinds that are checked alike. Stores, caches, checkpoints, weights, fold tables, prediction tables and
ensemble files have their own tests, beside what is read of them.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from hbac.cli.console import ensemble_table
from hbac.common.errors import UserError
from hbac.common.files import hash_of_file, read_json, with_digest, without_digest, write_json
from hbac.common.outputs import replacing
from hbac.ensembling.build import build_ensemble
from hbac.ensembling.operating_points import OPERATING_FILE, OperatingPoints
from hbac.labels.folds import FoldTable, make_folds
from hbac.models.pretrained import shapes_in
from hbac.predictions.course import COURSE_FILE, RECORDING_FILE, Course, RecordingFacts
from hbac.predictions.rater_votes import read_opinions
from hbac.recordings.building import _entry, _line
from hbac.recordings.converting import Converted
from hbac.recordings.layout import read_recordings
from hbac.report.curves import read_log
from hbac.report.gather import gather
from hbac.report.weights import blend_weights
from hbac.vocabulary import VOTE_COLUMNS
from tests.ensembling.standin import make_standin
from tests.events.courses import course_of
from tests.helpers import write_hms_layout

OPINIONS = "rater,label_id,eeg_id,patient_id,time_s,class,certainty,said_at,crc32\r\n"


def flipped(path: Path, n: int, seed: int = 0) -> Iterator[int]:
    """Flip a bit of a file, one after the other, and yield its number; the file is whole again in the end."""
    content = path.read_bytes()
    try:
        for bit in np.random.default_rng(seed).permutation(8 * len(content))[:n].tolist():
            spoiled = bytearray(content)
            spoiled[bit // 8] ^= 1 << bit % 8
            path.write_bytes(spoiled)
            yield bit
    finally:
        path.write_bytes(content)


def never_silent(path: Path, read: Callable[[], Any], n: int = 200) -> None:
    """Flip bits of a file: what is read is what was written, or an error names the file. Most have to be named."""
    good, named, tried = repr(read()), 0, 0
    for _ in flipped(path, n):
        tried += 1
        try:
            assert repr(read()) == good
        except UserError as error:
            named += 1
            assert path.name in str(error)
    assert tried > 50
    assert named > 0.5 * tried


def test_bytes_with_a_hash_behind_them() -> None:
    whole = with_digest(b"content")
    for bit in range(8 * len(whole)):
        spoiled = bytearray(whole)
        spoiled[bit // 8] ^= 1 << bit % 8
        assert without_digest(bytes(spoiled)) is None
    assert without_digest(b"") is None


def test_sealed_files(tmp_path: Path) -> None:
    """Configs, environments, scores, notes of jobs, audits, models, thresholds, what a recording's folder is of."""
    path = tmp_path / "a.json"
    content = {"run": "../runs/a", "kl": 0.5, "deep": [{"x": [1, 2]}, None, "é"]}
    write_json(path, content, sealed=True)
    # Where the name of the hash itself is hit, it is read as one entry more.
    never_silent(path, lambda: {name: value for name, value in read_json(path).items() if name in content}, 1000)


def test_the_course_of_a_recording(tmp_path: Path) -> None:
    course = replace(course_of(["other"] * 30 + ["seizure"] * 20 + [""] * 5), models=({"member": "a", "fold": 0},))
    course.write(tmp_path)

    def read() -> Any:
        found = Course.read(tmp_path)
        return found.frame.to_numpy().tobytes(), found.step_s, found.outside, found.ensemble, found.models

    never_silent(tmp_path / COURSE_FILE, read, 600)


def test_what_is_known_of_a_recording(tmp_path: Path) -> None:
    RecordingFacts("a.edf", "0" * 64, 100.5, 256.0, ignored=("SPO2",), gaps=((20.0, 5.5),)).write(tmp_path)
    never_silent(tmp_path / RECORDING_FILE, lambda: RecordingFacts.read(tmp_path), 400)


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("blended") / "ensemble"
    build_ensemble(make_standin(n_rows=600, n_members=2, seed=5).tables(), out, n_resamples=5, comparisons=True)
    return out


def test_operating_points(ensemble: Path) -> None:
    never_silent(ensemble / OPERATING_FILE, lambda: OperatingPoints.read(ensemble))


def test_the_summary_of_an_ensemble(
    ensemble: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    ensemble_table(ensemble)
    assert "uniform prediction" in capsys.readouterr().out
    for n, _ in enumerate(flipped(ensemble / "summary.csv", 60), 1):
        ensemble_table(ensemble)
        assert "uniform prediction" not in capsys.readouterr().out
        assert caplog.text.count("summary.csv: damaged, or edited: its scores are not shown") == n


def test_what_leaving_a_member_out_costs(ensemble: Path) -> None:
    found = gather([ensemble], ensemble.parent)
    never_silent(
        ensemble / "comparisons" / "leave_one_out.csv", lambda: repr(blend_weights(found)["ensembles"][0]["gains"]), 80
    )


def test_a_training_s_log(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "version_0" / "metrics.csv"
    log.parent.mkdir(parents=True)
    log.write_text("epoch,val/kl\n0,0.9\n1,0.7\n" + "2,0.5\n" * 20)
    logs = {"logs/version_0/metrics.csv": hash_of_file(log)}
    write_json(tmp_path / "metrics.json", {"kl": {"all": 0.5}, "scores": {}, "epochs": 2, "logs": logs}, sealed=True)
    never_silent(log, lambda: read_log(tmp_path))


def test_second_opinions(tmp_path: Path) -> None:
    """As the EEG page saves them, which `tests/report/test_eeg_controls.py` reads."""

    rows = pd.DataFrame({"label_id": [3, 8, 9, 10], "eeg_id": [30, 80, 80, 80]})
    path, lines = tmp_path / "said.csv", []
    for label_id, eeg_id, name, certainty in ((3, 30, "lpd", 80), (8, 80, "other", 55)):
        crc = zlib.crc32(f"Bo é|{label_id}|{eeg_id}|{name}|{certainty}".encode())
        lines.append(f"Bo é,{label_id},{eeg_id},7,25,{name},{certainty},2026-11-27T23:00:00.000Z,{crc}\r\n")
    path.write_text(OPINIONS + "".join(lines), newline="")
    good = read_opinions(path, rows)
    silent = []
    for _ in flipped(path, 8 * path.stat().st_size):
        try:
            found = read_opinions(path, rows)
        except UserError as error:
            assert path.name in str(error)
        else:
            if not np.array_equal(found, good):
                silent.append(path.read_bytes())
    assert not silent
    path.write_text(OPINIONS + lines[0].replace("lpd", "gpd"), newline="")
    with pytest.raises(UserError, match="row 0: its crc32 is of something else: damaged, or edited; empty that cell"):
        read_opinions(path, rows)
    path.write_text(OPINIONS + lines[0].replace("lpd", "gpd").rpartition(",")[0] + ",\r\n", newline="")
    assert read_opinions(path, rows)[0].tolist() == [0, 0, 0.8, 0, 0, 0]


def test_weights_that_were_converted(tmp_path: Path) -> None:
    """As ``hbac.prepare weights=`` writes them, for ``model.pretrained_file``."""
    with replacing(tmp_path, "hbac.prepare", "w.safetensors") as staged:
        save_file({"conv.weight": np.arange(60, dtype=np.float32)}, staged / "w.safetensors")
    never_silent(tmp_path / "w.safetensors", lambda: shapes_in(tmp_path / "w.safetensors"), 100)


def test_folds(tmp_path: Path) -> None:
    rows = pd.DataFrame({"patient_id": np.arange(100, 130), "eeg_id": np.arange(30), "expert_consensus": "LPD"})
    rows[list(VOTE_COLUMNS)] = np.eye(6, dtype=int)[np.arange(30) % 6]
    make_folds(rows, 3).write(tmp_path / "folds.csv")
    never_silent(tmp_path / "folds.csv", lambda: FoldTable.read(tmp_path / "folds.csv"), 500)


def test_what_is_kept_of_footers(tmp_path: Path) -> None:
    root = write_hms_layout(tmp_path / "data", n_eegs=3, n_test=0)
    good = read_recordings(root, cache_dir=tmp_path / "stores").eeg_footers
    (kept,) = (tmp_path / "stores").glob("footers-*")
    whole = kept.read_bytes()
    for _ in flipped(kept, 100):
        assert read_recordings(root, cache_dir=tmp_path / "stores").eeg_footers == good
        assert kept.read_bytes() == whole  # made again


def test_the_journal_of_an_unfinished_store() -> None:
    entry = Converted(3, (100, 10**18, "ab" * 32), "cd" * 32, (1, 2, 3), "ff00", (4, 0, 0, 1, 0, 0))
    line = _line(entry).encode()
    assert _entry(line.decode()) == entry
    for bit in range(8 * len(line)):
        spoiled = bytearray(line)
        spoiled[bit // 8] ^= 1 << bit % 8
        assert _entry(spoiled.decode("latin-1")) is None
