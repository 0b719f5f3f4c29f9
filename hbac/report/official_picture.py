"""The ten minutes around a window as its experts had them: the data set's own spectrograms, packed for the EEG page."""

# B window, T column of 2 s, F column of the file, I region, H frequency

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hbac.recordings.columns import SPECTROGRAM_COLUMNS, SPECTROGRAM_HZ, spectrogram_column
from hbac.recordings.datasets import Part
from hbac.report.eeg_packing import MISSING, pack_bytes
from hbac.signal.reading_order import CHAINS
from hbac.vocabulary import CENTRAL_S, SPECTROGRAM_REGIONS, SPECTROGRAM_ROW_S, SPECTROGRAM_ROWS, WINDOW_S

_AVERAGED = 4  # neighbouring frequencies: a row is two pixels high
N_ROWS = len(SPECTROGRAM_HZ) // _AVERAGED
_QUANTILES = (0.02, 0.98)  # of a window's decibels: the ends of its colours


def official_layout() -> dict[str, Any]:
    """Return what the page has to know of them, for JSON, times in seconds."""
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


def officials(part: Part, position_B: NDArray[np.int64]) -> Iterator[dict[str, Any] | None]:
    """Read and pack the official spectrograms of some label rows, from their files: no store is made for a picture.

    As `official_levels`; None where there is no such file, or it is damaged.
    """
    folder = part.recordings.spectrogram_dir
    if folder is None:
        yield from [None] * len(position_B)
        return
    starts_B = part.recordings.spectrogram_starts()[position_B]
    for name, start in zip(part.rows["spectrogram_id"].iloc[position_B], starts_B, strict=True):
        try:
            frame = pd.read_parquet(folder / f"{name}.parquet").iloc[start : start + SPECTROGRAM_ROWS]
        except (OSError, ValueError):
            yield None
            continue
        frame.columns = [spectrogram_column(str(column)) or "" for column in frame.columns]
        power_TF = frame.loc[:, ~frame.columns.duplicated()].reindex(columns=list(SPECTROGRAM_COLUMNS)).to_numpy(float)
        whole_TF = np.full((SPECTROGRAM_ROWS, len(SPECTROGRAM_COLUMNS)), np.nan)
        whole_TF[: len(power_TF)] = power_TF
        yield official_levels(whole_TF)


def official_levels(power_TF: NDArray[np.float64]) -> dict[str, Any] | None:
    """Pack one official spectrogram, (300, 400) in the order of `SPECTROGRAM_COLUMNS`; None where it has no value.

    ``levels``: packed bytes of regions, frequencies (neighbours averaged) and columns, 255 where there is nothing.
    """
    order = [SPECTROGRAM_REGIONS.index(name) for name in CHAINS]
    power_TIH = power_TF.reshape(len(power_TF), len(order), N_ROWS, _AVERAGED).mean(axis=-1)[:, order]
    power_IHT = power_TIH.transpose(1, 2, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        db_IHT = 10 * np.log10(power_IHT)
    known = np.isfinite(db_IHT)
    if not known.any():
        return None
    low, high = np.quantile(db_IHT[known], _QUANTILES)
    share = np.clip((np.where(known, db_IHT, low) - low) / max(high - low, 1e-6), 0, 1)
    level = np.where(known | (power_IHT == 0), np.rint(share * (MISSING - 1)), MISSING)
    return {"levels": pack_bytes(level.astype(np.uint8).tobytes())}
