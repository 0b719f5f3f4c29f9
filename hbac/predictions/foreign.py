"""Tables made by other code: parquet or csv, with what they have of the prediction table's columns."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from hbac.errors import UserError
from hbac.labels.folds import FoldTable
from hbac.predictions.metric import check_distribution
from hbac.predictions.table import (
    DTYPES,
    ID_COLUMNS,
    NO_ID,
    PredictionTable,
    TableMetadata,
    read_footer,
    read_parquet,
)
from hbac.vocabulary import PROB_COLUMNS, VOTE_COLUMNS

_PREFIX = b"hbac."
_ROUNDING = 1e-3  # half precision, or three digits in a csv; a row whose sum is farther off is wrong


class UncheckedTableWarning(UserWarning):
    """Something about a table of other code could not be checked."""


def read_table(path: str | Path, folds: str | Path | FoldTable | None = None) -> PredictionTable:
    """Read a prediction table, whoever made it.

    A table with hbac's metadata is read by `PredictionTable.read`, and all of it is checked. Any other one is
    called after its file, and a warning says what could not be checked.

    Parameters
    ----------
    path : str or Path
        Parquet or csv. Needed columns: ``eeg_id``, the six ``_prob`` and the six ``_vote`` columns (shares with
        ``n_votes``, or counts of votes); ``patient_id`` and ``fold``, or ``patient_id`` and `folds`. Other ids
        are −1 where they are missing.
    folds : str, Path or FoldTable, optional
        Folds by patient, for tables without a column ``fold``; where both are there, they must agree.

    Returns
    -------
    PredictionTable
        Checked as far as it can be.

    Warns
    -----
    UncheckedTableWarning
        Names what the table doesn't say.

    Raises
    ------
    UserError
        A needed column is missing, or a value is wrong: names table, row and column.
    """
    path = Path(path)
    if path.suffix == ".csv":
        frame = _read_csv(path)
    else:
        arrow = read_parquet(path)
        if _has_metadata(arrow):
            table = PredictionTable.read(path)
            if folds is not None:
                _compare_folds(table.frame, _fold_table(folds), str(path))
            return table
        frame = arrow.to_pandas(ignore_metadata=True)
    return _adopt(frame, path, None if folds is None else _fold_table(folds))


def member_of(path: str | Path) -> tuple[str, str]:
    """Say whose table a file is, from its footer alone.

    Parameters
    ----------
    path : str or Path
        As `read_table` takes it.

    Returns
    -------
    member, config_hash : str
        The file's name and nothing where other code made the table.

    Raises
    ------
    UserError
        No such file, or not a parquet file.
    """
    path = Path(path)
    metadata = {} if path.suffix == ".csv" else read_footer(path)
    member, config_hash = (metadata.get(_PREFIX + key, b"").decode() for key in (b"member", b"config_hash"))
    return (member, config_hash) if member else (path.stem, "")


def _has_metadata(arrow: pa.Table) -> bool:
    return any(key.startswith(_PREFIX) for key in (arrow.schema.metadata or {}))


def _read_csv(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise UserError(f"{path}: no such prediction table")
    try:
        return pd.read_csv(path)
    except (ValueError, pd.errors.ParserError) as error:
        raise UserError(f"{path}: not readable as csv ({str(error).splitlines()[0]})") from error


def _fold_table(folds: str | Path | FoldTable) -> FoldTable:
    return folds if isinstance(folds, FoldTable) else FoldTable.read(folds)


def _adopt(frame: pd.DataFrame, path: Path, folds: FoldTable | None) -> PredictionTable:
    unchecked = ["which config, data and fold table it was made with"]
    needed = ["eeg_id", "patient_id", *VOTE_COLUMNS, *PROB_COLUMNS]
    if folds is None:
        needed.append("fold")
    missing = [column for column in needed if column not in frame.columns]
    if missing:
        hint = "; give folds=PATH, a fold table, where there is no column fold" if "fold" in missing else ""
        raise UserError(f"table {path}: missing column(s) {', '.join(missing)}{hint}")
    adopted = pd.DataFrame(index=pd.RangeIndex(len(frame)))
    for column in (*ID_COLUMNS, "fold", "n_votes"):
        if column in frame.columns:
            adopted[column] = _integers(frame, column, path)
        elif column in ID_COLUMNS:
            adopted[column] = NO_ID
            unchecked.append(column)
    if folds is not None:
        given = folds.fold_of(adopted["patient_id"].to_numpy())
        if "fold" in adopted.columns:
            _compare_folds(adopted, folds, str(path))
        adopted["fold"] = given
    target = _numbers(frame, VOTE_COLUMNS, path)
    total = target.sum(axis=1)
    if not np.allclose(total[np.isfinite(total)], 1):
        counts = np.rint(target)
        if not np.allclose(counts, target) or (total <= 0).any():
            check_distribution(target, VOTE_COLUMNS, f"table {path}")  # names row and column
        adopted["n_votes"] = total.astype(np.int32)
        target = target / total[:, None]
    elif "n_votes" not in adopted.columns:
        raise UserError(f"table {path}: missing column n_votes; it is needed where the votes are shares, not counts")
    adopted[list(VOTE_COLUMNS)] = target
    prob = _numbers(frame, PROB_COLUMNS, path)
    total = prob.sum(axis=1, keepdims=True)
    rounded = (np.abs(total - 1) < _ROUNDING) & ~np.isclose(total, 1)
    adopted[list(PROB_COLUMNS)] = np.divide(prob, total, out=prob.copy(), where=rounded)
    found = f"made by other code; it doesn't say, so that it could not be checked: {', '.join(unchecked)}"
    if rounded.any():
        found += (
            f"; probabilities of {int(rounded.sum())} rows add up to 1 only within "
            f"{np.abs(total - 1)[rounded].max():.1g} and were divided by their sum"
        )
    warnings.warn(f"table {path}: {found}", UncheckedTableWarning, stacklevel=3)
    metadata = TableMetadata(
        member=path.stem,
        fold_hash="" if folds is None else folds.hash,
        n_folds=0 if folds is None else folds.n_folds,
        hbac_version="",
    )
    try:
        return PredictionTable(adopted.loc[:, list(DTYPES)].astype(DTYPES), metadata)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _integers(frame: pd.DataFrame, column: str, path: Path) -> np.ndarray:
    values = pd.to_numeric(frame[column], errors="coerce").to_numpy()
    bad = ~np.isfinite(values.astype(np.float64)) | (values != np.rint(values))
    if bad.any():
        row = int(np.argmax(bad))
        raise UserError(
            f"table {path}: row {row}, column {column}: {frame[column].iloc[row]}; a whole number is needed"
        )
    return np.asarray(values.astype(np.int64))


def _numbers(frame: pd.DataFrame, columns: Sequence[str], path: Path) -> np.ndarray:
    for column in columns:
        if not pd.api.types.is_numeric_dtype(frame[column].dtype):
            raise UserError(f"table {path}: column {column} is {frame[column].dtype}; it must be numeric")
    return frame.loc[:, list(columns)].to_numpy(dtype=np.float64)


def _compare_folds(frame: pd.DataFrame, folds: FoldTable, name: str) -> None:
    wanted = folds.fold_of(frame["patient_id"].to_numpy())
    differ = frame["fold"].to_numpy() != wanted
    if differ.any():
        row = int(np.argmax(differ))
        raise UserError(
            f"table {name}: row {row}, column fold: {frame['fold'].iloc[row]}, but patient_id "
            f"{frame['patient_id'].iloc[row]} is in fold {wanted[row]} of the fold table "
            f"({int(differ.sum())} rows differ)"
        )
