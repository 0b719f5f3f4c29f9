"""Agreement among experts, from counts of votes, and from the votes of named raters.

Counts say how often two experts agree, and how much of it is chance. Who agrees with whom needs names: `conditional` of
two raters, and of one with the majority of the others.

References
----------
Fleiss, Measuring nominal scale agreement among many raters, Psychological Bulletin 1971, doi:10.1037/h0031619.
Gwet, Computing inter-rater reliability and its variance in the presence of high agreement, British Journal of
Mathematical and Statistical Psychology 2008, doi:10.1348/000711006X126600.
Jing et al., Interrater Reliability of Expert Electroencephalographers Identifying Seizures and Rhythmic and Periodic
Patterns, Neurology 2023, doi:10.1212/WNL.0000000000201670.
"""

# N row, J rater, K class

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hbac.evaluation.areas import ratio
from hbac.vocabulary import CLASSES, N_CLASSES

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.integer]

NOT_RATED = -1
LEAST_ROWS = 10  # of a class, for what is said of one pair
#: A majority that is a tie goes to the first of these.
TIES = (CLASSES.index("other"), *(k for k, name in enumerate(CLASSES) if name != "other"))


@dataclass(frozen=True)
class Agreement:
    """How far experts agree.

    Parameters
    ----------
    rows : int
        Rows with two or more votes.
    observed : float
        Probability that two experts who voted on a row gave it the same class, averaged over the rows.
    fleiss_kappa : float
        What of it is beyond chance, by the sum of squared class shares.
    gwet_ac1 : float
        The same, by Gwet's chance, which does not collapse where one class is most of the rows.
    """

    rows: int
    observed: float
    fleiss_kappa: float
    gwet_ac1: float


def agreement(count_NK: npt.NDArray[np.integer]) -> Agreement:
    """Measure agreement from counts of votes.

    Parameters
    ----------
    count_NK : ndarray of int, shape (rows, classes)
        Votes of each class; rows may differ in their number, and those with fewer than two are left out.

    Returns
    -------
    Agreement
        NaN without a row of two votes; kappa and AC1 also where chance alone agrees always.

    Examples
    --------
    >>> found = agreement(np.array([[2, 0], [0, 2], [1, 1]]))
    >>> [round(value, 4) for value in (found.observed, found.fleiss_kappa, found.gwet_ac1)]
    [0.6667, 0.3333, 0.3333]
    """
    n_N = count_NK.sum(axis=1)
    counts = count_NK[n_N >= 2].astype(np.float64)
    n_N1 = counts.sum(axis=1, keepdims=True)
    if not len(counts):
        return Agreement(0, *[float("nan")] * 3)
    observed = float(((counts * (counts - 1)).sum(axis=1, keepdims=True) / (n_N1 * (n_N1 - 1))).mean())
    share_K = (counts / n_N1).mean(axis=0)
    by_kappa = float((share_K**2).sum())
    by_ac1 = float((share_K * (1 - share_K)).sum() / (counts.shape[1] - 1))
    kappa, ac1 = ((observed - chance) / (1 - chance) if chance < 1 else float("nan") for chance in (by_kappa, by_ac1))
    return Agreement(len(counts), observed, kappa, ac1)


def count_votes_by_rater(vote_NJ: Labels) -> npt.NDArray[np.int64]:
    """Count the votes of named raters.

    Parameters
    ----------
    vote_NJ : ndarray of int, shape (rows, raters)
        Class that each rater gave, −1 where none.

    Returns
    -------
    ndarray of int64, shape (rows, 6)
        Votes of each class.
    """
    return np.stack([(vote_NJ == k).sum(axis=1) for k in range(N_CLASSES)], axis=1)


def majority(count_NK: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Find the class with most votes.

    Parameters
    ----------
    count_NK : ndarray of int, shape (rows, 6)
        Votes of each class.

    Returns
    -------
    ndarray of int64, shape (rows,)
        A tie goes to the first of `TIES`; −1 without votes.

    Examples
    --------
    >>> [CLASSES[k] for k in majority(np.array([[2, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 1]]))]
    ['seizure', 'other']
    """
    order = np.array(TIES)
    return np.asarray(np.where(count_NK.sum(axis=1) > 0, order[count_NK[:, order].argmax(axis=1)], NOT_RATED))


def majority_of_others(vote_NJ: Labels) -> npt.NDArray[np.int64]:
    """Find, for each rater, the class that most of the others gave.

    Parameters
    ----------
    vote_NJ : ndarray of int, shape (rows, raters)
        Class that each rater gave, −1 where none.

    Returns
    -------
    ndarray of int64, shape (rows, raters)
        −1 where the rater has not rated the row, or nobody else has.
    """
    count_NK = count_votes_by_rater(vote_NJ)
    found = np.full(vote_NJ.shape, NOT_RATED, np.int64)
    for j in range(vote_NJ.shape[1]):
        rated = np.flatnonzero(vote_NJ[:, j] != NOT_RATED)
        others = count_NK[rated]  # a copy
        others[np.arange(len(rated)), vote_NJ[rated, j]] -= 1
        found[rated, j] = majority(others)
    return found


def conditional(reference_N: Labels, said_N: Labels) -> tuple[Array, npt.NDArray[np.int64]]:
    """Say how often one gives a class where a reference does.

    Parameters
    ----------
    reference_N, said_N : ndarray of int, shape (rows,)
        Classes, −1 where there is none.

    Returns
    -------
    agreed_K : ndarray of float64, shape (6,)
        Of the rows that both have and the reference gives the class, the share that the other one does, too; NaN
        where there is none.
    n_K : ndarray of int64, shape (6,)
        How many rows these are.

    Examples
    --------
    >>> agreed, n = conditional(np.array([0, 0, 0, 1, -1]), np.array([0, 0, 2, 1, 1]))
    >>> agreed[:2].round(3).tolist(), n[:2].tolist()
    ([0.667, 1.0], [3, 1])
    """
    both = (reference_N != NOT_RATED) & (said_N != NOT_RATED)
    reference, said = reference_N[both], said_N[both]
    n_K = np.bincount(reference, minlength=N_CLASSES)
    same_K = np.bincount(reference[reference == said], minlength=N_CLASSES)
    return ratio(same_K.astype(np.float64), n_K.astype(np.float64)), n_K


def _mean_of_full(pairs: list[tuple[Array, npt.NDArray[np.int64]]]) -> tuple[Array, int]:
    full = [agreed for agreed, n in pairs if (n >= LEAST_ROWS).all()]
    return (np.mean(full, axis=0) if full else np.full(N_CLASSES, np.nan)), len(full)


def pairwise(vote_NJ: Labels, said_N: Labels | None = None) -> tuple[Array, int]:
    """Average the agreement of pairs: all of the raters, or each with one more, such as a network.

    Parameters
    ----------
    vote_NJ : ndarray of int, shape (rows, raters)
        Class that each rater gave, −1 where none.
    said_N : ndarray of int, shape (rows,), optional
        What each rater is compared with, in both directions; without, raters are compared with one another.

    Returns
    -------
    agreed_K : ndarray of float64, shape (6,)
        Mean over ordered pairs (reference, other); NaN without a pair.
    n_pairs : int
        Pairs that have 10 or more rows of the reference in each class; others are left out.
    """
    raters = range(vote_NJ.shape[1])
    if said_N is None:
        return _mean_of_full([conditional(vote_NJ[:, i], vote_NJ[:, j]) for i in raters for j in raters if i != j])
    pairs = [conditional(vote_NJ[:, j], said_N) for j in raters] + [conditional(said_N, vote_NJ[:, j]) for j in raters]
    return _mean_of_full(pairs)


def with_majority(vote_NJ: Labels, said_N: Labels | None = None) -> Array:
    """Compare raters with the majority of the others, or one more with that of all.

    Parameters
    ----------
    vote_NJ : ndarray of int, shape (rows, raters)
        Class that each rater gave, −1 where none.
    said_N : ndarray of int, shape (rows,), optional
        What is compared with the majority of all, such as a network's class.

    Returns
    -------
    ndarray of float64, shape (raters, 6) or (6,)
        Share of the majority's rows of each class that were given it, too; NaN where there is none.
    """
    if said_N is not None:
        return conditional(majority(count_votes_by_rater(vote_NJ)), said_N)[0]
    others_NJ = majority_of_others(vote_NJ)
    return np.stack([conditional(others_NJ[:, j], vote_NJ[:, j])[0] for j in range(vote_NJ.shape[1])])
