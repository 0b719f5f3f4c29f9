"""A job of the batch system Slurm that runs out of time goes back into its queue."""

from __future__ import annotations

import os
import signal
import subprocess
from types import FrameType
from typing import Any

from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment


def slurm_plugins() -> list[Any]:
    """Return the plugins with which a Trainer leaves requeueing to us: one in a job of Slurm, else none.

    Lightning's own saves a checkpoint in the middle of an epoch, and any later ``fit`` or ``predict`` begins with it,
    whatever weights it was given.
    """
    if SLURMEnvironment.detect() and not TorchElasticEnvironment.detect():
        return [SLURMEnvironment(auto_requeue=False)]
    return []


def requeue_on_signal() -> None:
    """On SIGUSR1, which ``sbatch --signal=USR1@120`` sends two minutes before the end, put the job back into the queue.

    Training goes on until Slurm stops it; the job then goes on from its last whole epoch. Outside Slurm nothing is
    changed.
    """
    if "SLURM_JOB_ID" in os.environ and SLURMEnvironment.detect():
        signal.signal(signal.SIGUSR1, _requeue)


def _requeue(signum: int, frame: FrameType | None) -> None:
    signal.signal(signum, signal.SIG_IGN)
    if os.environ.get("SLURM_PROCID", "0") != "0":
        return
    job = os.environ["SLURM_JOB_ID"]
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        status = subprocess.run(["scontrol", "requeue", job], check=False, timeout=60).returncode
        said = f"job {job} is in Slurm's queue again" if status == 0 else f"scontrol requeue {job} ended with {status}"
    except (OSError, subprocess.SubprocessError) as error:
        said = f"scontrol requeue {job}: {error}"
    os.write(2, f"{said}\n".encode())  # not through a stream, which the signal may have interrupted
