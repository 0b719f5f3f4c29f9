"""Greedy forward selection with replacement: weights are how often each member was picked.

References
----------
Caruana et al., Ensemble selection from libraries of models, doi:10.1145/1015330.1015432.
"""

# M member, N row, K class, I row-class pair with a target above 0

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hbac.ensembling.blends import Array
from hbac.evaluation.metric import CLIP

MAX_PICKS = 40


def fit_greedy(prob_MNK: npt.NDArray[np.floating], target_NK: Array, max_picks: int = MAX_PICKS) -> Array:
    """Pick, time and again, the member that improves the mean of the picked ones most.

    Parameters
    ----------
    prob_MNK : ndarray, shape (members, rows, classes)
        Probabilities.
    target_NK : ndarray of float64, shape (rows, classes)
        Vote shares.
    max_picks : int
        Number of picks. The weights are those of the best of all stages: a pick that doesn't help at once may make
        room for better ones.

    Returns
    -------
    ndarray, shape (members,)
        Weights, sum 1, multiples of one over the number of picks.

    Examples
    --------
    >>> good, bad = np.array([[0.8, 0.2], [0.2, 0.8]]), np.full((2, 2), 0.5)
    >>> fit_greedy(np.stack([bad, good]), np.eye(2)).tolist()
    [0.0, 1.0]
    """
    row_I, class_I = np.nonzero(target_NK)
    count_I = target_NK[row_I, class_I].astype(np.float32)
    prob_MI = np.stack([prob_NK[row_I, class_I] for prob_NK in prob_MNK]).astype(np.float32)
    picked = np.zeros(len(prob_MI))
    total_I = np.zeros(len(row_I), dtype=np.float32)
    best, weights = -np.inf, picked
    for n in range(1, max_picks + 1):
        scores = [float(count_I @ np.log(np.maximum((total_I + prob_I) / n, np.float32(CLIP)))) for prob_I in prob_MI]
        m = int(np.argmax(scores))
        picked[m] += 1
        total_I += prob_MI[m]
        if scores[m] > best:
            best, weights = scores[m], picked / n
    return np.asarray(weights)
