"""What was run: hashes, settings, commands, environments, folds."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from hbac.common.commands import command_line, override
from hbac.common.errors import UserError
from hbac.common.files import read_json
from hbac.labels.targets import population_of
from hbac.report.gather import Gathered
from hbac.report.page import Table
from hbac.runs.data_of_run import dataset_of_run, dataset_overrides
from hbac.runs.folder import CONFIG_FILE, DONE_FILE, ENVIRONMENT_FILE

log = logging.getLogger("hbac.report")

_SHORT = 12  # digits of a hash in a table; the whole stands in the details
_COMMAND = "command"
_UNKNOWN = "not known"
_HASHES = (("fold-table hash", "fold_hash"), ("data fingerprint", "data_fingerprint"))


def what_was_run(found: Gathered) -> dict[str, Any]:
    """Describe the data, and each member and ensemble."""
    frame = found.joined.frame
    rows: list[list[object]] = [
        ["label rows", f"{len(frame):,}"],
        ["EEGs", f"{frame['eeg_id'].nunique():,}"],
        ["patients", f"{frame['patient_id'].nunique():,}"],
        ["folds", len(np.unique(found.joined.fold))],
    ]
    for title, key in _HASHES:
        known = [value for meta in found.joined.metadata if (value := getattr(meta, key))]
        rows.append([title, known[0] if known else _UNKNOWN])
    described = [
        {"label": found.label(name)} | (_ensemble(found, name) if name in found.ensembles else _member(found, name))
        for name in found.names
    ]
    return {"data": Table(["data", ""], rows), "predictions": described}


def _member(found: Gathered, name: str) -> dict[str, Any]:
    meta = found.members[name]
    facts = Table(["", ""], [["config hash", meta.config_hash or _UNKNOWN], ["hbac", meta.hbac_version or _UNKNOWN]])
    runs = {fold: run for fold, run in sorted(meta.runs.items()) if (run / CONFIG_FILE).is_file()}
    if not runs:
        return {"facts": facts}
    config = {key: value for key, value in _read(next(iter(runs.values())) / CONFIG_FILE).items() if key != "fold"}
    environments = [_read(run / ENVIRONMENT_FILE) for run in runs.values()]
    return {
        "facts": facts,
        "folds": _folds(runs, found.population),
        "commands": [environment[_COMMAND] for environment in environments if _COMMAND in environment],
        "settings": yaml.safe_dump(config, sort_keys=False, width=110),
        "environment": _environment(environments),
    }


def _folds(runs: dict[int, Path], population: str) -> Table:
    rows, counted = [], population_of(population)
    for fold, run in runs.items():
        done = _read(run / DONE_FILE)
        scored = done.get("kl")
        kl = scored.get(counted.name) if isinstance(scored, dict) else None
        rows.append([fold, f"{kl:.4f}" if isinstance(kl, float) else "", done.get("epochs", ""), run])
    return Table(["fold", f"KL {counted.title}", "epochs", "folder"], rows, [0, 1, 2])


def _environment(environments: list[dict[str, Any]]) -> Table:
    """Show one environment, and what other folds had otherwise."""
    keys = dict.fromkeys(key for environment in environments for key in environment if key != _COMMAND)
    values = {key: dict.fromkeys(str(environment.get(key, _UNKNOWN)) for environment in environments) for key in keys}
    return Table(["", ""], [[key, " / ".join(known)] for key, known in values.items()])


def _read(path: Path) -> dict[str, Any]:
    """Read what a run says of itself: empty where it is not there, or damaged, which is said and hurts nobody else."""
    try:
        found = read_json(path)
    except UserError as error:
        if path.is_file():
            log.warning("%s; it is left out", error)
        return {}
    return found if isinstance(found, dict) else {}


def _ensemble(found: Gathered, name: str) -> dict[str, Any]:
    blended = found.ensembles[name]
    ensemble = blended.ensemble
    facts: list[list[object]] = [
        ["folder", blended.folder],
        ["method", ensemble.method],
        ["fitted on", population_of(ensemble.population).rows],
        ["hbac", ensemble.hbac_version],
        *([title, getattr(ensemble, key) or _UNKNOWN] for title, key in _HASHES),
    ]
    members = [[member.name, f"{member.kl:.4f}", member.config_hash[:_SHORT]] for member in ensemble.members]
    runs = [run for member in ensemble.members for run in member.runs if (run / CONFIG_FILE).is_file()]
    named: list[str] = []
    with suppress(UserError):  # of a damaged run
        named += dataset_overrides(dataset_of_run(runs[0])) if runs else []
    return {
        "facts": Table(["", ""], facts),
        "members": Table(["member", "KL", "config hash"], members, [1]),
        "command": command_line("infer", override("ensemble", blended.folder), *named),
    }
