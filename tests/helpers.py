"""Tiny data sets in the HMS layout for the tests of every room."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.signal import lfilter

from hbac.vocabulary import (
    CHANNELS,
    CONSENSUS_NAMES,
    N_CLASSES,
    SFREQ,
    SPECTROGRAM_REGIONS,
    SPECTROGRAM_ROWS,
    VOTE_COLUMNS,
    WINDOW_SAMPLES,
)

FIRST_EEG_ID = 1000
FIRST_SPECTROGRAM_ID = 500_000
FIRST_PATIENT_ID = 10
FIRST_LABEL_ID = 900_000

# What tells the classes apart in these recordings: a sine of so many hertz, over the left side or over all.
PATTERNS = ((3.5, "all"), (1.0, "left"), (1.2, "all"), (2.0, "left"), (2.4, "all"), (9.0, "all"))


def spectrogram_columns() -> list[str]:
    """The 400 names as the HMS files have them, built otherwise than in hbac: decimal arithmetic, half up."""
    step = Decimal(200) / Decimal(1024)
    hertz = [(step * k).quantize(Decimal("0.01"), ROUND_HALF_UP).normalize() for k in range(3, 103)]
    return [f"{region}_{f:f}" for region in SPECTROGRAM_REGIONS for f in hertz]


def random_eeg(n_times: int, rng: np.random.Generator, label: int = 5, nan_share: float = 0.001) -> np.ndarray:
    """Coloured noise of about 20 µV with the sine of a class on it: (n_times, 20) float32."""
    white = rng.standard_normal((n_times, len(CHANNELS)))
    common = rng.standard_normal((n_times, 1))
    eeg = 4.0 * lfilter([1.0], [1.0, -0.97], 0.7 * white + 0.7 * common, axis=0)
    hz, side = PATTERNS[label]
    wave = 40.0 * np.sin(2 * np.pi * hz * np.arange(n_times) / SFREQ + rng.uniform(0, 2 * np.pi))
    left = np.array([name[-1] in "13579" for name in CHANNELS])
    eeg[:, left | (side == "all")] += wave[:, None]
    n_bad = int(nan_share * n_times)
    if n_bad:
        eeg[rng.integers(0, n_times, n_bad)] = np.nan
    return eeg.astype(np.float32)


def random_spectrogram(n_rows: int, rng: np.random.Generator) -> np.ndarray:
    """Positive power of a falling spectrum, one row all NaN: (n_rows, 400) float32."""
    power = np.tile(50.0 / np.linspace(0.59, 19.92, 100), 4) * rng.lognormal(0.0, 1.0, (n_rows, 400))
    power[rng.integers(n_rows)] = np.nan
    return power.astype(np.float32)


def write_eeg(path: Path, eeg: np.ndarray, columns: tuple[str, ...] = CHANNELS, metadata: dict | None = None) -> Path:
    """Write an array (n_times, n_columns) of µV as an EEG parquet."""
    table = pa.table({name: np.ascontiguousarray(eeg[:, i]) for i, name in enumerate(columns)})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return path


def write_spectrogram(path: Path, power: np.ndarray, step_s: float = 2.0, time_type: type = np.int64) -> Path:
    """Write an array (n_rows, 400) as an HMS spectrogram parquet, with its column ``time``."""
    time = (1 + step_s * np.arange(len(power))).astype(time_type)
    columns = {name: np.ascontiguousarray(power[:, i]) for i, name in enumerate(spectrogram_columns())}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"time": time, **columns}), path)
    return path


def write_hms_layout(
    root: Path,
    n_eegs: int = 12,
    seed: int = 0,
    with_spectrograms: bool = False,
    n_patients: int | None = None,
    n_test: int = 3,
    max_rows_per_eeg: int = 3,
) -> Path:
    """Write a data set exactly as HMS lays it out, small and quick to make (about 15 ms an EEG).

    Classes go round by EEG, so that each is there from six EEGs on; odd EEGs have few votes, even ones many.
    Patients have one to two EEGs each unless `n_patients` says otherwise. Returns `root`.
    """
    root = Path(root)
    n_patients = n_patients or max(1, (2 * n_eegs + 2) // 3)
    lines = []
    for i in range(n_eegs):
        rng = np.random.default_rng([seed, 0, i])
        eeg_id, spectrogram_id, label = FIRST_EEG_ID + 7 * i, FIRST_SPECTROGRAM_ID + 3 * i, i % N_CLASSES
        offsets_s = np.cumsum([0, *rng.choice([2, 4, 6], rng.integers(0, max_rows_per_eeg))]).astype(float)
        n_times = int(SFREQ * offsets_s[-1]) + WINDOW_SAMPLES
        write_eeg(root / "train_eegs" / f"{eeg_id}.parquet", random_eeg(n_times, rng, label))
        if with_spectrograms:
            n_rows = SPECTROGRAM_ROWS + int(offsets_s[-1]) // 2
            power = random_spectrogram(n_rows, rng)
            write_spectrogram(root / "train_spectrograms" / f"{spectrogram_id}.parquet", power)
        n_votes = int(rng.integers(10, 20) if i % 2 == 0 else rng.integers(1, 8))
        shares = np.full(N_CLASSES, 0.04)
        shares[label] = 0.8
        votes = rng.multinomial(n_votes, shares)
        for j, offset_s in enumerate(offsets_s):
            lines.append(
                {
                    "eeg_id": eeg_id,
                    "eeg_sub_id": j,
                    "eeg_label_offset_seconds": offset_s,
                    "spectrogram_id": spectrogram_id,
                    "spectrogram_sub_id": j,
                    "spectrogram_label_offset_seconds": offset_s,
                    "label_id": FIRST_LABEL_ID + 10 * i + j,
                    "patient_id": FIRST_PATIENT_ID + i % n_patients,
                    "expert_consensus": CONSENSUS_NAMES[int(votes.argmax())],
                    **dict(zip(VOTE_COLUMNS, map(int, votes), strict=True)),
                }
            )
    pd.DataFrame(lines).to_csv(root / "train.csv", index=False)
    test = []
    for i in range(n_test):
        rng = np.random.default_rng([seed, 1, i])
        eeg_id, spectrogram_id = 50_000 + i, 600_000 + i
        write_eeg(root / "test_eegs" / f"{eeg_id}.parquet", random_eeg(WINDOW_SAMPLES, rng, i % N_CLASSES))
        if with_spectrograms:
            power = random_spectrogram(SPECTROGRAM_ROWS, rng)
            path = root / "test_spectrograms" / f"{spectrogram_id}.parquet"
            write_spectrogram(path, power, time_type=np.int16)
        test.append({"spectrogram_id": spectrogram_id, "eeg_id": eeg_id, "patient_id": 90_000 + i})
    if n_test:
        pd.DataFrame(test).to_csv(root / "test.csv", index=False)
        submission = pd.DataFrame({"eeg_id": [line["eeg_id"] for line in test]})
        submission[list(VOTE_COLUMNS)] = 1 / N_CLASSES
        submission.to_csv(root / "sample_submission.csv", index=False)
    return root
