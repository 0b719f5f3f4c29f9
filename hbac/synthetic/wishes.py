"""Which classes a data set is to show, and how many experts look at them.

References
----------
Jing J et al. Development of expert-level classification of seizures and rhythmic and periodic patterns during EEG
interpretation. Neurology 2023. doi:10.1212/WNL.0000000000207127
"""

from __future__ import annotations

import numpy as np

from hbac.vocabulary import CLASSES

MANY_CHANCE = 1 / 3  # of the EEGs
# Shares of votes that the classes are to get in the two vote populations (True: many), as HMS has them, and the
# classes EEGs are made for to get there: faint patterns end up as "other" whatever was wanted, but for the clear ones.
SHARES = {
    True: (0.05, 0.18, 0.12, 0.08, 0.09, 0.48),
    False: (0.25, 0.13, 0.16, 0.17, 0.19, 0.10),
}
WISHES = {
    True: (0.05, 0.29, 0.14, 0.06, 0.07, 0.39),
    False: (0.30, 0.16, 0.17, 0.18, 0.17, 0.02),
}


def draw_wish(seed: int, part: str, index: int, number: int, clarity: float) -> tuple[bool, str]:
    """Return the vote population and the class that an EEG is to have.

    A low-discrepancy sequence instead of chance: also in a small data set the classes have their shares.

    Parameters
    ----------
    seed : int
        Seed of the data set.
    part : str
        ``train``, or ``test``, where all have many votes.
    index, number : int
        Patient, and which of the patient's EEGs.
    clarity : float
        Clarity of the data set, 0 to 1.

    Returns
    -------
    many : bool
        Whether the EEG's rows get 10 or more votes.
    label : str
        The class it is to show.
    """
    at = (0.6180339887 * index + 0.7548776662 * number + 0.5698402910 * (seed % 1000)) % 1.0
    chances = {True: 1.0} if part == "test" else {True: MANY_CHANCE, False: 1 - MANY_CHANCE}
    cells = [
        (many, label, chances[many] * ((1 - clarity) * wish + clarity * share))
        for many in chances
        for label, wish, share in zip(CLASSES, WISHES[many], SHARES[many], strict=True)
    ]
    edges = np.cumsum([p for _, _, p in cells])
    many, label, _ = cells[min(int(np.searchsorted(edges, at * edges[-1], side="right")), len(cells) - 1)]
    return many, label
