"""How commands and their workers end: on signals, alone or as a group, and when the parent is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks /proc which processes there are")

LOADER = dedent("""
    import os, time
    import torch
    from torch.utils.data import DataLoader, Dataset
    from hbac.common.processes import end_with_parent, ends_cleanly

    class Rows(Dataset):
        def __len__(self):
            return 1000
        def __getitem__(self, index):
            return torch.zeros(10), os.getpid()

    with ends_cleanly():
        batches = iter(DataLoader(Rows(), batch_size=1, num_workers=2, worker_init_fn=end_with_parent))
        print(*{int(next(batches)[1]) for _ in range(2)}, flush=True)
        while True:
            next(batches)
            time.sleep(0.1)
""")
POOL = dedent("""
    import os, time
    from concurrent.futures import ProcessPoolExecutor, wait
    from multiprocessing import get_context
    from hbac.common.processes import end_with_parent, ends_cleanly, signals_held

    if __name__ == "__main__":
        with signals_held():
            pool = ProcessPoolExecutor(2, get_context("spawn"), end_with_parent)
        with ends_cleanly(), pool:
            with signals_held():
                futures = [pool.submit(time.sleep, 2) for _ in range(2)]
            print(*pool._processes, flush=True)
            try:
                wait(futures)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
""")
SAID = "\ninterrupted; type the same command again to go on\n"


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def ended(pids: list[int], within_s: float) -> bool:
    until = time.monotonic() + within_s
    while any(map(is_alive, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    return not any(map(is_alive, pids))


def heed_interrupts() -> None:
    """Take back what a shell and nohup do to a job in the background: it ignores them, and so would all it starts."""
    for signum in (signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, signal.SIG_DFL)


def started(tmp_path: Path, code: str) -> tuple[subprocess.Popen[str], list[int]]:
    script = tmp_path / "script.py"
    script.write_text(code)
    process = subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_interrupts,
    )
    assert process.stdout is not None
    workers = [int(pid) for pid in process.stdout.readline().split()]
    assert len(workers) == 2
    assert all(map(is_alive, workers))
    return process, workers


@pytest.mark.parametrize("code", [LOADER, POOL], ids=["loader", "pool"])
@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["alone", "group"])
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_command_and_its_workers_without_a_traceback(
    tmp_path: Path, code: str, send: object, signum: int
) -> None:
    process, workers = started(tmp_path, code)
    time.sleep(0.3)
    send(process.pid, signum)  # type: ignore[operator]
    _, errors = process.communicate(timeout=60)
    assert errors == SAID
    assert process.returncode == 128 + signum
    assert ended(workers, 3)


@pytest.mark.parametrize("code", [LOADER, POOL], ids=["loader", "pool"])
def test_workers_end_when_their_parent_is_killed(tmp_path: Path, code: str) -> None:
    process, workers = started(tmp_path, code)
    process.kill()
    process.communicate()
    try:
        assert ended(workers, 1.8)  # before torch's own workers and the task of the pool would
    finally:
        for pid in filter(is_alive, workers):
            os.kill(pid, signal.SIGKILL)


def test_a_signal_that_is_not_heard_stays_so(tmp_path: Path) -> None:
    code = "import os, signal\nfrom hbac.common.processes import ends_cleanly\n"
    code += "with ends_cleanly():\n    os.kill(os.getpid(), signal.SIGHUP)\nprint('done')\n"
    line = ["nohup", sys.executable, "-c", code]
    result = subprocess.run(line, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    assert result.stdout == "done\n"
