"""What all data modules share: the rows of one fold, their batches, and where the network's input is made."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from hbac.common.choices import check_choice
from hbac.common.errors import UserError
from hbac.common.processes import end_with_parent
from hbac.data.cache import feature_cache
from hbac.data.epoch import EpochShuffle, Share, TrainingWindows
from hbac.data.resident import WHERE, Resident, choose, hold
from hbac.data.windows import Batch, WindowDataset, identity
from hbac.labels.recipe import LabelRecipe, PseudoLabels
from hbac.recordings.datasets import Part
from hbac.recordings.store import Store
from hbac.signal.chance import row_keys
from hbac.signal.image_front_end import RegionSwap

log = logging.getLogger("hbac.data")

MOST_WORKERS = 8
PREFETCH = 4  # batches of each worker


def check_cache(stages: Collection[str], jitter_s: float = 0.0) -> None:
    """Refuse a cache of what is not the same in each epoch: augmentation before the front-end, or moved windows."""
    for anew, setting, none in (("raw" in stages, "augment.raw", "null"), (jitter_s > 0, "labels.jitter_s", "0")):
        if anew:
            raise UserError(
                f"data.cache: {setting} changes the windows anew in each epoch, before the front-end; "
                f"{setting}={none} leaves it out, data.cache=false computes each window anew"
            )


class LateLoader(DataLoader[Batch]):
    """A DataLoader whose workers begin with its first batch.

    Lightning makes the iterator of a training before it tells the sampler which epoch it is, and workers would have
    the first batches of epoch 0 by then where a run goes on.
    """

    def __iter__(self) -> Any:
        """Return the batches."""
        yield from super().__iter__()


class WindowDataModule(L.LightningDataModule):
    """Training, validation and prediction batches of one fold; use a subclass.

    Batches leave the loader as stored (float16, all channels or columns); the front-end turns them into the network's
    input when they have reached the model's device.

    A `UserError` for a stage of augmentation that this kind of input does not have, recordings that are not there, or a
    cache beside augmentation that comes before the front-end.

    Parameters
    ----------
    part : Part
        The data set's part: label rows and recordings.
    front_end : torch.nn.Module
        Maps the windows of its ``sources``, in their order, to the network's input.
    fold_of_row : ndarray of int, shape (n_rows,), optional
        Fold of each row; -1 for all where absent: everything is then there to predict, nothing to train on.
    fold : int
        Rows of this fold are validated on and predicted; the others are trained on.
    labels : LabelRecipe, optional
        Which of the others are trained on, toward what, and how much each counts; where absent, all alike, toward the
        shares of their votes. Held-out rows are all scored, on their votes.
    pseudo : PseudoLabels, optional
        What other models said, of rows of `part`, or of another part, whose rows are then trained on too.
    opinions : ndarray, shape (n_rows, 6), optional
        Second opinions on rows of `part`, in votes; only their targets in training know them.
    augment : mapping of str to torch.nn.Module, optional
        What training batches go through, by the stage's name, one of `STAGES`. A callable that is no module is given
        the front-end's ``sfreq`` and returns the module.
    batch_size : int
        Windows in a batch.
    num_workers : int or "auto"
        Processes that copy windows; with 0 the training process does it. ``auto``: some for a GPU, none for a CPU.
    seed : int
        Decides the order of the rows and, with epoch and row, every random choice of `augment`.
    cache : Path, optional
        Folder where the front-end's output is kept (`hbac.data.cache`); computed anew for each batch where absent.
    resident : str
        Where all recordings are kept while training, one of `hbac.data.resident.WHERE`: ``device``, ``host`` (pinned
        memory), ``none`` (read for each batch), or ``auto``: on a GPU the first that has room. Batches are the same.
    """

    STAGES: tuple[str, ...] = ("raw", "mixup")

    def __init__(
        self,
        part: Part,
        front_end: nn.Module,
        fold_of_row: np.ndarray | None = None,
        fold: int = -1,
        labels: LabelRecipe | None = None,
        pseudo: PseudoLabels | None = None,
        opinions: np.ndarray | None = None,
        augment: Mapping[str, Any] | None = None,
        batch_size: int = 32,
        num_workers: int | str = 0,
        seed: int = 0,
        cache: str | Path | None = None,
        resident: str = "auto",
    ) -> None:
        super().__init__()
        self.front_end, self.resident = front_end, check_choice("data.resident", resident, WHERE)
        self.augment = dict(augment or {})
        if unknown := sorted(set(self.augment) - set(self.STAGES)):
            raise UserError(
                f"augment.{unknown[0]}: {type(self).__name__} has no such stage; there are {', '.join(self.STAGES)}"
            )
        for stage, made in self.augment.items():
            if not isinstance(made, nn.Module):  # one that has to know the front-end's rate
                self.augment[stage] = made(sfreq=front_end.sfreq)
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        folds = np.full(len(part.rows), -1) if fold_of_row is None else np.asarray(fold_of_row)
        held_out = folds == fold
        recipe = LabelRecipe() if labels is None else labels
        others = pseudo is not None and pseudo.part.fingerprint != part.fingerprint
        trained = recipe.labels(part.rows, ~held_out, None if pseudo is None or others else pseudo.probs, opinions)
        self.rows_held_out = part.rows[held_out].reset_index(drop=True)
        self.rows_trained = part.rows.iloc[trained.rows].reset_index(drop=True)
        self.sources: tuple[str, ...] = front_end.sources  # type: ignore[assignment]
        swaps = "raw" in self.augment and "official" in self.sources  # with the electrodes of the same window
        self.swap = RegionSwap(self.augment["raw"].settings["swap_p"] if swaps else 0.0)
        if recipe.jitter_s and "eeg" not in self.sources:
            log.warning("labels.jitter_s=%g is ignored: the front-end reads no EEG", recipe.jitter_s)
        if cache is not None:
            check_cache(self.before_cache(), recipe.jitter_s)
        mine, self.held_out_set = self._windows(part, cache, trained.rows, np.flatnonzero(held_out))
        parts = [mine]
        if pseudo is not None and others:
            added = recipe.labels(pseudo.part.rows, None, pseudo.probs)
            parts += self._windows(pseudo.part, cache, added.rows)
            trained = trained.followed_by(added)
        mixes = "mixup" in self.augment and self.augment["mixup"].settings["mix_p"] > 0
        self.train_set = TrainingWindows(parts, trained, recipe.jitter_s, seed, with_partners=mixes)
        self.one_per_eeg = recipe.rows == "one_per_eeg"

    def _windows(self, part: Part, cache: str | Path | None, *members: np.ndarray) -> list[WindowDataset]:
        cached = None
        if cache is not None:
            rows = WindowDataset(part, self.sources)
            cached = feature_cache(Path(cache), rows, part.fingerprint_of(self.sources), self.front_end, self.to_cache)
        return [WindowDataset(part, self.sources, rows, cached) for rows in members]

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the training batches, drawn by (seed, epoch); the last, smaller one is dropped."""
        eeg_ids = self.train_set.eeg_ids if self.one_per_eeg else None
        repeat = getattr(self.trainer, "overfit_batches", 0) > 0  # an attribute that Lightning sets by name
        shuffle = EpochShuffle(len(self.train_set), self.seed, eeg_ids, repeat, self.share)
        return self._loader(self.train_set, sampler=shuffle, drop_last=len(shuffle) > self.batch_size)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the held-out rows in their order."""
        return self._loader(self.held_out_set, sampler=self.share.held_out(len(self.held_out_set)))

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Return the held-out rows in their order."""
        return self.val_dataloader()

    @property
    def share(self) -> Share:
        """Which part of the rows is this device's."""
        device, n_devices = (
            getattr(self.trainer, name, of_one) for name, of_one in (("global_rank", 0), ("world_size", 1))
        )
        return Share(device, n_devices, self.batch_size)

    @property
    def device(self) -> torch.device:
        """The device that trains."""
        strategy = getattr(self.trainer, "strategy", None)
        return torch.device("cpu") if strategy is None else strategy.root_device

    def hold(self) -> dict[str, Resident]:
        """Put the recordings where `resident` says, by source; empty where windows are read for each batch."""
        sets = [*self.train_set.parts, self.held_out_set]
        if self.held_out_set.resident:  # by an earlier loader of this module
            return dict(self.held_out_set.resident)
        if any(windows.cached is not None for windows in sets):
            return {}
        stores: dict[str, list[Store]] = {}
        for name in self.sources:
            distinct = {s.content: s for windows in sets if (s := windows.sources[name].store) is not None}
            if distinct:
                stores[name] = list(distinct.values())
        place = choose(self.resident, stores, self.device, getattr(self.trainer, "num_devices", 1))
        held = {} if place == "none" else {name: hold(name, some, place, self.device) for name, some in stores.items()}
        for windows in sets:
            windows.resident = held
        return held

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move a batch to the model's device, where windows are cut of recordings that are held in memory."""
        held = self.held_out_set.resident
        cut = {
            name: resident.cut(batch.pop(name), self.held_out_set.sources[name].shape[0], device)
            for name, resident in held.items()
        }
        moved: Batch = super().transfer_batch_to_device(batch, device, dataloader_idx)
        return moved | cut

    def _loader(self, windows: WindowDataset | TrainingWindows, **settings: Any) -> DataLoader[Batch]:
        n_workers = 0 if self.hold() else self._n_workers()
        return LateLoader(
            windows,
            batch_size=self.batch_size,
            num_workers=n_workers,
            prefetch_factor=PREFETCH if n_workers and self.device.type == "cuda" else None,
            persistent_workers=n_workers > 0,
            worker_init_fn=end_with_parent if n_workers else None,
            pin_memory=torch.cuda.is_available() and not self.held_out_set.resident,
            collate_fn=identity,
            **settings,
        )

    def _n_workers(self) -> int:
        if isinstance(self.num_workers, int):
            return self.num_workers
        if self.device.type != "cuda":
            return 0  # copying windows from the store is cheaper than sending them between processes
        return max(1, min(MOST_WORKERS, (os.cpu_count() or 1) // getattr(self.trainer, "num_devices", 1) - 1))

    @torch.no_grad()
    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Put ``x``, the network's input, in the place of the sources, on the model's device."""
        self.front_end.to(batch["row"].device)
        training = self.trainer is not None and self.trainer.training
        key_B = row_keys(self.seed, self.trainer.current_epoch, batch["row_id"]) if training else None  # type: ignore[union-attr]
        if "features" in batch:
            features = self.from_cache(batch.pop("features").float(), key_B)
        else:
            windows = {name: batch.pop(name) for name in (*self.sources, "shift") if name in batch}
            if key_B is not None and "raw" in self.augment:
                windows = self.augment_raw(windows, key_B)
            features = self.features(windows)
        batch["x"] = self.finish(features, key_B)
        if "partner" not in batch:
            return batch
        partner_B = batch.pop("partner")
        partner = (batch["x"][partner_B], batch["target"][partner_B])
        batch = {name: value[: len(partner_B)] for name, value in batch.items()}
        if key_B is not None:
            key_B = key_B[: len(partner_B)]
            batch["x"], batch["target"] = self.augment["mixup"](batch["x"], batch["target"], key_B, partner)
        return batch

    def augment_raw(self, windows: Mapping[str, Tensor], key_B: Tensor) -> dict[str, Tensor]:
        """Change the electrodes of a training batch, before the front-end, and exchange official regions with them.

        `windows` has each source as it is stored; all chance follows from the rows' keys
        (`hbac.signal.chance.row_keys`).
        """
        changed = dict(windows)
        if "eeg" in windows:
            changed["eeg"] = self.augment["raw"](windows["eeg"], key_B)
        if "official" in windows:
            changed["official"] = self.swap(windows["official"], key_B)
        return changed

    def before_cache(self) -> list[str]:
        """Return the stages of augmentation that change what would be cached."""
        return [stage for stage in self.augment if stage == "raw"]

    def to_cache(self, windows: Mapping[str, Tensor]) -> Tensor:
        """Make what a cache keeps of windows; `features` where that is not overridden."""
        return self.features(windows)

    def from_cache(self, cached: Tensor, key_B: Tensor | None) -> Tensor:
        """Make `features` of what a cache kept, for rows of these keys; None: nothing is augmented."""
        return cached

    def features(self, windows: Mapping[str, Tensor]) -> Tensor:
        """Make what is the same in each epoch, and may be cached, shape (batch, …), of the windows of each source."""
        raise NotImplementedError

    def finish(self, features: Tensor, key_B: Tensor | None) -> Tensor:
        """Make the network's input, shape (batch, …), up to mixup, of `features`; without keys nothing is augmented."""
        raise NotImplementedError
