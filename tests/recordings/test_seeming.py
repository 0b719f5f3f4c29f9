"""Recordings that are not what they seem: other rates, other units, other orders, found when the store is built."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hbac.common.errors import UserError
from hbac.recordings import resample as resample_module
from hbac.recordings.amplitudes import FLAT, LARGE, MICROVOLT, MISSING, SMALL, VOLTS, describe, looks_of, spans
from hbac.recordings.columns import SPECTROGRAM_COLUMNS
from hbac.recordings.dataset_stores import build_store
from hbac.recordings.datasets import HMS
from hbac.recordings.declared import Declared
from hbac.recordings.resample import Resampler, resample
from hbac.recordings.store import Store
from hbac.vocabulary import CHANNELS
from tests.helpers import random_eeg, random_spectrogram, write_eeg, write_hms_layout, write_spectrogram

RNG = np.random.default_rng(3)


def store_of(path: Path, tmp_path: Path, kind: str = "eeg", **declared: Any) -> Store:
    columns = CHANNELS if kind == "eeg" else SPECTROGRAM_COLUMNS
    return build_store({1: path}, columns, tmp_path / "store", kind=kind, declared=Declared(**declared))


def fault_of(path: Path, tmp_path: Path, kind: str = "eeg", **declared: Any) -> str:
    with pytest.raises(UserError) as caught:
        store_of(path, tmp_path, kind, **declared)
    assert not (tmp_path / "store").exists()
    return str(caught.value)


def timed(tmp_path: Path, time: Any, name: str = "time", statistics: bool = True) -> Path:
    eeg = random_eeg(len(time), RNG)
    table = pa.table({name: time, **{channel: eeg[:, i] for i, channel in enumerate(CHANNELS)}})
    pq.write_table(table, tmp_path / "1.parquet", write_statistics=statistics)
    return tmp_path / "1.parquet"


N = 20_480
S = np.arange(N)


@pytest.mark.parametrize("statistics", [True, False])
@pytest.mark.parametrize(
    "time",
    [
        S / 256,
        S / 256 + 3600.0,
        (S / 256).astype(np.float32),
        np.rint(S * 1000 / 256).astype(np.int64),
        pd.to_timedelta(S / 256, unit="s").to_numpy(),
        pd.Timestamp("2024-03-01") + pd.to_timedelta(S / 256, unit="s"),
        pa.array(np.rint(S * 1000 / 256).astype(np.int64), pa.timestamp("ms")),
        (S / 256).astype(str),
        (pd.Timestamp("2024-03-01") + pd.to_timedelta(S / 256, unit="s")).strftime("%H:%M:%S.%f"),
        (pd.Timestamp("2024-03-01") + pd.to_timedelta(S / 256, unit="s")).strftime("%Y-%m-%dT%H:%M:%S.%f"),
    ],
    ids=["s", "late s", "float32", "ms", "timedelta", "date", "date in ms", "text", "clock", "date as text"],
)
def test_a_time_column_of_256_hz(tmp_path: Path, time: Any, statistics: bool) -> None:
    message = fault_of(timed(tmp_path, time, statistics=statistics), tmp_path)
    assert "1.parquet: column 'time' goes by " in message
    assert "which is 256 Hz; must be 200 Hz without gaps: dataset.sfreq=256 declares" in message
    assert store_of(tmp_path / "1.parquet", tmp_path, sfreq=256).n_rows(1) == 16_000


@pytest.mark.parametrize(
    ("name", "time"),
    [
        ("time", S / 200),
        ("Time", S * 5),
        ("timestamp", pd.Timestamp("2024-03-01") + pd.to_timedelta(S * 5, unit="ms")),
        ("times", np.round(S / 200, 2)),
        ("time", S),  # the number of the sample
        ("time", np.zeros(N)),
        ("time", np.full(N, np.nan)),
        ("time", pa.array(["x"] * N)),
    ],
)
def test_a_time_column_that_says_nothing_else(tmp_path: Path, name: str, time: Any) -> None:
    assert store_of(timed(tmp_path, time, name), tmp_path).n_rows(1) == N


def test_rows_out_of_order_and_gaps(tmp_path: Path) -> None:
    swapped = S.copy()
    swapped[[5_000, 7_000]] = swapped[[7_000, 5_000]]
    message = fault_of(timed(tmp_path, swapped / 200), tmp_path)
    assert "column 'time' goes from 35 to 25.005 at row 5,001: its rows are not in the order of time" in message
    late = np.where(S < 10_000, S, S + 200)
    message = fault_of(timed(tmp_path, late / 200), tmp_path)
    assert message.endswith("must be 200 Hz without gaps")


@pytest.mark.parametrize("name", ["t", "Time (s)", "time_s", "TIME [s]", "seconds", "__index_level_0__"])
def test_a_time_column_of_another_name(tmp_path: Path, name: str) -> None:
    assert "which is 256 Hz" in fault_of(timed(tmp_path, S / 256, name), tmp_path)


def test_an_index_that_counts_rows_is_no_time(tmp_path: Path) -> None:
    assert store_of(timed(tmp_path, S[::-1] * 3, "__index_level_0__"), tmp_path).n_rows(1) == N


def test_pandas_writes_the_time_of_mne_as_index(tmp_path: Path) -> None:
    """As ``raw.to_data_frame(index="time").to_parquet(…)`` does."""
    frame = pd.DataFrame(random_eeg(N, RNG), columns=list(CHANNELS), index=pd.Index(S / 256, name="time"))
    frame.to_parquet(tmp_path / "1.parquet")
    assert "which is 256 Hz" in fault_of(tmp_path / "1.parquet", tmp_path)


@pytest.mark.parametrize("sfreq", [256, 250, 512, 100, 199.8])
def test_a_declared_rate_is_resampled(tmp_path: Path, sfreq: float) -> None:
    """A sine and an offset, known at every moment, with a gap."""
    n = int(70 * sfreq)
    at = np.arange(n) / sfreq
    eeg = np.tile((300 + 50 * np.sin(2 * np.pi * 7 * at))[:, None], (1, 20)).astype(np.float32)
    gap = (at > 20) & (at < 22)
    eeg[gap, 3] = np.nan
    store = store_of(write_eeg(tmp_path / "1.parquet", eeg), tmp_path, sfreq=sfreq)
    out = store.window(1, 0, store.n_rows(1)).astype(np.float32)
    new_at = np.arange(len(out)) / 200
    assert len(out) == -(-n * 200 // sfreq)
    expected = 300 + 50 * np.sin(2 * np.pi * 7 * new_at)
    inside = (new_at > 1) & (new_at < 69)
    assert np.abs(out[inside, 0] - expected[inside]).max() < 0.6  # 1 %, and the rounding of float16 (.25)
    missing = np.isnan(out[:, 3])
    assert abs(missing.sum() - 400) <= 4
    assert missing[4_003:4_398].all()
    assert not np.isnan(out[:, 0]).any()


def test_what_a_rate_cannot_hold_is_taken_out(tmp_path: Path) -> None:
    at = np.arange(256 * 60) / 256
    eeg = np.tile(np.sin(2 * np.pi * 120 * at)[:, None] * 100, (1, 20)).astype(np.float32)  # an alias of 80 Hz
    store = store_of(write_eeg(tmp_path / "1.parquet", eeg), tmp_path, sfreq=256, unit="uV")
    assert np.abs(store.window(1, 500, 10_000)).max() < 1


@settings(max_examples=30, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 5_000), min_size=1, max_size=6),
    ratio=st.sampled_from([Fraction(25, 32), Fraction(4, 5), Fraction(2), Fraction(1000, 999), Fraction(25, 64)]),
    stretch=st.sampled_from([64, 1_000, 10_000]),
)
def test_pieces_do_not_change_what_comes_out(cuts: list[int], ratio: Fraction, stretch: int) -> None:
    x = np.random.default_rng(sum(cuts)).standard_normal((2, sum(cuts))).astype(np.float32)
    pieces = np.split(x, np.cumsum(cuts)[:-1], axis=1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(resample_module, "_STRETCH", stretch)
        found = np.concatenate(list(resample(pieces, ratio)), axis=1)
    n = -(-x.shape[1] * ratio.numerator // ratio.denominator)
    first, last = Resampler(ratio).needs(0, n)
    whole = np.pad(x, ((0, 0), (-first, last - x.shape[1])), mode="edge")
    assert found.shape == (2, n)
    np.testing.assert_allclose(found, Resampler(ratio)(whole, 0, n), atol=2e-5)


@pytest.mark.parametrize(("unit", "uv"), [("V", 1e6), ("mV", 1e3), ("uV", 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_declared_unit(tmp_path: Path, unit: str, uv: float, dtype: type) -> None:
    eeg = random_eeg(10_000, RNG, nan_share=0)
    store = store_of(
        write_eeg(tmp_path / "1.parquet", (eeg.astype(np.float64) / uv).astype(dtype)), tmp_path, unit=unit
    )
    np.testing.assert_allclose(store.window(1, 0, 10_000), eeg, rtol=2**-10, atol=1e-4)


@pytest.mark.parametrize("statistics", [True, False])
def test_volts_are_refused(tmp_path: Path, statistics: bool) -> None:
    path = write_eeg(tmp_path / "1.parquet", 1e-6 * random_eeg(16_000, RNG, nan_share=0))
    pq.write_table(pq.read_table(path), path, write_statistics=statistics)
    assert "this looks like volts, must be microvolts; dataset.unit=V (or mV) declares" in fault_of(path, tmp_path)
    store = store_of(write_eeg(tmp_path / "1.parquet", np.zeros((16_000, 20), np.float32)), tmp_path)
    assert store.looks.tolist() == [[0, 0, 2, 0, 0, 0]]


def test_spectrograms_in_decibels_or_out_of_order(tmp_path: Path) -> None:
    power = random_spectrogram(400, RNG)
    path = write_spectrogram(tmp_path / "1.parquet", 10 * np.log10(power))
    assert "these look like decibels or logarithms" in fault_of(path, tmp_path, "spectrogram")
    table = pq.read_table(write_spectrogram(path, power))
    for order in (np.arange(400)[::-1], np.r_[1, 0, 2:400], np.r_[0, 0, 2:400]):
        pq.write_table(table.take(order), path)
        assert "its rows are not in the order of time" in fault_of(path, tmp_path, "spectrogram")
    write_spectrogram(path, power, step_s=1)
    for statistics in (True, False):
        pq.write_table(pq.read_table(path), path, write_statistics=statistics)
        message = fault_of(path, tmp_path, "spectrogram")
        assert "1.parquet: a time step of 1 s on average, must be 2 s (column 'time')" in message
    write_spectrogram(path, power, time_type=np.int16)
    assert store_of(path, tmp_path, "spectrogram").n_rows(1) == 400


@pytest.mark.parametrize(
    ("factor", "look"),
    [(1, MICROVOLT), (0.3, MICROVOLT), (10, MICROVOLT), (1e-6, VOLTS), (1e-3, SMALL), (1e3, LARGE), (0, FLAT)],
)
def test_what_windows_look_like(factor: float, look: int) -> None:
    windows = np.stack([random_eeg(10_000, np.random.default_rng(i), label=i) for i in range(6)]) * factor
    windows[:, :, 4] = 0  # a flat electrode beside others
    windows[:, :, -1] = 3000 * np.sin(np.arange(10_000))  # an EKG
    windows[0, 5, 2] = np.inf
    assert looks_of(*spans(windows.astype(np.float32))).tolist() == [look] * 6


def test_missing_windows_and_an_offset() -> None:
    window = random_eeg(10_000, RNG)
    windows = np.stack([np.full_like(window, np.nan), window + 40_000, window * 1e-3 + 100, window])
    assert looks_of(*spans(windows)).tolist() == [MISSING, MICROVOLT, SMALL, MICROVOLT]
    assert looks_of(*spans(windows.astype(np.float16))).tolist()[::3] == [MISSING, MICROVOLT]


def test_real_windows_are_microvolt(iiic_root: Path, tmp_path: Path) -> None:
    part = HMS(iiic_root, tmp_path).part("train")
    assert part.eeg.looks.sum(axis=0).tolist() == [12, 0, 0, 0, 0, 0]


def test_amplitudes_are_counted_and_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_hms_layout(tmp_path / "data", n_eegs=8, n_test=0)
    paths = sorted((root / "train_eegs").glob("*.parquet"))
    for path, factor in zip(paths, [1e-3, 1e-3, 1e3, 0, np.nan, np.inf], strict=False):
        eeg = pd.read_parquet(path)
        (eeg * factor).astype(np.float32).to_parquet(path, index=False)
    dataset = HMS(root, tmp_path / "stores")
    with caplog.at_level("WARNING", "hbac.recordings"):
        dataset.part("train")
        dataset.part("train")
    assert caplog.text.count("8 EEGs") == 1
    for text in (
        "2 of 8 EEGs have no value at all, 1 are flat, 2 stay below 1 µV (millivolts?)",
        "1 are above 20 mV (nanovolts, or counts of a converter?); dataset.unit declares the unit",
    ):
        assert text in caplog.text
    caplog.clear()
    HMS(root, tmp_path / "stores", unit="mV")
    assert not caplog.text


def test_describe_nothing() -> None:
    assert describe([5, 0, 0, 0, 0, 0]) == ""


def test_a_file_that_was_rewritten_in_place(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Same size, same rows, same footer: only its content and its time have changed."""
    root = write_hms_layout(tmp_path / "data", n_eegs=4, n_test=0)
    path = root / "train_eegs" / "1007.parquet"
    options: dict[str, Any] = {"write_statistics": False, "compression": "none", "use_dictionary": False}
    table = pq.read_table(path)
    pq.write_table(table, path, **options)
    size = path.stat().st_size
    dataset = HMS(root, tmp_path / "stores")
    before = dataset.part("train")
    pq.write_table(table.set_column(0, "Fp1", [pa.array(-table["Fp1"].to_numpy())]), path, **options)
    assert path.stat().st_size == size
    with caplog.at_level("WARNING", "hbac.recordings"):
        after = dataset.part("train")
    assert "1 of its files have been rewritten since, the first is" in caplog.text
    np.testing.assert_array_equal(after.eeg.window(1007, 0, 10_000)[:, 0], -before.eeg.window(1007, 0, 10_000)[:, 0])
    assert after.eeg.folder == before.eeg.folder
    assert after.fingerprint != before.fingerprint
    pq.write_table(table, path, **options)
    assert dataset.part("train").fingerprint == before.fingerprint


def test_a_touched_file_is_read_once_more_and_no_store_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_hms_layout(tmp_path / "data", n_eegs=4, n_test=0)
    dataset = HMS(root, tmp_path / "stores")
    first = dataset.part("train")
    inode = (first.eeg.folder / "recordings.f16").stat().st_ino
    (root / "train_eegs" / "1007.parquet").touch()
    read = []
    from hbac.recordings import origins

    hash_of_file = origins.hash_of_file
    monkeypatch.setattr(origins, "hash_of_file", lambda path: read.append(path.name) or hash_of_file(path))
    for _ in range(2):
        again = dataset.part("train")
        assert again.fingerprint == first.fingerprint
        assert (again.eeg.folder / "recordings.f16").stat().st_ino == inode
    assert read == ["1007.parquet"]


def test_a_store_of_the_earlier_format_is_read_as_it_is(tmp_path: Path) -> None:
    import json
    import zlib

    from safetensors.numpy import save_file

    path = write_eeg(tmp_path / "1.parquet", random_eeg(10_000, RNG))
    store = store_of(path, tmp_path)
    rows = store.window(1, 0, 10_000).copy()
    header = {"format_version": 1, "kind": "eeg", "columns": CHANNELS, "fingerprint": store.fingerprint}
    arrays = {
        "ids": store.ids.copy(),
        "lengths": store.lengths.copy(),
        "empty": store.empty.copy(),
        "crc": np.array([zlib.crc32(rows)], np.uint32),
    }
    save_file(arrays, store.folder / "index.safetensors", metadata={"store": json.dumps(header)})
    (store.folder / "origins.safetensors").unlink()
    old = store_of(path, tmp_path)
    assert old.content == old.fingerprint
    np.testing.assert_array_equal(old.copy_windows([1], [0], 10_000)[0], rows)
    assert old.damaged_ids() == []


@pytest.mark.parametrize("name", ["index.safetensors", "origins.safetensors"])
def test_any_flipped_bit_beside_the_samples_makes_the_store_anew(tmp_path: Path, name: str) -> None:
    path = write_eeg(tmp_path / "1.parquet", random_eeg(10_000, RNG))
    store = store_of(path, tmp_path)
    rows = store.window(1, 0, 10_000).copy()
    content = (store.folder / name).read_bytes()
    for place in RNG.integers(0, 8 * len(content), 60).tolist():
        spoiled = bytearray(content)
        spoiled[place // 8] ^= 1 << place % 8
        (store.folder / name).write_bytes(spoiled)
        again = store_of(path, tmp_path)
        np.testing.assert_array_equal(again.copy_windows([1], [0], 10_000)[0], rows)
        assert again.content == store.content
        assert (again.folder / name).read_bytes() == content


def test_a_folder_of_somebody_else_is_not_removed(tmp_path: Path) -> None:
    path = write_eeg(tmp_path / "1.parquet", random_eeg(100, RNG))
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match="is no store"):
        store_of(path, tmp_path)
    assert (tmp_path / "store" / "thesis.tex").is_file()


def test_a_flipped_sample_is_found_in_full_and_the_store_built_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As ``hbac.prepare audit=true`` does."""
    dataset = HMS(write_hms_layout(tmp_path / "data", n_eegs=3, n_test=0), tmp_path / "stores")
    path = dataset.part("train").eeg.folder / "recordings.f16"
    content = path.read_bytes()
    for place in (0, len(content) // 2, len(content) - 1):
        spoiled = bytearray(content)
        spoiled[place] ^= 1
        path.write_bytes(spoiled)
        part = dataset.verified("train")
        assert path.read_bytes() == content
        assert part.eeg.damaged_ids() == []
    assert caplog.text.count("1 recordings are damaged") == 3
