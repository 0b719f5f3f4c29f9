"""Jobs of a sweep that failed: the others go on, and at the end it says which failed, why, and what to type."""

from __future__ import annotations

import re
import shlex
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from hbac.common.commands import command_line, override
from hbac.common.errors import BAD_INPUT, UserError, fail
from hbac.common.files import read_json, write_json

FAILED = "failed"  # in a sweep's folder: one file for each job that failed, whatever launcher ran it
_BUG = 1  # exit status

LAUNCHERS = ("ray", "submitit", "joblib")  # whose errors say that a job was killed
_GONE = re.compile(r"Job (\S+) .*\n.*\(state: (.*)\)")  # as submitit says it of one that was killed …
_TRACE = re.compile(r"\n(.+)\n-{22}")  # … and of one whose time is over
_sweep = Path()


def note_sweep(sweep: Path) -> None:
    """Keep the folder of the sweep that begins, for what a launcher raises about its jobs."""
    global _sweep  # an error of a launcher does not say it
    _sweep = sweep


class SweepJobError(Exception):
    """A job of a sweep, in this folder, has failed and said why; launchers carry this home."""

    def __init__(self, sweep: str) -> None:
        super().__init__(sweep)
        self.sweep = Path(sweep)


def note_failure(error: Exception, hydra: Any) -> NoReturn:
    """Say at once why a job failed, and keep it for the sweep's end, of which `SweepJobError` tells."""
    bug = not isinstance(error, UserError)
    if bug:
        traceback.print_exception(error)
    why = f"{type(error).__name__}: {error}" if bug else str(error)
    sys.stderr.write(f"job {hydra.job.num + 1} failed: {why}\n")
    note = {"job": list(hydra.overrides.task), "why": why, "bug": bug}
    write_json(Path(hydra.sweep.dir) / FAILED / f"{hydra.job.num:05d}.json", note, sealed=True)
    raise SweepJobError(str(hydra.sweep.dir)) from None


def end_killed_sweep(error: Exception, merged: bool) -> NoReturn:
    """Say that a job was killed, as its launcher reports it, and what to type (`merged`: also to blend); then end.

    Where Slurm did not take the jobs, the user can mend that.
    """
    said = str(error).strip() or type(error).__name__
    if said.startswith("sbatch: error: "):
        fail(UserError(f"hydra.launcher: Slurm does not take such jobs ({'; '.join(said.splitlines())}); see sinfo"))
    why = f"{type(error).__name__}: {' '.join(said.splitlines()[0].split())}"
    if gone := _GONE.match(said):
        why = f"{gone[1]} has no result, its state is {gone[2]}; see {_sweep / '.submitit' / gone[1]}"
    elif trace := _TRACE.search(said):
        why = trace[1]
    lines = [f"error: a job of the sweep was ended from outside: {why}"]
    again = "Type the command again"
    if type(error).__module__.startswith("submitit"):
        again = "The others go on by themselves. Type the command again when they have ended"
    lines.append(f"{again}: what is finished is kept, the rest goes on from its last epoch.")
    if merged:
        lines.append(f"To blend what there is: {command_line('ensemble', override('members', [str(_sweep)]))}")
    sys.stderr.write("\n".join(lines) + "\n")
    raise SystemExit(_BUG)


def end_failed_sweep(sweep: Path, typed: Sequence[str], merged: bool) -> NoReturn:
    """List the jobs of a sweep that failed, each by its own overrides, and end.

    With status 2 where the user can mend it all.
    """
    notes = [read_json(path) for path in sorted((sweep / FAILED).glob("*.json"))]
    reasons: dict[str, list[str]] = {}
    for note in notes:
        own = [override for override in note["job"] if override not in typed] or note["job"]
        reasons.setdefault(note["why"], []).append(shlex.join(own))
    what = f"{len(notes)} jobs of the sweep" if len(notes) > 1 else "one job of the sweep"
    lines = [f"error: {what} failed{', and so nothing was merged' if merged else ''}:"]
    for why, names in reasons.items():
        lines += [f"  {'; '.join(names)}", f"    {why}"]
    lines.append("Type the command again with other settings for these: what is finished is kept, the rest goes on.")
    if merged:
        again = command_line("ensemble", override("members", [str(sweep)]))
        lines.append(f"To blend what there is: {again}")
    sys.stderr.write("\n".join(lines) + "\n")
    raise SystemExit(_BUG if any(note["bug"] for note in notes) else BAD_INPUT)
