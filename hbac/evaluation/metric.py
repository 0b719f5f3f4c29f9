"""The competition's metric: Kullback-Leibler divergence of the predicted from the voted distribution.

For a row with vote shares t and prediction p the score is the sum over classes of ``t * log(t / p)``, 0 where t
is 0; the score of a table is the mean over its rows, in nats, 0 at best. Both tables must be numeric, in [0,
1], with rows that sum to 1 (within `numpy.allclose`). Only the prediction is clipped, to ``[1e-15, 1 −
1e-15]``, and it isn't normalised again afterwards.

References
----------
Metric of "HMS - Harmful Brain Activity Classification", Kaggle 2024.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from hbac.common.errors import UserError
from hbac.labels.targets import POPULATIONS
from hbac.vocabulary import CLASSES, N_CLASSES, PROB_COLUMNS, VOTE_COLUMNS

CLIP = 1e-15

Table = pd.DataFrame | npt.NDArray[np.generic]
Floats = npt.NDArray[np.floating]


def kl_terms(target_NK: Floats, prob_NK: Floats) -> npt.NDArray[np.float64]:
    """Compute the term of each row and class in nats, without looking at the input, both in [0, 1].

    The sum over classes is the row's divergence; one term alone can be negative.

    Examples
    --------
    >>> kl_terms(np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]])).round(4).tolist()
    [[0.6931, 0.0]]
    """
    target = np.asarray(target_NK, dtype=np.float64)
    prob = np.clip(np.asarray(prob_NK, dtype=np.float64), CLIP, 1 - CLIP)
    ratio = np.divide(target, prob, out=np.ones_like(target), where=target > 0)
    return np.asarray(target * np.log(ratio))


def kl_rows(target_NK: Floats, prob_NK: Floats) -> npt.NDArray[np.float64]:
    """Compute each row's divergence in nats; see `kl_terms`.

    Examples
    --------
    >>> kl_rows(np.array([[1.0, 0.0], [0.5, 0.5]]), np.full((2, 2), 0.5)).round(4).tolist()
    [0.6931, 0.0]
    """
    return np.asarray(kl_terms(target_NK, prob_NK).sum(axis=1))


def check_distribution(values: Table, columns: tuple[str, ...], what: str) -> npt.NDArray[np.float64]:
    """Check that rows are distributions, as the competition's metric does, and return them as float64.

    They must be finite, in [0, 1], and sum to 1; of a frame, `columns` are taken. A `UserError` says table (`what`),
    row and column.
    """
    if isinstance(values, pd.DataFrame):
        for column in columns:
            if column not in values.columns:
                raise UserError(f"{what}: missing column {column}")
            if not pd.api.types.is_numeric_dtype(values[column].dtype):
                raise UserError(f"{what}: column {column} is {values[column].dtype}; it must be numeric")
        values = values.loc[:, list(columns)].to_numpy(dtype=np.float64)
    if not np.issubdtype(values.dtype, np.number):
        raise UserError(f"{what}: values are {values.dtype}; they must be numeric")
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != len(columns):
        raise UserError(f"{what}: shape {array.shape}; needed: (rows, {len(columns)})")
    if not len(array):
        raise UserError(f"{what}: no rows")
    for bad, found in (
        (~np.isfinite(array), "not a number"),
        (array < 0, "negative"),
        (array > 1, "greater than 1"),
    ):
        if bad.any():
            row, column_index = (int(i) for i in np.argwhere(bad)[0])
            value = array[row, column_index]
            raise UserError(
                f"{what}: row {row}, column {columns[column_index]}: {value:g} is {found}; shares lie in [0, 1]"
            )
    total = array.sum(axis=1)
    bad_sum = ~np.isclose(total, 1.0)
    if bad_sum.any():
        row = int(np.argmax(bad_sum))
        raise UserError(
            f"{what}: row {row}, columns {columns[0]} … {columns[-1]} sum to {total[row]:.6g}; each row must sum to 1"
        )
    return array


def _class_columns(table: Table, preferred: tuple[str, ...]) -> tuple[str, ...]:
    if isinstance(table, pd.DataFrame):
        other = PROB_COLUMNS if preferred == VOTE_COLUMNS else VOTE_COLUMNS
        for columns in (preferred, other):
            if any(column in table.columns for column in columns):
                return columns
        return tuple(str(column) for column in table.columns if column != "eeg_id")
    if table.ndim == 2 and table.shape[1] != N_CLASSES:
        return tuple(f"column {i}" for i in range(table.shape[1]))
    return preferred


def _aligned(solution: pd.DataFrame, submission: pd.DataFrame) -> pd.DataFrame:
    """Bring the submission in the solution's order where both carry eeg_id."""
    if "eeg_id" not in solution.columns or "eeg_id" not in submission.columns:
        return submission
    wanted, given = solution["eeg_id"].to_numpy(), submission["eeg_id"].to_numpy()
    if np.array_equal(wanted, given):
        return submission
    for name, ids in (("solution", wanted), ("submission", given)):
        repeated = pd.Series(ids).duplicated()
        if repeated.any():
            raise UserError(
                f"{name}: row {int(repeated.argmax())}, column eeg_id: {ids[repeated.argmax()]} stands twice"
            )
    absent = np.setdiff1d(wanted, given)
    if len(absent) or len(wanted) != len(given):
        extra = np.setdiff1d(given, wanted)
        found = f"lacks eeg_id {absent[0]}" if len(absent) else f"has eeg_id {extra[0]}, which the solution lacks"
        raise UserError(f"submission: {found} ({len(absent)} missing, {len(extra)} too many)")
    return submission.set_index("eeg_id").loc[wanted].reset_index()


def kl_divergence(solution: Table, submission: Table) -> float:
    """Score predictions as the competition does.

    Parameters
    ----------
    solution : DataFrame or ndarray, shape (rows, 6)
        Vote shares. A frame has the ``_vote`` columns (failing these, the ``_prob`` columns; failing these, all
        its columns but ``eeg_id`` are classes).
    submission : DataFrame or ndarray, shape (rows, 6)
        Predicted probabilities, in the same order of rows; where both frames have ``eeg_id`` the rows are
        matched on it. A submission's columns are called ``_vote``, a prediction table's ``_prob``; a frame that
        has both (such as a whole prediction table) is scored by its ``_prob`` columns.

    Returns
    -------
    float
        Mean divergence in nats, 0 or more up to the rounding of sums.

    Raises
    ------
    UserError
        Says which table, row and column isn't a distribution, or which EEG isn't in both.

    Examples
    --------
    >>> kl_divergence(np.array([[1.0, 0, 0, 0, 0, 0]]), np.full((1, 6), 1 / 6)) == np.log(6)
    np.True_
    """
    solution_columns = _class_columns(solution, VOTE_COLUMNS)
    submission_columns = _class_columns(submission, PROB_COLUMNS)
    if isinstance(solution, pd.DataFrame) and isinstance(submission, pd.DataFrame):
        submission = _aligned(solution, submission)
        if solution_columns not in (VOTE_COLUMNS, PROB_COLUMNS):
            submission_columns = solution_columns
    target = check_distribution(solution, solution_columns, "solution")
    prob = check_distribution(submission, submission_columns, "submission")
    if target.shape != prob.shape:
        raise UserError(f"solution has shape {target.shape}, submission {prob.shape}; they must agree")
    return float(kl_rows(target, prob).mean())


def kl_by_population(target_NK: Floats, prob_NK: Floats, n_votes_N: npt.ArrayLike) -> dict[str, float]:
    """Score the vote populations of `hbac.labels.targets.POPULATIONS`: ``all``, ``up_to_7``, ``10_or_more``.

    Mean divergence in nats; NaN where a population has no rows.

    Examples
    --------
    >>> kl_by_population(np.eye(2), np.full((2, 2), 0.5), [3, 12])["10_or_more"].__round__(4)
    0.6931
    """
    rows = kl_rows(target_NK, prob_NK)
    masks = {name: population.contains(n_votes_N) for name, population in POPULATIONS.items()}
    return {name: float(rows[mask].mean()) if mask.any() else float("nan") for name, mask in masks.items()}


def kl_by_class(target_NK: Floats, prob_NK: Floats) -> dict[str, float]:
    """Split the score into the mean terms of the classes in nats; they sum to it, and single ones can be negative.

    Examples
    --------
    >>> kl_by_class(np.eye(6), np.full((6, 6), 1 / 6))["lpd"].__round__(4)
    0.2986
    """
    terms = kl_terms(target_NK, prob_NK).mean(axis=0)
    return {name: float(term) for name, term in zip(CLASSES, terms, strict=True)}
