"""What the votes of the competition's label rows are like: the figures that simulated votes are held against.

Counted on 106,519 of the 106,800 rows of ``train.csv`` of "HMS - Harmful Brain Activity Classification" (Kaggle, 2024);
no row has 8 or 9 votes. Class order is that of `hbac.vocabulary.CLASSES`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import xlogy

from hbac.vocabulary import FEW_VOTES, MANY_VOTES, N_CLASSES


@dataclass(frozen=True)
class VoteFigures:
    """What the votes of one population are like; NaN where there is nothing to count."""

    rows: int
    eegs: int
    top: float  # mean share of the class with the most votes
    unanimous: float  # share of rows whose votes agree
    entropy: float  # mean, nats
    shares: NDArray[np.float64]  # (6,) mean share of the votes, over rows
    first: NDArray[np.float64]  # (6,) consensus of an EEG's first row of the population, as a share of the EEGs
    rows_per_eeg: NDArray[np.float64]  # (6,) mean number of rows of EEGs, by that consensus
    by_consensus: NDArray[np.float64]  # (6, 6) mean share of the votes (columns) of rows by their consensus

    def distances(self, wanted: VoteFigures) -> dict[str, float]:
        """Return the largest difference from other figures, by kind, in units of what simulated votes may differ by."""
        off = {name: (getattr(self, name) - getattr(wanted, name)) / allowed for name, allowed in ALLOWED.items()}
        off["rows_per_eeg"] = (self.rows_per_eeg / wanted.rows_per_eeg - 1) * 3
        return {name: float(np.nan_to_num(np.abs(value), nan=np.inf).max()) for name, value in off.items()}


#: How much simulated figures may differ from the competition's; rows per EEG by a third.
ALLOWED = {"top": 0.02, "unanimous": 0.03, "entropy": 0.05, "shares": 0.02, "by_consensus": 0.06}
POPULATIONS = {"up_to_7": (1, FEW_VOTES), "10_or_more": (MANY_VOTES, 10**6)}
HMS_FIGURES = {
    "up_to_7": VoteFigures(
        rows=66_674,
        eegs=11_845,
        top=0.892,
        unanimous=0.711,
        entropy=0.202,
        shares=np.array([0.302, 0.104, 0.084, 0.144, 0.210, 0.156]),
        first=np.array([0.228, 0.132, 0.094, 0.057, 0.122, 0.365]),
        rows_per_eeg=np.array([7.7, 4.5, 5.7, 15.0, 9.3, 2.1]),
        by_consensus=np.array(
            [
                [0.960, 0.010, 0.005, 0.004, 0.002, 0.019],
                [0.025, 0.808, 0.029, 0.045, 0.005, 0.089],
                [0.046, 0.061, 0.774, 0.006, 0.030, 0.083],
                [0.004, 0.016, 0.002, 0.821, 0.065, 0.092],
                [0.002, 0.002, 0.003, 0.024, 0.951, 0.017],
                [0.009, 0.027, 0.012, 0.032, 0.031, 0.890],
            ]
        ),
    ),
    "10_or_more": VoteFigures(
        rows=39_845,
        eegs=5_903,
        top=0.688,
        unanimous=0.088,
        entropy=0.704,
        shares=np.array([0.052, 0.178, 0.203, 0.131, 0.129, 0.307]),
        first=np.array([0.043, 0.195, 0.126, 0.051, 0.072, 0.512]),
        rows_per_eeg=np.array([2.4, 6.4, 13.4, 20.3, 12.6, 3.4]),
        by_consensus=np.array(
            [
                [0.586, 0.097, 0.102, 0.070, 0.024, 0.122],
                [0.032, 0.716, 0.032, 0.086, 0.014, 0.119],
                [0.111, 0.046, 0.706, 0.006, 0.034, 0.098],
                [0.025, 0.088, 0.013, 0.582, 0.062, 0.229],
                [0.007, 0.024, 0.047, 0.048, 0.635, 0.239],
                [0.017, 0.055, 0.035, 0.061, 0.085, 0.747],
            ]
        ),
    ),
}
# Rows by their number of votes; 19 to 28 were counted together and are spread here with a falling tail.
ROWS_BY_COUNT = {
    "up_to_7": {1: 4_318, 2: 2_308, 3: 51_764, 4: 3_428, 5: 3_970, 6: 883, 7: 3},
    "10_or_more": {
        10: 1_143, 11: 2_602, 12: 4_349, 13: 7_519, 14: 3_862, 15: 10_647, 16: 5_175, 17: 1_440, 18: 1_928,
        19: 400, 20: 250, 21: 160, 22: 120, 23: 80, 24: 60, 25: 45, 26: 30, 27: 20, 28: 15,
    },
}  # fmt: skip


def vote_figures(
    votes: NDArray[np.integer],
    eeg_ids: NDArray[np.integer],
    population: str,
    weight: NDArray[np.floating] | None = None,
) -> VoteFigures:
    """Count what `HMS_FIGURES` holds, on other votes (rows, 6).

    The rows of an EEG stand in their order in time; each counts `weight` (rows,) times, once where that is not given.
    """
    low, high = POPULATIONS[population]
    count = votes.sum(axis=1)
    here = (count >= low) & (count <= high)
    share = votes[here] / count[here, None]
    each = np.ones(int(here.sum())) if weight is None else np.asarray(weight, dtype=float)[here]
    best = share.argmax(axis=1)
    eeg = pd.DataFrame({"eeg": eeg_ids[here], "best": best, "rows": each}).groupby("eeg", sort=False)
    of_eeg = pd.DataFrame({"best": eeg["best"].first(), "rows": eeg["rows"].sum()})
    mean_rows = of_eeg.groupby("best")["rows"].mean().reindex(range(N_CLASSES)).to_numpy()
    total = max(each.sum(), 1e-12)
    by = np.full((N_CLASSES, N_CLASSES), np.nan)
    for k in np.unique(best):
        by[k] = np.average(share[best == k], axis=0, weights=each[best == k])
    return VoteFigures(
        rows=round(each.sum()),
        eegs=len(of_eeg),
        top=float(each @ share.max(axis=1, initial=0.0) / total),
        unanimous=float(each @ (share.max(axis=1, initial=0.0) == 1) / total),
        entropy=float(each @ -xlogy(share, share).sum(axis=1) / total),
        shares=each @ share / total,
        first=np.bincount(of_eeg["best"], minlength=N_CLASSES) / max(len(of_eeg), 1),
        rows_per_eeg=mean_rows,
        by_consensus=by,
    )
