"""Jobs of a Slurm that runs here: requeued, killed, refused; skipped where there is none.

One machine is enough, a container too: Debian's munge, slurmctld, slurmd, and slurmdbd with mariadb (submitit asks
`sacct`), all started by hand with cons_tres, proctrack/linuxproc, task/none, jobacct_gather/none,
accounting_storage/slurmdbd, one node and ``SlurmdParameters=config_overrides``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from shutil import which

import pytest

from tests.helpers import write_hms_layout

NET = ["model.filters=8", "model.width=16", "model.depth=2", "model.gru_hidden=16", "logger=csv", "population=all"]
LAUNCHER = ["hydra/launcher=submitit_slurm", "hydra.launcher.cpus_per_task=1", "hydra.launcher.timeout_min=10"]
DDP = ["trainer.devices=2", "trainer.accelerator=cpu", "+trainer.strategy=ddp", "trainer.max_epochs=2"]


def slurm_runs() -> bool:
    return which("sinfo") is not None and subprocess.run(["sinfo"], capture_output=True, check=False).returncode == 0


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("submitit") is None or not slurm_runs(), reason="no Slurm runs here"),
]


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    root = write_hms_layout(tmp_path_factory.mktemp("data"), n_eegs=20, seed=1)
    data = ["dataset=hms", f"dataset.root={root}", "labels.n_folds=2", "data.batch_size=4", "trainer.max_epochs=20"]
    return [sys.executable, "-m", "hbac.train", *data, *NET]


def sweep(line: list[str], folder: Path, *settings: str) -> subprocess.Popen[str]:
    line = [*line, "-m", "fold=0,1", *LAUNCHER, *settings]
    return subprocess.Popen(line, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def first_checkpoint(process: subprocess.Popen[str], folder: Path) -> Path:
    while not (found := list(folder.glob("outputs/runs/*/fold0/checkpoints/last.ckpt"))):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.1)
    return found[0]


def weights(folder: Path, outputs: str) -> bytes:
    (file,) = folder.glob(f"{outputs}/runs/*/fold0/weights.safetensors")
    return file.read_bytes()


@pytest.mark.parametrize("signum", ["USR1", "USR2"])  # hbac's own, and submitit's when the time of a job is nearly over
def test_a_job_whose_time_is_over_goes_back_into_the_queue_and_on(signum: str, line: list[str], tmp_path: Path) -> None:
    process = sweep(line, tmp_path)
    first_checkpoint(process, tmp_path)
    (job,) = (folder.name for folder in tmp_path.glob("outputs/sweeps/*/.submitit/*_0"))
    subprocess.run(["scancel", f"--signal={signum}", job], check=True)
    said, _ = process.communicate(timeout=900)  # Slurm holds it back for two minutes
    assert process.returncode == 0, said
    for number in (1, 2):
        assert said.count(f"job {number} began: ") == said.count(f"job {number} is done") == 1
    assert list(tmp_path.glob("outputs/sweeps/*/ensemble.json"))
    (fold,) = tmp_path.glob("outputs/runs/*/fold0")
    assert len(list((fold / "logs").glob("version_*"))) == 2  # begun twice
    subprocess.run([*line, "outputs=straight"], cwd=tmp_path, check=True, capture_output=True)
    assert weights(tmp_path, "straight") == weights(tmp_path, "outputs")


def test_a_killed_job_is_named_and_the_command_goes_on(line: list[str], tmp_path: Path) -> None:
    process = sweep(line, tmp_path)
    lock = first_checkpoint(process, tmp_path).parents[1] / ".lock"
    holders = subprocess.run(["fuser", str(lock)], capture_output=True, text=True, check=True).stdout.split()
    os.kill(int(holders[0]), signal.SIGKILL)
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 1, said
    assert "error: a job of the sweep was ended from outside: " in said
    assert "_0 has no result, its state is " in said
    assert "The others go on by themselves. Type the command again when they have ended: " in said
    while not list(tmp_path.glob("outputs/runs/*/fold1/metrics.json")):
        time.sleep(1)
    again = sweep(line, tmp_path)
    said, _ = again.communicate(timeout=600)
    assert again.returncode == 0, said
    assert len(list(tmp_path.glob("outputs/sweeps/*/ensemble.json"))) == 1


def test_a_gpu_that_nobody_has_is_refused(line: list[str], tmp_path: Path) -> None:
    process = sweep(line, tmp_path, "hydra.launcher.gpus_per_node=64")
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 2, said
    assert "error: hydra.launcher: Slurm does not take such jobs (sbatch: error: " in said


def test_two_tasks_of_srun_train_one_run(line: list[str], tmp_path: Path) -> None:
    for start, outputs in (["srun", "-N1", "--ntasks-per-node=2"], "by_srun"), ([], "by_itself"):
        subprocess.run([*start, *line, *DDP, f"outputs={outputs}"], cwd=tmp_path, check=True, capture_output=True)
    assert weights(tmp_path, "by_srun") == weights(tmp_path, "by_itself")
