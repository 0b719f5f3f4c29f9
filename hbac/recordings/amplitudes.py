"""Whether EEG can be in microvolt, which only its samples tell.

A network makes no difference between silence and EEG in volts; both are "other". So whoever reads samples (a store when
it is built, a model when it is called) asks here what each 50-second window looks like, counts, and says it once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hbac.vocabulary import ELECTRODES

MICROVOLT, MISSING, FLAT, VOLTS, SMALL, LARGE = range(6)
N_LOOKS = 6

# In volts, no EEG comes near 10 mV; in microvolt, none stays below 10 nV.
VOLTS_BELOW = 0.01
# The noise of an amplifier alone spans more than 1 µV in 50 s. Millivolts: 80 µV peak to peak are .08.
SMALL_BELOW = 1.0
# Seizures and artefacts reach some millivolts at single electrodes, not 20 mV at half of them. Nanovolts and counts do.
LARGE_SPAN, LARGE_PEAK = 20_000.0, 50_000.0

_WORDS = {
    MISSING: "have no value at all",
    FLAT: "are flat",
    VOLTS: "stay below 0.01 µV (volts?)",
    SMALL: "stay below 1 µV (millivolts?)",
    LARGE: "are above 20 mV (nanovolts, or counts of a converter?)",
}


def spans(eeg: NDArray[np.floating]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return least and largest value of each channel, both (..., channels), of EEG (..., n_times, channels).

    What is not finite is left out; a channel without a value has NaN, or +inf and -inf.
    """
    eeg = np.asarray(eeg, np.float32) if eeg.dtype == np.float16 else eeg
    low, high = np.fmin.reduce(eeg, axis=-2), np.fmax.reduce(eeg, axis=-2)
    if np.isinf(low).any() or np.isinf(high).any():
        finite = np.isfinite(eeg)
        low = np.min(eeg, axis=-2, where=finite, initial=np.inf)
        high = np.max(eeg, axis=-2, where=finite, initial=-np.inf)
    return low, high


def looks_of(low: ArrayLike, high: ArrayLike) -> NDArray[np.uint8]:
    """Say what windows look like, ``MICROVOLT`` or another, by the spans of their channels, electrodes first.

    The EKG does not count, and neither do flat electrodes beside others.
    """
    n = len(ELECTRODES)
    low_BE, high_BE = np.asarray(low, np.float64)[:, :n], np.asarray(high, np.float64)[:, :n]
    there = high_BE >= low_BE
    low_BE, high_BE = np.where(there, low_BE, 0), np.where(there, high_BE, 0)
    span, peak = high_BE - low_BE, np.maximum(np.abs(low_BE), np.abs(high_BE))
    live = span > 0
    middle_span, middle_peak = _median(span, live), _median(peak, live)
    looks = np.full(len(there), MICROVOLT, np.uint8)
    looks[(middle_span > LARGE_SPAN) | (middle_peak > LARGE_PEAK)] = LARGE
    looks[(middle_span < SMALL_BELOW) | (peak.max(axis=1) < SMALL_BELOW)] = SMALL
    looks[peak.max(axis=1) < VOLTS_BELOW] = VOLTS
    looks[~live.any(axis=1)] = FLAT
    looks[~there.any(axis=1)] = MISSING
    return looks


def _median(values: NDArray[np.float64], chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the upper median of the chosen values of each row; 0 where none is."""
    ordered = np.sort(np.where(chosen, values, np.inf), axis=1)
    count = chosen.sum(axis=1)
    middle = np.take_along_axis(ordered, np.minimum(count // 2, values.shape[1] - 1)[:, None], axis=1)[:, 0]
    return np.where(count > 0, middle, 0.0)


def count_looks(looks: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Count windows by what they look like: six counts."""
    return np.bincount(looks, minlength=N_LOOKS).astype(np.int64)


def main_looks(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count recordings by what most of their windows look like, of the counts (n, 6) of their windows.

    Windows that are missing or flat only count where a recording has no others.
    """
    dead = np.array([MISSING, FLAT])
    counts = counts.copy()
    alive = np.delete(counts, dead, axis=1).any(axis=1)
    counts[np.ix_(alive, dead)] = 0
    return count_looks(counts.argmax(axis=1).astype(np.uint8))


def describe(counts: Sequence[int] | NDArray[np.integer], what: str = "windows") -> str:
    """Say in one line how many windows cannot be EEG in microvolt; empty where all can be.

    Examples
    --------
    >>> describe([8, 0, 2, 0, 0, 0])
    '2 of 10 windows are flat'
    """
    found = [f"{counts[look]:,} {words}" for look, words in _WORDS.items() if counts[look]]
    if not found:
        return ""
    first, _, rest = found[0].partition(" ")
    return ", ".join([f"{first} of {sum(counts):,} {what} {rest}", *found[1:]])
