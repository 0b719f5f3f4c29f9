"""What was run: hashes, settings, commands, environments, folds."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from hbac.common.commands import command_line, override
from hbac.common.files import read_json
from hbac.report.gather import Gathered
from hbac.report.page import table
from hbac.runs.folder import CONFIG_FILE, DONE_FILE, ENVIRONMENT_FILE

_SHORT = 12  # digits of a hash in a table; the whole stands in the details
_COMMAND = "command"


def what_was_run(found: Gathered) -> str:
    """Describe the data, and each member and ensemble.

    Parameters
    ----------
    found : Gathered
        What is compared.

    Returns
    -------
    str
        HTML.
    """
    frame = found.joined.frame
    rows: list[list[object]] = [
        ["label rows", f"{len(frame):,}"],
        ["EEGs", f"{frame['eeg_id'].nunique():,}"],
        ["patients", f"{frame['patient_id'].nunique():,}"],
        ["folds", len(np.unique(found.joined.fold))],
        *_common(found),
    ]
    details = "".join(
        _ensemble(found, name) if name in found.ensembles else _member(found, name) for name in found.names
    )
    return f'<div class="panel">{table(["data", ""], rows)}</div><div class="panel">{details}</div>'


def _common(found: Gathered) -> list[list[object]]:
    facts = (("fold-table hash", "fold_hash"), ("data fingerprint", "data_fingerprint"))
    return [
        [title, next((value for meta in found.joined.metadata if (value := getattr(meta, key))), "not known")]
        for title, key in facts
    ]


def _member(found: Gathered, name: str) -> str:
    meta = found.members[name]
    runs = {fold: run for fold, run in sorted(meta.runs.items()) if (run / CONFIG_FILE).is_file()}
    parts = [
        table(["", ""], [["config hash", meta.config_hash or "not known"], ["hbac", meta.hbac_version or "not known"]])
    ]
    if runs:
        first = next(iter(runs.values()))
        config = read_json(first / CONFIG_FILE)
        config.pop("fold", None)
        environments = {fold: _environment(run) for fold, run in runs.items()}
        parts.append(_folds(runs))
        commands = [env[_COMMAND] for env in environments.values() if _COMMAND in env]
        if commands:
            parts.append(f"<p>Commands</p><pre>{escape(chr(10).join(commands))}</pre>")
        parts.append(f"<p>Settings</p><pre>{escape(yaml.safe_dump(config, sort_keys=False, width=110))}</pre>")
        parts.append(_environments(environments))
    else:
        parts.append('<p class="muted">Its run folders are not there.</p>')
    return f"<details><summary>{escape(found.label(name))}</summary>{''.join(parts)}</details>"


def _folds(runs: dict[int, Path]) -> str:
    rows = []
    for fold, run in runs.items():
        done = read_json(run / DONE_FILE) if (run / DONE_FILE).is_file() else {}
        kl = (done.get("kl") or {}).get("all")
        rows.append([fold, "" if kl is None else f"{kl:.4f}", done.get("epochs", ""), run])
    return table(["fold", "KL", "epochs", "folder"], rows, [0, 1, 2])


def _environment(run: Path) -> dict[str, Any]:
    path = run / ENVIRONMENT_FILE
    return dict(read_json(path)) if path.is_file() else {}


def _environments(environments: dict[int, dict[str, Any]]) -> str:
    """Show one environment, and what other folds had otherwise."""
    keys = dict.fromkeys(key for env in environments.values() for key in env if key != _COMMAND)
    rows = []
    for key in keys:
        values = dict.fromkeys(str(env.get(key, "not known")) for env in environments.values())
        rows.append([key, " / ".join(values)])
    return f"<p>Environment</p>{table(['', ''], rows)}" if rows else ""


def _ensemble(found: Gathered, name: str) -> str:
    blended = found.ensembles[name]
    ensemble = blended.ensemble
    rows: list[list[object]] = [
        ["folder", blended.folder],
        ["method", ensemble.method],
        ["hbac", ensemble.hbac_version],
        ["fold-table hash", ensemble.fold_hash or "not known"],
        ["data fingerprint", ensemble.data_fingerprint or "not known"],
    ]
    members = [[member.name, f"{member.kl:.4f}", member.config_hash[:_SHORT]] for member in ensemble.members]
    predict = command_line("infer", override("ensemble", blended.folder))
    again = f"<p>Predict with it</p><pre>{escape(predict)}</pre>"
    tables = table(["", ""], rows) + table(["member", "KL", "config hash"], members, [1])
    return f"<details><summary>{escape(found.label(name))}</summary>{tables}{again}</details>"
