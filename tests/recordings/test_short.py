"""EEG files of ten to fifty seconds in the HMS layout: in the middle of a window, where that was asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hbac.common.errors import UserError
from hbac.recordings.datasets import HMS
from hbac.recordings.declared import Declared
from hbac.recordings.layout import read_recordings
from hbac.recordings.outside import OUTSIDE, centred
from hbac.vocabulary import CHANNELS, VOTE_COLUMNS
from tests.helpers import random_eeg, write_eeg
from tests.recordings.faults import fault_of

HINT = "dataset.outside=reflected puts EEGs of 10 to 50 s in the middle of a window"
REFLECTED = Declared(outside="reflected")


def write_short(root: Path, lengths: list[int], part: str = "train", offset_s: float = 0) -> list[np.ndarray]:
    """Write a recording of each length, each of a patient of its own: (n, 20) of each."""
    eeg = [random_eeg(n, np.random.default_rng(i), i % 6, nan_share=0) for i, n in enumerate(lengths)]
    for i, x_TC in enumerate(eeg):
        write_eeg(root / f"{part}_eegs" / f"{i}.parquet", x_TC)
    rows = pd.DataFrame({"eeg_id": range(len(eeg)), "patient_id": range(len(eeg))})
    if part == "train":
        votes = {name: [3 * (i % 6 == k) for i in range(len(eeg))] for k, name in enumerate(VOTE_COLUMNS)}
        rows = rows.assign(eeg_sub_id=0, eeg_label_offset_seconds=offset_s, label_id=range(len(eeg)), **votes)
        rows["expert_consensus"] = "Other"
    rows.to_csv(root / f"{part}.csv", index=False)
    return eeg


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("outside", OUTSIDE)
def test_they_lie_in_the_middle_and_around_them_is_what_was_asked_for(tmp_path: Path, outside: str, part: str) -> None:
    eeg = write_short(tmp_path, [2000, 10_000, 3001], part)
    store = HMS(tmp_path, tmp_path / "stores", outside=outside).part(part).eeg
    assert store.lengths.tolist() == [10_000] * 3
    for i, first in ((0, 4000), (1, 0), (2, 3499)):
        found = store.window(i, 0, 10_000).astype(np.float32)
        np.testing.assert_allclose(found[first : first + len(eeg[i])], eeg[i], atol=0.25)
        np.testing.assert_allclose(found, centred(eeg[i].T, outside).T if i != 1 else eeg[i], atol=0.25)
    before = store.window(0, 3999, 1)[0].astype(np.float32)
    wanted = {"reflected": eeg[0][1], "repeated": eeg[0][-1], "missing": np.full(len(CHANNELS), np.nan)}[outside]
    np.testing.assert_allclose(before, wanted, atol=0.25)


def test_ten_seconds_of_another_rate_are_resampled_before(tmp_path: Path) -> None:
    eeg = write_short(tmp_path, [2560, 2560])
    store = HMS(tmp_path, tmp_path / "stores", sfreq=256, outside="missing").part("train").eeg
    found = store.window(1, 0, 10_000).astype(np.float32)
    assert np.flatnonzero(np.isfinite(found).all(axis=1)).tolist() == list(range(4000, 6000))
    assert np.corrcoef(found[4000:6000:25, 0], eeg[1][::32, 0])[0, 1] > 0.98


def test_without_being_asked_for_they_are_refused_with_the_setting_that_reads_them(tmp_path: Path) -> None:
    write_short(tmp_path, [2000, 1999])
    said = fault_of(tmp_path).splitlines()
    assert [HINT in line for line in said if "which has" in line] == [True, False]
    write_short(tmp_path, [2000, 1999], "test")
    said = fault_of(tmp_path, "test").splitlines()
    assert [HINT in line for line in said if "a test EEG has exactly 10,000" in line] == [True, False]


def test_what_is_shorter_than_ten_seconds_or_is_not_labelled_in_its_middle_is_refused(tmp_path: Path) -> None:
    write_short(tmp_path, [2000, 1999])
    said = fault_of(tmp_path, declared=REFLECTED)
    assert "1.parquet, which has 1,999" in said and "0.parquet" not in said
    write_short(tmp_path, [4000], offset_s=4)
    assert "eeg_label_offset_seconds 4 needs the rows 800 to 10,800" in fault_of(tmp_path, declared=REFLECTED)


@pytest.mark.parametrize(("n", "rate"), [(2560, 256), (6400, 128), (5120, 512)])
def test_another_rate_that_is_evident_is_refused_until_it_is_declared(tmp_path: Path, n: int, rate: int) -> None:
    write_short(tmp_path, [n, n])
    assert f"exactly as long as its windows are at {rate} Hz" in fault_of(tmp_path, declared=REFLECTED)
    read_recordings(tmp_path, declared=Declared(sfreq=200, outside="reflected"))
    read_recordings(tmp_path, declared=Declared(sfreq=rate, outside="reflected"))
    write_short(tmp_path, [n, n], "test")
    seconds = 50 if n == 6400 else 10
    said = fault_of(tmp_path, "test", declared=REFLECTED)
    assert f"; {seconds} s at {rate} Hz would have as many: dataset.sfreq={rate} declares the rate" in said
    read_recordings(tmp_path, "test", declared=Declared(sfreq=rate, outside="reflected"))


def test_nobody_knows_another_outside(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown dataset\.outside 'mirrored'"):
        HMS(tmp_path, tmp_path, outside="mirrored")
