"""The memory-mapped store: what goes in comes out."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import textwrap
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hbac.common.errors import UserError
from hbac.recordings.dataset_stores import build_store, eeg_store, spectrogram_store, store_folder
from hbac.recordings.datasets import HMS
from hbac.recordings.layout import read_recordings
from hbac.recordings.origins import ORIGINS_NAME
from hbac.recordings.store import DATA_NAME, INDEX_NAME, Store
from hbac.vocabulary import CHANNELS
from tests.helpers import random_spectrogram, write_eeg, write_hms_layout, write_spectrogram
from tests.recordings.conftest import LENGTHS

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def store(files: dict[int, Path], tmp_path_factory: pytest.TempPathFactory) -> Store:
    return build_store(files, CHANNELS, tmp_path_factory.mktemp("stores") / "eeg")


def child(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a Python process that runs `code` with `arguments` as sys.argv[1:]."""
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_float16_of_every_sample(store: Store, arrays: dict[int, np.ndarray]) -> None:
    assert store.ids.tolist() == [3, 7, 11, 20]
    assert store.columns == CHANNELS
    assert store.kind == "eeg"
    for key, eeg in arrays.items():
        assert store.n_rows(key) == len(eeg)
        np.testing.assert_array_equal(store.window(key, 0, len(eeg)), eeg.astype(np.float16))
        assert np.isnan(eeg).any() or len(eeg) == 1
    assert store.rows.shape == (sum(LENGTHS.values()), 20)
    assert not store.rows.flags.writeable
    assert store.damaged_ids() == []
    assert contents(store.folder).keys() == {DATA_NAME, INDEX_NAME, ORIGINS_NAME}


@settings(max_examples=40, deadline=None)
@given(data=st.data(), n=st.integers(1, 9_000), batch=st.integers(0, 5))
def test_copied_windows_are_the_rows(
    store: Store, arrays: dict[int, np.ndarray], data: st.DataObject, n: int, batch: int
) -> None:
    ids = data.draw(st.lists(st.sampled_from([3, 7, 11]), min_size=batch, max_size=batch))
    starts = [data.draw(st.integers(0, LENGTHS[key] - n)) for key in ids]
    windows = store.copy_windows(np.array(ids, np.int32), np.array(starts, float), n)
    assert (windows.shape, windows.dtype) == ((batch, n, 20), np.float16)
    for window, key, start in zip(windows, ids, starts, strict=True):
        np.testing.assert_array_equal(window, arrays[key][start : start + n].astype(np.float16))


def test_windows_outside_their_recording_are_refused(store: Store) -> None:
    with pytest.raises(IndexError, match="rows 1 to 10001 of recording 7, which has 10000 rows"):
        store.copy_windows([3, 7], [0, 1], 10_000)
    with pytest.raises(IndexError, match="rows -1 to 9 of recording 3"):
        store.window(3, -1, 10)
    for unknown in (4, 21, -1):
        with pytest.raises(KeyError, match=f"no recording {unknown} "):
            store.copy_windows([3, unknown], [0, 0], 10)


def test_clipped_at_the_largest_float16_and_what_is_not_finite_is_missing(tmp_path: Path) -> None:
    eeg = np.tile([[1e6], [-1e6], [np.inf], [-np.inf], [65_519], [np.nan], [1e-9]], (1, 20))
    store = build_store({1: write_eeg(tmp_path / "1.parquet", eeg)}, CHANNELS, tmp_path / "store")
    expected = [65_504, -65_504, np.nan, np.nan, 65_504, np.nan, 0]
    np.testing.assert_array_equal(store.window(1, 0, 7)[:, 4], expected)


def test_integers_doubles_and_nulls(tmp_path: Path) -> None:
    columns = {name: pa.array([1, None, 100_000], pa.int32()) for name in CHANNELS}
    columns["Fp2"] = pa.array([1.5, None, float("nan")], pa.float64())
    columns["O1"] = pa.array([-3, 4, 5], pa.int16())
    columns["O2"] = pa.array([1, None, -(2**60)], pa.int64())
    columns["Pz"] = pa.array(np.array([1.5, np.nan, 3], np.float16))
    columns["EKG"] = pa.nulls(3)
    pq.write_table(pa.table(columns), tmp_path / "1.parquet")
    window = build_store({1: tmp_path / "1.parquet"}, CHANNELS, tmp_path / "store").window(1, 0, 3)
    np.testing.assert_array_equal(window[:, CHANNELS.index("Fp1")], [1, np.nan, 65_504])
    np.testing.assert_array_equal(window[:, CHANNELS.index("Fp2")], [1.5, np.nan, np.nan])
    np.testing.assert_array_equal(window[:, CHANNELS.index("O1")], [-3, 4, 5])
    np.testing.assert_array_equal(window[:, CHANNELS.index("O2")], [1, np.nan, -65_504])
    np.testing.assert_array_equal(window[:, CHANNELS.index("Pz")], [1.5, np.nan, 3])
    assert np.isnan(window[:, CHANNELS.index("EKG")]).all()


def test_columns_go_where_their_names_say(tmp_path: Path) -> None:
    names = ["EEG T7-Ref" if name == "T3" else name for name in CHANNELS[::-1]]
    eeg = np.arange(20, dtype=np.float32)[None, :].repeat(5, 0)
    store = build_store({1: write_eeg(tmp_path / "1.parquet", eeg, names)}, CHANNELS, tmp_path / "store")
    assert store.window(1, 0, 1)[0].tolist() == list(range(19, -1, -1))


def test_real_windows(iiic_root: Path, tmp_path: Path) -> None:
    recordings = read_recordings(iiic_root)
    store = eeg_store(recordings, tmp_path)
    windows = store.copy_windows(recordings.rows.eeg_id, recordings.eeg_starts(), 10_000)
    for i, eeg_id in enumerate(recordings.rows.eeg_id):
        eeg = pd.read_parquet(recordings.eeg_dir / f"{eeg_id}.parquet")[list(CHANNELS)].to_numpy()
        np.testing.assert_allclose(windows[i], np.clip(eeg, -65_504, 65_504), rtol=2**-11, atol=1e-6)


def test_spectrograms_and_stores_by_fingerprint(tiny_root: Path, tmp_path: Path) -> None:
    recordings = read_recordings(tiny_root, "test")
    store = spectrogram_store(recordings, tmp_path)
    assert store.folder == store_folder(recordings, tmp_path, "spectrogram")
    assert store.folder.name == f"test-spectrogram-{store.fingerprint[:12]}"
    assert (store.folder / DATA_NAME).stat().st_size == 3 * 300 * 400 * 2
    table = pd.read_parquet(recordings.spectrogram_dir / "600001.parquet")
    column = store.columns.index("LP_3.13")
    np.testing.assert_array_equal(
        store.window(600_001, 0, 300)[:, column],
        table["LP_3.13"].clip(-65_504, 65_504).to_numpy().astype(np.float16),
    )
    assert not store_folder(recordings, tmp_path).exists()


def test_region_of_nothing_but_nan(tmp_path: Path) -> None:
    root = write_hms_layout(tmp_path / "set", n_eegs=2, n_test=0, max_rows_per_eeg=1, with_spectrograms=True)
    power = random_spectrogram(300, np.random.default_rng(0))
    power[:, 100:200] = np.nan  # RL, the second region
    write_spectrogram(root / "train_spectrograms" / "500003.parquet", power)
    recordings = read_recordings(root)
    with pytest.raises(UserError) as caught:
        spectrogram_store(recordings, tmp_path / "stores")
    lines = str(caught.value).splitlines()
    assert lines[1:] == ["  train_spectrograms/500003.parquet: region RL is NaN in every row"]
    store = spectrogram_store(recordings, tmp_path / "stores", allow_empty=True)
    assert store.empty[1].tolist() == [100 <= j < 200 for j in range(400)]
    assert not store.empty[0].any()


def test_data_set_without_spectrograms(iiic_root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="this data set has no official spectrograms"):
        _ = HMS(iiic_root, tmp_path).part("train").spectrograms


def test_fingerprint_stays_when_moved_and_changes_with_content(tmp_path: Path) -> None:
    root = write_hms_layout(tmp_path / "a", n_eegs=2, n_test=0)
    first = store_folder(read_recordings(root), tmp_path)
    copy = Path(shutil.copytree(root, tmp_path / "b"))
    assert store_folder(read_recordings(copy), tmp_path) == first
    path = copy / "train_eegs" / "1000.parquet"
    table = pq.read_table(path)
    changed = table.set_column(3, "P3", [pa.array(table["P3"].to_numpy() + np.float32(0.5))])
    pq.write_table(changed, path)
    assert store_folder(read_recordings(copy), tmp_path) != first


def test_opened_and_not_built_again(store: Store, files: dict[int, Path]) -> None:
    before = (store.folder / DATA_NAME).stat()
    calls: list[tuple[int, int]] = []
    again = build_store(files, CHANNELS, store.folder, progress=lambda *args: calls.append(args))
    assert again.fingerprint == store.fingerprint
    assert calls == []
    assert (store.folder / DATA_NAME).stat().st_mtime_ns == before.st_mtime_ns
    with pytest.raises(UserError, match="holds the store of other files"):
        build_store({3: files[3]}, CHANNELS, store.folder)


def test_progress_counts_bytes(files: dict[int, Path], tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    build_store(files, CHANNELS, tmp_path / "store", progress=lambda *args: calls.append(args), n_threads=1)
    total = 40 * sum(LENGTHS.values())
    steps = [40 * LENGTHS[key] for key in (3, 7, 11, 20)]
    assert calls[0] == (0, total)
    assert calls[-1] == (total, total)
    assert sorted(np.diff([done for done, _ in calls])) == sorted(steps)


@pytest.mark.parametrize("way", ["pickle", "fork", "spawn"])
def test_in_other_processes(store: Store, way: str) -> None:
    expected = store.copy_windows([11, 3], [60_000, 5], 2_000)
    if way == "pickle":
        text = pickle.dumps(store)
        assert len(text) < 400
        np.testing.assert_array_equal(pickle.loads(text).copy_windows([11, 3], [60_000, 5], 2_000), expected)
        return
    code = """
        import multiprocessing as mp, sys
        from hbac.recordings.store import Store
        import zlib
        def crc(store):
            return zlib.crc32(store.copy_windows([11, 3], [60_000, 5], 2_000))
        if __name__ == "__main__":
            store = Store(sys.argv[1])
            if sys.argv[2] == "fork":
                with mp.get_context("fork").Pool(2) as pool:
                    print(pool.map(crc, [store, store]))
            else:
                with mp.get_context("spawn").Pool(2) as pool:
                    print(pool.map(crc, [store, store]))
    """
    script = store.folder.parent / "crc_of_windows.py"
    script.write_text(textwrap.dedent(code))
    command = [sys.executable, str(script), str(store.folder), way]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    output = subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout
    assert output.strip() == str([zlib.crc32(expected)] * 2)


def test_damaged_store(store: Store, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(store.folder, tmp_path / "copy"))
    data = folder / DATA_NAME
    with data.open("r+b") as file:
        file.seek(40 * (12_345 + 17))
        file.write(b"\xff\xff")
    assert Store(folder).damaged_ids() == [7]
    damaged = Store(folder)
    assert np.isfinite(damaged.copy_windows([11], [0], 10_000)).any()
    # The block is 3,276 rows long; elsewhere the recording is as it was.
    np.testing.assert_array_equal(damaged.window(7, 3_276, 100), store.window(7, 3_276, 100))
    for read in (lambda: damaged.window(7, 17, 1), lambda: damaged.copy_windows([3, 7], [0, 0], 10_000)):
        with pytest.raises(UserError, match=r"rows 0 to 3,276 of recording 7 in .* are not what was stored \(CRC\)"):
            read()
    with pytest.raises(UserError, match="is no store"):  # so that the next run builds it again
        Store(folder)
    shutil.copy(store.folder / INDEX_NAME, folder)
    with data.open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(UserError) as caught:
        Store(folder)
    assert f"{data} has 1,000 bytes, its index says {40 * sum(LENGTHS.values()):,}" in str(caught.value)
    assert f"delete the folder {folder}" in str(caught.value)
    data.unlink()
    with pytest.raises(UserError, match="cannot be opened: No such file"):
        Store(folder)
    (folder / INDEX_NAME).write_bytes(b"no index")
    with pytest.raises(UserError, match=r"index\.safetensors cannot be read"):
        Store(folder)
    with pytest.raises(UserError, match=r"is no store: index\.safetensors is missing"):
        Store(tmp_path)


def test_file_cut_short_after_its_shape_was_read(files: dict[int, Path], tmp_path: Path) -> None:
    """Footers are sound, the pages before them are not: found while building, all such files in one message."""
    spoiled = {key: Path(shutil.copy(path, tmp_path)) for key, path in files.items()}
    for key in (3, 11):
        content = bytearray(spoiled[key].read_bytes())
        content[4 : len(content) - 20_000] = bytes(len(content) - 20_004)
        spoiled[key].write_bytes(content)
    with pytest.raises(UserError) as caught:
        build_store(spoiled, CHANNELS, tmp_path / "store")
    message = str(caught.value)
    assert "2 problems" in message
    assert "3.parquet: cannot be read" in message
    assert "11.parquet: cannot be read" in message
    assert not (tmp_path / "store").exists()


def test_unreadable_files_are_listed(files: dict[int, Path], tmp_path: Path) -> None:
    short = tmp_path / "8.parquet"
    short.write_bytes(files[7].read_bytes()[:-50])
    with pytest.raises(UserError) as caught:
        build_store({**files, 8: short, 9: tmp_path / "9.parquet"}, CHANNELS, tmp_path / "store")
    assert "2 problems" in str(caught.value)
    assert "8.parquet: no parquet footer" in str(caught.value)
    assert "9.parquet: the file is missing" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["8.parquet"]
    with pytest.raises(UserError, match="no files to build the store"):
        build_store({}, CHANNELS, tmp_path / "store")
