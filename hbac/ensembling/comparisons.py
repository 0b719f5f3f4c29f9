"""The full report: every metric of every member and the blend with its interval, who differs from the best, who adds.

Classes are needed for the metrics of classification; a row's class is the one with most votes (ties: the first
in the fixed order), as in ``expert_consensus``. Log loss, accuracy, balanced accuracy, AUROC, AUPRC and
calibration error are those of that class; KL is that of the shares. Balanced accuracy and the macro averages
run over the classes that occur.
"""

# J prediction (the blend, then members), N row, K class, R resample, P patient

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from hbac.common.progress import track
from hbac.ensembling.methods import SINGLE
from hbac.ensembling.nested import BlendData, FoldFits, NestedFit
from hbac.ensembling.summary import BLEND, population_scores, write_csv
from hbac.evaluation.bootstrap import (
    N_RESAMPLES,
    bootstrap_means,
    paired_bootstrap,
    patient_index,
    percentile_interval,
    resample_counts,
)
from hbac.evaluation.calibration import N_BINS, confidence_bins
from hbac.evaluation.metric import kl_rows, kl_terms
from hbac.labels.targets import POPULATIONS
from hbac.predictions.join import JoinedTables
from hbac.vocabulary import CLASSES, N_CLASSES

Array = npt.NDArray[np.float64]
Counts = npt.NDArray[np.float64]

N_RESAMPLES_RANK = 200  # AUROC and AUPRC need a pass over all rows for each resample


def _patient_sums(index_N: npt.NDArray[np.int64], n_patients: int, values_NJ: Array) -> Array:
    return np.stack([np.bincount(index_N, weights=v, minlength=n_patients) for v in values_NJ.T], axis=1)


def _ratio(numerator: Array, denominator: Array) -> Array:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)


def auroc_and_auprc(positive_N: npt.NDArray[np.bool_], score_N: Array, weight_RN: Array) -> tuple[Array, Array]:
    """Compute one class's area under the ROC and the precision-recall curve for several sets of row weights.

    Parameters
    ----------
    positive_N : ndarray of bool, shape (rows,)
        Rows of the class.
    score_N : ndarray, shape (rows,)
        Its predicted probability; rows of equal score move together.
    weight_RN : ndarray, shape (resamples, rows)
        Row weights, 0 or more.

    Returns
    -------
    auroc, auprc : ndarray, shape (resamples,)
        The latter is scikit-learn's average precision. NaN where one side has no weight.

    Examples
    --------
    >>> a, p = auroc_and_auprc(np.array([True, False, True]), np.array([0.9, 0.5, 0.4]), np.ones((1, 3)))
    >>> a.tolist(), p.round(4).tolist()
    ([0.5], [0.8333])
    """
    order = np.argsort(-score_N, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score_N[order])), len(order) - 1)
    weights = weight_RN[:, order]
    hits = weights * positive_N[order]
    true = np.cumsum(hits, axis=1)[:, ends]
    false = np.cumsum(weights - hits, axis=1)[:, ends]
    step_true = np.diff(true, axis=1, prepend=0.0)
    step_false = np.diff(false, axis=1, prepend=0.0)
    area = (step_false * (true - step_true / 2)).sum(axis=1)
    precision = np.divide(true, true + false, out=np.zeros_like(true), where=true + false > 0)
    auroc = _ratio(area, true[:, -1] * false[:, -1])
    auprc = _ratio((step_true * precision).sum(axis=1), true[:, -1])
    auprc[false[:, -1] <= 0] = np.nan
    return auroc, auprc


def _macro_areas(target_N: npt.NDArray[np.int64], prob_NK: Array, weight_RN: Array) -> Array:
    """Macro one-vs-rest AUROC and AUPRC over the classes that occur, shape (2, resamples)."""
    classes = [k for k in range(N_CLASSES) if 0 < (target_N == k).sum() < len(target_N)]
    if not classes:
        return np.full((2, len(weight_RN)), np.nan)
    areas = np.stack([auroc_and_auprc(target_N == k, prob_NK[:, k], weight_RN) for k in classes])
    there = np.isfinite(areas)
    return _ratio(np.where(there, areas, 0.0).sum(axis=0), there.sum(axis=0).astype(np.float64))


def score_table(
    target_NK: Array,
    probs: dict[str, Array],
    n_votes_N: npt.NDArray[np.int32],
    patient_id_N: npt.NDArray[np.int64],
    n_resamples: int = N_RESAMPLES,
    n_resamples_rank: int = N_RESAMPLES_RANK,
    seed: int = 0,
) -> pd.DataFrame:
    """Score predictions of the same rows by every metric, each with its 95 % patient bootstrap.

    Parameters
    ----------
    target_NK : ndarray, shape (rows, 6)
        Vote shares.
    probs : dict of str to ndarray, shape (rows, 6)
        Predictions by name; rows of NaN where there is none.
    n_votes_N : ndarray of int, shape (rows,)
        Number of votes.
    patient_id_N : ndarray of int, shape (rows,)
        Patient of each row.
    n_resamples : int
        Resamples.
    n_resamples_rank : int
        Resamples for AUROC and AUPRC.
    seed : int
        Seed; all predictions and metrics share the draws.

    Returns
    -------
    DataFrame
        Indexed by name; for each metric ``<metric>, <metric>_low, <metric>_high``: ``kl_<population>``, and on all
        rows ``kl_class_<class>`` (the contributions, which sum to ``kl_all``), ``log_loss, accuracy,
        balanced_accuracy, auroc, auprc, ece``; those again for each vote population that has rows, with
        ``_<population>`` behind the metric.
    """
    kl_JN = np.stack([_where_present(prob, lambda t, p: kl_rows(t, p), target_NK) for prob in probs.values()])
    populations = population_scores(kl_JN, n_votes_N, patient_id_N, n_resamples, seed)
    tables = [populations]
    for population, group in POPULATIONS.items():
        inside = group.contains(n_votes_N)
        if not inside.any():
            continue
        scores = [
            _scores_of_one(target_NK[inside], prob[inside], patient_id_N[inside], n_resamples, n_resamples_rank, seed)
            for prob in track(list(probs.values()), f"bootstrapping, {group.title}", log=False)
        ]
        suffix = "" if population == "all" else f"_{population}"
        tables.append(pd.DataFrame([{_suffixed(name, suffix): v for name, v in row.items()} for row in scores]))
    return pd.concat(tables, axis=1).set_index(pd.Index(list(probs), name="name"))


def _suffixed(name: str, suffix: str) -> str:
    """Put a suffix behind a metric's name, before the end of its interval."""
    for end in ("_low", "_high"):
        if name.endswith(end):
            return f"{name.removesuffix(end)}{suffix}{end}"
    return name + suffix


def _where_present(prob_NK: Array, metric: Callable[[Array, Array], Array], target_NK: Array) -> Array:
    here = np.isfinite(prob_NK).all(axis=1)
    out = np.full(len(prob_NK), np.nan)
    out[here] = metric(target_NK[here], prob_NK[here])
    return out


def _scores_of_one(
    target_NK: Array,
    prob_NK: Array,
    patient_id_N: npt.NDArray[np.int64],
    n_resamples: int,
    n_resamples_rank: int,
    seed: int,
) -> dict[str, float]:
    here = np.isfinite(prob_NK).all(axis=1)
    if not here.any():
        return {}
    target_NK, prob_NK, patient_id_N = target_NK[here], prob_NK[here], patient_id_N[here]
    index_N, n_patients = patient_index(patient_id_N)
    label_N = target_NK.argmax(axis=1)
    right_N = (prob_NK.argmax(axis=1) == label_N).astype(np.float64)
    of_label = prob_NK[np.arange(len(label_N)), label_N]
    tiny = np.finfo(prob_NK.dtype).eps
    log_loss_N = -np.log(np.clip(of_label, tiny, 1 - tiny))
    member_NK = (label_N[:, None] == np.arange(N_CLASSES)).astype(np.float64)
    bin_N, excess_N = confidence_bins(target_NK, prob_NK)
    bins_NB = (bin_N[:, None] == np.arange(N_BINS)) * excess_N[:, None]

    rows_P = _patient_sums(index_N, n_patients, np.ones((len(label_N), 1)))
    label_PK = _patient_sums(index_N, n_patients, member_NK)
    right_PK = _patient_sums(index_N, n_patients, member_NK * right_N[:, None])
    bins_PB = _patient_sums(index_N, n_patients, bins_NB)

    def balanced_accuracy(counts: Counts) -> Array:
        recall = _ratio(counts @ right_PK, counts @ label_PK)
        occurs = np.isfinite(recall)
        return _ratio(np.where(occurs, recall, 0.0).sum(axis=1), occurs.sum(axis=1).astype(np.float64))

    def calibration_error(counts: Counts) -> Array:
        return np.asarray(np.abs(counts @ bins_PB).sum(axis=1) / (counts @ rows_P)[:, 0])

    everyone = np.ones((1, n_patients))
    scores: dict[str, float] = {}

    def add(name: str, estimate: float, resampled: Array) -> None:
        interval = percentile_interval(estimate, resampled)
        scores.update({name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high})

    names = [*(f"kl_class_{name}" for name in CLASSES), "log_loss", "accuracy"]
    values = np.column_stack([kl_terms(target_NK, prob_NK), log_loss_N, right_N])
    resampled = bootstrap_means(values, patient_id_N, n_resamples, seed)
    for name, estimate, column in zip(names, values.mean(axis=0), resampled.T, strict=True):
        add(name, float(estimate), column)
    for name, statistic in (("balanced_accuracy", balanced_accuracy), ("ece", calibration_error)):
        draws = [statistic(counts) for counts in resample_counts(n_patients, n_resamples, seed)]
        add(name, float(statistic(everyone)[0]), np.concatenate(draws))
    estimate = _macro_areas(label_N, prob_NK, np.ones((1, len(label_N))))
    areas = [
        _macro_areas(label_N, prob_NK, block[:, index_N])
        for counts in resample_counts(n_patients, n_resamples_rank, seed)
        for block in np.array_split(counts, max(len(counts) // 20, 1))
    ]
    for i, name in enumerate(("auroc", "auprc")):
        add(name, float(estimate[i, 0]), np.concatenate([area[i] for area in areas]))
    return scores


def compare_with_best(
    kl_JN: Array,
    names: list[str],
    patient_id_N: npt.NDArray[np.int64],
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Bootstrap the difference of every prediction to the best one, on the rows that both have.

    Parameters
    ----------
    kl_JN : ndarray, shape (predictions, rows)
        Divergence of each row, NaN where there is no prediction.
    names : list of str
        Of the predictions.
    patient_id_N : ndarray of int, shape (rows,)
        Patient of each row.
    n_resamples : int
        Resamples.
    seed : int
        Seed of the draws.

    Returns
    -------
    DataFrame
        Best first: ``name, best, difference, low, high``; worse is positive, and not to be told from the best
        where the interval holds 0.
    """
    order = np.argsort(np.nanmean(kl_JN, axis=1), kind="stable")
    best = int(order[0])
    rows = []
    for j in order.tolist():
        both = np.isfinite(kl_JN[j]) & np.isfinite(kl_JN[best])
        found = (
            paired_bootstrap(kl_JN[j, both], kl_JN[best, both], patient_id_N[both], n_resamples, seed)
            if both.any()
            else percentile_interval(float("nan"), np.empty(0))
        )
        rows.append((names[j], names[best], found.estimate, found.low, found.high))
    return pd.DataFrame(rows, columns=["name", "best", "difference", "low", "high"])


def disagreement(probs: dict[str, Array]) -> pd.DataFrame:
    """Measure how far apart predictions are, pair by pair.

    Parameters
    ----------
    probs : dict of str to ndarray, shape (rows, classes)
        Predictions by name; rows of NaN where there is none.

    Returns
    -------
    DataFrame
        Symmetric, names by names: mean Jensen-Shannon divergence in nats over the rows that both have; 0 for
        the same prediction, log 2 where they exclude each other.

    References
    ----------
    Lin, Divergence measures based on the Shannon entropy, doi:10.1109/18.61115.
    """
    names = list(probs)
    entropy = [_entropy(prob) for prob in probs.values()]
    matrix = np.zeros((len(names), len(names)))
    for i, a in enumerate(probs.values()):
        for j, b in enumerate(list(probs.values())[:i]):
            rows = _entropy((a + b) / 2) - (entropy[i] + entropy[j]) / 2
            both = np.isfinite(rows)
            matrix[i, j] = matrix[j, i] = max(float(rows[both].mean()), 0.0) if both.any() else float("nan")
    return pd.DataFrame(matrix, index=names, columns=names)


def _entropy(prob_NK: Array) -> Array:
    return np.asarray(-(prob_NK * np.log(np.maximum(prob_NK, 1e-300))).sum(axis=1))


def leave_one_out(data: BlendData, names: tuple[str, ...], patient_id_N: npt.NDArray[np.int64]) -> pd.DataFrame:
    """Fit the convex blend again without each member, to see what it adds.

    Parameters
    ----------
    data : BlendData
        Rows and members.
    names : tuple of str
        Of the members.
    patient_id_N : ndarray of int, shape (rows,)
        Patient of each row.

    Returns
    -------
    DataFrame
        The most useful first: ``name, gain, low, high``; the nested score without the member less that with it,
        in nats, with its paired 95 % bootstrap. 0 for a member that no fit gives any weight, NaN for the only
        member.
    """
    if len(names) == 1:
        return pd.DataFrame({"name": names} | {key: [np.nan] for key in ("gain", "low", "high")})
    fits = FoldFits(data, SINGLE["convex"]())
    whole = fits.result()
    rows = []
    for m, name in enumerate(names):
        if data.present is None and not fits.used[m]:
            rows.append((name, 0.0, 0.0, 0.0))
            continue
        kept = np.arange(len(names)) != m
        present = None if data.present is None else data.present[kept]
        row = np.ones(len(data.fold), dtype=bool) if present is None else present.any(axis=0)
        rest = BlendData(
            data.probs[kept][:, row], data.targets[row], data.fold[row], None if present is None else present[:, row]
        )
        without = FoldFits(rest, SINGLE["convex"]()).result()
        gain = paired_bootstrap(
            kl_rows(data.targets[row], without.nested), kl_rows(data.targets[row], whole.nested[row]), patient_id_N[row]
        )
        rows.append((name, gain.estimate, gain.low, gain.high))
    table = pd.DataFrame(rows, columns=["name", "gain", "low", "high"])
    return table.sort_values(["gain", "name"], ascending=[False, True], kind="stable", ignore_index=True)


def full_report(
    joined: JoinedTables,
    fit: NestedFit,
    n_resamples: int = N_RESAMPLES,
    n_resamples_rank: int = N_RESAMPLES_RANK,
    seed: int = 0,
) -> dict[str, pd.DataFrame]:
    """Make all tables of the report.

    Parameters
    ----------
    joined : JoinedTables
        Members' predictions.
    fit : NestedFit
        The blend of these members, whose nested predictions are reported.
    n_resamples : int
        Resamples.
    n_resamples_rank : int
        Resamples for AUROC and AUPRC.
    seed : int
        Seed of the draws.

    Returns
    -------
    dict of str to DataFrame
        ``scores`` (`score_table`), ``against_best`` (`compare_with_best`), ``disagreement`` and
        ``leave_one_out``.
    """
    probs = {BLEND: fit.nested}
    for name, prob, here in zip(joined.members, joined.probs, joined.present, strict=True):
        probs[name] = np.where(here[:, None], prob.astype(np.float64), np.nan)
    target = joined.targets
    kl_JN = np.stack([_where_present(prob, lambda t, p: kl_rows(t, p), target) for prob in probs.values()])
    present = None if joined.present.all() else joined.present
    data = BlendData(joined.probs, target, joined.fold, present)
    return {
        "scores": score_table(target, probs, joined.n_votes, joined.patient_id, n_resamples, n_resamples_rank, seed),
        "against_best": compare_with_best(kl_JN, list(probs), joined.patient_id, n_resamples, seed),
        "disagreement": disagreement(probs),
        "leave_one_out": leave_one_out(data, joined.members, joined.patient_id),
    }


def write_report(joined: JoinedTables, fit: NestedFit, folder: Path, n_resamples: int, seed: int) -> None:
    """Write the tables of `full_report`, ``<table>.csv`` each.

    Parameters
    ----------
    joined : JoinedTables
        Members' predictions.
    fit : NestedFit
        The blend of these members.
    folder : Path
        Where to.
    n_resamples : int
        Resamples of the patient bootstrap.
    seed : int
        Seed of the draws.
    """
    for name, frame in full_report(joined, fit, n_resamples, seed=seed).items():
        write_csv(frame if "name" in frame else frame.reset_index(names="name"), folder / f"{name}.csv")
