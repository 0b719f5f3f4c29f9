"""Sweeps whose jobs run elsewhere: what is said of them, and what becomes of one that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hbac.cli.failures import end_killed_sweep, note_sweep
from hbac.common.files import write_json
from hbac.common.machines import needs_of
from hbac.experiment import watching
from hbac.runs.folder import DONE_FILE
from tests.helpers import write_hms_layout

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is an extra")
NET = ["model.filters=8", "model.width=16", "model.depth=2", "model.gru_hidden=16", "logger=csv"]


class Ended(Exception):
    pass


def test_a_job_that_no_machine_can_run_ends_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machines = [{"Alive": True, "Resources": {"CPU": 8.0, "GPU": 1.0}}, {"Alive": False, "Resources": {"GPU": 8.0}}]
    ray = SimpleNamespace(is_initialized=lambda: True, nodes=lambda: machines)

    def leave(status: int) -> None:
        raise Ended(status)

    monkeypatch.setitem(sys.modules, "ray", ray)  # type: ignore[arg-type]
    monkeypatch.setattr(watching, "LOOK_S", 0.01)
    monkeypatch.setattr(os, "_exit", leave)
    watching._look_at_ray(needs_of({"num_gpus": 0.5, "num_cpus": 8}), 0.05)  # a machine has that
    with pytest.raises(Ended, match="2"):
        watching._look_at_ray(needs_of({"num_gpus": 2}), 0.05)
    said = capsys.readouterr().err
    assert said.startswith(
        "error: hydra.launcher.ray.remote: each job asks for 2 GPU, and no machine of the Ray cluster"
    )
    assert "(at most 1 GPU)" in said
    assert said.endswith("launch_wait_s=0.5\n")


@pytest.mark.parametrize("resume", [True, False])
def test_a_job_is_done_when_its_run_is_not_the_one_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], resume: bool
) -> None:
    run, note = tmp_path / "run", tmp_path / "sweep" / "jobs" / "00003.json"
    note.parent.mkdir(parents=True)
    run.mkdir()
    (run / DONE_FILE).touch()
    write_json(note, {"run": "../run"})
    os.utime(run / DONE_FILE, (0, 0))
    said: list[str] = []

    def look(_: float) -> None:
        said.append(capsys.readouterr().err)
        if len(said) == 3:
            os.utime(run / DONE_FILE)
        elif len(said) == 5:
            raise Ended

    monkeypatch.setattr(watching.time, "sleep", look)
    with pytest.raises(Ended):
        watching._tell_jobs(tmp_path / "sweep", resume)
    began, done = f"job 4 began: {run}\n", "job 4 is done\n"
    assert said == (["", began + done, "", "", ""] if resume else ["", began, "", done, ""])


def test_a_launcher_s_error_says_what_to_type(capsys: pytest.CaptureFixture[str]) -> None:
    note_sweep(Path("outputs/sweeps/a"))
    with pytest.raises(SystemExit, match="1"):
        end_killed_sweep(RuntimeError("the worker died\nby SIGKILL"), merged=True)
    assert capsys.readouterr().err.splitlines() == [
        "error: a job of the sweep was ended from outside: RuntimeError: the worker died",
        "Type the command again: what is finished is kept, the rest goes on from its last epoch.",
        "To blend what there is: python -m hbac.ensemble 'members=[outputs/sweeps/a]'",
    ]


def test_slurm_s_words_for_a_job_that_was_killed_or_refused(capsys: pytest.CaptureFixture[str]) -> None:
    class UncompletedJobError(Exception):
        __module__ = "submitit.core.utils"

    note_sweep(Path("a"))
    killed = (
        "Job 12_0 (task: 0) with path /a/12_0_0_result.pkl\nhas not produced any output (state: OUT_OF_MEMORY)\nlog"
    )
    late = f"Job (task=0) failed with trace:\n{'-' * 22}\n  File x\nError: too late\n{'-' * 22}\nlog"
    refused = "sbatch: error: invalid partition: gpu\nsbatch: error: Batch job submission failed"
    for said, status in ((killed, 1), (late, 1), (refused, 2)):
        with pytest.raises(SystemExit, match=str(status)):
            end_killed_sweep(UncompletedJobError(said), merged=False)
    first, again, second, _, third = capsys.readouterr().err.splitlines()
    ended = "error: a job of the sweep was ended from outside: "
    assert first == f"{ended}12_0 has no result, its state is OUT_OF_MEMORY; see a/.submitit/12_0"
    assert again.startswith("The others go on by themselves. Type the command again when they have ended: what is ")
    assert second == f"{ended}Error: too late"
    assert third.startswith("error: hydra.launcher: Slurm does not take such jobs (sbatch: error: invalid partition")


def sweep(folder: Path, root: Path, *settings: str) -> subprocess.Popen[str]:
    data = ["dataset=hms", f"dataset.root={root}", "labels.n_folds=2", "data.batch_size=4", "population=all"]
    line = [sys.executable, "-m", "hbac.train", *data, *NET, "-m", "fold=0,1", "hydra/launcher=ray", *settings]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(line, cwd=folder, text=True, **pipes)


@needs_ray
@pytest.mark.slow
def test_a_killed_worker_of_ray_s_is_retried_and_goes_on(tmp_path: Path) -> None:
    root = write_hms_layout(tmp_path / "data", n_eegs=20, seed=1)
    process = sweep(tmp_path, root, "trainer.max_epochs=4")
    while not (found := list(tmp_path.glob("outputs/runs/*/fold0/checkpoints/last.ckpt"))):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    lock = found[0].parents[1] / ".lock"
    holders = subprocess.run(["fuser", str(lock)], capture_output=True, text=True, check=True).stdout.split()
    os.kill(int(holders[0]), signal.SIGKILL)
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said
    assert len(list(tmp_path.glob("outputs/runs/*/fold*/metrics.json"))) == 2
    assert len(list(tmp_path.glob("outputs/runs/*/fold0/logs/version_*"))) == 2  # begun twice
    assert list(tmp_path.glob("outputs/sweeps/*/ensemble.json"))


@needs_ray
@pytest.mark.slow
def test_a_gpu_that_nobody_has_is_not_waited_for(tmp_path: Path) -> None:
    root = write_hms_layout(tmp_path / "data", n_eegs=20, seed=1)
    process = sweep(tmp_path, root, "+hydra.launcher.ray.remote.num_gpus=1", "launch_wait_s=2")
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 2, said
    assert "error: hydra.launcher.ray.remote: each job asks for 1 GPU, and no machine of the Ray cluster has" in said
