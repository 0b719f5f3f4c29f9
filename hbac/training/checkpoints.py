"""Checkpoints: where an interrupted run goes on, whatever has happened to the files meanwhile."""

from __future__ import annotations

import io
import logging
import zipfile
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint

from hbac.common.files import whole_file

CHECKPOINTS = "checkpoints"
EXPORTS = ("last", "best")
_LAST, _BEFORE = "last.ckpt", "before_last.ckpt"

log = logging.getLogger("hbac.train")


class WholeCheckpoints(CheckpointIO):
    """Write checkpoints beside their place, and keep the last but one.

    Lightning's own writes to the folder for temporary files and then copies, wherever that is another file system:
    what is killed meanwhile leaves half a file under the final name.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint that is never seen half-written."""
        place, buffer = Path(path), io.BytesIO()
        torch.save(checkpoint, buffer)  # not to the file itself: torch has another error for a full disk
        with whole_file(place) as partial:
            partial.write_bytes(buffer.getbuffer())
            if place.name == _LAST and place.is_file():
                place.replace(place.with_name(_BEFORE))

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read tensors and plain values, nothing else."""
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return checkpoint

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint that may be gone already."""
        Path(path).unlink(missing_ok=True)


class MovableCheckpoint(ModelCheckpoint):
    """Lightning's checkpoint callback, which still knows the best score when the run's folder was moved."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take what it knew, about files of these names where the folder is now."""
        here = Path(str(self.dirpath))

        def moved(path: str) -> str:
            return str(here / Path(path).name) if path else path

        paths = {key: moved(value) for key, value in state_dict.items() if key.endswith("_model_path")}
        best = {moved(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **paths, "best_k_models": best, "dirpath": self.dirpath})


def checkpoint_callbacks(folder: Path, monitor: str) -> list[ModelCheckpoint]:
    """Return the callbacks that keep the last epoch's state, and that of the epoch with the best score.

    They are two, because ``save_last`` of one that monitors writes only when the monitored value has improved.
    """
    where: dict[str, Any] = {"dirpath": folder / CHECKPOINTS, "enable_version_counter": False}
    where["save_on_train_epoch_end"] = True  # a checkpoint from inside an epoch would repeat a part of it
    return [MovableCheckpoint(filename="best", monitor=monitor, **where), MovableCheckpoint(filename="last", **where)]


def last_checkpoint(folder: Path, export: str = "last") -> str | None:
    """Return the path of the last epoch's checkpoint in a run's folder, or of the one before where that is damaged.

    None where no epoch was finished; or where `export`, one of `EXPORTS`, is ``best`` and that one is damaged: the best
    epoch may lie behind.
    """
    checkpoints = folder / CHECKPOINTS
    found = [path for path in (checkpoints / _LAST, checkpoints / _BEFORE) if path.is_file()]
    if found and export != "last" and (damage := damage_of(checkpoints / f"{export}.ckpt")):
        log.warning("%s: %s; the run begins anew", checkpoints / f"{export}.ckpt", damage)
        return None
    for path in found:
        damage = damage_of(path)
        if not damage:
            return str(path)
        log.warning("%s: %s; it is left out", path, damage)
    return None


def damage_of(path: Path) -> str:
    """Say what is wrong with a file that `WholeCheckpoints` wrote; empty where nothing is.

    It is a zip file, in which each entry has a checksum, which torch writes but does not look at.
    """
    try:
        with zipfile.ZipFile(path) as entries:
            if (entry := entries.testzip()) is not None:
                return f"the checksum of {entry} is wrong"
        torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise anything
        return f"cannot be read ({type(error).__name__})"
    return ""


def restore(task: L.LightningModule, folder: Path, export: str) -> None:
    """Put the weights that the run shall keep into the module.

    With `export` ``last`` those of the last epoch; with ``best`` of the epoch with the best validation KL: the
    out-of-fold score is then optimistic, since the epoch was chosen on the very rows that are scored.
    """
    checkpoint = torch.load(folder / CHECKPOINTS / f"{export}.ckpt", map_location="cpu", weights_only=True)
    task.load_state_dict(checkpoint["state_dict"])
