"""Networks that can tell simulated patterns apart, and a simulated recording of hours to try them on."""

from __future__ import annotations

from pathlib import Path

import edfio
import numpy as np
import pandas as pd

from hbac.synthetic import simulate_window
from hbac.synthetic.hours import simulate_hours
from hbac.vocabulary import CHANNELS, CLASSES, CONSENSUS_NAMES, ELECTRODES, SFREQ, VOTE_COLUMNS
from tests.helpers import write_eeg


def write_windows(root: Path, n_windows: int, seed: int = 1) -> Path:
    """Write clear windows of 50 s, class after class, each of a patient of its own, with 20 votes; return `root`."""
    rows = []
    for i in range(n_windows):
        k = i % len(CLASSES)
        eeg, truth = simulate_window(CLASSES[k], seed=seed * 100_000 + i, clarity=1.0)
        write_eeg(root / "train_eegs" / f"{i}.parquet", eeg)
        votes = np.floor(20 * truth["shares"]).astype(int)
        votes[k] += 20 - votes.sum()
        ids = {"eeg_id": i, "eeg_sub_id": 0, "eeg_label_offset_seconds": 0.0, "label_id": i, "patient_id": i}
        spectrogram = {"spectrogram_id": i, "spectrogram_sub_id": 0, "spectrogram_label_offset_seconds": 0.0}
        counts = dict(zip(VOTE_COLUMNS, votes.tolist(), strict=True))
        rows.append({**ids, **spectrogram, "expert_consensus": CONSENSUS_NAMES[k], **counts})
    pd.DataFrame(rows).to_csv(root / "train.csv", index=False)
    return root


def write_hours(path: Path, n_blocks: int, seed: int = 0, sfreq: float = SFREQ) -> list[tuple[str, float, float]]:
    """Write a simulated recording as EDF, names and reference as clinics have them; return its patterns."""
    truth, blocks = simulate_hours(n_blocks, seed)
    eeg_TC = np.concatenate([block.astype(np.float32) for block in blocks])
    signals = []
    for c, name in enumerate(CHANNELS):
        label = f"EEG {name}-REF" if name in ELECTRODES else "EKG"
        top = float(np.ceil(np.abs(eeg_TC[:, c]).max())) + 1
        signals.append(
            edfio.EdfSignal(
                eeg_TC[:, c].astype(np.float64), sfreq, label=label, physical_dimension="uV", physical_range=(-top, top)
            )
        )
    patient = edfio.Patient(name="Somebody_Secret", code="MRN-1234567")
    edfio.Edf(signals, patient=patient).write(path)
    return truth
