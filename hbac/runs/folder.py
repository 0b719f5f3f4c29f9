"""The files of a run's folder, and how it is found."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from hbac import __version__
from hbac.common.errors import UserError
from hbac.common.files import read_json

MODEL_FILE, WEIGHTS_FILE, TABLE_FILE = "model.json", "weights.safetensors", "predictions.parquet"
CONFIG_FILE, ENVIRONMENT_FILE = "config.json", "environment.json"
DONE_FILE = "metrics.json"  # written last: where it is, the run is complete


def environment() -> dict[str, str]:
    """Return the versions and the machine that a run's figures depend on."""
    from importlib.metadata import version

    packages = ("torch", "lightning", "timm", "numpy", "scipy", "pandas", "hydra-core")
    return {
        "hbac": __version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        **{name: version(name) for name in packages},
    }


def run_of_fold(path: Path, fold: int) -> Path:
    """Find the run that a path stands for.

    Parameters
    ----------
    path : Path
        A run's folder, or the folder of a member's runs, of which the one of the fold is meant.
    fold : int
        The fold.

    Returns
    -------
    Path
        A finished run's folder.

    Raises
    ------
    UserError
        When there is none.
    """
    for folder in (path, path / f"fold{fold}"):
        if (folder / MODEL_FILE).is_file():
            return folder
    raise UserError(
        f"{path}: neither a finished run (with {MODEL_FILE}) nor a folder of them with fold{fold}; give a folder like "
        "outputs/runs/… or outputs/runs/…/fold0"
    )


def dataset_of(run: Path) -> dict[str, Any] | None:
    """Return the data set that a run was trained on.

    Parameters
    ----------
    run : Path
        Its folder.

    Returns
    -------
    dict or None
        Its config, whose relative paths are made to begin in the folder where the run was typed, if they are there;
        otherwise they are left as they are, for runs that were moved together with their data. None where the run does
        not say it.

    Raises
    ------
    UserError
        When its files are damaged.
    """
    if not (run / CONFIG_FILE).is_file() or "dataset" not in (config := read_json(run / CONFIG_FILE)):
        return None
    node: dict[str, Any] = dict(config["dataset"])
    known = read_json(run / ENVIRONMENT_FILE) if (run / ENVIRONMENT_FILE).is_file() else {}
    typed_in = Path(known.get("folder", "."))
    if typed_in.resolve() != Path.cwd():
        for key in ("root", "stores"):
            if key in node and (typed_in / str(node[key])).exists():
                node[key] = str(typed_in / str(node[key]))
    return node
