"""The recordings of a run as one tensor, in the memory of the device that trains or in pinned memory beside it.

Windows are then cut by index where they are needed, bit for bit what a loader brings: no loader, no worker, and from
the device's own memory no copy. What is held serves all data modules of the process, one after another.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hbac.common.errors import UserError
from hbac.recordings.store import Store

# B window

log = logging.getLogger("hbac.data")

WHERE = ("auto", "device", "host", "none")
SHARE = 0.6  # of the memory that is free, up to which `auto` takes it
NOWHERE = -1  # where a window begins that was not recorded

_held: dict[str, tuple[tuple[str, ...], Resident]] = {}  # by source; what a sweep's next fold asks for again


@dataclass(frozen=True)
class Resident:
    """All rows of some stores of one kind, behind one another."""

    rows: Tensor  # (n_rows, n_columns), float16, as stored
    first: Mapping[str, int]  # by a store's content: where its rows begin

    def cut(self, start_B: Tensor, n: int, device: torch.device) -> Tensor:
        """Cut windows of `n` rows where each begins, int64, `NOWHERE` for one that is missing; on `device`.

        Returned is float16 (B, n, n_columns), NaN where nothing was recorded.
        """
        n_rows, n_columns = self.rows.shape
        if self.rows.device.type == device.type:
            start_B = start_B.to(device, non_blocking=True)
            if n_rows < n:
                return self.rows.new_full((len(start_B), n, n_columns), torch.nan)
            # Each window of the tensor as a view: one operation gathers some of them.
            every = self.rows.as_strided((n_rows - n + 1, n, n_columns), (n_columns, n_columns, 1))
            missing_B = (start_B == NOWHERE)[:, None, None]
            return every[start_B.clamp(min=0)].masked_fill_(missing_B, torch.nan)
        windows = torch.empty(len(start_B), n, n_columns, dtype=self.rows.dtype, device=device)
        for window, start in zip(windows, start_B.tolist(), strict=True):
            if start == NOWHERE:
                window.fill_(torch.nan)
            else:  # rows of one window lie behind one another: from pinned memory the device fetches them itself
                window.copy_(self.rows[start : start + n], non_blocking=True)
        return windows


def hold(source: str, stores: Sequence[Store], place: str, device: torch.device) -> Resident:
    """Read stores (one for each part of the data set) into memory, unless they are there, and compare their checksums.

    `source` is ``eeg`` or ``official``, `place` is ``device`` or ``host``, `device` the one that trains.
    """
    key = _key(place, device, stores)
    if (found := _held.get(source)) is not None and found[0] == key:
        return found[1]
    _held.pop(source, None)
    pinned = place == "host" and device.type == "cuda"
    shape = (sum(store.rows_total for store in stores), len(stores[0].columns))
    there = device if place == "device" else torch.device("cpu")
    rows = torch.empty(shape, dtype=torch.float16, device=there, pin_memory=pinned)
    first, end = {}, 0
    for store in stores:
        first[store.content] = end
        for recording, length in zip(store.ids.tolist(), store.lengths.tolist(), strict=True):
            (whole,) = store.copy_windows([recording], [0], length)
            rows[end : end + length] = torch.from_numpy(whole)
            end += length
    resident = Resident(rows, first)
    _held[source] = (key, resident)
    return resident


def choose(where: str, stores: Mapping[str, Sequence[Store]], device: torch.device, n_here: int = 1) -> str:
    """Say where the rows of some stores, by source, are to be kept: ``device``, ``host`` or ``none``.

    `where` is the setting ``data.resident``, one of `WHERE`; `device` trains; `n_here` processes share this machine's
    memory. A log line says which it is, and how much memory it takes; a `UserError`, where there is no room for what
    was asked for.
    """
    if where == "none" or (where == "auto" and device.type != "cuda"):
        return "none"  # a CPU reads the same memory through its cache of files
    needed = sum(store.rows_total * len(store.columns) * 2 for several in stores.values() for store in several)
    what, gb = " and ".join(stores), f"{needed / 1e9:.1f} GB"
    free = {"device": _free_on(device), "host": _free_here() // n_here}
    if where != "auto":
        if needed > free[where] and not _is_held(where, stores, device):
            raise UserError(f"data.resident={where}: {what} take {gb}, and {free[where] / 1e9:.1f} GB are free")
        place = where
    else:
        fits = [at for at, room in free.items() if needed <= SHARE * room or _is_held(at, stores, device)]
        if not fits:
            rooms = f"{free['device'] / 1e9:.1f} GB free on {device} or {free['host'] / 1e9:.1f} GB here"
            log.info("data.resident: %s take %s, above %.0f %% of %s; windows are read", what, gb, 100 * SHARE, rooms)
            return "none"
        place = fits[0]
    name = str(device) if place == "device" else "pinned memory" if device.type == "cuda" else "memory"
    log.info("data.resident: %s, %s, in %s (%.1f GB free)", what, gb, name, free[place] / 1e9)
    return place


def _is_held(place: str, stores: Mapping[str, Sequence[Store]], device: torch.device) -> bool:
    return all(s in _held and _held[s][0] == _key(place, device, several) for s, several in stores.items())


def _key(place: str, device: torch.device, stores: Sequence[Store]) -> tuple[str, ...]:
    return (place, str(device), *(store.content for store in stores))


def _free_on(device: torch.device) -> int:
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else _free_here()


def _free_here() -> int:
    """Bytes that processes of this machine may still take; what its cache of files takes is given back."""
    try:
        with Path("/proc/meminfo").open(encoding="ascii") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
