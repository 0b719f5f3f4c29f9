"""The data set that a run was trained on, found again from whatever folder a command is typed in.

A config keeps paths as they were typed, relative to the folder of that day. A run knows where it lies below
``outputs``, and so which folder that was, also after the whole was moved.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from hbac.common.commands import override
from hbac.common.errors import UserError
from hbac.common.files import read_json
from hbac.runs.folder import CONFIG_FILE, ENVIRONMENT_FILE, TYPED_IN

_PATHS = ("root", "stores")
_NOT_ITS_OWN = ("stores", "n_jobs")  # follow from where and how a command is typed


def dataset_of_run(run: Path) -> dict[str, Any]:
    """Read the settings of the data set that the run in a folder was trained on: the group ``dataset`` of its config.

    Its paths are absolute: of the places that the run may mean, the first that is there. A `UserError` where the run's
    config is damaged or names no data set.
    """
    config = read_json(run / CONFIG_FILE)
    try:
        dataset, outputs = dict(config["dataset"]), Path(config["outputs"])
        paths = {key: Path(dataset[key]) for key in _PATHS}
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{run / CONFIG_FILE}: names no data set") from None
    folders = [*_typed_in(run, outputs), Path.cwd()]
    folder = next((folder for folder in folders if (folder / paths["root"]).is_dir()), folders[0])
    return dataset | {key: os.path.normpath(folder / path) for key, path in paths.items()}


def _typed_in(run: Path, outputs: Path) -> Iterator[Path]:
    """Yield the folders in which the command of a run may have been typed, the likeliest first."""
    above, below = run.resolve().parents[2], outputs.parts  # outputs/runs/<member>/fold<k>
    if not outputs.is_absolute() and above.parts[len(above.parts) - len(below) :] == below:
        yield above.parents[len(below) - 1] if below else above
    with suppress(UserError, KeyError, TypeError):
        yield Path(read_json(run / ENVIRONMENT_FILE)[TYPED_IN])


def dataset_overrides(dataset: Mapping[str, Any]) -> list[str]:
    """Return the overrides that name a data set of `dataset_of_run` on the command line, not yet quoted for a shell.

    Examples
    --------
    >>> dataset_overrides({"_target_": "hbac.recordings.datasets.HMS", "root": "/a b", "stores": "/s"})
    ['dataset=hms', 'dataset.root="/a b"']
    """
    name = str(dataset.get("_target_", "")).rpartition(".")[2].lower()
    settings = {key: value for key, value in dataset.items() if key[0] != "_" and key not in _NOT_ITS_OWN}
    return [f"dataset={name}", *(override(f"dataset.{key}", value) for key, value in settings.items())]
