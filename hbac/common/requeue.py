"""A job of the batch system Slurm that runs out of time goes back into its queue."""

from __future__ import annotations

import os
import signal
import subprocess
from types import FrameType


def hold_signal() -> None:
    """Keep SIGUSR1 waiting in a job of Slurm until `requeue_on_signal`: it would end a process that still imports."""
    if _in_job():
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])


def requeue_on_signal(wanted: bool) -> None:
    """On SIGUSR1, which ``sbatch --signal=USR1@120`` sends two minutes before the end, put the job back into the queue.

    Training goes on until Slurm stops it; the job then goes on from its last whole epoch. Where that is not `wanted`,
    the signal does what it does elsewhere. Outside Slurm nothing is changed.
    """
    if _in_job():
        if wanted:
            signal.signal(signal.SIGUSR1, _requeue)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])


def _in_job() -> bool:
    """Say what Lightning's ``SLURMEnvironment.detect`` says, without importing it."""
    return {"SLURM_JOB_ID", "SLURM_NTASKS"} <= os.environ.keys() and os.environ.get("SLURM_JOB_NAME") not in (
        "bash",
        "interactive",
    )


def _requeue(signum: int, frame: FrameType | None) -> None:
    signal.signal(signum, signal.SIG_IGN)
    job = os.environ["SLURM_JOB_ID"]
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        status = subprocess.run(["scontrol", "requeue", job], check=False, timeout=60).returncode
        said = f"job {job} is in Slurm's queue again" if status == 0 else f"scontrol requeue {job} ended with {status}"
    except (OSError, subprocess.SubprocessError) as error:
        said = f"scontrol requeue {job}: {error}"
    os.write(2, f"{said}\n".encode())  # not through a stream, which the signal may have interrupted
