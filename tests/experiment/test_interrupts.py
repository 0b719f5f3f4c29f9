"""Trainings that a signal meets, a batch system requeues, or a setting makes diverge."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.common.test_processes import heed_interrupts
from tests.helpers import write_hms_layout

NET = ["model.filters=8", "model.width=16", "model.depth=2", "model.gru_hidden=16"]
SLURM = {"SLURM_JOB_ID": "77", "SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0",
         "SLURM_JOB_NAME": "train", "SLURM_NODELIST": "here"}  # fmt: skip
GOES_ON = "interrupted; type the same command again to go on\n"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    root = write_hms_layout(tmp_path_factory.mktemp("data"), n_eegs=20, seed=1)
    data = ["dataset=hms", f"dataset.root={root}", "labels.n_folds=2", "logger=csv", "data.batch_size=4"]
    return [sys.executable, "-m", "hbac.train", *data, *NET, "trainer.max_epochs=8"]


@pytest.fixture(scope="module")
def straight(line: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the same training was left alone."""
    folder = tmp_path_factory.mktemp("straight")
    subprocess.run(line, cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """The environment of a job of Slurm, whose `scontrol` only notes what it was told."""
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/told.txt\n')
    scontrol.chmod(0o755)
    return os.environ | SLURM | {"PATH": f"{scontrol.parent}:{os.environ['PATH']}"}


def signalled(
    line: list[str], folder: Path, signum: int, environment: dict[str, str] | None = None, group: bool = False
) -> tuple[int, str]:
    """Send a signal after the first epoch; returns the exit status and what was said."""
    process = subprocess.Popen(
        line,
        cwd=folder,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_interrupts,
    )
    while not list(folder.glob("outputs/runs/*/fold0/checkpoints/last.ckpt")) and process.poll() is None:
        time.sleep(0.02)
    (os.killpg if group else os.kill)(process.pid, signum)
    said = process.communicate(timeout=300)[1]
    return process.returncode, said


def same(one: Path, other: Path) -> bool:
    runs = [next(folder.glob("outputs/runs/*/fold0")) for folder in (one, other)]
    weights = {(run / "weights.safetensors").read_bytes() for run in runs}
    tables = [pd.read_parquet(run / "predictions.parquet") for run in runs]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    return len(weights) == 1


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_group_that_is_told_to_stop_does_so_and_goes_on(
    line: list[str], straight: Path, tmp_path: Path, signum: int
) -> None:
    status, said = signalled([*line, "data.num_workers=2"], tmp_path, signum, group=True)
    assert status == 128 + signum, said
    assert said.endswith(GOES_ON)
    assert "Traceback" not in said and "Error" not in said
    assert not list(tmp_path.rglob("*partial*"))
    subprocess.run([*line, "data.num_workers=2"], cwd=tmp_path, check=True, capture_output=True)
    assert same(tmp_path, straight)


def test_slurm_s_signal_requeues_and_what_is_exported_predicts(
    line: list[str], straight: Path, tmp_path: Path, slurm: dict[str, str]
) -> None:
    status, said = signalled(line, tmp_path, signal.SIGUSR1, slurm)
    assert status == 0, said
    assert "job 77 is in Slurm's queue again\n" in said
    assert (tmp_path / "told.txt").read_text() == "requeue 77\n"
    assert not list(tmp_path.rglob("hpc_ckpt*"))
    assert same(tmp_path, straight)


def test_slurm_s_signal_may_come_before_anything_is_imported(
    line: list[str], straight: Path, tmp_path: Path, slurm: dict[str, str]
) -> None:
    for settings, status in ((["requeue=false"], 128 + signal.SIGUSR1), ([], 0)):
        process = subprocess.Popen([*line, *settings], cwd=tmp_path, env=slurm, stderr=subprocess.PIPE, text=True)
        while not blocks(process.pid, signal.SIGUSR1):
            assert process.poll() is None
        assert "torch" not in Path(f"/proc/{process.pid}/maps").read_text()
        process.send_signal(signal.SIGUSR1)
        said = process.communicate(timeout=300)[1]
        assert process.returncode == status, said
        assert (tmp_path / "told.txt").exists() == ("job 77 is in Slurm's queue again\n" in said) == (status == 0)
    assert same(tmp_path, straight)


def blocks(pid: int, signum: int) -> bool:
    """Whether a signal would wait."""
    mask = re.search(r"SigBlk:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())
    return mask is not None and bool(int(mask[1], 16) >> (signum - 1) & 1)


def test_checkpoints_of_lightning_s_own_requeueing_are_not_loaded(
    line: list[str], straight: Path, tmp_path: Path, slurm: dict[str, str]
) -> None:
    short = [*line[:-1], "trainer.max_epochs=1"]
    subprocess.run(short, cwd=tmp_path, check=True, capture_output=True)
    old = next(tmp_path.glob("outputs/runs/*/fold0/checkpoints/last.ckpt")).rename(tmp_path / "hpc_ckpt_1.ckpt")
    shutil.rmtree(tmp_path / "outputs")
    run = tmp_path / next(straight.glob("outputs/runs/*/fold0")).relative_to(straight)
    run.mkdir(parents=True)
    shutil.copy(old, run)
    subprocess.run(line, cwd=tmp_path, env=slurm, check=True, capture_output=True)
    assert same(tmp_path, straight)


def test_requeueing_is_a_setting(line: list[str], tmp_path: Path, slurm: dict[str, str]) -> None:
    status, said = signalled([*line, "requeue=false"], tmp_path, signal.SIGUSR1, slurm)
    assert status == 128 + signal.SIGUSR1
    assert said.endswith(GOES_ON)
    assert not (tmp_path / "told.txt").exists()


def test_the_other_jobs_of_a_sweep_go_on(line: list[str], tmp_path: Path) -> None:
    line = [*line[:-1], "trainer.max_epochs=1", "-m", "fold=0,9", "optimizer.lr=1e30,0.002", "hydra.sweep.dir=sweep"]
    result = subprocess.run(line, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert result.returncode == 2, result.stderr
    assert len(list(tmp_path.glob("outputs/runs/*/fold0/metrics.json"))) == 1  # the second job's
    told = result.stderr.partition("error: 3 jobs of the sweep failed, and so nothing was merged:\n")[2]
    assert "  fold=0 optimizer.lr=1e+30\n    the " in told
    assert "training has diverged" in told
    assert "  fold=9 optimizer.lr=1e+30; fold=9 optimizer.lr=0.002\n    fold=9: there is no such fold" in told
    assert "Traceback" not in result.stderr
    assert "python -m hbac.ensemble 'members=[sweep]'" in told
    again = [sys.executable, "-m", "hbac.ensemble", "members=[sweep]", "logger=csv", "allow_missing_folds=true"]
    blended = subprocess.run(again, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert blended.returncode == 0, blended.stderr
