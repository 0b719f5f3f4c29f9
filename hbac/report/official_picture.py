"""The ten minutes around a window as its experts had them: the data set's own spectrograms, packed for the EEG page."""

# B window, T column of 2 s, I region, H frequency

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from hbac.recordings.columns import SPECTROGRAM_HZ
from hbac.report.eeg_packing import pack_bytes
from hbac.tracking.reading_order import CHAINS
from hbac.vocabulary import CENTRAL_S, SPECTROGRAM_REGIONS, SPECTROGRAM_ROW_S, SPECTROGRAM_ROWS, WINDOW_S

N_ROWS = len(SPECTROGRAM_HZ) // 2
_QUANTILES = (0.02, 0.98)  # of a window's decibels: the ends of its colours
_MISSING = 255


def official_layout() -> dict[str, Any]:
    """Return what the page has to know of them.

    Returns
    -------
    dict
        Regions from top to bottom, rows, columns, the highest frequency, and where the EEG's window and its middle, on
        which the experts voted, lie in seconds.
    """
    middle = SPECTROGRAM_ROWS * SPECTROGRAM_ROW_S / 2
    return {
        "regions": list(CHAINS),
        "rows": N_ROWS,
        "columns": SPECTROGRAM_ROWS,
        "column_s": SPECTROGRAM_ROW_S,
        "max_hz": SPECTROGRAM_HZ[-1],
        "window": [middle - WINDOW_S / 2, middle + WINDOW_S / 2],
        "central": [middle - CENTRAL_S / 2, middle + CENTRAL_S / 2],
    }


def official_levels(power_BTF: Tensor) -> list[dict[str, Any] | None]:
    """Pack official spectrograms.

    Parameters
    ----------
    power_BTF : Tensor, shape (B, 300, 400)
        Power, columns in the order of `hbac.recordings.columns.SPECTROGRAM_COLUMNS`, NaN where nothing was recorded.

    Returns
    -------
    list of dict or None
        For each window ``levels``, packed bytes of regions, frequencies (neighbours averaged) and columns, 255 where
        there is nothing; None where a window has nothing at all.
    """
    order = [SPECTROGRAM_REGIONS.index(name) for name in CHAINS]
    packed: list[dict[str, Any] | None] = []
    for power_TF in power_BTF.float().numpy():
        power_ITH = np.moveaxis(power_TF.reshape(len(power_TF), len(order), N_ROWS, 2).mean(axis=-1), 1, 0)[order]
        with np.errstate(divide="ignore", invalid="ignore"):
            db_IHT = 10 * np.log10(power_ITH.transpose(0, 2, 1))
        known = np.isfinite(db_IHT)
        if not known.any():
            packed.append(None)
            continue
        low, high = np.quantile(db_IHT[known], _QUANTILES)
        share = np.clip((np.where(known, db_IHT, low) - low) / max(high - low, 1e-6), 0, 1)
        level = np.where(known | (power_ITH.transpose(0, 2, 1) == 0), np.rint(share * (_MISSING - 1)), _MISSING)
        packed.append({"levels": pack_bytes(level.astype(np.uint8).tobytes())})
    return packed
