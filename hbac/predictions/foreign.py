"""Tables made by other code: parquet or csv, with what they have of the prediction table's columns."""

from __future__ import annotations

import csv
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from hbac.common.errors import UserError
from hbac.evaluation.metric import check_distribution
from hbac.labels.folds import FoldTable
from hbac.predictions.metadata import TableMetadata
from hbac.predictions.parquet import as_frame, read_metadata, read_parquet
from hbac.predictions.table import DTYPES, ID_COLUMNS, NO_COUNT, NO_ID, PredictionTable
from hbac.recordings.tables import patient_number
from hbac.vocabulary import PROB_COLUMNS, VOTE_COLUMNS

_PREFIX = b"hbac."
ROUNDING = 1e-3  # half precision, or three digits in a csv; a row whose sum is farther off is wrong
_SILENT = 1e-5  # what single precision does, and what the metric takes for 1


class UncheckedTableWarning(UserWarning):
    """Something about a table of other code could not be checked, or was mended: what was `found`."""

    def __init__(self, table: str, found: str) -> None:
        super().__init__(table, found)
        self.table, self.found = table, found

    def __str__(self) -> str:
        return f"table {self.table}: {self.found}"


def read_table(
    path: str | Path, folds: str | Path | FoldTable | None = None, member: str | None = None
) -> PredictionTable:
    """Read a prediction table, whoever made it.

    A table with hbac's metadata is read by `PredictionTable.read`, and all of it is checked. Any other one is
    called after its file, and a warning says what could not be checked.

    Parameters
    ----------
    path : str or Path
        Parquet or csv. Needed columns: ``eeg_id``, the six ``_prob`` and the six ``_vote`` columns (shares, or
        counts of votes); ``patient_id`` and ``fold``, or ``patient_id`` and `folds`. Other ids are −1 where they are
        missing, and ``n_votes`` is 0 where the votes are shares and nothing says of how many; further columns are not
        looked at. Shares and probabilities whose sum is off 1 by less than `ROUNDING` are divided by it, and the
        warning says so where single precision doesn't explain it.
    folds : str, Path or FoldTable, optional
        Folds by patient, for tables without a column ``fold``; where both are there, they must agree.
    member : str, optional
        What a table of other code is called; its file's name by default.

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
    if path.suffix.lower() == ".csv":
        frame = read_csv(path)
    else:
        arrow = read_parquet(path)
        if _has_metadata(arrow):
            table = PredictionTable.read(path)
            if folds is not None:
                _compare_folds(table.frame, _fold_table(folds), str(path))
            return table
        frame = as_frame(arrow, path)
    return _adopt(frame, path, None if folds is None else _fold_table(folds), member or path.stem)


def member_of(path: str | Path) -> tuple[str, str] | None:
    """Say whose table a file is, its member and config hash, from its footer alone; None where other code made it.

    A `UserError` where there is no such file, or it is not a parquet file.
    """
    path = Path(path)
    metadata = {} if path.suffix.lower() == ".csv" else read_metadata(path)
    member, config_hash = (metadata.get(_PREFIX + key, b"").decode() for key in (b"member", b"config_hash"))
    return (member, config_hash) if member else None


def _has_metadata(arrow: pa.Table) -> bool:
    return any(key.startswith(_PREFIX) for key in (arrow.schema.metadata or {}))


def read_csv(
    path: Path, what: str = "prediction table", needed: Callable[[str], bool] = DTYPES.__contains__
) -> pd.DataFrame:
    """Read a table with one header line; `UserError` says what is wrong with `what`.

    Of columns that are `needed` there may be only one of a name.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such {what}")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = [name.strip() for name in next(csv.reader(file), [])]
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            # Without this, rows of one field more than the header would be moved by one column.
            frame = pd.read_csv(path, index_col=False)
    except (OSError, ValueError, csv.Error, pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise UserError(f"{path}: not readable as csv ({str(error).splitlines()[0]})") from error
    if twice := sorted(name for name, n in Counter(header).items() if n > 1 and needed(name)):
        raise UserError(f"table {path}: more than one column {', '.join(twice)}")
    if len(header) == 1:
        raise UserError(f"table {path}: its only column is {header[0][:80]!r}; columns must be separated by commas")
    return frame.rename(columns=str.strip)


def _fold_table(folds: str | Path | FoldTable) -> FoldTable:
    return folds if isinstance(folds, FoldTable) else FoldTable.read(folds)


def _adopt(frame: pd.DataFrame, path: Path, folds: FoldTable | None, member: str) -> PredictionTable:
    unchecked = ["which config, data and fold table it was made with"]
    needed = ["eeg_id", "patient_id", *VOTE_COLUMNS, *PROB_COLUMNS]
    if folds is None:
        needed.append("fold")
    missing = [column for column in needed if column not in frame.columns]
    if missing:
        hint = "; give folds=PATH, a fold table, where there is no column fold" if "fold" in missing else ""
        raise UserError(f"table {path}: missing column(s) {', '.join(missing)}{hint}")
    if frame.empty:
        raise UserError(f"table {path}: has no rows")
    adopted: dict[str, np.ndarray] = {}
    for column in (*ID_COLUMNS, "fold", "n_votes"):
        if column in frame.columns:
            adopted[column] = integers(frame, column, path)
        elif column in ID_COLUMNS:
            adopted[column] = np.full(len(frame), NO_ID)
            unchecked.append(column)
    if folds is not None:
        if "fold" in adopted:
            _compare_folds(pd.DataFrame({key: adopted[key] for key in ("patient_id", "fold")}), folds, str(path))
        adopted["fold"] = folds.fold_of(adopted["patient_id"])
    target = _numbers(frame, VOTE_COLUMNS, path)
    prob = _numbers(frame, PROB_COLUMNS, path)
    mended = []
    counted = _counts(target, path)
    if counted is not None:
        _compare_counts(counted, adopted.get("n_votes"), path)
        adopted["n_votes"], target = counted, target / counted[:, None]
    else:
        mended += _normalise(target, "shares of votes")
        if "n_votes" not in adopted:
            adopted["n_votes"] = np.full(len(frame), NO_COUNT)
            unchecked.append("n_votes")
    mended += _normalise(prob, "probabilities")
    found = f"made by other code; it doesn't say, so that it could not be checked: {', '.join(unchecked)}"
    warnings.warn(UncheckedTableWarning(str(path), "; ".join([found, *mended])), stacklevel=3)
    adopted |= {column: target[:, k] for k, column in enumerate(VOTE_COLUMNS)}
    adopted |= {column: prob[:, k] for k, column in enumerate(PROB_COLUMNS)}
    metadata = TableMetadata(
        member=member,
        fold_hash="" if folds is None else folds.hash,
        n_folds=0 if folds is None else folds.n_folds,
        hbac_version="",
    )
    try:
        return PredictionTable(pd.DataFrame({key: adopted[key] for key in DTYPES}).astype(DTYPES), metadata)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _counts(target_NK: np.ndarray, path: Path) -> np.ndarray | None:
    """Add up each row's votes where the columns count them; None where they are shares."""
    total = target_NK.sum(axis=1)
    if (np.abs(total - 1) < ROUNDING).all():
        return None
    whole = (target_NK >= 0) & (np.abs(target_NK - np.rint(target_NK)) < 1e-6)
    if not whole.all():
        check_distribution(target_NK, VOTE_COLUMNS, f"table {path}")  # names row and column
    if (total < 0.5).any():
        row = int(np.argmax(total < 0.5))
        raise UserError(
            f"table {path}: row {row}, columns {VOTE_COLUMNS[0]} … {VOTE_COLUMNS[-1]}: no votes; a row that is scored "
            "has at least one"
        )
    return np.asarray(np.rint(total).astype(np.int64))


def _compare_counts(counted_N: np.ndarray, stated_N: np.ndarray | None, path: Path) -> None:
    if stated_N is not None and (counted_N != stated_N).any():
        row = int(np.argmax(counted_N != stated_N))
        raise UserError(
            f"table {path}: row {row}, column n_votes: {stated_N[row]}, but the columns {VOTE_COLUMNS[0]} … "
            f"{VOTE_COLUMNS[-1]} add up to {counted_N[row]} votes"
        )


def _normalise(values_NK: np.ndarray, what: str) -> list[str]:
    """Divide rows that nearly sum to 1 by their sum, in place; say so where it changes what the metric would see."""
    total_N = values_NK.sum(axis=1)
    off_N = np.abs(total_N - 1)
    rounded = off_N < ROUNDING  # not so for NaN
    values_NK[rounded] /= total_N[rounded, None]
    told = rounded & (off_N > _SILENT)
    if not told.any():
        return []
    return [
        f"{what} of {told.sum()} rows add up to 1 only within {off_N[told].max():.1g} and were divided by their sum"
    ]


def integers(frame: pd.DataFrame, column: str, path: Path) -> np.ndarray:
    """Read a column of whole numbers; patients may have names, as in ``train.csv``."""
    column_N = frame[column]
    named = column == "patient_id" and not pd.api.types.is_numeric_dtype(column_N.dtype)  # as a train.csv may have
    if named:
        column_N = pd.Series([patient_number(value) if isinstance(value, str) else value for value in column_N])
    values = pd.to_numeric(column_N, errors="coerce").to_numpy()
    bad = ~np.isfinite(values.astype(np.float64)) | (values != np.rint(values))
    if bad.any():
        row = int(np.argmax(bad))
        needed = "a whole number or a name" if named else "a whole number"
        raise UserError(f"table {path}: row {row}, column {column}: {frame[column].iloc[row]}; {needed} is needed")
    limits = np.iinfo(DTYPES[column])
    bad = (values < limits.min) | (values > limits.max) | (values.astype(np.float64) >= 2.0**63)
    if bad.any():
        row = int(np.argmax(bad))
        raise UserError(
            f"table {path}: row {row}, column {column}: {frame[column].iloc[row]}; at most {limits.max} is possible"
        )
    return np.asarray(values.astype(np.int64))


def _numbers(frame: pd.DataFrame, columns: Sequence[str], path: Path) -> np.ndarray:
    for column in columns:
        if not pd.api.types.is_numeric_dtype(frame[column].dtype):
            raise UserError(f"table {path}: column {column} is {frame[column].dtype}; it must be numeric")
    return frame.loc[:, list(columns)].to_numpy(dtype=np.float64, copy=True)


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
