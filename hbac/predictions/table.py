"""The prediction table: one row per predicted label row, checked whenever it is made, written or read.

It is a parquet file with a fixed set of columns; what the rows can't say (who predicted, with which settings,
on which folds of which data) stands in the file's metadata under ``hbac.*`` keys. Nothing downstream asks a run
for anything else, so tables of one ensemble may come from other machines or other code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from hbac.common.errors import UserError
from hbac.common.files import SEAL, whole_file
from hbac.evaluation.metric import check_distribution
from hbac.labels.targets import count_votes, votes_to_shares
from hbac.predictions.metadata import HASHES, PREFIX, TableMetadata, parse_metadata
from hbac.predictions.parquet import as_frame, check_content, content_hash, read_parquet
from hbac.vocabulary import N_CLASSES, PROB_COLUMNS, VOTE_COLUMNS

ID_COLUMNS = ("eeg_id", "eeg_sub_id", "spectrogram_id", "patient_id", "label_id")
DTYPES: dict[str, str] = (
    dict.fromkeys(ID_COLUMNS, "int64")
    | {"fold": "int16", "n_votes": "int32"}
    | dict.fromkeys((*VOTE_COLUMNS, *PROB_COLUMNS), "float64")
)
TEST_FOLD = -1
NO_ID = -1
NO_COUNT = 0


@dataclass(frozen=True)
class PredictionTable:
    """Predictions with their targets, checked.

    Parameters
    ----------
    frame : DataFrame
        The columns of `DTYPES` in that order: ids (−1 where there is none), fold (−1 for test rows), number of
        votes (0 for test rows, and in all rows of a table that doesn't know it), shares of votes (NaN for test
        rows), probabilities.
    metadata : TableMetadata
        Who predicted.

    Raises
    ------
    UserError
        Says which table, row and column is wrong.

    Examples
    --------
    >>> rows = pd.DataFrame({"eeg_id": [4], "spectrogram_id": [5], "patient_id": [6]})
    >>> table = PredictionTable.from_arrays(rows, np.full((1, 6), 1 / 6), TableMetadata("uniform"))
    >>> table.frame.loc[0, ["fold", "seizure_prob"]].round(3).tolist()
    [-1.0, 0.167]
    """

    frame: pd.DataFrame
    metadata: TableMetadata

    def __post_init__(self) -> None:
        check_frame(self.frame, self.metadata.member)
        object.__setattr__(self, "frame", self.frame.loc[:, list(DTYPES)].reset_index(drop=True))

    @classmethod
    def from_arrays(
        cls,
        rows: pd.DataFrame,
        prob_NK: npt.NDArray[np.floating],
        metadata: TableMetadata,
        fold: npt.ArrayLike = TEST_FOLD,
    ) -> PredictionTable:
        """Make a table of label rows (or test rows) and the probabilities a model gave them.

        Parameters
        ----------
        rows : DataFrame, one row per prediction
            Columns as in ``train.csv`` or ``test.csv``. Ids that are missing become −1; without vote columns
            the rows count as test rows.
        prob_NK : ndarray, shape (rows, 6)
            Probabilities; rounding of single or half precision is taken out by dividing by the row's sum.
        metadata : TableMetadata
            Who predicted.
        fold : int or array_like of int, shape (rows,)
            Fold of the rows, −1 for test rows.

        Returns
        -------
        PredictionTable
            In the order of `rows`.

        Raises
        ------
        UserError
            A wrong value (table, row, column), or another number of predictions than rows.
        """
        prob = np.asarray(prob_NK, dtype=np.float64)
        if prob.shape != (len(rows), N_CLASSES):
            raise UserError(f"table {metadata.member}: {prob.shape} probabilities for {len(rows)} rows of 6 classes")
        total = prob.sum(axis=1, keepdims=True)
        near = np.abs(total - 1) < 1e-2  # half precision; what is farther off is an error, not rounding
        prob = np.divide(prob, total, out=prob.copy(), where=near)
        data: dict[str, npt.NDArray[np.generic]] = {}
        for column in ID_COLUMNS:
            data[column] = (
                rows[column].to_numpy(dtype=np.int64) if column in rows.columns else np.full(len(rows), NO_ID)
            )
        data["fold"] = np.broadcast_to(np.asarray(fold, dtype=np.int16), (len(rows),))
        if VOTE_COLUMNS[0] in rows.columns:
            data["n_votes"], target = count_votes(rows), votes_to_shares(rows)
        else:
            data["n_votes"], target = np.zeros(len(rows), np.int32), np.full((len(rows), N_CLASSES), np.nan)
        data |= {column: target[:, k] for k, column in enumerate(VOTE_COLUMNS)}
        data |= {column: prob[:, k] for k, column in enumerate(PROB_COLUMNS)}
        return cls(pd.DataFrame(data).astype(DTYPES), metadata)

    @property
    def targets(self) -> npt.NDArray[np.float64]:
        """Shares of votes, shape (rows, 6)."""
        return self.frame.loc[:, list(VOTE_COLUMNS)].to_numpy()

    @property
    def probs(self) -> npt.NDArray[np.float64]:
        """Predicted probabilities, shape (rows, 6)."""
        return self.frame.loc[:, list(PROB_COLUMNS)].to_numpy()

    @property
    def folds(self) -> list[int]:
        """The folds that have rows, ascending; −1 stands for test rows."""
        return [int(fold) for fold in np.unique(self.frame["fold"])]

    @property
    def missing_folds(self) -> list[int]:
        """The folds without rows; empty when the number of folds is unknown."""
        return sorted(set(range(self.metadata.n_folds)) - set(self.folds))

    def write(self, path: str | Path, stands_in: Path | None = None) -> Path:
        """Write the table as parquet; the file appears whole or not at all.

        Run folders are noted relative to `stands_in`, the folder that the file will be moved to; that of `path` where
        absent.
        """
        path = Path(path)
        meta = self.metadata
        folder = stands_in or path.parent
        runs = {str(k): Path(os.path.relpath(run, folder)).as_posix() for k, run in sorted(meta.runs.items())}
        flat = {
            "member": meta.member,
            **{name: getattr(meta, name) for name in HASHES},
            "n_folds": str(meta.n_folds),
            "hbac_version": meta.hbac_version,
            "runs": json.dumps(runs),
            "extras": json.dumps(dict(meta.extras), sort_keys=True),
        }
        flat[SEAL] = content_hash(self.frame, DTYPES, flat)
        table = pa.Table.from_pandas(self.frame, preserve_index=False)
        table = table.replace_schema_metadata({PREFIX + key: value for key, value in flat.items()})
        with whole_file(path) as partial:
            pq.write_table(table, partial, compression="zstd")
        return path

    @classmethod
    def read(cls, path: str | Path) -> PredictionTable:
        """Read a table that `write` wrote, with absolute run folders, and check all of it.

        Raises
        ------
        UserError
            No such file, not parquet, no hbac metadata, a wrong column or value, or another content than was written.
        """
        path = Path(path)
        arrow = read_parquet(path)
        try:
            flat = {k.decode(): v.decode() for k, v in (arrow.schema.metadata or {}).items() if k != b"ARROW:schema"}
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: damaged metadata ({error})") from error
        missing = [key for key in ("member", *HASHES, "hbac_version") if PREFIX + key not in flat]
        if missing:
            raise UserError(
                f"{path}: the file's metadata lack {', '.join(PREFIX + key for key in missing)}; "
                "a table made by other code is read with hbac.predictions.foreign.read_table"
            )
        frame = as_frame(arrow, path)
        check_frame(frame, str(path))
        own = {key.removeprefix(PREFIX): value for key, value in flat.items() if key.startswith(PREFIX)}
        check_content(frame, DTYPES, own, path, "train its run, predict or blend once more")
        return cls(frame, parse_metadata(flat, path))


def key_columns(frame: pd.DataFrame) -> list[str]:
    """Name the columns that tell rows apart.

    ``label_id`` where all rows have one, else ``eeg_id`` and ``eeg_sub_id``.

    Examples
    --------
    >>> key_columns(pd.DataFrame({"label_id": [-1, -1], "eeg_id": [1, 2], "eeg_sub_id": [-1, -1]}))
    ['eeg_id', 'eeg_sub_id']
    """
    return ["label_id"] if bool((frame["label_id"] != NO_ID).all()) else ["eeg_id", "eeg_sub_id"]


def check_frame(frame: pd.DataFrame, name: str) -> None:
    """Check columns, types and values of a prediction table against `DTYPES`; `name` is what messages call it.

    A `UserError` says which table, row and column is wrong, what was found, and what would be right.
    """
    what = f"table {name}"
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()].astype(str)
        raise UserError(f"{what}: more than one column {', '.join(dict.fromkeys(twice))}")
    missing = [column for column in DTYPES if column not in frame.columns]
    if missing:
        raise UserError(f"{what}: missing column(s) {', '.join(missing)}; found {', '.join(map(str, frame.columns))}")
    unknown = [str(column) for column in frame.columns if column not in DTYPES]
    if unknown:
        raise UserError(f"{what}: unknown column(s) {', '.join(unknown)}")
    for column, dtype in DTYPES.items():
        if frame[column].dtype != dtype:
            raise UserError(f"{what}: column {column} is {frame[column].dtype}; it must be {dtype}")
    frame = frame.reset_index(drop=True)
    check_distribution(frame, PROB_COLUMNS, what)
    unlabelled = frame.loc[:, list(VOTE_COLUMNS)].isna().all(axis=1).to_numpy()
    if not unlabelled.all():
        target = frame.loc[:, list(VOTE_COLUMNS)].to_numpy(copy=True)
        target[unlabelled] = 1 / N_CLASSES
        check_distribution(target, VOTE_COLUMNS, what)
    fold = frame["fold"].to_numpy()
    n_votes = frame["n_votes"].to_numpy()
    counted = n_votes != NO_COUNT
    for bad, column, rule in (
        (fold < TEST_FOLD, "fold", "a fold is 0 or more, or −1 for test rows"),
        (n_votes < 0, "n_votes", "a number of votes is 0 or more"),
        (unlabelled & (fold >= 0), VOTE_COLUMNS[0], "only test rows (fold −1) may be without targets"),
        (
            ~unlabelled & ~counted & counted.any(),
            "n_votes",
            "a row with targets has at least one vote, unless the table knows no row's number",
        ),
    ):
        if bad.any():
            row = int(np.argmax(bad))
            raise UserError(f"{what}: row {row}, column {column}: {frame[column].iloc[row]}; {rule}")
    keys = key_columns(frame)
    repeated = frame.duplicated(keys).to_numpy()
    if repeated.any():
        row = int(np.argmax(repeated))
        found = ", ".join(f"{key} {frame[key].iloc[row]}" for key in keys)
        raise UserError(f"{what}: row {row}, column {keys[0]}: {found} stands twice ({repeated.sum()} repeated rows)")


def concat(tables: Sequence[PredictionTable]) -> PredictionTable:
    """Put the fold tables of one member together, by fold and within it in the order given, with all run folders.

    `PredictionTable.missing_folds` says what isn't there. A `UserError` for no table, tables of different members,
    configs, folds or data, or a fold that comes twice.
    """
    if not tables:
        raise UserError("no fold tables to put together")
    first = tables[0].metadata
    owner: dict[int, PredictionTable] = {}
    for table in tables:
        for name in ("member", *HASHES, "n_folds"):
            found, wanted = getattr(table.metadata, name), getattr(first, name)
            if found != wanted:
                raise UserError(
                    f"table {table.metadata.member}: {name} is {found!r}, that of table {first.member} is "
                    f"{wanted!r}; only folds of one member on one fold table go together"
                )
        for fold in table.folds:
            if fold in owner:
                raise UserError(f"table {first.member}: fold {fold} comes twice")
            owner[fold] = table
    frame = pd.concat([table.frame for table in tables], ignore_index=True)
    frame = frame.sort_values("fold", kind="stable", ignore_index=True)
    runs = {fold: run for table in tables for fold, run in table.metadata.runs.items()}
    extras = {key: value for table in tables for key, value in table.metadata.extras.items()}
    return PredictionTable(frame, replace(first, runs=dict(sorted(runs.items())), extras=extras))
