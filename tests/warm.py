"""Commands in processes that are forked from one which has imported torch, Lightning and pandas already.

Each is a process of its own with its own folder, streams and exit status, as one typed in a shell, but for the seconds
that imports take. What imports do is therefore not seen here: `tests/cli/test_launch.py` starts Python anew for that.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import runpy
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[1]
_IMPORTED = ("hbac.experiment.fitting", "hbac.experiment.merge", "hbac.inference.networks", "hbac.cli.console", "hydra",
             "hbac.report.index", "sklearn.metrics", "wandb")  # fmt: skip
# Read when Python or a library is loaded: where a test changes one of them, Python is started anew.
_READ_AT_START = ("OMP_", "GOMP_", "MKL_", "OPENBLAS_", "PYTHON", "LC_", "LANG", "TORCH_", "PYTORCH_", "CUDA_", "HF_")


class WarmPython:
    """A process that has imported everything, and forks for each command."""

    def __init__(self) -> None:
        self.environment = dict(os.environ)
        line = [sys.executable, "-m", "tests.warm"]
        as_launched = environment() | {"GOMP_SPINCOUNT": "1000"}  # `hbac.cli.launch` sets it before torch is loaded
        self.process = subprocess.Popen(
            line, cwd=ROOT, env=as_launched, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def fits(self) -> bool:
        """Whether it would read the environment as a process that is started now does."""
        now = dict(os.environ)
        changed = {key for key in now.keys() | self.environment.keys() if now.get(key) != self.environment.get(key)}
        return self.process.poll() is None and not any(key.startswith(_READ_AT_START) for key in changed)

    def run(self, folder: Path, arguments: list[str]) -> subprocess.CompletedProcess[str]:
        assert self.process.stdin is not None and self.process.stdout is not None
        with tempfile.TemporaryDirectory() as streams:
            out, err = Path(streams, "out"), Path(streams, "err")
            request = {"folder": str(folder), "arguments": arguments, "out": str(out), "err": str(err)}
            self.process.stdin.write(json.dumps(request | {"environment": environment()}) + "\n")
            self.process.stdin.flush()
            status = int(self.process.stdout.readline())
            return subprocess.CompletedProcess(arguments, status, out.read_text(), err.read_text())


_warm: WarmPython | None = None


def run_module(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m`` with these arguments in a folder."""
    global _warm
    _warm = _warm or WarmPython()
    if _warm.fits():
        return _warm.run(folder, list(arguments))
    line = [sys.executable, "-m", *arguments]
    return subprocess.run(line, cwd=folder, env=environment(), capture_output=True, text=True, check=False, timeout=900)


def environment() -> dict[str, str]:
    """Return the tests' environment, without the W&B service that a test may have started in this process."""
    return {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}


def _next_request() -> dict[str, object]:
    """Fork for each request; return in the child."""
    requests = os.fdopen(os.dup(0), buffering=1)
    while line := requests.readline():
        request: dict[str, object] = json.loads(line)
        if (pid := os.fork()) == 0:
            return request
        _, status = os.waitpid(pid, 0)
        os.write(1, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    MEDIA_TMP.cleanup()
    os._exit(0)


def _become(request: dict[str, object]) -> str:
    """Take over the folder, environment and streams of a command; return its module."""
    os.chdir(str(request["folder"]))
    environment = dict(request["environment"])  # type: ignore[call-overload]
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None
    written = os.O_WRONLY | os.O_CREAT
    streams = ((os.devnull, os.O_RDONLY), (str(request["out"]), written), (str(request["err"]), written))
    for number, (path, flags) in enumerate(streams):
        descriptor = os.open(path, flags)
        os.dup2(descriptor, number)
        os.close(descriptor)
    module, *arguments = map(str, request["arguments"])  # type: ignore[call-overload]
    sys.path[0] = str(Path.cwd())
    sys.argv[:] = ["-m", *arguments]
    return module


def _run(module: str) -> int:
    """Run a module; return the status with which Python would end."""
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _end(status: int) -> NoReturn:
    """End as Python does, but leave out C++'s last steps, which look for threads of the process that was forked."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    for name in _IMPORTED:
        importlib.import_module(name)
    from wandb.sdk.data_types._private import MEDIA_TMP

    # Made when W&B is imported, and removed by the first command that ends: the next could write no table or picture.
    MEDIA_TMP._finalizer.detach()  # type: ignore[attr-defined]
    atexit.unregister(MEDIA_TMP.cleanup)
    _end(_run(_become(_next_request())))
