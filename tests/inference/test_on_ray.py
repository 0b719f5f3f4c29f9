"""Predictions by workers of Ray: the bits of the local run, whoever is killed meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest

from hbac.common.errors import UserError
from hbac.inference.networks import CHUNK_BATCHES
from hbac.inference.on_ray import RayActors
from hbac.predictions import PredictionTable
from tests.ensembles import SMALL_NET, write_ensemble
from tests.helpers import write_hms_layout
from tests.recorded import write_brain
from tests.test_commands import command

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is an extra")
ON_RAY = ["engine=ray", "engine.workers=2"]


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ensemble(tmp_path_factory.mktemp("ensemble"), [[*SMALL_NET], [*SMALL_NET, "band=1-12"]])


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match="engine=ray: Ray is not installed: pip install 'ray>=2.60'"):
        RayActors()


def workers(folder: Path) -> list[int]:
    """Actors that work in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cmdline").read_bytes().startswith(b"ray::_Actor") and (process / "cwd").readlink() == folder:
                found.append(int(process.name))
        except OSError:
            pass
    return found


def wait(process: subprocess.Popen[bytes], until: Callable[[], bool]) -> None:
    while not until():
        assert process.poll() is None
        time.sleep(0.02)


@needs_ray
@pytest.mark.slow
def test_rows_are_predicted_to_the_same_bits_whoever_is_killed(ensemble: Path, tmp_path: Path) -> None:
    root = write_hms_layout(tmp_path / "data", n_eegs=240, n_test=0, max_rows_per_eeg=1)
    line = ["hbac.infer", "dataset=hms", f"dataset.root={root}", f"ensemble={ensemble}", "split=train", "batch_size=1"]
    command(tmp_path, *line, "outputs=here", "out=here")
    there = [sys.executable, "-m", *line, *ON_RAY, "outputs=there", "out=there"]
    kept = tmp_path / "there" / "cache"

    def chunks() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in kept.glob("infer-*/*.npy")}

    first = subprocess.Popen(there, cwd=tmp_path)
    wait(first, lambda: bool(chunks()))
    os.kill(first.pid, signal.SIGKILL)  # the command itself: what is kept is not done again
    first.wait()
    done = chunks()
    assert 0 < len(done) < 240 / CHUNK_BATCHES

    again = subprocess.Popen(there, cwd=tmp_path)
    wait(again, lambda: len(chunks()) > len(done) and bool(workers(tmp_path)))
    assert done.items() <= chunks().items()
    os.kill(workers(tmp_path)[0], signal.SIGKILL)  # a worker: it comes again, and the command does not notice
    assert again.wait() == 0
    one, other = (PredictionTable.read(tmp_path / name / "train_predictions.parquet") for name in ("here", "there"))
    pd.testing.assert_frame_equal(one.frame, other.frame, check_exact=True)
    assert not list(kept.glob("infer-*"))


@needs_ray
@pytest.mark.slow
def test_recordings_are_predicted_to_the_same_bits(ensemble: Path, tmp_path: Path) -> None:
    for seed in range(2):
        write_brain(tmp_path / f"{seed}.edf", 2700.0 - 60 * seed)
    line = ["hbac.infer", "recordings=[0.edf,1.edf]", f"ensemble={ensemble}", "page=false", "step_s=10"]
    command(tmp_path, *line, "out=here")
    subprocess.run([sys.executable, "-m", *line, *ON_RAY, "out=there"], cwd=tmp_path, check=True)
    for seed in range(2):
        one, other = (tmp_path / where / str(seed) / "predictions.parquet" for where in ("here", "there"))
        assert one.read_bytes() == other.read_bytes()


@needs_ray
@pytest.mark.slow
def test_a_gpu_that_nobody_has_is_not_waited_for(ensemble: Path, tmp_path: Path) -> None:
    data = ["dataset=hms", f"dataset.root={write_hms_layout(tmp_path / 'data', n_eegs=4)}", f"ensemble={ensemble}"]
    line = [sys.executable, "-m", "hbac.infer", *data, *ON_RAY, "engine.num_gpus=1", "engine.wait_s=1"]
    refused = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode == 2
    assert (
        "error: engine=ray: each worker asks for 1 CPU, 1 GPU, and no machine of the Ray cluster has" in refused.stderr
    )
