"""How a command and the processes that work for it end, whatever signal told them to."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import current_process, parent_process
from types import FrameType
from typing import NoReturn

LOOK_S = 0.5  # how often a worker looks for its parent
STARTER = "HBAC_STARTER"  # in the environment of what a command starts once for each device: its own number
# What a batch system, a closed terminal or a shutdown sends. Windows knows only the first.
_STOP = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)]


def is_running(pid: int) -> bool:
    """Say whether there is such a process on this machine; True where that cannot be known."""
    if os.name == "nt":  # there, a signal of 0 ends the process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass
    return True


class Stopped(KeyboardInterrupt):
    """A signal told the command to stop; all that cleans up after Ctrl-C does so after this."""

    def __init__(self, signum: int = signal.SIGINT) -> None:
        super().__init__(signum)
        self.signum = signum


@contextmanager
def ends_cleanly() -> Iterator[None]:
    """Make the signals that stop a command do what Ctrl-C does: clean up, say how to go on, end with 128 + signal."""
    ours = [signum for signum in _STOP if signal.getsignal(signum) is signal.SIG_DFL]  # not those of `nohup`
    for signum in ours:
        signal.signal(signum, _stop)
    try:
        yield
        for signum in ours:
            signal.signal(signum, signal.SIG_DFL)  # the work is done: Python may be ended at any moment
    except BaseException as error:
        if (interrupt := interrupt_within(error)) is None:
            raise
        signum = interrupt.signum if isinstance(interrupt, Stopped) else signal.SIGINT
        if STARTER not in os.environ:  # or else that one says it
            sys.stderr.write("\ninterrupted; type the same command again to go on\n")
        raise SystemExit(128 + signum) from None


def interrupt_within(error: BaseException | None) -> KeyboardInterrupt | None:
    """Find the interrupt that a compiled module made into an error of its own, where it came during its import."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__
    return error


def _stop(signum: int, frame: FrameType | None) -> None:
    for other in _STOP:
        signal.signal(other, signal.SIG_IGN)  # once is enough: cleaning up is not to be interrupted
    if hasattr(signal, "SIGCHLD"):
        # torch looks after its workers here, and complains of those that the same signal has ended.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    raise Stopped(signum)


@contextmanager
def signals_held() -> Iterator[None]:
    """Keep signals that stop a command waiting, for good in processes that begin in here.

    What such a process was given to do it does to the end; its parent gives it no more.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, *_STOP])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent(worker_id: int = 0) -> None:
    """Make a worker end when its parent was killed, and without a complaint when it is told to.

    A parent that is killed (-9, out of memory) cannot tell its workers, and those that wait for room in the queue to it
    wait for ever. A signal to the whole group of processes (a batch system's SIGTERM) also reaches the workers; where
    they die of it, the parent raises an error of its own before it can end cleanly.
    """
    parent = parent_process()
    assert parent is not None
    is_child = os.getppid() == parent.pid  # not of a fork server, nor where the parent is gone already
    # Of two that were forked, the second keeps what tells the first of its parent's end: numbers are surer.
    _end_without(lambda: os.getppid() == parent.pid if is_child else parent.is_alive())
    for signum in _STOP:
        signal.signal(signum, _leave)
    _leave_to_parent()


def end_with(starter: int) -> None:
    """Make this process end when that of the number `starter` was killed; signals it heeds as any other command."""
    _end_without(lambda: os.getppid() == starter)
    _leave_to_parent()


def _end_without(parent_is_there: Callable[[], bool]) -> None:
    def watch() -> None:
        while parent_is_there():
            time.sleep(LOOK_S)
        _exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _leave_to_parent() -> None:
    if hasattr(signal, "SIGUSR1"):
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # of Slurm: the parent sees to it


def _leave(signum: int, frame: FrameType | None) -> None:
    _exit(0)


def _exit(status: int) -> NoReturn:
    """End at once, without waiting for queues that nobody reads, but not without the sockets' folder."""
    folder = getattr(current_process(), "_config", {}).get("tempdir")
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(status)
