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
    """How far experts agree."""

    rows: int  # with two or more votes
    observed: float  # probability that two experts of a row gave it the same class, averaged over the rows
    fleiss_kappa: float  # what of it is beyond chance, by the sum of squared class shares
    gwet_ac1: float  # the same, by Gwet's chance, which does not collapse where one class is most of the rows


def agreement(count_NK: npt.NDArray[np.integer]) -> Agreement:
    """Measure agreement from counts of votes, shape (rows, classes); rows with fewer than two votes are left out.

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
    """Count votes of each class, shape (rows, 6), of what each rater said, shape (rows, raters), −1 where nothing."""
    return np.stack([(vote_NJ == k).sum(axis=1) for k in range(N_CLASSES)], axis=1)


def majority(count_NK: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Find the class with most votes, of counts (rows, 6); a tie goes to the first of `TIES`, −1 without votes.

    Examples
    --------
    >>> [CLASSES[k] for k in majority(np.array([[2, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 1]]))]
    ['seizure', 'other']
    """
    order = np.array(TIES)
    return np.asarray(np.where(count_NK.sum(axis=1) > 0, order[count_NK[:, order].argmax(axis=1)], NOT_RATED))


def votes_of_others(
    vote_NJ: Labels, count_NK: npt.NDArray[np.int64], j: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the rows that rater `j` rated, and of all votes on them, `count_NK`, those of the others."""
    rows = np.flatnonzero(vote_NJ[:, j] != NOT_RATED)
    others = count_NK[rows]  # a copy
    others[np.arange(len(rows)), vote_NJ[rows, j]] -= 1
    return rows, others


def majority_of_others(vote_NJ: Labels) -> npt.NDArray[np.int64]:
    """Find, for each rater, the class that most of the others gave, shape (rows, raters).

    −1 where the rater has not rated the row, or nobody else has.
    """
    count_NK = count_votes_by_rater(vote_NJ)
    found = np.full(vote_NJ.shape, NOT_RATED, np.int64)
    for j in range(vote_NJ.shape[1]):
        rated, others = votes_of_others(vote_NJ, count_NK, j)
        found[rated, j] = majority(others)
    return found


def conditional(reference_N: Labels, said_N: Labels) -> tuple[Array, npt.NDArray[np.int64]]:
    """Say how often one gives a class where a reference does; both are classes, (rows,), −1 where there is none.

    Returned, each (6,), are the share of the rows that both have and the reference gives the class that the other one
    gives it, too, NaN where there is none; and how many rows these are.

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
    return ratio(same_K.astype(np.float64), n_K), n_K


def _mean_of_full(pairs: list[tuple[Array, npt.NDArray[np.int64]]]) -> tuple[Array, int]:
    full = [agreed for agreed, n in pairs if (n >= LEAST_ROWS).all()]
    return (np.mean(full, axis=0) if full else np.full(N_CLASSES, np.nan)), len(full)


def pairwise(vote_NJ: Labels, said_N: Labels | None = None) -> tuple[Array, int]:
    """Average the agreement of pairs: all of the raters, or each with one more, such as a network, in both directions.

    Returned are the mean over ordered pairs (reference, other) for each class, NaN without a pair, and how many pairs
    have 10 or more rows of the reference in each class; others are left out.
    """
    raters = range(vote_NJ.shape[1])
    if said_N is None:
        return _mean_of_full([conditional(vote_NJ[:, i], vote_NJ[:, j]) for i in raters for j in raters if i != j])
    pairs = [conditional(vote_NJ[:, j], said_N) for j in raters] + [conditional(said_N, vote_NJ[:, j]) for j in raters]
    return _mean_of_full(pairs)


def with_majority(vote_NJ: Labels, said_N: Labels | None = None) -> Array:
    """Compare raters with the majority of the others, or one more, such as a network, with that of all.

    Returned is, for (raters, 6) or (6,), the share of the majority's rows of a class that were given it, too; NaN where
    there is none.
    """
    if said_N is not None:
        return conditional(majority(count_votes_by_rater(vote_NJ)), said_N)[0]
    others_NJ = majority_of_others(vote_NJ)
    return np.stack([conditional(others_NJ[:, j], vote_NJ[:, j])[0] for j in range(vote_NJ.shape[1])])
