"""The ranked summary: the blend and each member, with the score of each vote population and its interval."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from hbac.common.files import whole_file
from hbac.common.progress import track
from hbac.ensembling.methods import fit_nested
from hbac.ensembling.nested import BlendData, NestedFit
from hbac.ensembling.swept import swept_settings
from hbac.evaluation.bootstrap import N_RESAMPLES, bootstrap_means, percentile_interval
from hbac.evaluation.metric import kl_rows
from hbac.labels.targets import DEFAULT_POPULATION, counted_first, population_of
from hbac.predictions.join import JoinedTables

BLEND = "ensemble"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # https://owasp.org/www-community/attacks/CSV_Injection
_HEAD = ("name", "kind", "used", "folds", "rows")


def population_scores(
    kl_JN: npt.NDArray[np.float64],
    n_votes_N: npt.NDArray[np.int32],
    patient_id_N: npt.NDArray[np.int64],
    population: str = DEFAULT_POPULATION,
    n_resamples: int = N_RESAMPLES,
) -> pd.DataFrame:
    """Score several predictions of the same rows on each vote population; a row a prediction.

    Columns are ``kl_<name>, kl_<name>_low, kl_<name>_high`` for each, NaN where it has no rows, those of `population`
    first. `kl_JN` is the divergence of each row in nats, NaN where there is no prediction; the bootstrap draws
    patients.
    """
    columns: dict[str, npt.NDArray[np.float64]] = {}
    for name, group in counted_first(population).items():
        inside = group.contains(n_votes_N)
        columns |= _intervals(f"kl_{name}", kl_JN[:, inside], patient_id_N[inside], n_resamples)
    return pd.DataFrame(columns)


def _intervals(
    name: str,
    kl_JN: npt.NDArray[np.float64],
    patient_id_N: npt.NDArray[np.int64],
    n_resamples: int,
) -> dict[str, npt.NDArray[np.float64]]:
    """Mean of each line and its bounds, as columns; NaN where it has no rows."""
    present = np.isfinite(kl_JN)
    means = np.full(len(kl_JN), np.nan)
    np.divide(np.where(present, kl_JN, 0).sum(axis=1), present.sum(axis=1), out=means, where=present.any(axis=1))
    if not present.any():
        return {name: means, f"{name}_low": means, f"{name}_high": means}
    resampled = bootstrap_means(kl_JN.T, patient_id_N, n_resamples)
    made = [percentile_interval(m, column) for m, column in zip(means, resampled.T, strict=True)]
    return {
        name: means,
        f"{name}_low": np.array([interval.low for interval in made]),
        f"{name}_high": np.array([interval.high for interval in made]),
    }


def calibrated_kl(data: BlendData) -> npt.NDArray[np.float64]:
    """Score each member after its calibration to the rows that count, nested by fold.

    Returned is the divergence in nats (members, rows): NaN in rows that don't count or the member lacks, and for a
    member with such rows of one fold only.

    References
    ----------
    Guo et al., On Calibration of Modern Neural Networks, ICML 2017, doi:10.48550/arXiv.1706.04599.
    """
    kl_MN = np.full(data.probs.shape[:2], np.nan)
    for m in track(range(len(kl_MN)), "calibrating members", log=False):
        rows = np.ones(len(data.fold), dtype=bool) if data.present is None else data.present[m].copy()
        if data.counts is not None:
            rows &= data.counts
        if len(np.unique(data.fold[rows])) > 1:
            alone = BlendData(data.probs[[m]][:, rows], data.targets[rows], data.fold[rows])
            kl_MN[m, rows] = kl_rows(alone.targets, fit_nested(alone, "log_linear", quiet=True)["log_linear"].nested)
    return kl_MN


def summarise(
    joined: JoinedTables,
    data: BlendData,
    fit: NestedFit,
    population: str = DEFAULT_POPULATION,
    n_resamples: int = N_RESAMPLES,
) -> pd.DataFrame:
    """Rank the blend, which comes first with its nested score, and the members by their score on the `population`.

    Columns are ``name, kind, used, folds, rows``; those of `population_scores`; ``kl_calibrated`` with its interval,
    each member's score on the population after `calibrated_kl`; and those of `hbac.ensembling.swept.swept_settings`.
    The last two are empty for the blend. `data` is what the blend of `joined` was fitted on.
    """
    kl = np.vstack([kl_rows(joined.targets, fit.nested), joined.divergences])
    heads = pd.DataFrame(
        {
            "name": [BLEND, *joined.members],
            "kind": ["ensemble", *["member"] * len(joined.members)],
            "used": [True, *fit.blend.used.tolist()],
            "folds": [len(np.unique(joined.fold[np.isfinite(row)])) for row in kl],
            "rows": np.isfinite(kl).sum(axis=1),
        }
    )
    scores = population_scores(kl, joined.n_votes, joined.patient_id, population, n_resamples)
    counts = population_of(population).contains(joined.n_votes)
    after = _intervals("kl_calibrated", calibrated_kl(data)[:, counts], joined.patient_id[counts], n_resamples)
    calibrated = pd.DataFrame(after, index=heads.index[1:]).reindex(heads.index)
    settings = swept_settings(joined.metadata)
    settings.index += 1
    table = pd.concat([heads, scores, calibrated, settings.reindex(heads.index, fill_value="")], axis=1)
    members = table.iloc[1:].sort_values([f"kl_{population_of(population).name}", "name"], kind="stable")
    return pd.concat([table.iloc[:1], members], ignore_index=True)


def settings_of(summary: pd.DataFrame) -> list[str]:
    """Name the columns of a summary that are settings: what was swept.

    Examples
    --------
    >>> settings_of(pd.DataFrame(columns=["name", "rows", "kl_all", "band", "model.kernels"]))
    ['band', 'model.kernels']
    """
    return [column for column in summary.columns if column not in _HEAD and not column.startswith("kl_")]


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as csv, without its index, its NaN as empty cells, its text by `as_text`.

    It appears whole or not at all.
    """
    frame = frame.rename(columns=as_text)
    for column in frame:
        if not pd.api.types.is_numeric_dtype(frame[column]):
            frame[column] = frame[column].map(as_text)
    with whole_file(path) as partial:
        frame.to_csv(partial, index=False)


def as_text(value: object) -> object:
    """Keep a spreadsheet from taking text for a formula, which may run programs: such text gets a ``'`` before it.

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
