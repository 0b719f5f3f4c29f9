"""What launchers keep to themselves: that no machine has what a job asks for; how far jobs are that run elsewhere."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hbac.common.errors import BAD_INPUT
from hbac.common.machines import lacking, needs_of

LOOK_S = 1.0


def watch(config: Any, sweep: Path) -> None:
    """Watch a sweep of any command from a thread of this process, where its launcher says too little."""
    hydra = config.hydra
    launcher = str(hydra.launcher._target_)
    if launcher.endswith("RayLauncher") and (remote := dict(hydra.launcher.ray.remote)):
        _in_background(lambda: _look_at_ray(needs_of(remote), config.get("launch_wait_s", 0)))
    if "submitit" in launcher:
        where = Path(str(hydra.launcher.submitit_folder).replace("%j", "<job>"))
        sys.stderr.write(f"jobs run elsewhere; what each says stands in {where}\n")
        _in_background(lambda: _tell_jobs(sweep, config.get("resume", True)))


def _in_background(call: Callable[[], None]) -> None:
    threading.Thread(target=call, daemon=True).start()


def _look_at_ray(needed: Mapping[str, float], wait_s: float) -> None:
    """End the command where no machine of a cluster has had what a job needs for so long; Ray itself waits for ever."""
    since = None
    while True:
        time.sleep(LOOK_S)
        ray = sys.modules.get("ray")
        if ray is None or not getattr(ray, "is_initialized", bool)():
            continue
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not (why := lacking(machines, needed)):
            return
        since = since or time.monotonic()
        if time.monotonic() - since < wait_s:
            continue
        sys.stderr.write(
            f"error: hydra.launcher.ray.remote: each job asks for {why} in {wait_s:g} s; ask for less, or wait longer "
            f"for one that is to come: launch_wait_s={10 * wait_s:g}\n"
        )
        sys.stderr.flush()
        os._exit(BAD_INPUT)  # the main thread waits inside Ray, which ends with it


def _tell_jobs(sweep: Path, resume: bool) -> None:
    """Say which jobs have begun and which are done; without `resume` a run that was there before is trained anew."""
    from hbac.common.files import read_json
    from hbac.ensembling.collect import JOBS
    from hbac.runs.folder import DONE_FILE

    runs: dict[Path, Path] = {}
    done: set[Path] = set()
    while True:
        time.sleep(LOOK_S)
        for note in sorted((sweep / JOBS).glob("*.json")):
            if note not in runs:
                runs[note] = Path(os.path.normpath(sweep / read_json(note)["run"]))
                sys.stderr.write(f"job {int(note.stem) + 1} began: {runs[note]}\n")
        for note in set(runs) - done:
            file = runs[note] / DONE_FILE
            if file.is_file() and (resume or file.stat().st_mtime_ns > note.stat().st_mtime_ns):
                done.add(note)
                sys.stderr.write(f"job {int(note.stem) + 1} is done\n")
