"""A recording in pieces: tiles of a minute for the EEG page, and on the way the trends of the whole.

The page of a recording reads only the tiles that it shows. They are at 100 Hz, which a screen can draw and an eye can
follow; the steps of half a microvolt and the packing are those of the report's windows (`hbac.report.eeg_packing`).
"""

# T sample, C stored channel, D derivation, I region, F frequency, W column

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.signal import firwin, get_window, upfirdn

from hbac.evaluation.areas import ratio
from hbac.report.eeg_data import HIGH_DB, LOW_DB, MAX_HZ, gaps, write_window
from hbac.report.eeg_packing import MISSING, pack_signal, quantise
from hbac.signal.montage import derivation_weights, region_derivations
from hbac.signal.reading_order import CHAINS
from hbac.vocabulary import CHANNELS, N_CHANNELS, SFREQ

Array = npt.NDArray[np.float64]
Signal = npt.NDArray[np.floating]

TILE_S = 60
TILE_HZ = 100.0
HIGHEST_HZ = 40.0  # what is left of the signal in a tile
#: Bands of the asymmetry, in hertz.
BANDS = {"delta": (0.5, 4.0), "theta": (4.0, 8.0), "alpha": (8.0, 13.0), "beta": (13.0, 20.0)}
MOST_COLUMNS = 1440  # of the spectrograms: a minute each in a day
FRAME_S = 2.0
_LEAST_SHARE = 0.9  # of a frame that was recorded, for it to count
_EVERY = round(SFREQ / TILE_HZ)
_TAPS = 41
_BESIDE = _TAPS // 2  # samples around a tile that its filter needs
_DERIVATIONS = tuple(region_derivations(region) for region in CHAINS)


class Trends:
    """Power over a recording of so many seconds by region, added up frame by frame."""

    def __init__(self, duration_s: float) -> None:
        # Seconds of a column.
        self.column_s = FRAME_S * max(1, int(np.ceil(duration_s / FRAME_S / MOST_COLUMNS)))
        n_columns = max(1, int(np.ceil(duration_s / self.column_s)))
        self._frame = round(FRAME_S * SFREQ)
        self._hz_F = np.fft.rfftfreq(self._frame, 1 / SFREQ)
        self._hz_F = self._hz_F[(self._hz_F > 0) & (self._hz_F <= MAX_HZ)]
        self._window_T = get_window("hann", self._frame)
        self._weight_DC = np.zeros((sum(map(len, _DERIVATIONS)), N_CHANNELS), np.float32)
        for d, name in enumerate(name for region in _DERIVATIONS for name in region):
            for channel, weight in derivation_weights(name).items():
                self._weight_DC[d, CHANNELS.index(channel)] = weight
        self._power_WIF = np.zeros((n_columns, len(CHAINS), len(self._hz_F)))
        self._count_WI = np.zeros((n_columns, len(CHAINS)))

    @property
    def n_columns(self) -> int:
        """How many columns there are."""
        return len(self._power_WIF)

    def add(self, eeg_TC: Signal, start_s: float) -> None:
        """Add a stretch of the recording, from `start_s` on: (T, 20), microvolt at 200 Hz, NaN for gaps.

        What is left of a frame of two seconds at its end is not looked at.
        """
        n_frames = len(eeg_TC) // self._frame
        frame_NTC = eeg_TC[: n_frames * self._frame].reshape(n_frames, self._frame, -1).astype(np.float32)
        there_NTC = np.isfinite(frame_NTC)
        count_N1C = there_NTC.sum(axis=1, keepdims=True)
        mean_N1C = np.where(there_NTC, frame_NTC, 0).sum(axis=1, keepdims=True) / np.maximum(count_N1C, 1)
        x_NTC = np.where(there_NTC, frame_NTC - mean_N1C, 0)
        frame_NDT = np.einsum("dc,ntc->ndt", self._weight_DC, x_NTC, optimize=True) * self._window_T
        missing_NC = count_N1C[:, 0] < _LEAST_SHARE * self._frame
        here_ND = ~(missing_NC @ (self._weight_DC != 0).T)
        power_NDF = np.abs(np.fft.rfft(frame_NDT)[..., 1 : len(self._hz_F) + 1]) ** 2
        power_NDF *= 2 / (SFREQ * (self._window_T**2).sum()) * here_ND[..., None]
        column_N = ((start_s + FRAME_S * np.arange(n_frames)) / self.column_s).astype(np.int64)
        column_N = np.minimum(column_N, self.n_columns - 1)
        shape = (n_frames, len(CHAINS), -1)
        np.add.at(self._power_WIF, column_N, power_NDF.reshape(*shape, len(self._hz_F)).sum(axis=2))
        np.add.at(self._count_WI, column_N, here_ND.reshape(shape).sum(axis=2))

    def density(self) -> Array:
        """Return the mean over each column and the derivations of a region, shape (columns, 4, 40).

        µV²/Hz from 0.5 to 20 Hz, regions as in `hbac.signal.reading_order.CHAINS`; NaN where not recorded.
        """
        count_WI1 = self._count_WI[..., None]
        return ratio(self._power_WIF, count_WI1)

    def levels(self) -> npt.NDArray[np.uint8]:
        """Return the spectrograms as the page has them, shape (4, 40, columns).

        0 is −10 dB of 1 µV²/Hz or less, 254 is 30 dB or more, 255 was not recorded.
        """
        level_WIF = (10 * np.log10(np.maximum(self.density(), 1e-12)) - LOW_DB) / (HIGH_DB - LOW_DB)
        code_WIF = np.where(np.isnan(level_WIF), MISSING, np.rint(np.clip(level_WIF, 0, 1) * (MISSING - 1)))
        return np.ascontiguousarray(code_WIF.transpose(1, 2, 0)).astype(np.uint8)

    def asymmetry(self) -> dict[str, Array]:
        """Compare the sides in each band of `BANDS`, shape (columns,).

        (R − L) / (R + L) of the power on the right and on the left, −1 to 1; NaN where either was not recorded.
        """
        density_WIF = self.density()
        found = {}
        for band, (low_hz, high_hz) in BANDS.items():
            inside_F = (self._hz_F >= low_hz) & (self._hz_F < high_hz)
            power_WI = density_WIF[..., inside_F].sum(axis=-1)
            left, right = (sum(power_WI[:, i] for i, name in enumerate(CHAINS) if name[0] == side) for side in "LR")
            found[band] = ratio(right - left, left + right)
        return found


def write_tiles(folder: Path, blocks: Iterable[Signal], trends: Trends) -> int:
    """Write a recording minute by minute, ``<number>.js``, add it to the trends, and say how many minutes there are.

    `blocks` are the recording from its start without a break, (T, 20): microvolt at 200 Hz, NaN where nothing was
    recorded. Of any length; little more than a block and a tile is kept.
    """
    level_C = np.full(N_CHANNELS, np.nan)  # the first that is known of each channel
    before_TC = np.zeros((0, N_CHANNELS), np.float32)
    number = -1
    for number, (tile_TC, after_TC) in enumerate(_tiles(blocks)):
        trends.add(tile_TC, number * TILE_S)
        known_C = np.isfinite(tile_TC).any(axis=0)
        new_C = known_C & np.isnan(level_C)
        level_C[new_C] = np.nanmedian(tile_TC[:, new_C], axis=0)
        wide_TC = np.concatenate([before_TC, tile_TC, after_TC]) - np.nan_to_num(level_C)
        write_window(folder / f"{number}.js", number, tile_content(wide_TC, len(before_TC), len(tile_TC)))
        before_TC = tile_TC[-_BESIDE:]
    return number + 1


def _tiles(blocks: Iterable[Signal]) -> Iterator[tuple[Signal, Signal]]:
    """Cut blocks into tiles, each with the first samples after it."""
    size = round(TILE_S * SFREQ)
    kept_TC = np.zeros((0, N_CHANNELS), np.float32)
    for block_TC in blocks:
        kept_TC = np.concatenate([kept_TC, block_TC])
        while len(kept_TC) >= size + _BESIDE:
            yield kept_TC[:size], kept_TC[size : size + _BESIDE]
            kept_TC = kept_TC[size:]
    for at in range(0, len(kept_TC), size):
        yield kept_TC[at : at + size], kept_TC[at + size : at + size + _BESIDE]


def tile_content(wide_TC: Signal, lead: int, n_times: int) -> dict[str, Any]:
    """Make what the page reads of a tile: ``gaps`` (in samples at 100 Hz), ``signal`` (packed), ``steps_uv``, for JSON.

    Of the tile, `n_times` samples behind the first `lead`, and what lies around it: (T, 20) in microvolt at 200 Hz; NaN
    where nothing was recorded.
    """
    filled_TC = _filled(wide_TC)
    padded_TC = np.pad(filled_TC[: lead + n_times + _BESIDE], ((_BESIDE, _BESIDE), (0, 0)), mode="edge")
    x_TC = upfirdn(firwin(_TAPS, HIGHEST_HZ, fs=SFREQ), padded_TC[lead:], down=_EVERY, axis=0)
    first, n = (_TAPS - 1) // _EVERY, -(-n_times // _EVERY)  # where the filter is full for the first time
    step_CT, steps_uv = quantise(np.ascontiguousarray(x_TC[first : first + n].T))
    tile_TC = wide_TC[lead : lead + n_times : _EVERY]
    return {"gaps": gaps(tile_TC), "signal": pack_signal(step_CT), "steps_uv": steps_uv}


def _filled(wide_TC: Signal) -> Array:
    """Draw a line over what was not recorded, so that filters have no step to ring at."""
    filled_TC = wide_TC.astype(np.float64)
    for c in np.flatnonzero(~np.isfinite(filled_TC).all(axis=0)):
        there = np.isfinite(filled_TC[:, c])
        at = np.flatnonzero(there)
        filled_TC[:, c] = np.interp(np.arange(len(there)), at, filled_TC[at, c]) if len(at) else 0.0
    return filled_TC
