"""Several devices for one run: a process for each, started here, by torchrun, or by Slurm.

All of them read the same settings and files and train the same network; the first writes the run's folder.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import IO, TYPE_CHECKING

from hbac.common.errors import BAD_INPUT, UserError
from hbac.common.processes import STARTER, end_with

if TYPE_CHECKING:
    from omegaconf import DictConfig

GRACE_S = 5.0  # in which the others may end by themselves after one has failed
_LOST = 75  # exit status of a process that misses another
_SHOWN = 20  # lines of what a process that failed has said
_GONE = ("closed by peer", "reset by peer", "ncclRemoteError", "Broken pipe")


def is_first() -> bool:
    """Say whether this process is the one that writes; of one device it is."""
    from lightning.pytorch.utilities import rank_zero_only

    return not rank_zero_only.rank  # type: ignore[attr-defined]


def was_started_here() -> bool:
    """Say whether `train_on_each` has started this process."""
    return STARTER in os.environ


def join(cfg: DictConfig) -> None:
    """Take this process's place among those of a run: torchrun says how many there are, and one of them speaks.

    ``trainer`` gets the number of devices where torchrun decides it. A `UserError` for another number than torchrun
    started.
    """
    from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
    from omegaconf import open_dict

    if TorchElasticEnvironment.detect():
        here, world = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
        if cfg.trainer.devices not in (1, "auto", here):
            raise UserError(
                f"trainer.devices={cfg.trainer.devices}: torchrun has started {here} on this machine; leave it out"
            )
        with open_dict(cfg):
            cfg.trainer.devices = here
            if world > here:
                cfg.trainer.num_nodes = world // here
    if was_started_here():
        end_with(int(os.environ[STARTER]))
    if not is_first():
        logging.getLogger("hbac").setLevel(logging.ERROR)
        warnings.simplefilter("ignore")


def train_on_each(n_devices: int) -> None:
    """Run this very command once for each device, and wait for all of them.

    What the first one says is shown; of the others, the end of what one said that failed. A `SystemExit` where one
    failed. The others are then ended, and the same command goes on from the last epoch.
    """
    from lightning.fabric.plugins.environments.lightning import find_free_network_port

    run = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(find_free_network_port()), "NODE_RANK": "0",
                        "WORLD_SIZE": str(n_devices), STARTER: str(os.getpid())}  # fmt: skip
    line = [sys.executable, "-m", "hbac.train", *sys.argv[1:]]
    processes: list[subprocess.Popen[bytes]] = []
    with ExitStack() as stack:
        said: list[IO[bytes]] = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(n_devices)]
        try:
            for rank in range(n_devices):
                out, err = (subprocess.DEVNULL, said[rank]) if rank else (None, None)
                processes.append(subprocess.Popen(line, env=run | {"LOCAL_RANK": str(rank)}, stdout=out, stderr=err))
            failed = _first_to_fail(processes)
        finally:
            _end(processes)
        if failed is not None:
            _tell(failed, processes, said[failed])


def _first_to_fail(processes: Sequence[subprocess.Popen[bytes]]) -> int | None:
    """Wait until all have ended well, or one has not and the others have had time to end by themselves."""
    until = math.inf
    while any(process.poll() is None for process in processes) and time.monotonic() < until:
        if until == math.inf and any(process.returncode for process in processes):
            until = time.monotonic() + GRACE_S
        time.sleep(0.05)
    # One that was killed is the cause, before one that missed another.
    codes = [process.returncode for process in processes]
    failed = [(code == _LOST, code, rank) for rank, code in enumerate(codes) if code]
    return min(failed)[-1] if failed else None


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        if process.poll() is None:
            process.terminate()
    until = time.monotonic() + GRACE_S
    for process in processes:
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:  # it waits for the others inside a library
            process.kill()
            process.wait()


def _tell(failed: int, processes: Sequence[subprocess.Popen[bytes]], said: IO[bytes]) -> None:
    if processes[0].returncode == BAD_INPUT:  # it has said why
        raise SystemExit(BAD_INPUT)
    status = processes[failed].returncode
    if failed and status > 0:
        said.seek(0)
        sys.stderr.write("\n".join(said.read().decode(errors="replace").splitlines()[-_SHOWN:]) + "\n")
    how = f"ended with status {status}" if status > 0 else f"was ended by {signal.Signals(-status).name}"
    sys.stderr.write(
        f"error: the process of device {failed + 1} of {len(processes)} {how}; type the same command again to go on\n"
    )
    raise SystemExit(status if status > 0 else 128 - status)


@contextmanager
def others_may_go() -> Iterator[None]:
    """End, with a line that the process of another device is gone, where the libraries make a traceback of it."""
    try:
        yield
    except RuntimeError as error:  # NCCL's errors are of a subclass
        if not any(words in str(error) for words in _GONE):
            raise
        if not was_started_here():  # or else that one says which
            sys.stderr.write("error: the process of another device is gone; type the same command again to go on\n")
        raise SystemExit(_LOST) from None


def refuse_in_sweep(devices: object) -> None:
    """Refuse more than one device, ``trainer.devices`` or how many, for each job of a sweep."""
    n_devices = devices if isinstance(devices, int) else len(devices) if isinstance(devices, Sequence) else 1
    by_torchrun = int(os.environ.get("WORLD_SIZE", 1)) if "TORCHELASTIC_RUN_ID" in os.environ else 1
    if isinstance(devices, str) or max(n_devices, by_torchrun) <= 1:
        return
    asked = f"trainer.devices={devices}" if n_devices > 1 else f"torchrun with {by_torchrun} processes"
    raise UserError(
        f"{asked}: each job of a sweep (-m) has one device; leave it out and run the jobs side by side with "
        "hydra/launcher=joblib, ray, submitit_local or submitit_slurm, or train each fold by a command of its own"
    )
