"""The files of a run's folder, and how it is found."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from hbac import __version__
from hbac.common.errors import UserError
from hbac.common.files import hash_of_file, read_json
from hbac.common.shapes import Maybe

MODEL_FILE, WEIGHTS_FILE, TABLE_FILE = "model.json", "weights.safetensors", "predictions.parquet"
CONFIG_FILE, ENVIRONMENT_FILE, CARD_FILE = "config.json", "environment.json", "MODEL_CARD.md"
LOG_FILES = "logs/version_*/metrics.csv"  # one for each time that the training was started
TYPED_IN = "folder"  # in the environment: where the command was typed, which relative paths mean
DONE_FILE = "metrics.json"  # written last: where it is, the run is complete
STAGE_FILE = "weights.json"  # beside the weights of a stage that is no run
WEIGHTS_HASH = "weights_sha256"  # an entry of model.json, and of a stage's weights.json

_MODEL_SHAPE = {
    "network": Maybe(dict),  # whether a model can be made of them is seen when one is
    "front_end": Maybe(dict),
    "member": Maybe(str),
    "fold": Maybe(int),
    "config_hash": Maybe(str),
    "lineage": Maybe([dict]),
    WEIGHTS_HASH: Maybe(str),
}
# ``logs``: their hashes, which earlier versions did not note.
_SCORES_SHAPE = {"kl": {"all": Maybe(float)}, "scores": {str: dict}, "epochs": int, "logs": Maybe({str: str})}


def read_facts(folder: Path) -> dict[str, Any]:
    """Read what a run's ``model.json`` says; a `UserError` where it is missing, damaged, or has another shape.

    That is ``network`` and ``front_end`` with their arguments; member, fold, hashes, lineage where it has them.
    """
    facts: dict[str, Any] = read_json(folder / MODEL_FILE, _MODEL_SHAPE)
    return facts


def read_scores(folder: Path) -> dict[str, Any]:
    """Read what a run's ``metrics.json`` says, checked as by `read_facts`: ``kl`` by population, scores, epochs."""
    found: dict[str, Any] = read_json(folder / DONE_FILE, _SCORES_SHAPE)
    if "all" not in found["kl"]:
        raise UserError(f"{folder / DONE_FILE}: kl.all is missing, must be a number or null")
    return found


def read_config(folder: Path) -> dict[str, Any]:
    """Read a run's resolved config as plain containers; a `UserError` where it is missing, damaged, or no object."""
    config: dict[str, Any] = read_json(folder / CONFIG_FILE, dict)
    return config


def check_weights(folder: Path, stated: str | None) -> None:
    """Compare weights with the hash that was noted when they were written; an earlier version noted none.

    A `UserError` where they are missing, or others.
    """
    path = folder / WEIGHTS_FILE
    try:
        found = hash_of_file(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}; train the run again") from None
    if stated is not None and found != stated:
        raise UserError(
            f"{path}: not the weights that were written (SHA-256 {found[:12]}…, not {stated[:12]}…): damaged or "
            "replaced; restore them, or train the run again (the same command does)"
        )


def environment() -> dict[str, str]:
    """Return the versions and the machine that a run's figures depend on, and the folder that its paths begin at."""
    from importlib.metadata import version

    packages = ("torch", "lightning", "timm", "numpy", "scipy", "pandas", "hydra-core")
    return {
        "hbac": __version__,
        "python": platform.python_version(),
        TYPED_IN: str(Path.cwd()),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        **{name: version(name) for name in packages},
    }


def run_of_fold(path: Path, fold: int) -> Path:
    """Find the finished run that a path stands for; a `UserError` where there is none.

    The path is a run's folder, or the folder of a member's runs, of which the one of the fold is meant.
    """
    for folder in (path, path / f"fold{fold}"):
        if (folder / MODEL_FILE).is_file():
            return folder
    raise UserError(
        f"{path}: neither a finished run (with {MODEL_FILE}) nor a folder of them with fold{fold}; give a folder like "
        "outputs/runs/… or outputs/runs/…/fold0"
    )
