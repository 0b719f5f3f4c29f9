"""Rates and units: stated in a file, evident from its length, or declared by the user."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hbac.common.errors import UserError
from hbac.recordings.declared import Declared
from hbac.recordings.layout import read_recordings
from hbac.vocabulary import CHANNELS
from tests.helpers import random_eeg, write_eeg
from tests.recordings.faults import fault_of, first_eeg

RNG = np.random.default_rng(0)


def test_sampling_rate_in_the_metadata(root: Path) -> None:
    write_eeg(first_eeg(root), random_eeg(16_000, RNG), metadata={"sfreq": "256.0"})
    assert "train_eegs/1000.parquet: its metadata say 256 Hz, must be 200 Hz" in fault_of(root)
    write_eeg(first_eeg(root), random_eeg(16_000, RNG), metadata={"sfreq": "200"})
    assert len(read_recordings(root).eeg_footers) == 12


def test_sampling_rate_of_a_whole_data_set_shows_in_its_lengths(root: Path) -> None:
    rows = pd.read_csv(root / "train.csv")
    last = rows.groupby("eeg_id").eeg_label_offset_seconds.max()
    for rate, words in ((256, "every EEG is exactly as long as its windows are at 256 Hz"), (100, "as 100 Hz")):
        for eeg_id, offset_s in last.items():
            eeg = np.ones((int(rate * (offset_s + 50)), 20), np.float32)
            write_eeg(root / "train_eegs" / f"{eeg_id}.parquet", eeg)
        assert words in fault_of(root)


@pytest.mark.parametrize(
    "how", ["attrs", "old attrs", "text", "kilohertz", "JSON", "key", "per second", "list", "column"]
)
def test_a_rate_that_is_stated_anywhere(root: Path, how: str) -> None:
    path = first_eeg(root)
    frame = pd.DataFrame(random_eeg(16_000, RNG), columns=list(CHANNELS))
    if how == "attrs":
        frame.attrs["sfreq"] = "256 Hz"
        frame.to_parquet(path)
    elif how == "old attrs":
        frame.attrs["info"] = {"Sampling_Rate": 256}
        pq.write_table(pa.Table.from_pandas(frame), path)
    elif how == "column":
        pq.write_table(with_column_metadata(frame, {"sfreq": "256"}), path)
    else:
        stated = {"text": {"fs": " 256.0hz "}, "kilohertz": {"fs": "0.256 kHz"}, "JSON": {"mne": '{"sfreq": 256.0}'}}
        stated |= {"key": {"Sampling Rate (Hz)": "256"}, "per second": {"fs": "256 samples/s"}}
        stated |= {"list": {"sfreq": "[200, 256]"}}
        write_eeg(path, frame.to_numpy(), metadata=stated[how])
    assert "1000.parquet: its metadata say 256 Hz, must be 200 Hz: dataset.sfreq=256 declares the rate" in fault_of(
        root
    )
    assert "must be 256 Hz" not in fault_of(root, declared=Declared(sfreq=256))


def with_column_metadata(frame: pd.DataFrame, metadata: dict[str, str]) -> pa.Table:
    """A table whose first column says something of itself."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    return table.cast(pa.schema([table.schema.field(0).with_metadata(metadata), *list(table.schema)[1:]]))


@pytest.mark.parametrize("unit", ["nV", "counts", "ADU", "uV^2"])
def test_a_unit_that_cannot_be_declared(root: Path, unit: str) -> None:
    write_eeg(first_eeg(root), random_eeg(16_000, RNG), metadata={"unit": unit})
    assert f"1000.parquet: its metadata say {unit}, must be uV: convert the file" in fault_of(root)


def test_units_of_the_channels(root: Path) -> None:
    write_eeg(first_eeg(root), random_eeg(16_000, RNG), metadata={"units": '{"Fp1": "uV", "F3": "V"}'})
    assert "1000.parquet: its metadata say V, must be uV" in fault_of(root)
    frame = pd.DataFrame(random_eeg(16_000, RNG), columns=list(CHANNELS))
    pq.write_table(with_column_metadata(frame, {"unit": "mV"}), first_eeg(root))
    assert "1000.parquet: its metadata say mV, must be uV" in fault_of(root)
    for harmless in ('["uV", "µV"]', "seconds", "", "null", "true"):
        write_eeg(first_eeg(root), random_eeg(16_000, RNG), metadata={"unit": harmless})
        read_recordings(root)


def test_a_unit_that_is_stated(root: Path) -> None:
    write_eeg(first_eeg(root), random_eeg(16_000, RNG), metadata={"unit": "Volts"})
    assert "1000.parquet: its metadata say V, must be uV: dataset.unit=V declares the unit" in fault_of(root)
    read_recordings(root, declared=Declared(unit="V"))
    write_eeg(first_eeg(root), random_eeg(16_000, RNG), metadata={"unit": "µV"})
    read_recordings(root)


def test_one_file_of_another_rate_among_exact_ones(root: Path) -> None:
    """All others end with their last window: no chance."""
    last_s = pd.read_csv(root / "train.csv").query("eeg_id == 1000").eeg_label_offset_seconds.max()
    n = round(256 * (50 + last_s))
    write_eeg(first_eeg(root), random_eeg(n, RNG))
    message = fault_of(root)
    assert f"train_eegs/1000.parquet: {n:,} rows are just what its windows are at 256 Hz, and not at 200 Hz" in message
    assert "dataset.sfreq=200 that they are as they should" in message
    assert len(read_recordings(root, declared=Declared(sfreq=200)).rows) > 12


def test_one_file_of_such_a_length_among_others_is_counted(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = pd.read_csv(root / "train.csv")
    last = rows.groupby("eeg_id").eeg_label_offset_seconds.max()
    write_eeg(root / "train_eegs" / f"{last.index[0]}.parquet", random_eeg(round(256 * (50 + last.iloc[0])), RNG))
    write_eeg(root / "train_eegs" / f"{last.index[1]}.parquet", random_eeg(60_001, RNG))
    with caplog.at_level("WARNING", "hbac.recordings"):
        read_recordings(root)
    assert "1 of 12 EEGs are exactly as long as their windows are at 256 Hz" in caplog.text


@pytest.mark.parametrize(("sfreq", "unit"), [(0, None), (60, None), (float("nan"), None), ("256", None), (None, "kV")])
def test_declared_nonsense(sfreq: object, unit: str | None) -> None:
    with pytest.raises(UserError, match=r"dataset\.(sfreq|unit)"):
        Declared(sfreq, unit)  # type: ignore[arg-type]


def test_a_declared_rate_counts_for_lengths(root: Path) -> None:
    last = pd.read_csv(root / "train.csv").groupby("eeg_id").eeg_label_offset_seconds.max()
    for eeg_id, offset_s in last.items():
        write_eeg(root / "train_eegs" / f"{eeg_id}.parquet", np.ones((round(256 * (offset_s + 50)), 20), np.float32))
    read_recordings(root, declared=Declared(sfreq=256))
    n = round(256 * (last.iloc[0] + 50))
    write_eeg(first_eeg(root), np.ones((n - 2, 20), np.float32))
    start = round(256 * last.iloc[0])
    text = f"needs the rows {start:,} to {n:,} of train_eegs/1000.parquet, which has {n - 2:,}"
    assert text in fault_of(root, declared=Declared(sfreq=256))
