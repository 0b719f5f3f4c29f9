"""The label recipe: which rows are trained on, toward which targets, and how much each counts.

Votes become a target in this order: the counts are smoothed, divided by their sum, put together over an EEG, mixed with
the prediction of another model where there is one (a pseudo-label), sharpened or flattened, and smoothed once more.
Validation knows nothing of all this: it scores the plain shares of every held-out row.

References
----------
Label smoothing: Szegedy et al. 2016, "Rethinking the Inception architecture", doi:10.1109/CVPR.2016.308. Temperature:
Hinton et al. 2015, "Distilling the knowledge in a neural network", doi:10.48550/arXiv.1503.02531. Pseudo-labels that
are soft: Xie et al. 2020, "Self-training with noisy student", doi:10.1109/CVPR42600.2020.01070.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hbac.common.choices import check_choice
from hbac.common.errors import UserError
from hbac.labels.targets import POPULATIONS, count_votes
from hbac.recordings.datasets import Part
from hbac.vocabulary import FEW_VOTES, N_CLASSES, VOTE_COLUMNS

# Legend of array names: N row, K class.

OFFSET = "eeg_label_offset_seconds"
TARGETS = ("row", "eeg_mean", "eeg_sum")
ROWS = ("all", "one_per_eeg", "middle_of_eeg")
# What is added to the count of each class, given the row's number of votes; times `vote_prior`, whose default of 0.1
# makes the second one 1 / (10 + sqrt(n)).
VOTE_SMOOTHING: Mapping[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "none": np.zeros_like,
    "constant": np.ones_like,
    "sqrt": lambda n: 1 / (1 + np.sqrt(n) / 10),
}
WEIGHTS: Mapping[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "none": np.ones_like,
    "votes": lambda n: n / 20,
    "log_votes": np.log1p,
}


@dataclass(frozen=True)
class TrainingLabels:
    """What a recipe makes of label rows."""

    rows: NDArray[np.int64]  # (n,): positions of the rows that are trained on, ascending
    target: NDArray[np.float32]  # (n, 6); each sums to 1
    weight: NDArray[np.float32]  # (n,): how much each counts in epoch 0; above 0
    decay: NDArray[np.float32]  # (n,): factor on the weight from one epoch to the next, in (0, 1]

    def weight_at(self, epoch: int, index: NDArray[np.int64] | slice = slice(None)) -> NDArray[np.float32]:
        """Return the weights of an epoch, from 0, of rows by their place in `rows`.

        Above 0, only their ratios matter to the loss.
        """
        # A batch of nothing but decayed rows still has a mean.
        return np.maximum(self.weight[index] * self.decay[index] ** np.float32(epoch), np.float32(1e-12))

    def followed_by(self, other: TrainingLabels) -> TrainingLabels:
        """Put those of another part of the data set, whose `rows` are positions there, behind these."""
        both = (np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self))
        return TrainingLabels(*both)


@dataclass(frozen=True)
class LabelRecipe:
    """Make training labels of label rows; the settings are those of the config group ``labels``.

    A `UserError` for a setting out of its range.

    Examples
    --------
    >>> rows = pd.DataFrame({"eeg_id": [7, 7]} | {column: [0, 0] for column in VOTE_COLUMNS})
    >>> rows["lpd_vote"], rows["gpd_vote"] = [4, 2], [0, 2]
    >>> LabelRecipe(target="eeg_sum", weight="votes").labels(rows).target[0].tolist()
    [0.0, 0.75, 0.25, 0.0, 0.0, 0.0]
    """

    # The window's own votes; eeg_mean: the mean of the shares of the EEG's rows that are trained on; eeg_sum: their
    # votes summed, so that windows which more experts saw count more.
    target: str = "row"
    vote_smoothing: str = "none"  # votes added to each class, so that few votes are smoothed more: see VOTE_SMOOTHING
    vote_prior: float = 0.1
    temperature: float = 1.0  # shares are raised to 1 / temperature and renormalised: below 1 sharpens
    label_smoothing: float = 0.0  # share of the target that is spread evenly over the classes
    weight: str = "none"  # by the row's own votes: see WEIGHTS
    few_votes_weight: float = 1.0  # factor on the weight of rows with up to 7 votes
    few_votes_decay: float = 1.0  # factor on that weight from one epoch to the next
    min_votes: int = 1  # of a row that is trained on
    max_votes: int | None = None
    # All in each epoch; one_per_eeg: a random one; middle_of_eeg: always the one that is nearest to the middle between
    # the EEG's first and last, among those that are trained on.
    rows: str = "all"
    jitter_s: float = 0.0  # a window is cut up to so many seconds before or after its place, anew in each epoch
    pseudo_share: float = 1.0  # of the pseudo-label in the target of rows that have votes too; 1 forgets the votes
    pseudo_hard: bool = False  # the pseudo-label is the likeliest class alone
    pseudo_min_confidence: float = 0.0  # of the likeliest class; pseudo-labels below it are not used
    pseudo_weight: float = 1.0  # of rows with a pseudo-label, in place of the one that their votes would give
    opinions_replace: bool = False  # second opinions take the place of the row's votes, as many as they were

    def __post_init__(self) -> None:
        for name, valid in (
            ("target", TARGETS),
            ("vote_smoothing", VOTE_SMOOTHING),
            ("weight", WEIGHTS),
            ("rows", ROWS),
        ):
            check_choice(f"labels.{name}", getattr(self, name), valid)
        positive = "a number above 0"
        ranges: tuple[tuple[str, Callable[[float], bool], str], ...] = (
            ("vote_prior", lambda x: x > 0, positive),
            ("temperature", lambda x: x > 0, positive),
            ("few_votes_weight", lambda x: x > 0, positive),
            ("pseudo_weight", lambda x: x > 0, positive),
            ("few_votes_decay", lambda x: 0 < x <= 1, "above 0 and at most 1"),
            ("pseudo_share", lambda x: 0 < x <= 1, "above 0 and at most 1"),
            ("pseudo_min_confidence", lambda x: 0 <= x <= 1, "a probability, from 0 to 1"),
            ("label_smoothing", lambda x: 0 <= x < 1, "a share, from 0 to below 1"),
            ("jitter_s", lambda x: x >= 0, "seconds, 0 or more"),
            ("min_votes", lambda x: x >= 1 and x == int(x), "a whole number, 1 or more"),
        )
        for name, fits, range_ in ranges:
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))
            if not (number and fits(value)):
                raise UserError(f"labels.{name}={value}: must be {range_}")
        most = self.max_votes
        if most is not None and not (isinstance(most, int) and most >= self.min_votes):
            raise UserError(
                f"labels.max_votes={most}: must be a whole number, at least labels.min_votes={self.min_votes}, or null"
            )
        for name in ("pseudo_hard", "opinions_replace"):
            if not isinstance(flag := getattr(self, name), bool):
                raise UserError(f"labels.{name}={flag}: must be true or false")

    @classmethod
    def from_config(cls, labels: Mapping[str, Any]) -> LabelRecipe:
        """Make the recipe of a config's group ``labels``, which also says how folds are made."""
        return cls(**{field.name: labels[field.name] for field in fields(cls)})

    def labels(
        self,
        rows: pd.DataFrame,
        mask: NDArray[np.bool_] | None = None,
        pseudo_NK: NDArray[np.floating] | None = None,
        opinions_NK: NDArray[np.floating] | None = None,
    ) -> TrainingLabels:
        """Choose the rows to train on, and make their targets and weights.

        Of label rows (or test rows, which have no votes) those that `mask` lets in are trained on if their number of
        votes lies within the bounds, or if they have a pseudo-label: `pseudo_NK`, NaN where there is none.
        `opinions_NK`, second opinions in votes, 0 where there is none, change targets alone: bounds, weights and
        populations go by the experts' votes.
        """
        n_rows = len(rows)
        has_votes = VOTE_COLUMNS[0] in rows
        votes_N = count_votes(rows) if has_votes else np.zeros(n_rows, np.int32)
        most = np.iinfo(np.int32).max if self.max_votes is None else self.max_votes
        chosen_N = (votes_N >= self.min_votes) & (votes_N <= most)
        pseudo_N = np.zeros(n_rows, bool)
        if pseudo_NK is not None:  # NaN is never confident
            pseudo_N = np.asarray(pseudo_NK, np.float64).max(axis=1) >= self.pseudo_min_confidence
        chosen_N = (chosen_N | pseudo_N) & (True if mask is None else mask)

        rows, votes_N, pseudo_N = rows[chosen_N], votes_N[chosen_N], pseudo_N[chosen_N]
        target_NK = np.zeros((len(rows), N_CLASSES))
        if has_votes and len(rows):
            target_NK = self._from_votes(rows, 0 if opinions_NK is None else opinions_NK[chosen_N])
        if pseudo_NK is not None:
            prediction_NK = np.asarray(pseudo_NK, np.float64)[chosen_N][pseudo_N]
            if self.pseudo_hard:
                prediction_NK = np.eye(N_CLASSES)[prediction_NK.argmax(axis=1)]
            share_N = np.where(votes_N[pseudo_N] > 0, self.pseudo_share, 1.0)[:, None]
            target_NK[pseudo_N] = (1 - share_N) * target_NK[pseudo_N] + share_N * prediction_NK
        if self.temperature != 1:
            # Over the largest share, or a cold temperature would round all of them to 0.
            target_NK = (target_NK / target_NK.max(axis=1, keepdims=True)) ** (1 / self.temperature)
            target_NK /= target_NK.sum(axis=1, keepdims=True)
        target_NK = (1 - self.label_smoothing) * target_NK + self.label_smoothing / N_CLASSES

        shown_N = np.arange(len(rows))
        if self.rows == "middle_of_eeg" and OFFSET in rows:  # a test EEG is one window
            shown_N = _middle_rows(rows)
            votes_N, pseudo_N, target_NK = votes_N[shown_N], pseudo_N[shown_N], target_NK[shown_N]

        few_N = POPULATIONS[f"up_to_{FEW_VOTES}"].contains(votes_N) & ~pseudo_N
        weight_N = WEIGHTS[self.weight](votes_N.astype(np.float64)) * np.where(few_N, self.few_votes_weight, 1.0)
        return TrainingLabels(
            rows=np.flatnonzero(chosen_N)[shown_N],
            target=target_NK.astype(np.float32),
            weight=np.where(pseudo_N, self.pseudo_weight, weight_N).astype(np.float32),
            decay=np.where(few_N, self.few_votes_decay, 1.0).astype(np.float32),
        )

    def _from_votes(self, rows: pd.DataFrame, opinions_NK: NDArray[np.floating] | float) -> NDArray[np.float64]:
        """Return targets (n, 6) of rows that all have votes."""
        voted_NK = rows.loc[:, list(VOTE_COLUMNS)].to_numpy(np.float64)
        count_NK = voted_NK + opinions_NK
        if self.opinions_replace:
            said_N1 = np.sum(opinions_NK, axis=-1, keepdims=True)
            scaled_NK = opinions_NK * voted_NK.sum(axis=1, keepdims=True) / np.where(said_N1 > 0, said_N1, 1)
            count_NK = np.where(said_N1 > 0, scaled_NK, voted_NK)
        eeg_N = np.unique(rows["eeg_id"].to_numpy(), return_inverse=True)[1]
        if self.target == "eeg_sum":
            count_NK = _sum_by(eeg_N, count_NK)[eeg_N]
        smoothing_N = VOTE_SMOOTHING[self.vote_smoothing](count_NK.sum(axis=1))
        count_NK = count_NK + (self.vote_prior * smoothing_N)[:, None]
        share_NK = count_NK / count_NK.sum(axis=1, keepdims=True)
        if self.target == "eeg_mean":
            share_NK = (_sum_by(eeg_N, share_NK) / np.bincount(eeg_N)[:, None])[eeg_N]
        return np.asarray(share_NK)


def _middle_rows(rows: pd.DataFrame) -> NDArray[np.int64]:
    """Return the position of each EEG's row whose offset is nearest to the middle of all, ascending."""
    by_eeg = rows.groupby("eeg_id")[OFFSET]
    distance = (rows[OFFSET] - (by_eeg.transform("min") + by_eeg.transform("max")) / 2).abs().to_numpy()
    nearest_first = np.argsort(distance, kind="stable")  # of two that are as near, the one that stands first
    first_N = np.unique(rows["eeg_id"].to_numpy()[nearest_first], return_index=True)[1]
    return np.asarray(np.sort(nearest_first[first_N]), np.int64)


def _sum_by(group_N: NDArray[np.int64], values_NK: NDArray[np.float64]) -> NDArray[np.float64]:
    summed_NK: NDArray[np.float64] = np.stack(
        [np.bincount(group_N, weights=column_N) for column_N in values_NK.T], axis=1
    )
    return summed_NK


@dataclass(frozen=True, eq=False)
class PseudoLabels:
    """Predictions of rows of a data set's part; `hbac.predictions.pseudo` reads them and checks whose they are."""

    part: Part  # that is trained on, or another one, whose rows are then trained on as well
    probs: NDArray[np.float64]  # (n_rows, 6), of each row of the part; NaN where nothing was predicted
