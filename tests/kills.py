"""Kill commands at random moments, type them again, and compare bits with those of a run that nobody killed.

    python -m tests.kills --trials 30 --seed 0
    python -m tests.kills --trials 5 --only train --folder /dev/shm/kills --keep

Every command is tried: preparing, training one fold, a sweep, an ensemble, a submission, a report; with 0 or 2
workers, a running mean of the weights and patience; with outputs on another file system than temporary files. In a
trial the command is ended one to three times, most often by kill -9, at moments drawn from the time that it takes; then
it runs to its end. What it wrote has to be what the undisturbed command wrote, bit for bit, and nothing may be left
behind: no half-written file, no process, no lock that somebody holds. After SIGTERM or SIGINT, the command must have
said how to go on, without a traceback.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from hbac.common.outputs import MANIFEST

NET = ["model.filters=4", "model.width=8", "model.depth=2", "model.gru_hidden=8", "model.kernels=[3,15]"]
DATA = ["dataset.size=tiny", "labels.n_folds=2"]
TRAIN = ["hbac.train", *DATA, *NET, "logger=csv", "trainer.max_epochs=6", "data.batch_size=4", "ema=0.9", "patience=3"]
STEPS = {
    "prepare": ["hbac.prepare", *DATA],
    "train": [*TRAIN, "fold=1", "augment=strong"],
    "best": [*TRAIN, "fold=0", "export=best", "schedule=plateau"],
    "sweep": [*TRAIN, "band=0.5-20,1-12", "-m", "fold=0,1", "trainer.max_epochs=2"],
    "ensemble": ["hbac.ensemble", "members=[sweep]", "out=blend", "logger=csv", "allow_missing_folds=true"],
    "infer": ["hbac.infer", "ensemble=blend", "out=submission", "logger=csv", "dataset.size=tiny", "batch_size=2"],
    "report": ["hbac.report", "runs=[blend]", "out=report", "windows=6"],
}
# What may differ: time and place, what is only kept to go on from, what says so.
NOT_COMPARED = re.compile(
    r"checkpoints/|logs/|/jobs/|stores/|environment\.json|multirun\.yaml|MODEL_CARD|\.(lock|html|js)$"
)
# torch's caches; what onnxruntime notes where it is installed (torchmetrics imports it); and the sockets of workers
# that were themselves killed, who could not take them away.
OF_OTHERS = re.compile(r"torch|pymp-|\.ses$")
LEFT_BEHIND = re.compile(r"partial|\.old-|\.tmp|hpc_ckpt")
WORKERS = re.compile(r"\"num_workers\": \d+")
LOGS = re.compile(r"\"logs\": \{[^}]*\}")  # hashes of logs, which have times, and one file for each start
SEAL = re.compile(r"\"sha256\": \"[0-9a-f]{64}\"")  # of a config, whose workers we vary, and of scores beside these
HASHED_PAGE = re.compile(r"\"[^\"]+\.html\": \[[^]]*\]")  # in a manifest, of pages that say when they were made
TIME = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d")
MARK = "HBAC_KILLS_TRIAL"
PATIENCE_S = 3600  # with a command, on a machine that has much else to do
ENDINGS = {"kill": 0.5, "kill group": 0.15, "term": 0.1, "term group": 0.15, "int group": 0.1}


@dataclass
class Ground:
    """Folders of all trials, and what undisturbed commands did there."""

    folder: Path
    temporary: Path
    seconds: dict[str, float] = field(default_factory=dict)
    expected: dict[str, dict[str, str]] = field(default_factory=dict)

    def line(self, step: str, workers: int = 0) -> list[str]:
        """The command of a step; the number of workers must make no difference."""
        more = [f"data.num_workers={workers}"] if STEPS[step][0] == "hbac.train" else []
        return [sys.executable, "-m", *STEPS[step], *more]

    def start(self, step: str, cwd: Path, workers: int = 0, mark: str = "") -> subprocess.Popen[str]:
        """Start a step in a group of processes of its own."""
        environment = os.environ | {"TMPDIR": str(self.temporary), "OMP_NUM_THREADS": "1", MARK: mark}
        with (self.folder / "said.txt").open("w") as said:
            return subprocess.Popen(
                self.line(step, workers), cwd=cwd, env=environment, text=True, start_new_session=True, stdout=said,
                stderr=subprocess.STDOUT,
            )  # fmt: skip

    @property
    def said(self) -> str:
        """What the last command said."""
        return (self.folder / "said.txt").read_text()

    def prepare(self, steps: Sequence[str]) -> None:
        """Run all steps up to the last of those that are asked for, and keep the state before each."""
        cwd = self.folder / "reference"
        cwd.mkdir()
        for step in list(STEPS)[: max(map(list(STEPS).index, steps)) + 1]:
            shutil.copytree(cwd, self.folder / "before" / step, symlinks=True)
            began = time.monotonic()
            if self.start(step, cwd).wait():
                raise SystemExit(f"{step} fails undisturbed:\n{self.said}")
            self.seconds[step] = time.monotonic() - began
            if step == "sweep":  # by a name that each trial knows
                done = next((cwd / "outputs" / "sweeps").glob("*/ensemble.json")).parent
                (cwd / "sweep").symlink_to(done.relative_to(cwd))
            self.expected[step] = content(cwd)
            print(f"{step:<9} undisturbed in {self.seconds[step]:.1f} s", flush=True)


def content(folder: Path) -> dict[str, str]:
    """Hash what a command has made, by a name without its time."""
    finished = {path.parent for path in folder.glob("outputs/sweeps/*/ensemble.json")}
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        begun = path.is_relative_to(folder / "outputs" / "sweeps") and not finished & set(path.parents)
        if path.is_file() and not begun and not NOT_COMPARED.search(name):
            text = TIME.sub("TIME", path.read_bytes().decode("latin-1")).replace(str(folder), "FOLDER")
            if path.name == "config.json":
                text = SEAL.sub("", WORKERS.sub("", text))
            if path.name == "metrics.json":
                text = SEAL.sub("", LOGS.sub("", text))
            if path.name == MANIFEST:
                text = HASHED_PAGE.sub("", text)
            found[TIME.sub("TIME", name)] = hashlib.sha256(text.encode("latin-1")).hexdigest()
    return found


def processes(mark: str) -> list[int]:
    """List what still runs of a trial."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            running = folder.joinpath("stat").read_text().rpartition(")")[2].split()[0] != "Z"
            if running and f"{MARK}={mark}\0".encode() in folder.joinpath("environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            pass
    return found


def wait_until_gone(mark: str, seconds: float) -> list[int]:
    """Wait for the workers of a command that has ended, and list those that stay."""
    until = time.monotonic() + seconds
    while processes(mark) and time.monotonic() < until:
        time.sleep(0.1)
    return processes(mark)


def heeds(process: subprocess.Popen[str]) -> bool:
    """Say whether a command has begun to look after signals, which until then meet Python itself."""
    caught = re.search(r"SigCgt:\s+(\w+)", Path(f"/proc/{process.pid}/status").read_text())
    return caught is not None and bool(int(caught[1], 16) >> signal.SIGTERM - 1 & 1)


def end(process: subprocess.Popen[str], how: str) -> None:
    """End a command, or with it all that it has started."""
    signum = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "int": signal.SIGINT}[how.split()[0]]
    with suppress(ProcessLookupError):
        (os.killpg if how.endswith("group") else os.kill)(process.pid, signum)


def trial(ground: Ground, number: int, step: str, rng: np.random.Generator) -> list[str]:
    """Disturb a step, run it to its end, and list what is not as it should be."""
    wrong: list[str] = []
    cwd, mark = ground.folder / "trial", str(number)
    shutil.copytree(ground.folder / "before" / step, cwd, symlinks=True)
    told = []
    for _ in range(rng.integers(1, 4)):
        how = str(rng.choice(list(ENDINGS), p=list(ENDINGS.values())))
        at_s = float(rng.uniform(0.3, ground.seconds[step]))
        workers = int(rng.choice([0, 2]))
        process, heeded = ground.start(step, cwd, workers, mark), True
        try:
            process.wait(timeout=at_s)
        except subprocess.TimeoutExpired:
            heeded = heeds(process)
            end(process, how)
        status = process.wait(timeout=PATIENCE_S)
        told.append(f"{how} at {at_s:.1f} s, {workers} workers: {status}")
        if how.startswith("kill"):
            fine = status in (0, -signal.SIGKILL)
        else:
            signum = signal.SIGTERM if how.startswith("term") else signal.SIGINT
            after = "type the same command again to go on" in ground.said and "Traceback" not in ground.said
            # Python kills itself by SIGINT, in place of our 130, where the signal met it within `exec` of a text, as in
            # the making of a data class (`unhandled_keyboard_interrupt` of CPython); shells show 130 for both.
            ended = (128 + signum, -signal.SIGINT) if signum == signal.SIGINT else (128 + signum,)
            fine = status == 0 or (status in ended and after) or not heeded
        if not fine:
            wrong.append(f"status {status} after {how} at {at_s:.1f} s:\n{ground.said}")
        if left := wait_until_gone(mark, 5):
            wrong.append(f"processes {left} outlive {how} at {at_s:.1f} s")
            for pid in left:
                os.kill(pid, signal.SIGKILL)
    process = ground.start(step, cwd, int(rng.choice([0, 2])), mark)
    if process.wait(timeout=PATIENCE_S):
        wrong.append(f"does not go on: status {process.returncode}:\n{ground.said}")
    else:
        wrong += [f"processes {left} outlive the end" for left in [wait_until_gone(mark, 5)] if left]
        found, expected = content(cwd), ground.expected[step]
        wrong += [f"{name}: missing" for name in sorted(expected.keys() - found.keys())]
        wrong += [f"{name}: not there undisturbed" for name in sorted(found.keys() - expected.keys())]
        wrong += [f"{name}: other bits" for name in sorted(found) if found[name] != expected.get(name, found[name])]
    for path in cwd.rglob("*"):
        if LEFT_BEHIND.search(path.name):
            wrong.append(f"{path.relative_to(cwd)}: left behind")
        if path.name.endswith(".lock"):
            try:
                FileLock(path).acquire(timeout=0).lock.release()
            except Timeout:
                wrong.append(f"{path.relative_to(cwd)}: still locked")
    wrong += [f"{path}: left behind" for path in ground.temporary.iterdir() if not OF_OTHERS.match(path.name)]
    print(f"{number:>4} {step:<9} {'; '.join(told)}: {'WRONG' if wrong else 'same'}", flush=True)
    return wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the trials; returns how many went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=list(STEPS), default=list(STEPS))
    parser.add_argument("--folder", type=Path, help="where outputs go; on another file system than temporary files")
    parser.add_argument("--keep", action="store_true", help="stop at the first trial that goes wrong, and keep it")
    options = parser.parse_args(arguments)
    memory = Path("/dev/shm")
    folder = options.folder or Path(tempfile.mkdtemp(prefix="kills-", dir=memory if memory.is_dir() else None))
    folder.mkdir(exist_ok=True)
    ground = Ground(folder, Path(tempfile.mkdtemp(prefix="kills-")))
    rng = np.random.default_rng(options.seed)
    n_wrong = n_trials = 0
    try:
        ground.prepare(options.only)
        for number in range(options.trials):
            wrong = trial(ground, number, str(rng.choice(options.only)), rng)
            n_trials, n_wrong = number + 1, n_wrong + bool(wrong)
            for line in wrong:
                print(f"     {line}", flush=True)
            if wrong and options.keep:
                return n_wrong
            shutil.rmtree(folder / "trial")
            shutil.rmtree(ground.temporary)
            ground.temporary.mkdir()
    finally:
        print(f"{n_trials - n_wrong} of {n_trials} trials as undisturbed", flush=True)
        if not options.keep:
            shutil.rmtree(folder)
            shutil.rmtree(ground.temporary)
    return n_wrong


if __name__ == "__main__":
    raise SystemExit(1 if main() else 0)
