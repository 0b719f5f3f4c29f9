"""The numbers of the report's EEG page: filtered electrodes in three bands, gaps, spectrograms, one file a window.

Electrodes travel, not derivations: montages are linear, so the page makes every montage of the same few samples, by the
weights of `hbac.signal.montage`. Filters are those of `hbac.signal`, and never the page's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hbac.common.files import whole_file
from hbac.data.windows import Source
from hbac.report.eeg_packing import pack_bytes, pack_signal, quantise
from hbac.signal import BandPass, Multitaper
from hbac.signal.front_end import fill_missing_
from hbac.signal.montage import REGIONS
from hbac.tracking.reading_order import CHAINS
from hbac.vocabulary import CHANNELS, WINDOW_SAMPLES

# B window, T sample, C stored channel, I region, H frequency, W column

#: Band in hertz to sampling rate in hertz: what readers look at, what the networks see by default, and the slow waves.
#: Rates are several times what the band needs, for samples are joined by straight lines.
BANDS: dict[str, float] = {"0.5-70": 200.0, "0.5-20": 100.0, "1-12": 50.0}

LOW_DB, HIGH_DB = -10.0, 30.0  # of 1 µV²/Hz; from a suppressed EEG to a large one
MAX_HZ = 20.0
N_COLUMNS, N_ROWS = 250, 48
_MISSING = 255  # the code of a column without a recording; levels are 0 to 254
_CHUNK = 8  # windows at a time


@cache
def _bandpass(band: str) -> BandPass:
    return BandPass(band, sfreq_out=BANDS[band])


@cache
def _spectrogram() -> Multitaper:
    return Multitaper(band=f"0-{MAX_HZ:g}", height=N_ROWS, width=N_COLUMNS, floor_db=LOW_DB, ceiling_db=HIGH_DB)


def electrodes(eeg_BTC: Tensor, band: str) -> Tensor:
    """Filter every channel.

    Parameters
    ----------
    eeg_BTC : Tensor, shape (B, 10000, 20)
        Microvolt, NaN where nothing was recorded.
    band : str
        A key of `BANDS`.

    Returns
    -------
    Tensor, shape (B, 20, T)
        Microvolt at the band's rate. Gaps hold the channel's mean, as a network gets them; see `gaps`.
    """
    filtered: Tensor = _bandpass(band)(fill_missing_(eeg_BTC.transpose(1, 2).float().contiguous()))
    return filtered


def gaps(eeg_TC: NDArray[np.floating]) -> dict[str, list[list[int]]]:
    """Find where nothing was recorded.

    Parameters
    ----------
    eeg_TC : ndarray, shape (T, 20)
        One window as stored.

    Returns
    -------
    dict of str to list of [int, int]
        For each channel that misses samples, the first that is missing and the next that is there, at 200 Hz.
    """
    missing_TC = ~np.isfinite(eeg_TC)
    found = {}
    for c in np.flatnonzero(missing_TC.any(axis=0)):
        edges = np.flatnonzero(np.diff(missing_TC[:, c].astype(np.int8), prepend=0, append=0))
        found[CHANNELS[c]] = edges.reshape(-1, 2).tolist()
    return found


def spectrogram_levels(eeg_BTC: Tensor) -> NDArray[np.uint8]:
    """Make the spectrograms of the four regions.

    Parameters
    ----------
    eeg_BTC : Tensor, shape (B, 10000, 20)
        Microvolt, NaN where nothing was recorded.

    Returns
    -------
    ndarray of uint8, shape (B, 4, 48, 250)
        Regions as in `hbac.tracking.reading_order.CHAINS`, frequencies rising to 20 Hz, a column every
        0.2 s. 0 is `LOW_DB` or less, 254 `HIGH_DB` or more, 255: of no derivation of the region a sample was recorded.
    """
    image_BIHW = _spectrogram()(eeg_BTC.transpose(1, 2).float()).numpy()[:, [list(REGIONS).index(i) for i in CHAINS]]
    level_BIHW: NDArray[np.uint8] = np.rint((image_BIHW + 1) / 2 * (_MISSING - 1)).astype(np.uint8)
    missing_BTC = ~torch.isfinite(eeg_BTC[:, :: WINDOW_SAMPLES // N_COLUMNS]).numpy()
    for i, region in enumerate(CHAINS):
        bad_BTC = missing_BTC[..., [CHANNELS.index(name) for name in REGIONS[region]]]
        unseen_BW = (bad_BTC[..., :-1] | bad_BTC[..., 1:]).all(axis=-1)
        level_BIHW[:, i].transpose(0, 2, 1)[unseen_BW] = _MISSING
    return level_BIHW


def window_contents(source: Source, position_B: NDArray[np.int64]) -> Iterator[dict[str, Any]]:
    """Make what the page reads of each window.

    Parameters
    ----------
    source : Source
        The EEGs (`hbac.data.windows.source_of`).
    position_B : ndarray of int64, shape (B,)
        Positions of the label rows.

    Yields
    ------
    dict of str to object
        ``gaps``, ``bands`` (each packed, see `hbac.report.eeg_packing`), ``spectrogram``; plain, for JSON.
    """
    for start in range(0, len(position_B), _CHUNK):
        eeg_BTC = source.copy(position_B[start : start + _CHUNK])
        filtered = {band: electrodes(eeg_BTC, band).numpy() for band in BANDS}
        levels = spectrogram_levels(eeg_BTC)
        for b in range(len(eeg_BTC)):
            yield {
                "gaps": gaps(eeg_BTC[b].numpy()),
                "bands": {band: pack_signal(quantise(signal[b])) for band, signal in filtered.items()},
                "spectrogram": pack_bytes(levels[b].tobytes()),
            }


def write_window(path: Path, label_id: int, content: dict[str, Any]) -> None:
    """Write a window as a script, which is all that a page may load from the disk.

    Parameters
    ----------
    path : Path
        The file.
    label_id : int
        Of the window.
    content : dict
        As of `window_contents`.
    """
    with whole_file(path) as partial:
        text = json.dumps({"label_id": label_id, **content}, separators=(",", ":"))
        partial.write_text(f"hbacEEG.arrived({text});\n", encoding="utf-8")
