"""Tables of several members side by side, joined on the rows' ids and never on their position."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from hbac.common.choices import check_choice
from hbac.common.errors import UserError
from hbac.evaluation.metric import kl_rows
from hbac.predictions.metadata import TableMetadata
from hbac.predictions.table import ID_COLUMNS, NO_COUNT, NO_ID, PredictionTable, key_columns
from hbac.vocabulary import N_CLASSES, PROB_COLUMNS, VOTE_COLUMNS

OnMissing = Literal["error", "renormalise"]
_UNKNOWN = dict.fromkeys(ID_COLUMNS, NO_ID) | {"n_votes": NO_COUNT}
_SAME_IN_ALL = (*ID_COLUMNS, "fold", "n_votes", *VOTE_COLUMNS)


@dataclass(frozen=True)
class JoinedTables:
    """Predictions of several members, in the order given, for the same rows, ascending by their key."""

    frame: pd.DataFrame  # all columns of a prediction table but the probabilities
    probs: npt.NDArray[np.float32]  # (members, rows, 6); 0 where the member lacks the row
    present: npt.NDArray[np.bool_]  # (members, rows) whether the member has the row
    metadata: tuple[TableMetadata, ...]

    @property
    def members(self) -> tuple[str, ...]:
        """Names of the members."""
        return tuple(meta.member for meta in self.metadata)

    @property
    def targets(self) -> npt.NDArray[np.float64]:
        """Shares of votes, shape (rows, 6)."""
        return self.frame.loc[:, list(VOTE_COLUMNS)].to_numpy()

    @property
    def fold(self) -> npt.NDArray[np.int16]:
        """Fold of each row."""
        return self.frame["fold"].to_numpy()

    @property
    def n_votes(self) -> npt.NDArray[np.int32]:
        """Number of votes of each row."""
        return self.frame["n_votes"].to_numpy()

    @cached_property
    def divergences(self) -> npt.NDArray[np.float64]:
        """Divergence of each row in nats, (members, rows); NaN where the member lacks it."""
        kl_MN = np.full(self.present.shape, np.nan)
        for m, here in enumerate(self.present):
            kl_MN[m, here] = kl_rows(self.targets[here], self.probs[m, here])
        return kl_MN

    @property
    def patient_id(self) -> npt.NDArray[np.int64]:
        """Patient of each row."""
        return self.frame["patient_id"].to_numpy()


def join_tables(
    tables: Iterable[PredictionTable], on_missing: OnMissing = "error", whole_folds: bool = False
) -> JoinedTables:
    """Join the tables of several members, read one at a time, so that a generator keeps the memory low.

    The order of rows is the same whatever it is in the tables; members keep the order given. Rows that a member lacks
    are an error, or with ``on_missing="renormalise"`` kept with the members that have them; with `whole_folds` a member
    may lack a fold all the same, as long as it lacks all of its rows.

    A `UserError` for no tables; two members of one name; hashes, ids, folds, targets or numbers of votes that disagree.
    """
    check_choice("on_missing", on_missing, ("error", "renormalise"))
    metadata: list[TableMetadata] = []
    parts: list[tuple[pd.Index, npt.NDArray[np.float32]]] = []
    frame: pd.DataFrame | None = None
    keys: list[str] = []
    for table in tables:
        meta = table.metadata
        _check_metadata(meta, metadata)
        table_keys = key_columns(table.frame)
        keys = keys or table_keys
        if table_keys != keys:
            raise UserError(
                f"table {meta.member}: rows are told apart by {', '.join(table_keys)}, those of table "
                f"{metadata[0].member} by {', '.join(keys)}; either all tables have label_id or none"
            )
        rows = table.frame.set_index(keys, drop=False)
        rows.index.names = [f"key_{key}" for key in keys]
        prob = rows.loc[:, list(PROB_COLUMNS)].to_numpy(dtype=np.float32)
        rows = rows.loc[:, list(_SAME_IN_ALL)]
        frame = rows if frame is None else _merge_rows(frame, rows, meta.member, metadata[0].member)
        metadata.append(meta)
        parts.append((rows.index, prob))
    if frame is None:
        raise UserError("no prediction tables to join")
    frame = frame.sort_index()
    prob_MNK = np.zeros((len(parts), len(frame), N_CLASSES), dtype=np.float32)
    present_MN = np.zeros((len(parts), len(frame)), dtype=bool)
    for m in range(len(metadata)):
        index, prob = parts.pop(0)  # read and dropped, so that all members' rows are held once
        place = frame.index.get_indexer(index)
        prob_MNK[m, place] = prob
        present_MN[m, place] = True
    wanted_MN = _folds_of(present_MN, frame["fold"].to_numpy()) if whole_folds else np.ones_like(present_MN)
    if on_missing == "error" and (lacking_MN := wanted_MN & ~present_MN).any():
        m = int(np.argmax(lacking_MN.any(axis=1)))
        row = int(np.argmax(lacking_MN[m]))
        what = ", ".join(f"{key} {frame[key].iloc[row]}" for key in keys)
        count = int(lacking_MN[m].sum())
        raise UserError(
            f"table {metadata[m].member}: lacks {count} of {len(frame)} rows that "
            f"other tables have, for example {what}; on_missing=renormalise blends such rows from "
            "the members that have them"
        )
    return JoinedTables(frame.reset_index(drop=True), prob_MNK, present_MN, tuple(metadata))


def _folds_of(present_MN: npt.NDArray[np.bool_], fold_N: npt.NDArray[np.int16]) -> npt.NDArray[np.bool_]:
    """Mark the rows of the folds that a member has rows of."""
    out = np.zeros_like(present_MN)
    for fold in np.unique(fold_N):
        rows = fold_N == fold
        out[:, rows] = present_MN[:, rows].any(axis=1, keepdims=True)
    return out


def _check_metadata(meta: TableMetadata, earlier: list[TableMetadata]) -> None:
    for other in earlier:
        if other.member == meta.member:
            raise UserError(f"two tables are called {meta.member}; members need different names")
        for name in ("fold_hash", "data_fingerprint"):
            mine, theirs = getattr(meta, name), getattr(other, name)
            if mine and theirs and mine != theirs:  # empty: made by other code, values are compared below
                raise UserError(
                    f"members {other.member} and {meta.member} don't go together: {name} is "
                    f"{theirs[:12]} in the one and {mine[:12]} in the other"
                )


def _merge_rows(frame: pd.DataFrame, rows: pd.DataFrame, member: str, first: str) -> pd.DataFrame:
    """Compare the rows both have, learn ids and numbers of votes that were unknown, add the rows that are new."""
    place = frame.index.get_indexer(rows.index)
    known = place >= 0
    ours, theirs = frame.iloc[place[known]], rows.loc[known]
    learnt: dict[str, npt.NDArray[np.int64]] = {}
    for column in _SAME_IN_ALL:
        a, b = ours[column].to_numpy(), theirs[column].to_numpy()
        if column in VOTE_COLUMNS:
            same = np.isclose(a, b, rtol=0, atol=1e-6, equal_nan=True)
        else:
            unknown = _UNKNOWN.get(column)
            same = (a == b) | ((unknown is not None) & ((a == unknown) | (b == unknown)))
            new = same & (a != b) & (a == unknown)
            if new.any():
                learnt[column] = frame[column].to_numpy(copy=True)
                learnt[column][place[known][new]] = b[new]
        if not same.all():
            i = int(np.argmin(same))
            key = ", ".join(
                f"{str(name).removeprefix('key_')} {value}"
                for name, value in zip(rows.index.names, np.atleast_1d(theirs.index[i]), strict=True)
            )
            raise UserError(
                f"table {member}: row {int(np.flatnonzero(known)[i])} ({key}), column {column}: {b[i]}, "
                f"but {a[i]} in table {first} or another one before"
            )
    frame = frame.assign(**learnt)
    return frame if known.all() else pd.concat([frame, rows.loc[~known]])
