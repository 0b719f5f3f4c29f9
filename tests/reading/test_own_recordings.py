"""A researcher's folder of EDF files and a table of what was seen in them: from training to report and predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.signal import resample_poly

from hbac.predictions import PredictionTable
from hbac.predictions.course import Course
from hbac.synthetic import simulate_window
from hbac.vocabulary import CHANNELS, CLASSES
from tests.recorded import write_edf
from tests.test_commands import SMALL_NET, command, next_line

N_PATIENTS = 12


def write_folder(folder: Path) -> None:
    """Write a recording of each patient, 100 s at 256 Hz, the last one ten seconds long, and ``events.csv``."""
    rows = []
    for patient in range(N_PATIENTS):
        classes = [CLASSES[patient % 6], CLASSES[(patient + 1) % 6]]
        eeg = [np.nan_to_num(simulate_window(name, seed=10 * patient + i)[0]) for i, name in enumerate(classes)]
        eeg_CT = resample_poly(np.concatenate(eeg).T.astype(float), 32, 25, axis=1)
        if patient == N_PATIENTS - 1:
            eeg_CT, classes = eeg_CT[:, 20 * 256 : 30 * 256], classes[:1]
        labels = [f"EEG {name.upper()}-REF" if name != "EKG" else "ECG" for name in CHANNELS]
        write_edf(folder / f"p{patient}.edf", list(zip(labels, eeg_CT, strict=True)), 256.0)
        onsets = [20, 70] if len(classes) > 1 else [0]
        rows += [(f"p{patient}.edf", onset, f"P{patient}", name) for onset, name in zip(onsets, classes, strict=True)]
    pd.DataFrame(rows, columns=["file", "onset", "patient", "class"]).to_csv(folder / "events.csv", index=False)


@pytest.mark.slow
def test_from_recordings_to_report_and_predictions(tmp_path: Path) -> None:
    write_folder(tmp_path / "edf")
    data = ["dataset=recordings", "dataset.root=edf", "dataset.labels=events.csv", "population=all", "labels.n_folds=2"]
    prepared = command(tmp_path, "hbac.prepare", *data[:3], "labels.n_folds=2")
    assert "23" in prepared.stdout
    trained = command(tmp_path, "hbac.train", *data, *SMALL_NET, "logger=csv", "-m", "fold=0,1")
    (sweep,) = (tmp_path / "outputs" / "sweeps").iterdir()
    assert len(PredictionTable.read(sweep / "oof.parquet").frame) == 2 * N_PATIENTS - 1
    # There is no test part: what comes next is the report, and a submission is refused in one sentence.
    report = next_line(trained)
    assert report[0] == "hbac.report"
    command(tmp_path, *report, "windows=2", "saliency_s=0", "out=report")
    assert (tmp_path / "report" / "index.html").is_file()
    refused = command(tmp_path, "hbac.infer", "logger=csv", ok=False)
    assert refused.returncode == 2
    assert "python -m hbac.infer recordings=FOLDER predicts along recordings" in refused.stderr
    told = command(tmp_path, "hbac.infer", "recordings=edf", "page=false", "out=said")
    assert next_line(told)[0] in ("hbac.infer", "hbac.report")
    assert [len(Course.read(tmp_path / "said" / f"p{i}").frame) for i in (0, N_PATIENTS - 1)] == [50, 5]
    # W&B is told of totals, and of no file's name.
    (run,) = [path.read_bytes() for path in tmp_path.glob("outputs/wandb/offline-run-*/*.wandb")]
    assert b"hours/lpd" in run and b"events/seizure" in run
    assert b"recordings=edf" not in run
