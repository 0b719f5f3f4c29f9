"""The audit of a data set: leaks made on purpose stop prepare and training; what was compared once is kept."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import hbac.experiment.audit
from hbac.experiment.audit import audit, kept_duplicates
from hbac.labels.folds import fold_table
from hbac.recordings.datasets import HMS
from tests.helpers import random_eeg, write_eeg, write_hms_layout

SMALL_NET = ["model.filters=8", "model.width=16", "model.depth=2", "model.gru_hidden=16", "trainer.max_epochs=1"]


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=600
    )


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clean") / "data"
    return write_hms_layout(root, n_eegs=12, n_patients=12, n_test=0, with_spectrograms=True)


@pytest.fixture
def root(clean: Path, tmp_path: Path) -> Path:
    """A data set that a test may spoil."""
    shutil.copytree(clean, tmp_path / "data")
    return tmp_path / "data"


def file_twice(root: Path) -> tuple[int, int]:
    """Give two patients of different folds the same recording, under two ids."""
    folds = fold_table(HMS(root, root / "stores").part("train").rows, root / "folds.csv", n_folds=2)
    rows = pd.read_csv(root / "train.csv").drop_duplicates("eeg_id")
    fold = folds.fold_of(rows["patient_id"])
    one, other = (int(rows["eeg_id"][fold == k].iloc[0]) for k in (0, 1))
    recording = random_eeg(30_000, np.random.default_rng(8))
    for eeg_id, begin in ((one, 0), (other, 1400)):
        path = root / "train_eegs" / f"{eeg_id}.parquet"
        write_eeg(path, recording[begin : begin + pq.ParquetFile(path).metadata.num_rows])
    (root / "folds.csv").unlink()
    return one, other


def hms(root: Path) -> list[str]:
    return ["dataset=hms", f"dataset.root={root}", "labels.n_folds=2"]


def test_prepare_says_what_it_checked(root: Path, tmp_path: Path) -> None:
    result = command(tmp_path, "hbac.prepare", *hms(root), "audit=true")
    assert result.returncode == 0, result.stderr
    lines = [line for line in result.stdout.splitlines() if line.startswith("leak audit: ")]
    assert lines == [
        "leak audit: 0 of 12 patients in more than one fold",
        "leak audit: 0 of 12 EEGs in more than one fold",
        "leak audit: 0 of 12 spectrograms in more than one fold",
        "leak audit: 0 of 12 EEGs of more than one patient",
        "leak audit: 0 of 12 spectrograms of more than one patient",
        "leak audit: 0 of 12 EEGs whose signal is in another fold, too",
    ]


def test_a_recording_under_two_ids_stops_prepare_and_training(root: Path, tmp_path: Path) -> None:
    one, other = file_twice(root)
    for line in (["hbac.prepare", *hms(root), "audit=true"], ["hbac.train", *hms(root), *SMALL_NET, "logger=csv"]):
        result = command(tmp_path, *line)
        assert result.returncode == 2
        assert result.stderr.splitlines()[-1].startswith("error: ")
        assert "Traceback" not in result.stderr
        assert "1 of 12 EEGs whose signal is in another fold, too" in result.stderr
        assert f"eeg_id {min(one, other)} (patient_id " in result.stderr
        assert f"eeg_id {max(one, other)} (patient_id " in result.stderr
    assert not list(tmp_path.glob("outputs/runs/*"))


def test_a_spectrogram_of_two_patients_stops_training(root: Path, tmp_path: Path) -> None:
    rows = pd.read_csv(root / "train.csv")
    rows.loc[rows["eeg_id"] == rows["eeg_id"].iloc[-1], "spectrogram_id"] = rows["spectrogram_id"].iloc[0]
    rows.loc[rows["eeg_id"] == rows["eeg_id"].iloc[-1], "spectrogram_label_offset_seconds"] = 0.0
    rows.to_csv(root / "train.csv", index=False)
    result = command(tmp_path, "hbac.train", *hms(root), *SMALL_NET, "logger=csv")
    assert result.returncode == 2
    assert f"spectrogram_id {rows['spectrogram_id'].iloc[0]} belongs to 2 patients" in result.stderr


def test_the_comparison_is_kept_for_all_folds(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file_twice(root)
    part = HMS(root, root / "stores").part("train")
    folds = fold_table(part.rows, tmp_path / "2.csv", n_folds=2)
    assert audit(part, folds, tmp_path, compare=False).checks[-1].examined == 0
    assert "audit=true" in str(audit(part, folds, tmp_path, compare=False).checks[-1])
    found = audit(part, folds, tmp_path)
    assert not found.ok
    (kept,) = (tmp_path / "audit").glob("*.json")
    monkeypatch.setattr("hbac.labels.duplicates.find_duplicates", lambda *_: pytest.fail("compared again"))
    assert audit(part, folds, tmp_path) == found
    assert audit(part, fold_table(part.rows, tmp_path / "3.csv", n_folds=3), tmp_path).checks[-1].examined == 12
    # A result of other recordings, or found in another way, is none.
    content = json.loads(kept.read_text())
    kept.write_text(json.dumps(content | {"fingerprint": "0"}))
    assert kept_duplicates(part, kept, compare=False) is None
    kept.write_text(json.dumps(content | {"method": 0}))
    assert kept_duplicates(part, kept, compare=False) is None


@pytest.mark.parametrize("text", ['{"method"', "[1]", '{"compared": 3, "featureless": 0, "shared": [3]}', "\xff"])
def test_a_damaged_result_is_named_and_made_again(
    root: Path, tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    part = HMS(root, root / "stores").part("train")
    path = tmp_path / "audit" / f"{part.fingerprint[:12]}.json"
    path.parent.mkdir()
    path.write_bytes(text.encode("latin-1"))
    found = kept_duplicates(part, path, compare=True)
    assert found is not None
    assert found.compared == 12
    assert f"{path}: " in caplog.text
    assert "the recordings are compared again" in caplog.text
    assert kept_duplicates(part, path, compare=False) == found


def test_a_large_store_is_compared_on_request_only(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = HMS(root, root / "stores").part("train")
    folds = fold_table(part.rows, tmp_path / "folds.csv", n_folds=2)
    monkeypatch.setattr(hbac.experiment.audit, "QUICK_BYTES", 10)
    assert audit(part, folds, tmp_path).checks[-1].examined == 0
    assert audit(part, folds, tmp_path, compare=True).checks[-1].examined == 12
    assert audit(part, folds, tmp_path).checks[-1].examined == 12
