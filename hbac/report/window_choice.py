"""Which windows are worth looking at: the worst, the most disputed, some at random, or those that the reader names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import entropy

from hbac.common.errors import UserError
from hbac.predictions.table import ID_COLUMNS, NO_ID
from hbac.report.gather import Gathered
from hbac.vocabulary import MANY_VOTES

KINDS = ("worst", "disputed", "random")
CHOSEN = "chosen"


def choose_windows(found: Gathered, n_windows: int, label_ids: Sequence[int] = (), seed: int = 0) -> pd.DataFrame:
    """Choose windows, by kind and rank: those of some label ids, or `n_windows` that are worth looking at.

    A third each of the worst of the first prediction (KL, of the rows that count as long as there are any), the most
    disputed (entropy of the votes, where 10 or more experts voted, if there are enough of these) and random ones, one
    of an EEG; the worst get what is left over. Columns are ``why`` (``worst``, ``disputed``, ``random`` or ``chosen``),
    the ids, ``fold, n_votes``, ``kl`` of the best prediction that has the row, ``entropy`` of the votes in nats.

    A `UserError` for a label id that no prediction has, or when the rows have no label ids.
    """
    joined = found.joined
    first_N = joined.present.argmax(axis=0)
    frame = joined.frame[[*ID_COLUMNS, "fold", "n_votes"]].assign(
        counts=found.counts,
        kl=found.joined.divergences[first_N, np.arange(len(joined.frame))],
        entropy=entropy(joined.targets, axis=1),
    )
    if label_ids:
        return _named(frame.drop(columns="counts"), label_ids)
    left = frame
    parts = []
    for number, kind in enumerate(KINDS):
        n_wanted = n_windows // len(KINDS) + (number < n_windows % len(KINDS))
        part = left.iloc[_order(left, kind, n_wanted, seed)].drop_duplicates("eeg_id").head(n_wanted)
        parts.append(part.assign(why=kind))
        left = left[~left["eeg_id"].isin(part["eeg_id"])]
    return _first("why", pd.concat(parts, ignore_index=True).drop(columns="counts"))


def _order(frame: pd.DataFrame, kind: str, n_wanted: int, seed: int) -> npt.NDArray[np.int64]:
    """Return the positions of rows, the most interesting first."""
    if kind == "worst":
        # The largest divergences of all are of rows with one vote, and of that vote's noise.
        return np.lexsort((-frame["kl"].to_numpy(), ~frame["counts"].to_numpy()))
    if kind == "random":
        return np.random.default_rng(seed).permutation(len(frame))
    # Three votes for three classes are much entropy and little dispute.
    many = frame["n_votes"].to_numpy() >= MANY_VOTES
    if frame.loc[many, "eeg_id"].nunique() < n_wanted:
        many[:] = True
    return np.lexsort((-frame["entropy"].to_numpy(), ~many))


def _named(frame: pd.DataFrame, label_ids: Sequence[int]) -> pd.DataFrame:
    if (frame["label_id"] == NO_ID).all():
        raise UserError("label_ids=[…]: the prediction tables have no label ids")
    found = frame.drop_duplicates("label_id").set_index("label_id", drop=False)
    unknown = [label for label in label_ids if label not in found.index]
    if unknown:
        example = int(frame["label_id"].iloc[0])
        raise UserError(
            f"label_ids: {', '.join(map(str, unknown))}: no prediction has such a row; label ids are those of "
            f"train.csv, such as {example}"
        )
    return _first("why", found.loc[list(dict.fromkeys(label_ids))].reset_index(drop=True).assign(why=CHOSEN))


def _first(column: str, frame: pd.DataFrame) -> pd.DataFrame:
    return frame[[column, *(name for name in frame if name != column)]]
