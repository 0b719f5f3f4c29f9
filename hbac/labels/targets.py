"""Votes to targets: shares of the experts' votes, the class they agree on, and the two populations of labels.

Up to 28 experts looked at a window. Rows with few votes were kept where three raters agreed; the rows that the
competition scores have ten votes and more, and are the hard ones. Every score in the project is therefore given
for the populations of `POPULATIONS`, which is the one place where their bounds and names stand, and whatever
chooses, ranks, fits or stops does so on the one that the setting ``population`` names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from hbac.common.choices import check_choice
from hbac.common.errors import UserError
from hbac.vocabulary import FEW_VOTES, MANY_VOTES, N_CLASSES, VOTE_COLUMNS

Votes = pd.DataFrame | npt.NDArray[np.generic]


@dataclass(frozen=True)
class Population:
    """Label rows by their number of votes."""

    name: str  # in column names: kl_<name>
    setting: str  # of `population`
    title: str  # as a reader sees it
    least: int  # votes, included as `most` is
    most: int

    @property
    def rows(self) -> str:
        """Its rows, as a sentence names them: ``rows with 10 or more votes``."""
        return "all rows" if self.name == "all" else f"rows with {self.title}"

    def contains(self, n_votes: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Say of each row, by its number of votes, whether it belongs to the population."""
        n = np.asarray(n_votes)
        return (n >= self.least) & (n <= self.most)


_NO_LIMIT = int(np.iinfo(np.int32).max)
# What is predicted: the test part, or of the training part all rows or those with few votes.
SPLITS = ("test", "train", "few_votes")

POPULATIONS: dict[str, Population] = {
    population.name: population
    for population in (
        Population(f"{MANY_VOTES}_or_more", "many_votes", f"{MANY_VOTES} or more votes", MANY_VOTES, _NO_LIMIT),
        Population(f"up_to_{FEW_VOTES}", "few_votes", f"up to {FEW_VOTES} votes", 1, FEW_VOTES),
        Population("all", "all", "all", 0, _NO_LIMIT),
    )
}
DEFAULT_POPULATION = "many_votes"


def population_of(setting: str) -> Population:
    """Return the population that counts by its setting: ``many_votes``, ``few_votes`` or ``all``."""
    by_setting = {population.setting: population for population in POPULATIONS.values()}
    return by_setting[check_choice("population", setting, by_setting)]


def counted_first(setting: str) -> dict[str, Population]:
    """Order the populations as tables show them: the one that counts first."""
    first = population_of(setting)
    return {first.name: first} | POPULATIONS


def kl_name(population: str, class_name: str | None = None) -> str:
    """Name a divergence as it is logged, ``kl[_<class>][_<population>]``; nothing stands for all rows, or all classes.

    Examples
    --------
    >>> kl_name("all"), kl_name("10_or_more"), kl_name("all", "lpd"), kl_name("up_to_7", "lpd")
    ('kl', 'kl_10_or_more', 'kl_lpd', 'kl_lpd_up_to_7')
    """
    return "_".join(["kl", *([class_name] if class_name else []), *([population] if population != "all" else [])])


def logged(metric: str) -> str:
    """Return the name under which a metric of the validation is logged."""
    return f"val/{metric}"


def _vote_array(votes: Votes) -> npt.NDArray[np.float64]:
    if isinstance(votes, pd.DataFrame):
        missing = [column for column in VOTE_COLUMNS if column not in votes.columns]
        if missing:
            raise UserError(f"votes: missing column(s) {', '.join(missing)}; needed: {', '.join(VOTE_COLUMNS)}")
        votes = votes.loc[:, list(VOTE_COLUMNS)].to_numpy()
    array = np.asarray(votes, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != N_CLASSES:
        raise UserError(f"votes: shape {array.shape}; needed: (rows, {N_CLASSES})")
    bad = ~(np.isfinite(array) & (array >= 0))
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        raise UserError(
            f"votes: row {row}, column {VOTE_COLUMNS[column]}: {array[row, column]:g}; a count of votes is 0 or more"
        )
    return array


def votes_to_shares(votes: Votes) -> npt.NDArray[np.float64]:
    """Turn vote counts, of the six columns or an array (rows, 6), into the distribution of votes.

    A `UserError` for a missing column, a wrong shape, a negative or non-finite count, or a row without any vote.

    Examples
    --------
    >>> votes_to_shares(np.array([[3, 0, 0, 0, 0, 1]])).tolist()
    [[0.75, 0.0, 0.0, 0.0, 0.0, 0.25]]
    """
    array = _vote_array(votes)
    total = array.sum(axis=1, keepdims=True)
    if (total == 0).any():
        raise UserError(f"votes: row {int(np.argmin(total[:, 0]))} has no votes at all; at least one is needed")
    return np.asarray(array / total)


def count_votes(votes: Votes) -> npt.NDArray[np.int32]:
    """Count each row's votes, of the six columns or an array (rows, 6); checked as by `votes_to_shares`."""
    return np.asarray(_vote_array(votes).sum(axis=1), dtype=np.int32)


def consensus(votes: Votes) -> npt.NDArray[np.int64]:
    """Return each row's class with the most votes; a tie goes to the class that comes first.

    `votes` are counts or shares, checked as by `votes_to_shares`; returned are indices into `hbac.vocabulary.CLASSES`.

    Examples
    --------
    >>> consensus(np.array([[0, 2, 2, 0, 0, 1]])).tolist()
    [1]
    """
    return np.asarray(_vote_array(votes).argmax(axis=1), dtype=np.int64)


def sum_votes(rows: pd.DataFrame, by: Sequence[str] = ("eeg_id",)) -> pd.DataFrame:
    """Sum the six columns of votes over all label rows of an EEG (or what else `by` says), sorted by it."""
    missing = [column for column in (*by, *VOTE_COLUMNS) if column not in rows.columns]
    if missing:
        raise UserError(f"label rows: missing column(s) {', '.join(missing)}")
    return rows.groupby(list(by))[list(VOTE_COLUMNS)].sum()


def rows_of_split(rows: pd.DataFrame, split: str) -> npt.NDArray[np.int64]:
    """Return the positions of a split's rows among the label rows of its part; one of `SPLITS`."""
    if split != "few_votes":
        return np.arange(len(rows))
    return np.flatnonzero(POPULATIONS[f"up_to_{FEW_VOTES}"].contains(count_votes(rows)))
