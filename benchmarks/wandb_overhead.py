"""What W&B adds to a training run: ``logger=wandb`` (offline) against ``logger=csv``, whole commands, in turn.

    python benchmarks/wandb_overhead.py

Both train the same fold of the simulated data set from the same store, each in a process of its own, from typing the
command to its end; what W&B's own processes use counts as well. W&B costs about the same whether a run is short or
long, so that the ratio belongs to a run of this length only: shorter ones pay a larger share. The time of the
processors says more than that of the wall where others use the machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

LIMIT = 0.03

# Waits for grandchildren, too: W&B's service ends a moment after the command that started it.
TIMED = """
import ctypes, json, os, resource, subprocess, sys, time
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: Linux gives us what outlives the command
began = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
wall = time.perf_counter() - began
try:
    while True:
        os.wait()
except ChildProcessError:
    pass
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"wall": wall, "cpu": used.ru_utime + used.ru_stime}))
"""


def timed(folder: Path, *arguments: str) -> dict[str, float]:
    """Seconds of the wall and of the processors that one training takes."""
    command = [sys.executable, "-c", TIMED, sys.executable, "-m", "hbac.train", "resume=false", *arguments]
    found: dict[str, float] = json.loads(
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
    )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="small")
    parser.add_argument("--epochs", type=int, default=15, help="15 is what a training has")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--smoke", action="store_true", help="smallest sizes, in seconds; promises are not checked")
    options = parser.parse_args()
    if options.smoke:
        options.size, options.epochs, options.rounds = "tiny", 1, 1
    run = (f"dataset.size={options.size}", f"trainer.max_epochs={options.epochs}")
    spent: dict[str, list[dict[str, float]]] = {"csv": [], "wandb": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        timed(folder, f"dataset.size={options.size}", "trainer.max_epochs=1", "logger=csv")  # makes data set and store
        for number in range(options.rounds):
            for logger in ("csv", "wandb") if number % 2 == 0 else ("wandb", "csv"):
                spent[logger].append(timed(folder, *run, f"logger={logger}"))
                print(
                    f"  {logger:<6} {spent[logger][-1]['wall']:7.1f} s wall {spent[logger][-1]['cpu']:7.1f} s cpu",
                    flush=True,
                )
    for kind in ("wall", "cpu"):
        csv, wandb = ([each[kind] for each in spent[logger]] for logger in ("csv", "wandb"))
        added = [b - a for a, b in zip(csv, wandb, strict=True)]
        share = statistics.median(added) / statistics.median(csv)
        print(
            f"{kind:<5} csv {statistics.median(csv):7.1f} s   wandb {statistics.median(wandb):7.1f} s   "
            f"added {statistics.median(added):+.2f} s ({min(added):+.2f} to {max(added):+.2f}) = {share:+.1%}   "
            f"(under {LIMIT:.0%})"
        )


if __name__ == "__main__":
    main()
