"""What all data modules share: the rows of one fold, their batches, and where the network's input is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from hbac.data.windows import Batch, EpochShuffle, WindowDataset, identity
from hbac.errors import UserError
from hbac.recordings.datasets import Part
from hbac.signal.chance import row_keys


class WindowDataModule(L.LightningDataModule):
    """Training, validation and prediction batches of one fold; use a subclass.

    Batches leave the loader as stored (float16, all channels or columns); the front-end turns them into the network's
    input when they have reached the model's device.

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
    train_mask : ndarray of bool, shape (n_rows,), optional
        Rows that may be trained on at all.
    augment : mapping of str to torch.nn.Module, optional
        What training batches go through, by the stage's name, one of `STAGES`. A callable that is no module is given
        the front-end's ``sfreq`` and returns the module.
    batch_size : int
        Windows in a batch.
    num_workers : int
        Processes that copy windows; with 0 the training process does it.
    seed : int
        Decides the order of the rows and, with epoch and row, every random choice of `augment`.

    Raises
    ------
    UserError
        For a stage of augmentation that this kind of input does not have, or recordings that are not there.
    """

    STAGES: tuple[str, ...] = ("raw", "mixup")

    def __init__(
        self,
        part: Part,
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
        trained = ~held_out if train_mask is None else ~held_out & train_mask
        self.rows_held_out = part.rows[held_out].reset_index(drop=True)
        self.rows_trained = part.rows[trained].reset_index(drop=True)
        sources: tuple[str, ...] = front_end.sources  # type: ignore[assignment]
        self.train_set = WindowDataset(part, sources, np.flatnonzero(trained))
        self.held_out_set = WindowDataset(part, sources, np.flatnonzero(held_out))

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
            The batch with ``x``, the network's input, in place of the sources.
        """
        windows = {name: batch.pop(name) for name in self.train_set.sources}
        self.front_end.to(batch["row"].device)
        if self.trainer is None or not self.trainer.training:
            batch["x"] = self.front_end(*windows.values())
            return batch
        key_B = row_keys(self.seed, self.trainer.current_epoch, batch["row_id"])
        batch["x"] = self.augmented_input(windows, key_B)
        if "mixup" in self.augment:
            batch["x"], batch["target"] = self.augment["mixup"](batch["x"], batch["target"], key_B)
        return batch

    def augmented_input(self, windows: Mapping[str, Tensor], key_B: Tensor) -> Tensor:
        """Make the network's input of a training batch, up to mixup.

        Parameters
        ----------
        windows : mapping of str to Tensor
            The windows of each source, as stored.
        key_B : Tensor
            Keys of the rows (`hbac.signal.chance.row_keys`), from which all chance follows.

        Returns
        -------
        Tensor
            Shape (batch, …).
        """
        raise NotImplementedError
