"""Comparisons: every metric of every member and the blend with its interval, who differs from the best, who adds.

Classes are needed for the metrics of classification; a row's class is the one with most votes (ties: the first
in the fixed order), as in ``expert_consensus``. Log loss, accuracy, balanced accuracy, AUROC, AUPRC and
calibration error are those of that class; KL is that of the shares. Balanced accuracy and the macro averages
run over the classes that occur.
"""

# J prediction (the blend, then members), N row, K class, R resample, P patient

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import entr

from hbac.common.progress import track
from hbac.ensembling.methods import SINGLE
from hbac.ensembling.nested import BlendData, NestedFit, nest
from hbac.ensembling.summary import BLEND, population_scores, write_csv
from hbac.evaluation.areas import macro_areas, ratio
from hbac.evaluation.bootstrap import (
    N_RESAMPLES,
    bootstrap_means,
    paired_bootstrap,
    patient_index,
    percentile_interval,
    resample_counts,
    sum_by,
)
from hbac.evaluation.calibration import N_BINS, confidence_bins
from hbac.evaluation.metric import kl_rows, kl_terms
from hbac.labels.targets import DEFAULT_POPULATION, counted_first, population_of
from hbac.predictions.join import JoinedTables
from hbac.vocabulary import CLASSES, N_CLASSES

Array = npt.NDArray[np.float64]
Counts = npt.NDArray[np.float64]

N_RESAMPLES_RANK = 200  # AUROC and AUPRC need a pass over all rows for each resample


def score_table(
    target_NK: Array,
    probs: dict[str, Array],
    n_votes_N: npt.NDArray[np.int32],
    patient_id_N: npt.NDArray[np.int64],
    population: str = DEFAULT_POPULATION,
    n_resamples: int = N_RESAMPLES,
    n_resamples_rank: int = N_RESAMPLES_RANK,
) -> pd.DataFrame:
    """Score predictions of the same rows by every metric, each with its 95 % patient bootstrap; a line a prediction.

    Columns are ``<metric>, <metric>_low, <metric>_high``: ``kl_<population>``, that of `population` first, and on all
    rows ``kl_class_<class>`` (the contributions, which sum to ``kl_all``), ``log_loss, accuracy, balanced_accuracy,
    auroc, auprc, ece``; those again for each vote population that has rows, with ``_<population>`` behind the metric.
    Predictions are (rows, 6), with rows of NaN where there is none. All share the draws, of which AUROC and AUPRC get
    `n_resamples_rank`.
    """
    kl_JN = np.stack([_kl_where_present(target_NK, prob) for prob in probs.values()])
    tables = [population_scores(kl_JN, n_votes_N, patient_id_N, population, n_resamples)]
    for name, group in counted_first(population).items():
        inside = group.contains(n_votes_N)
        if not inside.any():
            continue
        suffix = "" if name == "all" else f"_{name}"
        scores = [
            _scores_of_one(target_NK[inside], prob[inside], patient_id_N[inside], suffix, n_resamples, n_resamples_rank)
            for prob in track(list(probs.values()), f"bootstrapping, {group.title}", log=False)
        ]
        tables.append(pd.DataFrame(scores))
    return pd.concat(tables, axis=1).set_index(pd.Index(list(probs), name="name"))


def _kl_where_present(target_NK: Array, prob_NK: Array) -> Array:
    here = np.isfinite(prob_NK).all(axis=1)
    out = np.full(len(prob_NK), np.nan)
    out[here] = kl_rows(target_NK[here], prob_NK[here])
    return out


def _scores_of_one(
    target_NK: Array,
    prob_NK: Array,
    patient_id_N: npt.NDArray[np.int64],
    suffix: str,
    n_resamples: int,
    n_resamples_rank: int,
) -> dict[str, float]:
    """Score one prediction on the rows that it has, by metric's name and a suffix."""
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

    rows_P = sum_by(index_N, n_patients, np.ones((len(label_N), 1)))
    label_PK = sum_by(index_N, n_patients, member_NK)
    right_PK = sum_by(index_N, n_patients, member_NK * right_N[:, None])
    bins_PB = sum_by(index_N, n_patients, bins_NB)

    def balanced_accuracy(counts: Counts) -> Array:
        recall = ratio(counts @ right_PK, counts @ label_PK)
        occurs = np.isfinite(recall)
        return ratio(np.where(occurs, recall, 0.0).sum(axis=1), occurs.sum(axis=1).astype(np.float64))

    def calibration_error(counts: Counts) -> Array:
        return np.asarray(np.abs(counts @ bins_PB).sum(axis=1) / (counts @ rows_P)[:, 0])

    everyone = np.ones((1, n_patients))
    scores: dict[str, float] = {}

    def add(name: str, estimate: float, resampled: Array) -> None:
        found, key = percentile_interval(estimate, resampled), name + suffix
        scores.update({key: found.estimate, f"{key}_low": found.low, f"{key}_high": found.high})

    names = [*(f"kl_class_{name}" for name in CLASSES), "log_loss", "accuracy"]
    values = np.column_stack([kl_terms(target_NK, prob_NK), log_loss_N, right_N])
    resampled = bootstrap_means(values, patient_id_N, n_resamples)
    for name, estimate, column in zip(names, values.mean(axis=0), resampled.T, strict=True):
        add(name, float(estimate), column)
    for name, statistic in (("balanced_accuracy", balanced_accuracy), ("ece", calibration_error)):
        draws = [statistic(counts) for counts in resample_counts(n_patients, n_resamples)]
        add(name, float(statistic(everyone)[0]), np.concatenate(draws))
    estimate = macro_areas(label_N, prob_NK, np.ones((1, len(label_N))))
    areas = [
        macro_areas(label_N, prob_NK, block[:, index_N])
        for counts in resample_counts(n_patients, n_resamples_rank)
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
) -> pd.DataFrame:
    """Bootstrap the difference of every prediction to the best one, on the rows that both have.

    Of divergences (predictions, rows), NaN where there is no prediction. Columns are ``name, best, difference, low,
    high``, best first; worse is positive, and not to be told from the best where the interval holds 0.
    """
    order = np.argsort(np.nanmean(kl_JN, axis=1), kind="stable")
    best = int(order[0])
    rows = []
    for j in order.tolist():
        both = np.isfinite(kl_JN[j]) & np.isfinite(kl_JN[best])
        found = (
            paired_bootstrap(kl_JN[j, both], kl_JN[best, both], patient_id_N[both], n_resamples)
            if both.any()
            else percentile_interval(float("nan"), np.empty(0))
        )
        rows.append((names[j], names[best], found.estimate, found.low, found.high))
    return pd.DataFrame(rows, columns=["name", "best", "difference", "low", "high"])


def disagreement(probs: dict[str, Array]) -> pd.DataFrame:
    """Measure how far apart predictions (rows, classes) are, pair by pair: a symmetric table, names by names.

    It holds mean Jensen-Shannon divergences in nats over the rows that both have (those of NaN they have not): 0 for
    the same prediction, log 2 where they exclude each other.

    References
    ----------
    Lin, Divergence measures based on the Shannon entropy, doi:10.1109/18.61115.
    """
    names = list(probs)
    entropy = [entr(prob).sum(axis=1) for prob in probs.values()]
    matrix = np.zeros((len(names), len(names)))
    for i, a in enumerate(probs.values()):
        for j, b in enumerate(list(probs.values())[:i]):
            rows = entr((a + b) / 2).sum(axis=1) - (entropy[i] + entropy[j]) / 2
            both = np.isfinite(rows)
            matrix[i, j] = matrix[j, i] = max(float(rows[both].mean()), 0.0) if both.any() else float("nan")
    return pd.DataFrame(matrix, index=names, columns=names)


def leave_one_out(data: BlendData, names: tuple[str, ...], patient_id_N: npt.NDArray[np.int64]) -> pd.DataFrame:
    """Fit the convex blend again without each member, to see what it adds: ``name, gain, low, high``, best first.

    The gain is the nested score without the member less that with it, in nats, on the rows that count, with its paired
    95 % bootstrap over patients. It is 0 for a member that no fit gives any weight, and NaN for the only member.
    """
    if len(names) == 1:
        return pd.DataFrame({"name": names} | {key: [np.nan] for key in ("gain", "low", "high")})
    if data.counts is not None:
        data, patient_id_N = data.counted, patient_id_N[data.counts]
    whole = nest(data, SINGLE["convex"], quiet=True)
    kl_N = kl_rows(data.targets, whole.nested)
    rows = []
    for m, name in enumerate(track(names, "leaving out members", log=False)):
        if data.present is None and not whole.used[m]:
            rows.append((name, 0.0, 0.0, 0.0))
            continue
        kept = np.arange(len(names)) != m
        row = np.ones(len(data.fold), dtype=bool) if data.present is None else data.present[kept].any(axis=0)
        rest = data.only(members=kept, rows=row)
        without_N = kl_rows(rest.targets, nest(rest, SINGLE["convex"], quiet=True).nested)
        gain = paired_bootstrap(without_N, kl_N[row], patient_id_N[row])
        rows.append((name, gain.estimate, gain.low, gain.high))
    table = pd.DataFrame(rows, columns=["name", "gain", "low", "high"])
    return table.sort_values(["gain", "name"], ascending=[False, True], kind="stable", ignore_index=True)


def compare(
    joined: JoinedTables,
    data: BlendData,
    fit: NestedFit,
    population: str = DEFAULT_POPULATION,
    n_resamples: int = N_RESAMPLES,
    n_resamples_rank: int = N_RESAMPLES_RANK,
) -> dict[str, pd.DataFrame]:
    """Make all tables.

    ``scores`` (`score_table`), ``against_best`` (`compare_with_best`), ``disagreement``, ``leave_one_out``.

    `data` is what the blend of `joined` was fitted on. On the rows of `population`, on which it was fitted, too, the
    best is chosen and compared, and members are left out. AUROC and AUPRC get `n_resamples_rank` resamples.
    """
    probs = {BLEND: fit.nested}
    for name, prob, here in zip(joined.members, joined.probs, joined.present, strict=True):
        probs[name] = np.where(here[:, None], prob.astype(np.float64), np.nan)
    target, patient = joined.targets, joined.patient_id
    counts = population_of(population).contains(joined.n_votes)
    kl_JN = np.stack([_kl_where_present(target[counts], prob[counts]) for prob in probs.values()])
    return {
        "scores": score_table(target, probs, joined.n_votes, patient, population, n_resamples, n_resamples_rank),
        "against_best": compare_with_best(kl_JN, list(probs), patient[counts], n_resamples),
        "disagreement": disagreement(probs),
        "leave_one_out": leave_one_out(data, joined.members, patient),
    }


def write_comparisons(
    joined: JoinedTables,
    data: BlendData,
    fit: NestedFit,
    folder: Path,
    population: str = DEFAULT_POPULATION,
    n_resamples: int = N_RESAMPLES,
) -> None:
    """Write the tables of `compare`, ``<table>.csv`` each."""
    for name, frame in compare(joined, data, fit, population, n_resamples).items():
        write_csv(frame if "name" in frame else frame.reset_index(names="name"), folder / f"{name}.csv")
