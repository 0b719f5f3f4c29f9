"""The files of a run's folder, and how it is found."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from hbac import __version__
from hbac.common.errors import UserError

MODEL_FILE, WEIGHTS_FILE, TABLE_FILE = "model.json", "weights.safetensors", "predictions.parquet"
CONFIG_FILE, ENVIRONMENT_FILE, CARD_FILE = "config.json", "environment.json", "MODEL_CARD.md"
TYPED_IN = "folder"  # in the environment: where the command was typed, which relative paths mean
DONE_FILE = "metrics.json"  # written last: where it is, the run is complete


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
