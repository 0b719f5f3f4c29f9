"""Recordings that two patients share are found, however they were cut, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from hbac.labels import duplicates
from hbac.labels.duplicates import SharedSignal, check_duplicates, find_duplicates, landmarks
from hbac.recordings.dataset_stores import build_store
from hbac.recordings.datasets import HMS, Part
from hbac.vocabulary import CHANNELS
from tests.helpers import random_eeg, write_eeg, write_hms_layout


def eegs_of(root: Path) -> list[Path]:
    return sorted((root / "train_eegs").glob("*.parquet"))


def samples(path: Path) -> np.ndarray:
    return np.stack([column.to_numpy() for column in pq.read_table(path).columns], axis=1)


def part_of(root: Path) -> Part:
    return HMS(root, root / "stores").part("train")


def long_layout(root: Path) -> Path:
    """Twelve recordings of twelve patients, 58 s and more each."""
    return write_hms_layout(root, n_eegs=12, n_patients=12, n_test=0)


def test_recordings_of_their_own_share_nothing(tmp_path: Path) -> None:
    part = part_of(write_hms_layout(tmp_path / "data", n_eegs=60, n_test=0))
    found = find_duplicates(part.eeg, part.rows)
    assert (found.compared, found.featureless, found.shared) == (60, 0, ())


@pytest.mark.parametrize("shift", [0, 1400, 667, -667, 5])
@pytest.mark.parametrize("gain", [1.0, 0.37])
def test_a_copy_is_found_wherever_it_begins(tmp_path: Path, shift: int, gain: float) -> None:
    root = long_layout(tmp_path / "data")
    first, other = eegs_of(root)[2], eegs_of(root)[7]
    n_first, n_other = len(samples(first)), len(samples(other))
    recording = random_eeg(n_first + n_other + 2000, np.random.default_rng(1), label=1)
    begin = max(0, -shift)
    write_eeg(first, recording[begin : begin + n_first])
    # Other numbers: another gain, a constant offset of each electrode, and what float16 makes of them.
    copy = gain * recording[begin + shift : begin + shift + n_other] + np.linspace(-40, 40, len(CHANNELS))
    write_eeg(other, copy.astype(np.float16).astype(np.float32))
    part = part_of(root)
    (shared,) = find_duplicates(part.eeg, part.rows).shared
    assert (shared.eeg_id, shared.other_eeg_id) == (int(first.stem), int(other.stem))
    assert shared.start_s - shared.other_start_s == pytest.approx(shift / 200, abs=1e-9)
    assert shared.length_s == min(n_first - max(0, shift), n_other - max(0, -shift)) // 2000 * 10


def test_a_copy_with_noise_on_it_is_found(tmp_path: Path) -> None:
    root = long_layout(tmp_path / "data")
    first, other = eegs_of(root)[2], eegs_of(root)[7]
    recording = samples(first)
    noise = np.random.default_rng(0).normal(0, 0.5, (10_000, len(CHANNELS)))
    tail = samples(other)[10_000:]
    write_eeg(other, np.concatenate([recording[:10_000] + noise, tail]).astype(np.float32))
    part = part_of(root)
    (shared,) = find_duplicates(part.eeg, part.rows).shared
    assert shared.length_s == 50.0


def test_two_recordings_of_one_patient_may_share_signal(tmp_path: Path) -> None:
    root = long_layout(tmp_path / "data")
    rows = pd.read_csv(root / "train.csv")
    first, other = eegs_of(root)[2], eegs_of(root)[7]
    recording = random_eeg(20_000, np.random.default_rng(1))
    write_eeg(first, recording[: len(samples(first))])
    write_eeg(other, recording[: len(samples(other))])
    rows.loc[rows["eeg_id"] == int(other.stem), "patient_id"] = rows.loc[
        rows["eeg_id"] == int(first.stem), "patient_id"
    ].iloc[0]
    rows.to_csv(root / "train.csv", index=False)
    part = part_of(root)
    assert find_duplicates(part.eeg, part.rows).shared == ()


def test_every_one_of_many_copies_is_linked(tmp_path: Path) -> None:
    root = long_layout(tmp_path / "data")
    recording = random_eeg(20_000, np.random.default_rng(1))
    copies = eegs_of(root)[:5]
    for path in copies:
        write_eeg(path, recording[: len(samples(path))])
    part = part_of(root)
    shared = find_duplicates(part.eeg, part.rows).shared
    linked = {pair.eeg_id for pair in shared} | {pair.other_eeg_id for pair in shared}
    assert linked == {int(path.stem) for path in copies}
    assert len(shared) < 10  # neighbours are enough, not each with each


def test_flat_and_missing_recordings_are_alike_and_no_duplicates(tmp_path: Path) -> None:
    root = long_layout(tmp_path / "data")
    for path, value in zip(eegs_of(root)[:6], (0.0, 0.0, np.nan, np.nan, 30.0, 30.0), strict=True):
        write_eeg(path, np.full(samples(path).shape, value, np.float32))
    part = part_of(root)
    found = find_duplicates(part.eeg, part.rows)
    assert (found.compared, found.featureless, found.shared) == (6, 6, ())


def test_the_same_rhythm_in_two_patients_is_no_duplicate(tmp_path: Path) -> None:
    root = long_layout(tmp_path / "data")
    for path, hz in zip(eegs_of(root)[:4], (1.0, 1.0, 2.0, 2.0), strict=True):
        rng = np.random.default_rng(int(path.stem))
        t = np.arange(len(samples(path))) / 200
        rhythm = 200 * np.sin(2 * np.pi * hz * t)[:, None] * rng.uniform(0.3, 1, len(CHANNELS))
        write_eeg(path, (rhythm + random_eeg(len(t), rng, nan_share=0)).astype(np.float32))
    part = part_of(root)
    assert find_duplicates(part.eeg, part.rows).shared == ()


def test_landmarks_of_what_is_too_short_or_flat() -> None:
    for x in (np.zeros((4, 250)), np.zeros((4, 2500)), np.ones((4, 2500))):
        places, numbers = landmarks(x.astype(np.float32))
        assert len(places) == len(numbers) == 0


def test_only_what_crosses_folds_is_a_leak() -> None:
    rows = pd.DataFrame({"eeg_id": [5, 6, 7, 7], "patient_id": [1, 2, 3, 3]})
    shared = [SharedSignal(5, 6, 0.0, 2.0, 50.0), SharedSignal(5, 7, 4.0, 0.0, 10.0)]
    check = check_duplicates(shared, 3, rows, [0, 0, 1, 1], "1 flat one left out")
    assert check.offenders == (
        "eeg_id 5 (patient_id 1, fold 0) from 4 s and eeg_id 7 (patient_id 3, fold 1) from 0 s have 10 s of signal "
        "in common",
    )
    assert str(check) == (
        "1 of 3 EEGs whose signal is in another fold, too (1 flat one left out; 1 more within one fold)"
    )


def test_stretches_do_not_change_what_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long recording is looked at in parts, of which each landmark needs more than itself."""
    rng = np.random.default_rng(5)
    eeg = random_eeg(60_000, rng)
    copy = np.concatenate([random_eeg(5_003, rng), eeg[20_000:50_000]])
    files = {key: write_eeg(tmp_path / f"{key}.parquet", x) for key, x in {1: eeg, 2: copy}.items()}
    store = build_store(files, CHANNELS, tmp_path / "store")
    rows = pd.DataFrame({"eeg_id": [1, 2], "patient_id": [1, 2]})
    found, places = [], []
    for stretch in (1 << 19, 7_001, 20_000):
        monkeypatch.setattr(duplicates, "_STRETCH", stretch)
        found.append(find_duplicates(store, rows))
        places.append(duplicates._landmarks_of(store, 1))
    assert found[0] == found[1] == found[2]
    assert found[0].shared[0].length_s == 140
    for place_L, number_L in places[1:]:
        np.testing.assert_array_equal(place_L, places[0][0])
        np.testing.assert_array_equal(number_L, places[0][1])
