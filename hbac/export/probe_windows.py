"""The windows on which an exported file is compared with `hbac.load`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hbac.data.windows import WindowDataset
from hbac.recordings.columns import SPECTROGRAM_COLUMNS
from hbac.recordings.datasets import Part
from hbac.synthetic.window import simulate_window
from hbac.vocabulary import CLASSES, SPECTROGRAM_ROWS

# Legend of tensor names: B window, T sample, C channel, R row, K column.

_MOST = 12  # windows of a data set


def simulated_windows(sources: Sequence[str]) -> tuple[Tensor, ...]:
    """Simulate a window of each class; in one a channel is missing, in another some samples.

    For each of `sources` (``eeg``, ``official``) a tensor, float16 as a store holds it: (6, 10000, 20), (6, 300, 400).
    """
    eeg_BTC = np.stack([simulate_window(label)[0] for label in CLASSES])
    eeg_BTC[1, 4000:4400] = np.nan
    eeg_BTC[2, :, 3] = np.nan
    shape = (len(CLASSES), SPECTROGRAM_ROWS, len(SPECTROGRAM_COLUMNS))
    power_BRK = np.random.default_rng(0).lognormal(0.0, 2.0, shape)
    power_BRK[1, 100:110] = np.nan
    found: dict[str, NDArray[Any]] = {"eeg": eeg_BTC, "official": power_BRK}
    return tuple(torch.from_numpy(found[name].astype(np.float16)) for name in sources)


def windows_of_part(part: Part, sources: Sequence[str]) -> tuple[Tensor, ...]:
    """Read the first windows of a data set, at most 12: for each of `sources` a tensor, float16 as stored."""
    rows = np.arange(min(_MOST, len(part.rows)))
    batch = WindowDataset(part, list(sources), rows).__getitems__(rows.tolist())
    return tuple(batch[name] for name in sources)
