"""Building a store, whatever happens meanwhile: kills, full disks, several builders, more data than memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hbac.common.errors import UserError
from hbac.recordings import building, converting
from hbac.recordings.dataset_stores import build_store
from hbac.recordings.declared import Declared
from hbac.recordings.store import Store, write_index
from hbac.vocabulary import CHANNELS
from tests.helpers import random_eeg, write_eeg

REPOSITORY = Path(__file__).resolve().parents[2]


def child(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a Python process that runs `code` with `arguments` as sys.argv[1:]."""
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


BUILD = """
    import sys, time, pathlib
    from hbac.recordings import building
    from hbac.recordings.dataset_stores import build_store
    from hbac.vocabulary import CHANNELS
    building._SYNC_BYTES = 1
    folder, target, pause_s = pathlib.Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    def progress(done, total):
        print(done, flush=True)
        time.sleep(pause_s)
    files = {int(path.stem): path for path in folder.glob("*.parquet")}
    store = build_store(files, CHANNELS, target, progress=progress, n_threads=2)
    print(store.fingerprint)
"""


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    for key in range(30):
        write_eeg(folder / f"{key}.parquet", random_eeg(2_000 + key, np.random.default_rng(key)))
    return folder


def test_killed_and_resumed(many: Path, tmp_path: Path) -> None:
    files = {int(path.stem): path for path in many.glob("*.parquet")}
    build_store(files, CHANNELS, tmp_path / "straight")
    folder = tmp_path / "store"
    begun = []
    for n_steps in (4, 9, 15):  # each run is killed further on than the one before
        process = child(BUILD, many, folder, 0.02)
        assert process.stdout is not None
        seen = [int(process.stdout.readline()) for _ in range(n_steps)]
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not folder.exists()
        assert (tmp_path / "store.partial").is_dir()
        begun.append((seen[0], seen[-1]))
    assert begun[0][0] == 0
    # What one run reported, the next had: nothing is done twice.
    assert begun[0][1] <= begun[1][0] < begun[1][1] <= begun[2][0]
    with (tmp_path / "store.partial" / "journal.txt").open("a") as journal:
        journal.write("29 12345 ff")  # a line that was being written when the power went
    calls: list[tuple[int, int]] = []
    store = build_store(files, CHANNELS, folder, progress=lambda *args: calls.append(args))
    assert calls[0][0] >= begun[2][1] > 0
    assert contents(folder) == contents(tmp_path / "straight")
    assert store.damaged_ids() == []
    assert not (tmp_path / "store.partial").exists()


def test_partial_folder_of_other_files_is_not_used(many: Path, tmp_path: Path) -> None:
    files = {int(path.stem): path for path in many.glob("*.parquet")}
    build_store(files, CHANNELS, tmp_path / "straight")

    class StopError(Exception):
        pass

    def stop(done: int, _: int) -> None:
        if done > 200_000:
            raise StopError

    other = {key: path for key, path in files.items() if key > 2}
    with pytest.raises(StopError):
        build_store(other, CHANNELS, tmp_path / "store", progress=stop)
    calls: list[tuple[int, int]] = []
    build_store(files, CHANNELS, tmp_path / "store", progress=lambda *args: calls.append(args))
    assert calls[0][0] == 0
    assert contents(tmp_path / "store") == contents(tmp_path / "straight")


def test_several_processes_build_it_once(many: Path, tmp_path: Path) -> None:
    processes = [child(BUILD, many, tmp_path / "store", 0.01) for _ in range(3)]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    lines = [output.splitlines() for output, _ in outputs]
    assert len({line[-1] for line in lines}) == 1
    assert sorted(map(len, lines)) == [1, 1, 32]  # one has built it, the others print the fingerprint only
    assert Store(tmp_path / "store").damaged_ids() == []


def test_too_little_room_is_said_before_anything_is_written(
    files: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(building.shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 10**6, 10**6))
    with pytest.raises(UserError, match=r"needs 0\.004 GB of disk, 0\.001 GB are free"):
        build_store(files, CHANNELS, tmp_path / "store")
    assert [path.name for path in tmp_path.iterdir()] == ["store.lock"]


def test_no_room_for_an_index(small_disk: Callable[[str], Path]) -> None:
    with pytest.raises(OSError, match="No space left on device"):
        write_index(small_disk("8k") / "index.safetensors", {}, {"rows": np.zeros(10_000)})


def test_disk_fills_up_meanwhile(
    many: Path, small_disk: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """2.4 MB go to a disk of 2 MB that said before that it had room; with room, the next run goes on."""
    disk = small_disk("2m")
    files = {int(path.stem): path for path in many.glob("*.parquet")}
    usage = namedtuple("usage", "total used free")
    with monkeypatch.context() as patched:
        patched.setattr(building.shutil, "disk_usage", lambda _: usage(10**12, 0, 10**12))
        with pytest.raises(UserError) as caught:
            build_store(files, CHANNELS, disk / "store", n_threads=1)
    assert "No space left on device" in str(caught.value)
    assert "make room and run it again" in str(caught.value)
    assert not (disk / "store").exists()
    subprocess.run(["mount", "-o", "remount,size=9m", str(disk)], check=True)
    calls: list[tuple[int, int]] = []
    store = build_store(files, CHANNELS, disk / "store", progress=lambda *args: calls.append(args))
    assert calls[0][0] > 1_000_000
    assert store.damaged_ids() == []


def test_largest_file_size_of_the_system(many: Path, tmp_path: Path) -> None:
    limit = "    import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6))\n"
    process = child(textwrap.dedent(limit) + textwrap.dedent(BUILD), many, tmp_path / "store", 0)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "UserError: no room for the store" in errors
    assert "File too large" in errors
    assert not (tmp_path / "store").exists()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for the peak of memory")
def test_memory_does_not_grow_with_the_data(tmp_path: Path) -> None:
    """One recording of 12.5 hours, 720 MB as float32, is converted, read and audited within some 100 MB of memory.

    What is freed may be kept for later: a shorter recording would not tell that from growth.
    """
    code = """
        import sys
        from pathlib import Path
        from hbac.recordings.dataset_stores import build_store
        from hbac.vocabulary import CHANNELS
        def peak_mb():  # not ru_maxrss, which counts the process that started this one
            line = next(s for s in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in s)
            return int(line.split()[1]) / 1024
        folder = Path(sys.argv[1])
        build_store({1: folder / "1.parquet"}, CHANNELS, folder / "small")
        before = peak_mb()
        store = build_store({2: folder / "2.parquet"}, CHANNELS, folder / "large")
        for start in range(0, 8_990_000, 10_000):
            store.copy_windows([2], [start], 10_000)
        after = peak_mb()
        import pandas as pd
        from hbac.labels.duplicates import find_duplicates
        found = find_duplicates(store, pd.DataFrame({"eeg_id": [2], "patient_id": [2]}))
        print(before, after, peak_mb())
    """
    rng = np.random.default_rng(0)
    write_eeg(tmp_path / "1.parquet", random_eeg(10_000, rng))
    write_eeg(tmp_path / "2.parquet", np.tile(random_eeg(100_000, rng), (90, 1)))
    output, errors = child(code, tmp_path).communicate(timeout=300)
    assert output, errors
    before, after, audited = map(float, output.split())
    assert 0 < after - before < 120
    assert audited - before < 150


def test_a_folder_that_is_called_like_an_unfinished_store_stays(tmp_path: Path) -> None:
    file = write_eeg(tmp_path / "1.parquet", random_eeg(10_000, np.random.default_rng(0)))
    mine = tmp_path / "store.partial" / "thesis.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(UserError, match=r"store\.partial: 'thesis.txt' is no part of an unfinished store"):
        build_store({1: file}, CHANNELS, tmp_path / "store")
    assert mine.read_text() == "mine"
    mine.unlink()
    assert build_store({1: file}, CHANNELS, tmp_path / "store").ids.tolist() == [1]


def test_what_is_reckoned_grows_with_the_files_and_not_with_their_square(
    many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reckoned = []
    n_stored = Declared.n_stored
    monkeypatch.setattr(Declared, "n_stored", lambda self, n: (reckoned.append(n), n_stored(self, n))[1])
    files = {int(path.stem): path for path in many.glob("*.parquet")}
    build_store(files, CHANNELS, tmp_path / "store", progress=lambda done, total: None)
    assert len(reckoned) <= 4 * len(files)


def test_a_large_file_is_read_by_parts_to_the_same_bytes(
    many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {int(path.stem): path for path in many.glob("*.parquet")}
    whole = build_store(files, CHANNELS, tmp_path / "whole")
    monkeypatch.setattr(converting, "_WHOLE_BYTES", 1000)
    assert contents(build_store(files, CHANNELS, tmp_path / "parts").folder) == contents(whole.folder)
