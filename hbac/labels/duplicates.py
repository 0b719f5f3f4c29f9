"""The same signal under two ids: near-duplicate recordings of different patients.

A recording that was filed twice, under two patients, puts the same windows on both sides of a fold, and no id tells. So
the signals themselves are compared, each recording with all others, in time that grows as their length.

Around each landmark (a local maximum of the smoothed signal) the signs of 64 differences are one number: 16 steps of
0.2 s in four derivations. Copies have the same numbers wherever they begin; an offset, a gain, another reference and
the rounding to float16 change next to none of them. Recordings of two patients with several numbers in common are then
laid one over the other and correlated in pieces of ten seconds, so that what is reported is true.

References
----------
Landmarks: Wang 2003, "An industrial-strength audio search algorithm", Proc. ISMIR. Signs of differences: Haitsma &
Kalker 2002, "A highly robust audio fingerprinting system", Proc. ISMIR.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import maximum_filter1d, uniform_filter1d

from hbac.labels.leaks import Check
from hbac.recordings.store import Store
from hbac.vocabulary import CHANNELS, SFREQ

# Legend of array names: T sample, E electrode, D derivation, L landmark, K difference.

QUESTION = "EEGs whose signal is in another fold, too"
METHOD = 1  # counts up when results that were kept must be found anew

_ELECTRODES = tuple(CHANNELS.index(name) for name in ("Fp1", "C3", "O1", "Fp2", "C4", "O2"))
_DERIVATIONS = np.array(
    [[1, -1, 0, 0, 0, 0], [0, 1, -1, 0, 0, 0], [0, 0, 0, 1, -1, 0], [0, 0, 0, 0, 1, -1]], np.float32
)
_SMOOTH = int(0.2 * SFREQ)  # samples of the moving mean, taken twice: below about 3 Hz
_NEAR = int(0.5 * SFREQ)  # a landmark is the largest sample so far to either side
_LAGS = np.arange(17) * int(0.2 * SFREQ)
_FEWEST_CHANGES = 32  # of the 64 differences; where fewer are not 0 something is flat, which is alike everywhere
_FEWEST_COMMON = 3  # numbers in common that make two recordings worth comparing
_PIECE = int(10 * SFREQ)
_ALIKE = 0.99  # correlation of each derivation within a piece
_PLACEMENTS = 8  # ways of laying two recordings over one another that are tried
_STRETCH = 1 << 19  # samples of a recording looked at a time: 44 minutes, some 50 MB


@dataclass(frozen=True)
class SharedSignal:
    """A stretch of signal that recordings of two patients have in common, in whole pieces of ten seconds."""

    eeg_id: int
    other_eeg_id: int
    start_s: float  # where the stretch begins in `eeg_id`
    other_start_s: float
    length_s: float


@dataclass(frozen=True)
class Duplicates:
    """What a comparison of all recordings found."""

    compared: int  # recordings
    featureless: int  # that could not be compared: flat, missing, or shorter than a landmark's surroundings
    shared: tuple[SharedSignal, ...]  # one for each two recordings that have signal in common


def find_duplicates(store: Store, rows: pd.DataFrame, tell: Callable[[int, int], None] | None = None) -> Duplicates:
    """Compare the recordings of different patients; what two of one patient share is no leak.

    Recordings are compared whole, and not window by window: two that share a stretch outside their labelled windows are
    of the same patient all the same.
    """
    owner = rows.drop_duplicates("eeg_id").set_index("eeg_id")["patient_id"].sort_index()
    ids = owner.index.to_numpy(np.int64)
    found = []
    featureless = 0
    for number, eeg_id in enumerate(ids.tolist()):
        if tell is not None:
            tell(number, len(ids))
        place_L, number_L = _landmarks_of(store, eeg_id)
        featureless += not len(place_L)
        found.append((np.full(len(place_L), number), place_L, number_L))
    if not found:
        return Duplicates(0, 0, ())
    recording, place, value = (np.concatenate(parts) for parts in zip(*found, strict=True))
    shared = []
    for (a, b), lags in sorted(_alike(recording, place, value, owner.to_numpy(np.int64)).items()):
        stretch = _common_stretch(store, int(ids[a]), int(ids[b]), lags)
        if stretch is not None:
            shared.append(stretch)
    return Duplicates(len(ids) - featureless, featureless, tuple(shared))


def landmarks(x_DT: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Find the landmarks of four smooth derivations at 200 Hz, and the numbers that stand for what follows them.

    Returned are the sample of each landmark, shape (L,), and the signs of its 64 differences.
    """
    total_T = x_DT.sum(axis=0)
    end = len(total_T) - int(_LAGS[-1])
    if end < 3:
        return np.empty(0, np.int64), np.empty(0, np.uint64)
    top_T = total_T == maximum_filter1d(total_T, 2 * _NEAR + 1)
    top_T[1:-1] &= (total_T[1:-1] > total_T[:-2]) & (total_T[1:-1] > total_T[2:])
    top_T[0], top_T[end:] = False, False
    place_L = np.flatnonzero(top_T)
    change_LK = np.diff(x_DT[:, place_L[:, None] + _LAGS], axis=2).transpose(1, 0, 2).reshape(len(place_L), 64)
    lively_L = (change_LK != 0).sum(axis=1) >= _FEWEST_CHANGES
    number_L = np.packbits(change_LK[lively_L] > 0, axis=1).view(np.uint64).reshape(-1)
    return place_L[lively_L], number_L


def _landmarks_of(store: Store, eeg_id: int) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Find the landmarks of a recording, a stretch at a time, each read with what its landmarks' surroundings need."""
    n = store.n_rows(eeg_id)
    places, numbers = [], []
    for begin in range(0, max(n, 1), _STRETCH):
        first, end = max(0, begin - _NEAR - 1), min(n, begin + _STRETCH)
        place_L, number_L = landmarks(_signal(store, eeg_id, first, min(n, end + int(_LAGS[-1]) + _NEAR + 1)))
        place_L = place_L + first
        inside_L = (place_L >= begin) & (place_L < end)
        places.append(place_L[inside_L])
        numbers.append(number_L[inside_L])
    return np.concatenate(places), np.concatenate(numbers)


def _signal(store: Store, eeg_id: int, start: int, stop: int) -> NDArray[np.float32]:
    """Read four derivations of a part of a recording, smoothed as in the whole of it; what is missing is 0."""
    first, end = max(0, start - _SMOOTH), min(store.n_rows(eeg_id), stop + _SMOOTH)
    eeg_TC = store.copy_windows([eeg_id], [first], end - first)[0]
    eeg_ET = eeg_TC[:, _ELECTRODES].astype(np.float32).T
    eeg_ET[np.isnan(eeg_ET)] = 0
    x_DT: NDArray[np.float32] = _DERIVATIONS @ eeg_ET
    for _ in range(2):
        x_DT = uniform_filter1d(x_DT, _SMOOTH, axis=1, mode="nearest")
    return x_DT[:, start - first : stop - first]


def _alike(
    recording: NDArray[np.int64], place: NDArray[np.int64], value: NDArray[np.uint64], owner: NDArray[np.int64]
) -> dict[tuple[int, int], list[int]]:
    """Return the recordings of two patients with several numbers in common, and how far the second one may lag."""
    order = np.lexsort((recording, owner[recording], value))
    recording, place, value = recording[order], place[order], value[order]
    # Neighbours in this order are enough: a number that many patients share links each of them to the next.
    same = (value[1:] == value[:-1]) & (owner[recording[1:]] != owner[recording[:-1]])
    first, second = np.flatnonzero(same), np.flatnonzero(same) + 1
    lags: dict[tuple[int, int], Counter[int]] = {}
    for i, j in zip(first.tolist(), second.tolist(), strict=True):
        (a, p), (b, q) = sorted([(int(recording[i]), int(place[i])), (int(recording[j]), int(place[j]))])
        lags.setdefault((a, b), Counter())[q - p] += 1
    return {
        pair: [lag for lag, _ in found.most_common(_PLACEMENTS)]
        for pair, found in lags.items()
        if found.total() >= _FEWEST_COMMON
    }


def _common_stretch(store: Store, a: int, b: int, lags: Sequence[int]) -> SharedSignal | None:
    """Lay two recordings over one another, the second one moved by each lag, and compare them piece by piece."""
    n_a, n_b = store.n_rows(a), store.n_rows(b)
    best: tuple[int, float] = (0, 0.0)
    shared = None
    for lag in lags:
        start_a, start_b = max(0, -lag), max(0, lag)
        n = min(n_a - start_a, n_b - start_b)
        found = []
        for begin in range(0, n - _PIECE + 1, _PIECE):
            ours = _signal(store, a, start_a + begin, start_a + begin + _PIECE)
            theirs = _signal(store, b, start_b + begin, start_b + begin + _PIECE)
            if (r := _correlation(ours, theirs)) >= _ALIKE:
                found.append((begin, r))
        if found and (score := (len(found), sum(r for _, r in found))) > best:
            best, begin = score, found[0][0]
            shared = SharedSignal(a, b, (start_a + begin) / SFREQ, (start_b + begin) / SFREQ, len(found) * 10.0)
    return shared


def _correlation(x_DT: NDArray[np.float32], y_DT: NDArray[np.float32]) -> float:
    """Return the least correlation of the derivations that change in either; 0 where none does."""
    x, y = (s.astype(np.float64) - s.mean(axis=1, keepdims=True, dtype=np.float64) for s in (x_DT, y_DT))
    size_D = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    live_D = (np.abs(x).max(axis=1) > 0) | (np.abs(y).max(axis=1) > 0)
    if not live_D.any() or (size_D[live_D] == 0).any():
        return 0.0
    return float(((x * y).sum(axis=1)[live_D] / size_D[live_D]).min())


def check_duplicates(
    shared: Iterable[SharedSignal], compared: int, rows: pd.DataFrame, fold: ArrayLike, remark: str = ""
) -> Check:
    """Ask whether recordings in two folds have signal in common, of `compared` ones of different patients.

    Patients that share signal within one fold are no leak of these folds; the check's remark counts them.
    """
    first = rows.assign(fold=np.asarray(fold)).drop_duplicates("eeg_id").set_index("eeg_id")[["patient_id", "fold"]]

    def place(eeg_id: int, start_s: float) -> str:
        patient_id, its_fold = first.loc[eeg_id]
        return f"eeg_id {eeg_id} (patient_id {patient_id}, fold {its_fold}) from {start_s:g} s"

    leaks, within = [], 0
    for pair in shared:
        if first["fold"][pair.eeg_id] == first["fold"][pair.other_eeg_id]:
            within += 1
            continue
        places = (place(pair.eeg_id, pair.start_s), place(pair.other_eeg_id, pair.other_start_s))
        leaks.append(f"{' and '.join(places)} have {pair.length_s:g} s of signal in common")
    remarks: Sequence[str] = [remark] if remark else []
    if within:
        remarks = [*remarks, f"{within} more within one fold"]
    remedy = "give both one patient_id in train.csv, or leave one of them out"
    return Check(QUESTION, compared, tuple(leaks), remedy, "; ".join(remarks))
