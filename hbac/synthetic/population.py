"""What windows are like in the two vote populations, before anybody has voted.

The numbers were fitted once, by simulating labels and comparing them with `reference`: what `labels` draws from them
has the figures of the competition's votes (a test says how nearly).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Mix:
    """One population, by class (6,)."""

    labels: NDArray[np.float64]  # how often EEGs show each class most
    rows_per_eeg: NDArray[np.float64]  # mean
    seconds: NDArray[np.float64]  # (6, 6) how often the row's class is mixed with the column's; 0 on the diagonal
    ambiguity: NDArray[np.float64]  # mean part of the second class in the evidence
    spread: NDArray[np.float64]  # how much of that part is spread over all classes it could be mixed with
    steady: NDArray[np.float64]  # how little that part varies: the sum of its beta distribution's parameters


MANY_CHANCE = 1 / 3  # of the EEGs
LAPSE = 0.03  # of the evidence speaks for no class in particular
MOST_AMBIGUOUS = 0.6
# How probably a window is kept on which so many experts of the panel for few votes disagree; 1 where they agree.
KEEP = {1: 1.0, 2: 2.0, 3: 0.45, 4: 2.0, 5: 2.0, 6: 2.0, 7: 2.0}


def _rows(weights: list[list[float]]) -> NDArray[np.float64]:
    found = np.array(weights)
    return np.asarray(found / found.sum(axis=1, keepdims=True))


# Few votes (False) and many (True); class order as in `hbac.vocabulary.CLASSES`.
MIXES = {
    False: Mix(
        labels=np.array([0.206, 0.086, 0.150, 0.071, 0.099, 0.388]),
        rows_per_eeg=np.array([8.1, 4.3, 5.7, 15.8, 10.4, 1.7]),
        seconds=_rows(
            [
                [0.000, 0.010, 0.010, 0.010, 0.010, 0.960],
                [0.355, 0.000, 0.010, 0.031, 0.010, 0.594],
                [0.177, 0.346, 0.000, 0.010, 0.076, 0.391],
                [0.012, 0.102, 0.011, 0.000, 0.267, 0.608],
                [0.010, 0.010, 0.010, 0.722, 0.000, 0.248],
                [0.012, 0.506, 0.010, 0.016, 0.456, 0.000],
            ]
        ),
        ambiguity=np.array([0.010, 0.076, 0.460, 0.412, 0.029, 0.082]),
        spread=np.array([0.40, 0.40, 0.40, 0.40, 0.40, 0.40]),
        steady=np.array([3.3, 3.3, 3.3, 3.3, 3.3, 3.3]),
    ),
    True: Mix(
        labels=np.array([0.037, 0.195, 0.112, 0.066, 0.103, 0.487]),
        rows_per_eeg=np.array([1.1, 6.4, 15.1, 22.9, 13.5, 2.3]),
        seconds=_rows(
            [
                [0.000, 0.290, 0.436, 0.015, 0.011, 0.248],
                [0.143, 0.000, 0.141, 0.263, 0.014, 0.439],
                [0.417, 0.175, 0.000, 0.010, 0.060, 0.338],
                [0.060, 0.218, 0.020, 0.000, 0.101, 0.602],
                [0.012, 0.050, 0.135, 0.102, 0.000, 0.702],
                [0.151, 0.378, 0.374, 0.010, 0.087, 0.000],
            ]
        ),
        ambiguity=np.array([0.290, 0.298, 0.300, 0.480, 0.440, 0.157]),
        spread=np.array([0.50, 0.48, 0.90, 0.40, 0.30, 0.30]),
        steady=np.array([10.0, 1.6, 10.0, 3.0, 2.2, 1.4]),
    ),
}
