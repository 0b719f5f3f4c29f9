"""The ranked summary: the blend and each member, with the score of each vote population and its interval."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from hbac.common.files import whole_file
from hbac.ensembling.nested import NestedFit
from hbac.ensembling.settings import swept_settings
from hbac.evaluation.bootstrap import N_RESAMPLES, bootstrap_means, percentile_interval
from hbac.evaluation.metric import kl_rows
from hbac.labels.targets import POPULATIONS
from hbac.predictions.join import JoinedTables

BLEND = "ensemble"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # https://owasp.org/www-community/attacks/CSV_Injection
_HEAD = ("name", "kind", "used", "folds", "rows")


def population_scores(
    kl_JN: npt.NDArray[np.float64],
    n_votes_N: npt.NDArray[np.int32],
    patient_id_N: npt.NDArray[np.int64],
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Score several predictions of the same rows on each vote population.

    Parameters
    ----------
    kl_JN : ndarray, shape (predictions, rows)
        Divergence of each row in nats, NaN where there is no prediction.
    n_votes_N : ndarray of int, shape (rows,)
        Number of votes.
    patient_id_N : ndarray of int, shape (rows,)
        Patients, over whom the bootstrap draws.
    n_resamples : int
        Resamples.
    seed : int
        Seed of the draws.

    Returns
    -------
    DataFrame
        A row per prediction; for each population ``kl_<name>, kl_<name>_low, kl_<name>_high``, NaN where it has
        no rows.
    """
    columns = {}
    for name, population in POPULATIONS.items():
        inside = population.contains(n_votes_N)
        values = kl_JN[:, inside].T
        if not len(values):
            intervals = [(np.nan, np.nan, np.nan)] * len(kl_JN)
        else:
            resampled = bootstrap_means(values, patient_id_N[inside], n_resamples, seed)
            present = np.isfinite(values)
            means = np.where(present, values, 0).sum(axis=0) / np.maximum(present.sum(axis=0), 1)
            means[~present.any(axis=0)] = np.nan
            made = [percentile_interval(m, column) for m, column in zip(means, resampled.T, strict=True)]
            intervals = [(i.estimate, i.low, i.high) for i in made]
        for position, suffix in enumerate(("", "_low", "_high")):
            columns[f"kl_{name}{suffix}"] = [interval[position] for interval in intervals]
    return pd.DataFrame(columns)


def summarise(joined: JoinedTables, fit: NestedFit, n_resamples: int = N_RESAMPLES, seed: int = 0) -> pd.DataFrame:
    """Rank the blend and its members.

    Parameters
    ----------
    joined : JoinedTables
        Members' predictions.
    fit : NestedFit
        The blend.
    n_resamples : int
        Resamples of the patient bootstrap.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    DataFrame
        The blend first (its nested score, ``kind`` "ensemble"), then the members by their score: ``name, kind,
        used, folds, rows``, the columns of `population_scores`, and those of
        `hbac.ensembling.settings.swept_settings`, empty for the blend.
    """
    target = joined.targets
    kl = np.full((len(joined.members) + 1, len(target)), np.nan)
    kl[0] = kl_rows(target, fit.nested)
    for m, (probs, here) in enumerate(zip(joined.probs, joined.present, strict=True)):
        kl[m + 1, here] = kl_rows(target[here], probs[here])
    heads = pd.DataFrame(
        {
            "name": [BLEND, *joined.members],
            "kind": ["ensemble", *["member"] * len(joined.members)],
            "used": [True, *fit.blend.used.tolist()],
            "folds": [len(np.unique(joined.fold[np.isfinite(row)])) for row in kl],
            "rows": np.isfinite(kl).sum(axis=1),
        }
    )
    scores = population_scores(kl, joined.n_votes, joined.patient_id, n_resamples, seed)
    settings = swept_settings(joined.metadata)
    settings.index += 1
    table = pd.concat([heads, scores, settings.reindex(heads.index, fill_value="")], axis=1)
    members = table.iloc[1:].sort_values(["kl_all", "name"], kind="stable")
    return pd.concat([table.iloc[:1], members], ignore_index=True)


def settings_of(summary: pd.DataFrame) -> list[str]:
    """Name the columns of a summary that are settings.

    Parameters
    ----------
    summary : DataFrame
        Of `summarise`, or read from ``summary.csv``.

    Returns
    -------
    list of str
        What was swept.

    Examples
    --------
    >>> settings_of(pd.DataFrame(columns=["name", "rows", "kl_all", "band", "model.kernels"]))
    ['band', 'model.kernels']
    """
    return [column for column in summary.columns if column not in _HEAD and not column.startswith("kl_")]


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as csv; it appears whole or not at all.

    Parameters
    ----------
    frame : DataFrame
        Without its index. NaN becomes an empty cell. Text that a spreadsheet would compute gets a ``'`` before it.
    path : Path
        File to write. Its folder is made when missing.
    """
    frame = frame.rename(columns=as_text)
    for column in frame:
        if not pd.api.types.is_numeric_dtype(frame[column]):
            frame[column] = frame[column].map(as_text)
    with whole_file(path) as partial:
        frame.to_csv(partial, index=False)


def as_text(value: object) -> object:
    """Keep a spreadsheet from taking text for a formula, which may run programs.

    Parameters
    ----------
    value : object
        A cell, or a column's name.

    Returns
    -------
    object
        Text that begins with ``=``, ``+``, ``-``, ``@`` or a tab, and is no number, behind a ``'``; else `value`.

    Examples
    --------
    >>> [as_text(value) for value in ("=1+1", "-80.0", "resnet_gru", 3)]
    ["'=1+1", '-80.0', 'resnet_gru', 3]
    """
    if not isinstance(value, str) or not value.startswith(_FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value
