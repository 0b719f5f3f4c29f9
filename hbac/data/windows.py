"""Label rows as batches of windows cut from the stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from hbac.common.choices import check_choice
from hbac.data.resident import NOWHERE, Resident
from hbac.labels.targets import count_votes, votes_to_shares
from hbac.recordings.columns import SPECTROGRAM_COLUMNS
from hbac.recordings.datasets import Part
from hbac.recordings.store import Store
from hbac.signal.image_front_end import SOURCES
from hbac.vocabulary import N_CHANNELS, SPECTROGRAM_ROWS, VOTE_COLUMNS, WINDOW_SAMPLES

if TYPE_CHECKING:
    from hbac.data.cache import FeatureCache

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Source:
    """One of the recordings that the windows of label rows are cut from."""

    store: Store | None  # None when every row is masked
    ids: NDArray[np.int64]  # (n_rows,), the recording of each label row
    starts: NDArray[np.int64]  # (n_rows,), where its window begins, in rows of the store
    shape: tuple[int, int]  # rows and columns of a window
    # (n_rows,): label rows whose recording is missing: their windows are NaN throughout.
    masked: NDArray[np.bool_] | None = None

    def copy(self, row: NDArray[np.int64], shift: NDArray[np.int64] | int = 0) -> Tensor:
        """Copy the windows of label rows, by position, moved by `shift` rows of the store (see `room`).

        Returned is float16 (B, rows, columns) as stored, NaN where nothing was recorded.
        """
        starts = self.starts[row] + shift
        if self.masked is None:
            assert self.store is not None
            return torch.from_numpy(self.store.copy_windows(self.ids[row], starts, self.shape[0]))
        windows = np.full((len(row), *self.shape), np.nan, np.float16)
        there = np.flatnonzero(~self.masked[row])
        if self.store is not None and len(there):
            windows[there] = self.store.copy_windows(self.ids[row[there]], starts[there], self.shape[0])
        return torch.from_numpy(windows)

    def place(self, row: NDArray[np.int64], shift: NDArray[np.int64] | int, resident: Resident) -> Tensor:
        """Say where the windows that `copy` takes begin among all rows in memory: int64 (B,), for `Resident.cut`."""
        places = np.full(len(row), NOWHERE, np.int64)
        there = np.ones(len(row), bool) if self.masked is None else ~self.masked[row]
        if self.store is not None and there.any():
            starts = (self.starts[row] + shift)[there]
            places[there] = self.store.rows_of(self.ids[row[there]], starts, self.shape[0])
            places[there] += resident.first[self.store.content]
        return torch.from_numpy(places)

    def room(self, row: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Say by how many rows windows that are not masked can be moved, back and forth, within their recordings."""
        assert self.store is not None
        length = self.store.lengths[np.searchsorted(self.store.ids, self.ids[row])]
        return self.starts[row], length - self.starts[row] - self.shape[0]


def source_of(part: Part, name: str) -> Source:
    """Return one source of a part, for all its label rows; its store is opened, or built on first use.

    ``eeg`` has windows (10000, 20) in microvolt, ``official`` windows (300, 400) of spectrogram power. A `UserError`
    where the data set has no such recordings, or there is no such source.
    """
    check_choice("source", name, SOURCES)
    rows, recordings = part.rows, part.recordings
    if name == "eeg":
        ids = rows["eeg_id"].to_numpy(np.int64)
        return Source(part.eeg, ids, recordings.eeg_starts(), (WINDOW_SAMPLES, N_CHANNELS))
    ids = rows["spectrogram_id"].to_numpy(np.int64)
    shape = (SPECTROGRAM_ROWS, len(SPECTROGRAM_COLUMNS))
    return Source(part.spectrograms, ids, recordings.spectrogram_starts(), shape, recordings.masked)


class WindowDataset(Dataset[Batch]):
    """Label rows, all or those at the positions `members`, and the raw windows of some sources (`source_of`).

    A batch is fetched as one (`__getitems__`): the windows are copied from the memory map straight into the batch's own
    tensor, which is all that the CPU has to do. Where features of all rows are `cached`, these are read in place of the
    windows.
    """

    def __init__(
        self,
        part: Part,
        sources: Sequence[str] = ("eeg",),
        members: np.ndarray | None = None,
        cached: FeatureCache | None = None,
    ) -> None:
        self.cached = cached
        self.resident: Mapping[str, Resident] = {}  # sources whose windows are cut later: their places are returned
        self.sources = {name: source_of(part, name) for name in sources}
        self.members = np.arange(len(part.rows)) if members is None else np.asarray(members, np.int64)
        rows = part.rows.iloc[self.members]
        # The id that chance follows: the same for a row whatever the fold or the subset it stands in.
        self.row_ids = torch.tensor(rows["label_id" if "label_id" in rows else "eeg_id"].to_numpy())
        self.eeg_ids = rows["eeg_id"].to_numpy(np.int64)
        self.weight = torch.ones(len(rows))
        self.target: Tensor | None = None
        self.n_votes = torch.zeros(len(rows))
        if VOTE_COLUMNS[0] in rows and len(rows):
            self.target = torch.from_numpy(np.asarray(votes_to_shares(rows), np.float32))
            self.n_votes = torch.from_numpy(count_votes(rows).astype(np.float32))

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int] | NDArray[np.int64], shift: NDArray[np.int64] | int = 0) -> Batch:
        """Return rows, positions among `members`, as one batch; EEG windows moved by `shift` samples.

        Each source by its name, float16 (``eeg`` (batch, 10000, 20), ``official`` (batch, 300, 400)), or only where its
        windows begin, where they are held in memory; ``features`` in their place where cached; ``row`` (batch,) the
        positions, ``row_id``, ``weight`` and ``n_votes`` (batch,), and ``target`` (batch, 6) where there are labels.
        """
        index = np.asarray(indices, dtype=np.int64)
        row_B = torch.from_numpy(index)
        row = self.members[index]
        if self.cached is not None:
            batch = {"features": self.cached.copy(row)}
        else:
            batch = {}
            for name, source in self.sources.items():
                by = shift if name == "eeg" else 0
                held = self.resident.get(name)
                batch[name] = source.copy(row, by) if held is None else source.place(row, by, held)
        batch |= {"row": row_B, "row_id": self.row_ids[row_B]}
        batch |= {"weight": self.weight[row_B], "n_votes": self.n_votes[row_B]}
        if self.target is not None:
            batch["target"] = self.target[row_B]
        return batch


def identity(batch: Any) -> Any:
    """Collate nothing: the data set fetches whole batches."""
    return batch
