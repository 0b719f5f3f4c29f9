"""The numbers of the report's EEG page: electrodes, gaps, mains, spectrograms, one file a window.

Electrodes travel as they were recorded, not derivations: montages and filters are linear, so that the page makes every
montage and band of the same few samples, by the weights of `hbac.signal.montage` and by filters of its own
(``assets/eeg_signals.js``).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import welch
from torch import Tensor

from hbac.common.files import whole_file
from hbac.data.windows import Source
from hbac.report.eeg_packing import MISSING, pack_bytes, pack_signal, quantise
from hbac.signal import Multitaper
from hbac.signal.front_end import fill_missing_
from hbac.signal.mains import MAINS_HZ, MainsFinder
from hbac.signal.montage import REGIONS
from hbac.signal.reading_order import CHAINS
from hbac.vocabulary import CHANNELS, ELECTRODES, SFREQ, WINDOW_SAMPLES

# B window, T sample, C stored channel, I region, H frequency, W column

N_HARMONICS = 5
_LINE = 20.0  # so many times the spectrum beside it is a line
_LINE_UV = 1.0  # and no less, root mean square
LOW_DB, HIGH_DB = -10.0, 30.0  # of 1 µV²/Hz; from a suppressed EEG to a large one
MAX_HZ = 20.0
N_COLUMNS, N_ROWS = 250, 48
_CHUNK = 8  # windows at a time


@cache
def _mains_finder() -> MainsFinder:
    return MainsFinder(WINDOW_SAMPLES, SFREQ)


@cache
def _spectrogram() -> Multitaper:
    return Multitaper(band=f"0-{MAX_HZ:g}", height=N_ROWS, width=N_COLUMNS, floor_db=LOW_DB, ceiling_db=HIGH_DB)


def stored(eeg_BTC: Tensor) -> Tensor:
    """Prepare every channel of (B, 10000, 20), microvolt, for the page's filters: (B, 20, 10000) without its mean.

    0 where nothing was recorded; see `gaps`.
    """
    x_BCT = fill_missing_(eeg_BTC.transpose(1, 2).float().contiguous())
    return x_BCT - x_BCT.mean(dim=-1, keepdim=True)


def mains(x_CT: NDArray[np.floating]) -> dict[str, Any] | None:
    """Find mains in the spectrum of a window, (20, 10000), microvolt at 200 Hz, without NaN; None where there is none.

    ``hz``: 50 or 60, found as by a front-end with ``notch=auto``; ``lines``: it, and where its harmonics are seen.
    Those beyond half the sampling rate are where the sampling folded them to: of 60 Hz at 80, 20 and 40.
    """
    found = int(_mains_finder()(torch.fft.rfft(torch.from_numpy(x_CT[: len(ELECTRODES)]))))
    if not found:
        return None
    hz = MAINS_HZ[found - 1]
    frequency_S, power_CS = welch(x_CT[: len(ELECTRODES)], SFREQ, nperseg=round(4 * SFREQ))

    def is_line(at_hz: float) -> bool:
        near_S, beside_S = (abs(frequency_S - at_hz) <= 1), (abs(abs(frequency_S - at_hz) - 4) < 2)
        level_C1 = np.median(power_CS[:, beside_S], axis=1, keepdims=True)
        rms_C = np.sqrt(np.maximum((power_CS[:, near_S] - level_C1).sum(axis=1) * frequency_S[1], 0))
        return bool(((power_CS[:, near_S].max(axis=1) > _LINE * level_C1[:, 0]) & (rms_C > _LINE_UV)).any())

    folded = sorted({abs((k * hz + SFREQ / 2) % SFREQ - SFREQ / 2) for k in range(2, N_HARMONICS + 1)} - {hz})
    return {"hz": hz, "lines": [hz, *(f for f in folded if 5 < f < SFREQ / 2 - 2 and is_line(f))]}


def gaps(eeg_TC: NDArray[np.floating]) -> dict[str, list[list[int]]]:
    """Find where nothing was recorded of a window as stored, (T, 20).

    For each channel that misses samples, pairs of the first that is missing and the next that is there, at 200 Hz.
    """
    missing_TC = ~np.isfinite(eeg_TC)
    found = {}
    for c in np.flatnonzero(missing_TC.any(axis=0)):
        edges = np.flatnonzero(np.diff(missing_TC[:, c].astype(np.int8), prepend=0, append=0))
        found[CHANNELS[c]] = edges.reshape(-1, 2).tolist()
    return found


def spectrogram_levels(eeg_BTC: Tensor) -> NDArray[np.uint8]:
    """Make the spectrograms of the four regions of EEGs (B, 10000, 20), microvolt, NaN where nothing was recorded.

    (B, 4, 48, 250): regions as in `hbac.signal.reading_order.CHAINS`, frequencies rising to 20 Hz, a column every 0.2
    s. 0 is `LOW_DB` or less, 254 `HIGH_DB` or more, 255: of no derivation of the region a sample was recorded.
    """
    image_BIHW = _spectrogram()(eeg_BTC.transpose(1, 2).float()).numpy()[:, [list(REGIONS).index(i) for i in CHAINS]]
    level_BIHW: NDArray[np.uint8] = np.rint((image_BIHW + 1) / 2 * (MISSING - 1)).astype(np.uint8)
    missing_BTC = ~torch.isfinite(eeg_BTC[:, :: WINDOW_SAMPLES // N_COLUMNS]).numpy()
    for i, region in enumerate(CHAINS):
        bad_BTC = missing_BTC[..., [CHANNELS.index(name) for name in REGIONS[region]]]
        unseen_BW = (bad_BTC[..., :-1] | bad_BTC[..., 1:]).all(axis=-1)
        level_BIHW[:, i].transpose(0, 2, 1)[unseen_BW] = MISSING
    return level_BIHW


def window_contents(source: Source, position_B: NDArray[np.int64]) -> Iterator[dict[str, Any]]:
    """Make what the page reads of each window, the label rows at these positions, plain, for JSON.

    ``gaps``, ``mains``, ``signal`` (packed, see `hbac.report.eeg_packing`), ``steps_uv``, ``spectrogram``.
    """
    for start in range(0, len(position_B), _CHUNK):
        eeg_BTC = source.copy(position_B[start : start + _CHUNK])
        signals, levels = stored(eeg_BTC).numpy(), spectrogram_levels(eeg_BTC)
        for b, signal in enumerate(signals):
            step_CT, steps_uv = quantise(signal)
            yield {
                "gaps": gaps(eeg_BTC[b].numpy()),
                "mains": mains(signal),
                "signal": pack_signal(step_CT),
                "steps_uv": steps_uv,
                "spectrogram": pack_bytes(levels[b].tobytes()),
            }


def write_window(path: Path, label_id: int | str, content: dict[str, Any]) -> None:
    """Write a window, of `window_contents`, as a script, which is all that a page may load from the disk."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    with whole_file(path) as partial:
        script = f'hbacEEG.arrived("{label_id}",{zlib.crc32(f"{label_id} {text}".encode())},{json.dumps(text)});\n'
        partial.write_text(script, encoding="utf-8")
