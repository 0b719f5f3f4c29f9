"""Votes by named rater: who said what of which window, which counts of votes cannot tell.

Two layouts are read, from parquet or csv. A wide one has a row a window and a column a rater, called ``rater_…``:
class names, or the codes of IIIC-SPaRCNet. A long one has a row a vote: ``rater``, ``label_id`` and ``class``, as the
report's EEG page saves a second opinion.
"""

# N row, J rater, K class

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from hbac.common.errors import UserError
from hbac.evaluation.agreement import NOT_RATED, count_votes_by_rater
from hbac.evaluation.metric import check_distribution
from hbac.predictions.foreign import integers, read_csv
from hbac.predictions.metadata import TableMetadata
from hbac.predictions.parquet import as_frame, read_parquet
from hbac.predictions.table import ID_COLUMNS, NO_ID, PredictionTable
from hbac.vocabulary import CLASSES, CONSENSUS_NAMES, PROB_COLUMNS, VOTE_COLUMNS

PREFIX = "rater_"
LONG = ("rater", "label_id", "class")
#: The codes of IIIC-SPaRCNet: 0 other, 1 seizure, 2 LPD, 3 GPD, 4 LRDA, 5 GRDA.
CODES = ("other", "seizure", "lpd", "gpd", "lrda", "grda")
_NAMES = {name.casefold(): k for names in (CLASSES, CONSENSUS_NAMES) for k, name in enumerate(names)}


@dataclass(frozen=True)
class RaterTable:
    """Votes of named raters, and what a network said of the same rows where the file has it."""

    title: str  # what the table is called
    names: tuple[str, ...]
    votes: npt.NDArray[np.int64]  # (rows, raters) class that each gave, −1 where none; each row has a vote
    ids: pd.DataFrame  # ``label_id``, ``patient_id`` and others; −1 where the file has none
    probs: npt.NDArray[np.float64] | None = None  # (rows, 6)
    certainty: npt.NDArray[np.float64] | None = None  # (rows, raters) how sure a rater was, 0 to 100

    @property
    def patients(self) -> npt.NDArray[np.int64]:
        """Patient of each row; where nobody knows them, each row is one of its own."""
        patient = self.ids["patient_id"].to_numpy()
        return np.arange(len(patient)) if (patient == NO_ID).any() else patient

    def of_rows(self, label_ids: npt.ArrayLike) -> tuple[RaterTable, npt.NDArray[np.int64]]:
        """Keep the rows that a prediction table has; return them, and where they stand among its `label_ids`."""
        found = pd.Index(np.asarray(label_ids)).get_indexer(self.ids["label_id"])
        here = (found >= 0) & (self.ids["label_id"].to_numpy() != NO_ID)
        ids = self.ids[here].reset_index(drop=True)
        probs = None if self.probs is None else self.probs[here]
        return RaterTable(self.title, self.names, self.votes[here], ids, probs), np.asarray(found[here], np.int64)


def read_raters(path: str | Path) -> RaterTable:
    """Read a table of votes by named rater, parquet or csv; rows that nobody rated are left out.

    Wide: columns ``rater_…`` of class names, or of codes (0 other, 1 seizure, 2 LPD, 3 GPD, 4 LRDA, 5 GRDA, −1 not
    rated); ids and the six ``_prob`` columns where there are any. Long: ``rater, label_id, class``, and ``certainty``,
    other ids where there are any. A `UserError` for counts of votes without raters' names; an unknown class, or a rater
    who voted twice; names file, row and column.
    """
    path = Path(path)
    frame = _read(path)
    table = _from_long(frame, path) if set(LONG) <= set(frame.columns) else _from_wide(frame, path)
    if not len(table.votes):
        raise UserError(f"{path}: nobody rated anything: it has no vote")
    return table


def _from_wide(frame: pd.DataFrame, path: Path) -> RaterTable:
    raters = [str(column) for column in frame.columns if str(column).startswith(PREFIX)]
    if not raters:
        counted = "; it has counts of votes, which say how far experts agree but not who does" * (
            set(VOTE_COLUMNS) <= set(frame.columns)
        )
        raise UserError(
            f"{path}: no named raters: columns {PREFIX}…, or the three columns {', '.join(LONG)}, are needed{counted}"
        )
    votes = np.stack([_classes(frame[column], path) for column in raters], axis=1)
    probs = None
    if set(PROB_COLUMNS) <= set(frame.columns):
        probs = check_distribution(frame, PROB_COLUMNS, f"table {path}")
    elif any(column in frame.columns for column in PROB_COLUMNS):
        raise UserError(f"{path}: only some of the columns {', '.join(PROB_COLUMNS)}; all six are needed, or none")
    ids = pd.DataFrame({column: _ids(frame, column, path) for column in ID_COLUMNS})
    _check_once(ids, path)
    rated = (votes != NOT_RATED).any(axis=1)
    names = tuple(name.removeprefix(PREFIX) for name in raters)
    ids, probs = ids[rated].reset_index(drop=True), None if probs is None else probs[rated]
    return RaterTable(path.stem, names, votes[rated], ids, probs)


def _read(path: Path) -> pd.DataFrame:
    if path.suffix.lower() == ".csv":
        known = (*LONG, *ID_COLUMNS, *PROB_COLUMNS)
        return read_csv(path, "table of raters", lambda name: name in known or name.startswith(PREFIX))
    return as_frame(read_parquet(path), path)


def _classes(values: pd.Series, path: Path) -> npt.NDArray[np.int64]:
    """Bring one rater's votes to positions among the classes."""
    if pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_bool_dtype(values.dtype):
        code = values.fillna(NOT_RATED).to_numpy()
        bad = ~np.isin(code, [NOT_RATED, *range(len(CODES))])
        allowed = f"{NOT_RATED} (not rated), " + ", ".join(f"{code} ({name})" for code, name in enumerate(CODES))
        place = np.array([*(CLASSES.index(name) for name in CODES), NOT_RATED])
        found = place[np.where(bad, NOT_RATED, code).astype(np.int64)]
    else:
        texts = values.fillna("").astype(str).str.strip().str.casefold()
        unrated = texts == ""
        found = np.where(unrated, NOT_RATED, texts.map(_NAMES).fillna(-2)).astype(np.int64)
        bad, allowed = found == -2, f"nothing (not rated), or one of {', '.join(CLASSES)}"
    if bad.any():
        row = int(np.argmax(bad))
        raise UserError(f"{path}: row {row}, column {values.name}: {values.iloc[row]}; a vote is {allowed}")
    return np.asarray(found, np.int64)


def _ids(frame: pd.DataFrame, column: str, path: Path) -> npt.NDArray[np.int64]:
    return integers(frame, column, path) if column in frame.columns else np.full(len(frame), NO_ID)


def _check_once(ids: pd.DataFrame, path: Path) -> None:
    repeated = ids["label_id"].duplicated() & (ids["label_id"] != NO_ID)
    if repeated.any():
        row = int(np.argmax(repeated))
        raise UserError(f"{path}: row {row}, column label_id: {ids['label_id'].iloc[row]} stands twice")


def _check_crc(path: Path) -> None:
    """Compare rows with the checksum that the report's EEG page wrote behind each (``assets/eeg_opinion.js``)."""
    frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig").rename(columns=str.strip)
    for row, one in enumerate(frame.to_dict("records")):
        text = "|".join(one.get(name, "") for name in ("rater", "label_id", "eeg_id", "class", "certainty"))
        if one["crc32"] not in ("", str(zlib.crc32(text.encode()))):
            raise UserError(
                f"{path}: row {row}: its crc32 is of something else: damaged, or edited; empty that cell to have the "
                "row as it is"
            )


def _from_long(frame: pd.DataFrame, path: Path) -> RaterTable:
    if "crc32" in frame.columns and path.suffix.lower() == ".csv":
        _check_crc(path)
    label_id, k = _ids(frame, "label_id", path), _classes(frame["class"], path)
    rater = frame["rater"].fillna("").astype(str).str.strip()
    if (rater == "").any():
        raise UserError(f"{path}: row {int(np.argmax(rater == ''))}, column rater: nobody; a name is needed")
    repeated = pd.DataFrame({"label_id": label_id, "rater": rater}).duplicated()
    if repeated.any():
        row = int(np.argmax(repeated))
        raise UserError(f"{path}: row {row}: {rater.iloc[row]} has voted on label_id {label_id[row]} before")
    names, (labels, first) = sorted(rater.unique()), np.unique(label_id, return_index=True)
    at = np.searchsorted(labels, label_id), np.searchsorted(names, rater.to_numpy(str))
    votes, certainty = np.full((len(labels), len(names)), NOT_RATED, np.int64), None
    votes[at] = k
    ids = pd.DataFrame({column: _ids(frame, column, path) for column in ID_COLUMNS})
    several = ids.groupby("label_id").nunique() > 1
    if several.any(axis=None):
        column = several.any().idxmax()
        raise UserError(f"{path}: label_id {several[column].idxmax()} has more than one {column}")
    ids = ids.iloc[first].reset_index(drop=True)
    rated = (votes != NOT_RATED).any(axis=1)
    if "certainty" in frame.columns:
        sure = pd.to_numeric(frame["certainty"], errors="coerce")
        if not (fits := sure.between(0, 100)).all():
            row = int(np.argmin(fits))
            raise UserError(f"{path}: row {row}, column certainty: {frame['certainty'].iloc[row]}; it is 0 to 100")
        if (sure % 1 > 0).any() and sure.max() <= 1:
            raise UserError(f"{path}: column certainty: none is above 1; it is 0 to 100, and these look like shares")
        certainty = np.zeros(votes.shape)
        certainty[at] = sure
        certainty = certainty[rated]
    return RaterTable(path.stem, tuple(names), votes[rated], ids[rated].reset_index(drop=True), certainty=certainty)


def read_opinions(path: Path, rows: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Read second opinions on label rows as votes, (n_rows, 6); who was less certain than 100 has a smaller one.

    A `UserError` for a table that cannot be read (`read_raters`), or a row that the data set does not have.
    """
    table = read_raters(path)
    at = pd.Index(rows["label_id"]).get_indexer(table.ids["label_id"])
    own = rows.iloc[at]
    for column in ("label_id", "eeg_id"):
        given = table.ids[column].to_numpy()
        bad = (given != own[column].to_numpy()) & ((given != NO_ID) | (column == "label_id"))
        if bad.any():
            wrong = table.ids.loc[bad, ["label_id", "eeg_id"]].iloc[0]
            raise UserError(
                f"labels.opinions={path}: label_id {wrong['label_id']} of eeg_id {wrong['eeg_id']}: no row of this "
                f"data set, as {bad.sum()} of the table's {len(bad)}; it has to be of the rows that are trained on"
            )
    votes_NK = np.zeros((len(rows), len(CLASSES)))
    weight_NJ = np.ones(table.votes.shape) if table.certainty is None else table.certainty / 100
    for k in range(len(CLASSES)):
        votes_NK[at, k] = np.where(table.votes == k, weight_NJ, 0).sum(axis=1)
    return votes_NK


def vote_counts(table: RaterTable) -> pd.DataFrame:
    """Count the votes as ``train.csv`` does: the ids, and the six ``_vote`` columns."""
    counts = pd.DataFrame(count_votes_by_rater(table.votes), columns=list(VOTE_COLUMNS))
    return pd.concat([table.ids, counts], axis=1)


def as_predictions(table: RaterTable) -> PredictionTable:
    """Make a prediction table of the probabilities beside the votes, with all votes for the target.

    It has one fold, and is called as the table is. Ids that are missing become the number of the row. A `UserError`
    when there are no probabilities.
    """
    if table.probs is None:
        raise UserError(f"{table.title}: no probabilities: the columns {', '.join(PROB_COLUMNS)} are needed")
    rows = vote_counts(table)
    for column in ("label_id", "eeg_id", "patient_id"):
        if (rows[column] == NO_ID).any():
            rows[column] = np.arange(len(rows))
    return PredictionTable.from_arrays(rows, table.probs, TableMetadata(table.title, hbac_version=""), fold=0)
