"""Raw EEG windows for networks that read signals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning as L
import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from hbac.data.windows import Batch, EpochShuffle, WindowDataset, identity
from hbac.labels.targets import votes_to_shares
from hbac.recordings.store import Store
from hbac.signal.chance import row_keys
from hbac.vocabulary import VOTE_COLUMNS


class EEGDataModule(L.LightningDataModule):
    """Training, validation and prediction batches of one fold.

    Batches leave the loader as stored (float16 microvolt, every channel); the front-end turns them into the
    network's input when they have reached the model's device.

    Parameters
    ----------
    rows : pandas.DataFrame
        All label rows of the part, or the rows to predict for.
    store : Store
        The recordings of these rows.
    front_end : torch.nn.Module
        Maps raw windows (batch, 10000, 20) to the network's input.
    fold_of_row : ndarray of int, shape (n_rows,), optional
        Fold of each row; -1 for all where absent: everything is then there to predict, nothing to train on.
    fold : int
        Rows of this fold are validated on and predicted; the others are trained on.
    train_mask : ndarray of bool, shape (n_rows,), optional
        Rows that may be trained on at all.
    augment : mapping of str to torch.nn.Module, optional
        What training batches go through: ``raw`` before the front-end, ``signal`` (a callable that takes the
        front-end's ``sfreq`` and returns the module) and ``mixup`` after it.
    batch_size : int
        Windows in a batch.
    num_workers : int
        Processes that copy windows; with 0 the training process does it.
    seed : int
        Decides the order of the rows and, with epoch and row, every random choice of `augment`.
    """

    def __init__(
        self,
        rows: pd.DataFrame,
        store: Store,
        front_end: nn.Module,
        fold_of_row: np.ndarray | None = None,
        fold: int = -1,
        train_mask: np.ndarray | None = None,
        augment: Mapping[str, Any] | None = None,
        batch_size: int = 32,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.front_end = front_end
        self.augment = dict(augment or {})
        if "signal" in self.augment:
            self.augment["signal"] = self.augment["signal"](sfreq=front_end.sfreq)
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        folds = np.full(len(rows), -1) if fold_of_row is None else np.asarray(fold_of_row)
        held_out = folds == fold
        trained = ~held_out if train_mask is None else ~held_out & train_mask
        self.rows_held_out = rows[held_out].reset_index(drop=True)
        self.rows_trained = rows[trained].reset_index(drop=True)
        self.train_set = _labelled(self.rows_trained, store)
        self.held_out_set = _labelled(self.rows_held_out, store)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the training batches, shuffled by (seed, epoch); the last, smaller one is dropped."""
        shuffle = EpochShuffle(len(self.train_set), self.seed)
        return self._loader(self.train_set, sampler=shuffle, drop_last=len(self.train_set) > self.batch_size)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the held-out rows in their order."""
        return self._loader(self.held_out_set)

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Return the held-out rows in their order."""
        return self._loader(self.held_out_set)

    def _loader(self, windows: WindowDataset, **settings: Any) -> DataLoader[Batch]:
        return DataLoader(
            windows,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            collate_fn=identity,
            **settings,
        )

    @torch.no_grad()
    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Make the network's input on the model's device.

        Parameters
        ----------
        batch : dict of Tensor
            As `WindowDataset.__getitems__` returns it.
        dataloader_idx : int
            Not used: all loaders are treated alike.

        Returns
        -------
        dict of Tensor
            The batch with ``x``, the network's input, in place of ``eeg``.
        """
        eeg_BTC: Tensor = batch.pop("eeg")
        self.front_end.to(eeg_BTC.device)
        if self.trainer is None or not self.trainer.training:
            batch["x"] = self.front_end(eeg_BTC)
            return batch
        key_B = row_keys(self.seed, self.trainer.current_epoch, batch["row_id"])
        if "raw" in self.augment:
            eeg_BTC = self.augment["raw"](eeg_BTC, key_B)
        batch["x"] = self.front_end(eeg_BTC)
        if "signal" in self.augment:
            batch["x"] = self.augment["signal"](batch["x"], key_B)
        if "mixup" in self.augment:
            batch["x"], batch["target"] = self.augment["mixup"](batch["x"], batch["target"], key_B)
        return batch


def _labelled(rows: pd.DataFrame, store: Store) -> WindowDataset:
    has_votes = VOTE_COLUMNS[0] in rows
    target = votes_to_shares(rows[list(VOTE_COLUMNS)].to_numpy()) if has_votes and len(rows) else None
    return WindowDataset(rows, store, target)
