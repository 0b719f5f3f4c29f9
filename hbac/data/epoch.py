"""What one epoch of training sees: which rows, in which order, with which partners, cut where, counting how much.

All of it is a function of (seed, epoch, row). The order is decided where the loader lives; it reaches the workers with
each `EpochRow`, so that they need not know the epoch otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from hbac.data.windows import Batch, WindowDataset
from hbac.labels.recipe import TrainingLabels
from hbac.signal.chance import row_keys, uniforms
from hbac.vocabulary import SFREQ

# In the place of a row's position: a row that is there a second time, so that all devices have batches of one size.
REPEATED = -1


class EpochRow(NamedTuple):
    """A row as one epoch sees it: an index of a data set, with what else the epoch decides."""

    row: int  # position in the training set
    partner: int  # position of the row that it may be mixed with; the row itself where there is none
    epoch: int  # from 0


@dataclass(frozen=True)
class Share:
    """Which rows of an order are one device's: number `device`, from 0, of `n_devices` of `batch_size` windows each."""

    device: int = 0
    n_devices: int = 1
    batch_size: int = 1

    def trained(self, n_rows: int) -> NDArray[np.int64]:
        """Return places in the order of `n_rows` that are trained on: of each batch of all devices, this one's part."""
        if self.n_devices == 1:
            return np.arange(n_rows)
        size = min(self.batch_size, n_rows // self.n_devices)
        if not size:
            return np.arange(0)
        whole = size * self.n_devices
        return np.arange(n_rows // whole * whole).reshape(-1, self.n_devices, size)[:, self.device].ravel()

    def held_out(self, n_rows: int) -> list[int]:
        """Return positions of rows to predict, in their order: as many for each device, filled with `REPEATED`."""
        size = -(-n_rows // self.n_devices)
        mine = list(range(n_rows)[self.device * size : (self.device + 1) * size])
        return mine + [REPEATED] * (size - len(mine))


class EpochShuffle(Sampler[EpochRow]):
    """The rows of an epoch in an order that is a function of (seed, epoch).

    Rows that follow one another, first and second, third and fourth, are each other's partners: drawn at random like
    any other pair, but nearly always in the same batch, where a mixture costs nothing more to read. With `eeg_ids` an
    epoch has one row of each EEG, drawn by (seed, epoch, EEG); with `repeat` every epoch is the first one again, as to
    learn a few batches by heart takes. Of several devices, all shares together see, batch by batch, what one alone
    would with batches as large as all of theirs; what fills no such batch is left out.

    Lightning calls `set_epoch` at the start of each epoch, also of the one where a resumed run goes on.
    """

    def __init__(
        self,
        n_rows: int,
        seed: int,
        eeg_ids: NDArray[np.int64] | None = None,
        repeat: bool = False,
        share: Share | None = None,
    ) -> None:
        self.share = Share() if share is None else share
        self.seed, self.epoch, self.repeat = seed, 0, repeat
        self.by_eeg = np.arange(n_rows)
        self.eegs: NDArray[np.int64] | None = None
        if eeg_ids is not None:
            self.by_eeg = np.argsort(eeg_ids, kind="stable")
            self.eegs, self.counts = np.unique(eeg_ids, return_counts=True)
            self.first = np.cumsum(self.counts) - self.counts

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, from 0, whose order comes next."""
        self.epoch = 0 if self.repeat else epoch

    def __len__(self) -> int:
        return len(self.share.trained(len(self.by_eeg if self.eegs is None else self.eegs)))

    def __iter__(self) -> Iterator[EpochRow]:
        rows = self.by_eeg
        if self.eegs is not None:
            u_E = uniforms(row_keys(self.seed, self.epoch, torch.from_numpy(self.eegs)), "row of the EEG")[:, 0]
            rows = rows[self.first + (u_E.double().numpy() * self.counts).astype(np.int64)]
        order = rows[np.random.default_rng((self.seed, self.epoch)).permutation(len(rows))]
        partners = order.copy()
        even = len(order) // 2 * 2
        partners[0:even:2], partners[1:even:2] = order[1:even:2], order[0:even:2]
        mine = self.share.trained(len(order))
        picked = zip(order[mine].tolist(), partners[mine].tolist(), strict=True)
        yield from (EpochRow(row, partner, self.epoch) for row, partner in picked)


class TrainingWindows(Dataset[Batch]):
    """The rows that are trained on, of one part of a data set or of several behind one another, with the same sources.

    Without `labels` targets are plain shares of votes, all counting alike. Up to `jitter_s` seconds an EEG's window is
    moved, drawn by (seed, epoch, row), as far as its recording goes; the official spectrogram stays. With partners,
    those that are not in a batch follow behind its rows.
    """

    def __init__(
        self,
        parts: Sequence[WindowDataset],
        labels: TrainingLabels | None = None,
        jitter_s: float = 0.0,
        seed: int = 0,
        with_partners: bool = False,
    ) -> None:
        self.parts, self.labels, self.seed, self.with_partners = list(parts), labels, seed, with_partners
        self.ends = np.cumsum([len(part) for part in parts])
        self.row_ids = torch.cat([part.row_ids for part in parts])
        self.eeg_ids = np.concatenate([part.eeg_ids for part in parts])
        self.low: NDArray[np.int64] | None = None
        if jitter_s and all("eeg" in part.sources for part in parts):
            furthest = int(jitter_s * SFREQ)
            room = [part.sources["eeg"].room(part.members) for part in parts]
            self.low = -np.minimum(np.concatenate([before for before, _ in room]), furthest)
            self.high = np.minimum(np.concatenate([after for _, after in room]), furthest)

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, index: int | EpochRow) -> Batch:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int | EpochRow]) -> Batch:
        """Return rows of one epoch as one batch; a bare position is a row of epoch 0 without a partner.

        It is as `WindowDataset.__getitems__` has it, with the targets and weights of the epoch, and ``shift``, by
        how many samples each window is moved, where any is. With partners, also ``partner`` (n indices,): where in the
        batch each row's partner stands. All else is then as long as rows and further partners together.
        """
        rows = [row if isinstance(row, EpochRow) else EpochRow(row, row, 0) for row in indices]
        epoch = rows[0].epoch
        place = {row.row: k for k, row in enumerate(rows)}
        if self.with_partners:
            for row in rows:
                place.setdefault(row.partner, len(place))
        index = np.fromiter(place, np.int64)
        shift = self.shift(index, epoch)
        batch = self._fetch(index, shift)
        if self.low is not None:
            batch["shift"] = torch.from_numpy(shift)
        batch["row"] = torch.from_numpy(index)
        if self.labels is not None:
            batch["target"] = torch.from_numpy(self.labels.target[index])
            batch["weight"] = torch.from_numpy(self.labels.weight_at(epoch, index))
        if self.with_partners:
            batch["partner"] = torch.tensor([place[row.partner] for row in rows])
        return batch

    def shift(self, index: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        """Draw by how many samples the windows of these rows are moved in an epoch, each possible number alike."""
        if self.low is None:
            return np.zeros(len(index), np.int64)
        u_B = uniforms(row_keys(self.seed, epoch, self.row_ids[torch.from_numpy(index)]), "jitter")[:, 0]
        low, high = self.low[index], self.high[index]
        shift: NDArray[np.int64] = low + (u_B.double().numpy() * (high - low + 1)).astype(np.int64)
        return shift

    def _fetch(self, index: NDArray[np.int64], shift: NDArray[np.int64]) -> Batch:
        if len(self.parts) == 1:
            return self.parts[0].__getitems__(index, shift)
        number = np.searchsorted(self.ends, index, side="right")
        fetched: list[Batch] = []
        for k in np.unique(number):
            chosen = number == k
            part = self.parts[k]
            fetched.append(part.__getitems__(index[chosen] - self.ends[k] + len(part), shift[chosen]))
        back = torch.from_numpy(np.argsort(np.argsort(number, kind="stable"), kind="stable"))
        # A part without votes has no targets: those of the labels take their place.
        names = set.intersection(*(set(batch) for batch in fetched))
        joined: dict[str, Tensor] = {name: torch.cat([batch[name] for batch in fetched])[back] for name in names}
        return joined
