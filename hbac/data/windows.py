"""Label rows as batches of windows cut from a store, in an order that depends on seed and epoch alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from hbac.recordings.store import Store
from hbac.vocabulary import N_CLASSES, SFREQ, VOTE_COLUMNS, WINDOW_SAMPLES

Batch = dict[str, Tensor]


class WindowDataset(Dataset[Batch]):
    """Label rows and the raw windows that they speak of.

    A batch is fetched as one (`__getitems__`): the windows are copied from the memory map straight into the batch's
    own tensor, which is all that the CPU has to do.

    Parameters
    ----------
    rows : pandas.DataFrame
        Label rows of a data set (train or test part), any index.
    store : Store
        Holds the recordings of all `rows`.
    target : ndarray of float, shape (n_rows, 6), optional
        Shares that sum to 1; absent for rows without labels.
    weight : ndarray of float, shape (n_rows,), optional
        Weight of each row in the loss; 1 where not given.
    """

    def __init__(
        self,
        rows: pd.DataFrame,
        store: Store,
        target: np.ndarray | None = None,
        weight: np.ndarray | None = None,
    ) -> None:
        self.store = store
        self.eeg_ids = rows["eeg_id"].to_numpy(np.int64)
        offsets_s = rows["eeg_label_offset_seconds"].to_numpy() if "eeg_label_offset_seconds" in rows else 0.0
        self.starts = np.broadcast_to(np.rint(np.multiply(offsets_s, SFREQ)).astype(np.int64), len(rows))
        # The id that chance follows: the same for a row whatever the fold or the subset it stands in.
        self.row_ids = torch.from_numpy(rows["label_id" if "label_id" in rows else "eeg_id"].to_numpy(np.int64))
        self.target = None if target is None else torch.from_numpy(np.asarray(target, np.float32))
        self.weight = (
            torch.ones(len(rows)) if weight is None else torch.from_numpy(np.asarray(weight, np.float32))
        )
        votes = rows[list(VOTE_COLUMNS)].sum(axis=1) if VOTE_COLUMNS[0] in rows else np.zeros(len(rows))
        self.n_votes = torch.from_numpy(np.asarray(votes, np.float32))
        assert self.target is None or self.target.shape == (len(rows), N_CLASSES)

    def __len__(self) -> int:
        return len(self.eeg_ids)

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return rows as one batch.

        Parameters
        ----------
        indices : sequence of int
            Positions of label rows.

        Returns
        -------
        dict of Tensor
            ``eeg`` (batch, 10000, 20) float16 in microvolt, ``row`` (batch,) the positions, ``row_id``,
            ``weight`` and ``n_votes`` (batch,), and ``target`` (batch, 6) where there are labels.
        """
        row = np.asarray(indices, dtype=np.int64)
        eeg = self.store.copy_windows(self.eeg_ids[row], self.starts[row], WINDOW_SAMPLES)
        row_B = torch.from_numpy(row)
        batch = {"eeg": torch.from_numpy(eeg), "row": row_B}
        batch |= {"row_id": self.row_ids[row_B], "weight": self.weight[row_B], "n_votes": self.n_votes[row_B]}
        if self.target is not None:
            batch["target"] = self.target[row_B]
        return batch


class EpochShuffle(Sampler[int]):
    """A permutation of the rows that is a function of (seed, epoch).

    Lightning calls `set_epoch` at the start of each epoch, also of the one where a resumed run goes on.

    Parameters
    ----------
    n_rows : int
        How many rows there are.
    seed : int
        Seed of the run.
    """

    def __init__(self, n_rows: int, seed: int) -> None:
        self.n_rows, self.seed, self.epoch = n_rows, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next.

        Parameters
        ----------
        epoch : int
            Number of the epoch, from 0.
        """
        self.epoch = epoch

    def __len__(self) -> int:
        return self.n_rows

    def __iter__(self) -> Iterator[int]:
        yield from np.random.default_rng((self.seed, self.epoch)).permutation(self.n_rows).tolist()


def identity(batch: Any) -> Any:
    """Collate nothing: the data set fetches whole batches.

    Parameters
    ----------
    batch : dict of Tensor
        What `WindowDataset.__getitems__` returned.

    Returns
    -------
    dict of Tensor
        The same object.
    """
    return batch
