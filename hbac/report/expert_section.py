"""How far experts agree, and how the best prediction stands to them: from counts of votes, and from named raters."""

# N row, J rater, K class

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from hbac.common.errors import UserError
from hbac.evaluation.agreement import agreement, count_votes_by_rater, majority, pairwise, with_majority
from hbac.evaluation.areas import auroc_and_auprc, mean_of_known
from hbac.evaluation.calibration import reliability_of_shares
from hbac.evaluation.experts import UnderCurve, calibration_index, noise_and_bias, under_curve
from hbac.labels.targets import counted_first, population_of
from hbac.predictions.rater_votes import RaterTable
from hbac.report.figures import (
    SYMBOLS,
    Array,
    blank,
    class_line,
    diagonal,
    drawn,
    heat_map,
    legend_below,
    legend_height_px,
)
from hbac.report.gather import Gathered
from hbac.report.page import Picture, Table, interval, number
from hbac.vocabulary import CLASSES, CONSENSUS_NAMES

_CELL_PX, _HEAD_PX, _FEW = 26, 60, 300


def experts(found: Gathered) -> dict[str, Any]:
    """Show the agreement of the experts, and where named ones stand to the best prediction."""
    name = found.names[0]
    shown: dict[str, Any] = {"best": name, "counted": population_of(found.population).rows, "named": None}
    counts_NK = np.rint(found.joined.targets * found.joined.n_votes[:, None]).astype(np.int64)
    rows = []
    for group in counted_first(found.population).values():
        of = agreement(counts_NK[group.contains(found.joined.n_votes)])
        rows.append([group.rows, f"{of.rows:,}", *map(_share, (of.observed, of.fleiss_kappa, of.gwet_ac1))])
    shown["agreement"] = Table(["", "with two or more votes", "agreement", "Fleiss κ", "Gwet AC1"], rows, range(1, 5))
    here = found.counts & found.joined.present[0]
    target_NK, prob_NK = found.joined.targets[here], found.joined.probs[0, here].astype(np.float64)
    label_N = majority(counts_NK[here])
    if (label_N < 0).any():  # nobody knows the number of votes, but their shares
        label_N = target_NK.argmax(axis=1)
    shown["areas"] = _areas(label_N, prob_NK)
    shown["shares"] = Picture(_against_shares(target_NK, prob_NK), 440 + legend_height_px(len(CLASSES)), tools=True)
    if found.raters is not None:
        raters, prob_NK, who = _beside(found, found.raters)
        shown["named"] = _named(raters, prob_NK) | {"who": who, "n_rows": f"{len(raters.votes):,}"}
    return shown


def _areas(label_N: np.ndarray, prob_NK: Array) -> Table:
    rows = []
    everything = np.ones((1, len(label_N)))
    for k, title in enumerate(CONSENSUS_NAMES):
        roc, pr = auroc_and_auprc(label_N == k, prob_NK[:, k], everything)
        rows.append([title, f"{(label_N == k).sum():,}", _share(roc[0]), _share(pr[0])])
    return Table(["class", "rows", "AUROC", "AUPRC"], rows, [1, 2, 3])


def _against_shares(target_NK: Array, prob_NK: Array) -> go.Figure:
    made = blank("probability of the class", "share of the votes", **legend_below(len(CLASSES)))
    made.add_trace(diagonal())
    for k, title in enumerate(CONSENSUS_NAMES):
        bins = reliability_of_shares(target_NK[:, k], prob_NK[:, k])
        made.add_trace(
            go.Scatter(
                x=bins["predicted"],
                y=bins["share"],
                customdata=bins["n"],
                name=title,
                mode="lines+markers",
                line={**class_line(k), "width": 2},
                marker={"symbol": SYMBOLS[k], "size": 7},
                hovertemplate="said %{x:.2f}, share of votes %{y:.2f}, %{customdata} rows",
            )
        )
    made.update_xaxes(range=[0, 1])
    return made.update_yaxes(range=[0, 1.02])


def _beside(found: Gathered, raters: RaterTable) -> tuple[RaterTable, Array, str]:
    """Bring the raters' rows and the best prediction of them together."""
    if raters.probs is not None and raters.title == found.names[0]:
        return raters, raters.probs, raters.title
    best = found.prob(found.names[0])
    kept, place = raters.of_rows(found.joined.frame["label_id"])
    there = np.isfinite(best[place]).all(axis=1) if len(place) else np.zeros(0, bool)
    if there.any():
        ids = kept.ids[there].assign(patient_id=found.joined.patient_id[place[there]]).reset_index(drop=True)
        return RaterTable(kept.title, kept.names, kept.votes[there], ids), best[place[there]], found.names[0]
    if raters.probs is None:
        raise UserError(
            f"raters={raters.title}: none of its rows is one of {found.names[0]}: they are matched by label_id, that "
            "of train.csv; or give predictions beside the votes, in the six columns …_prob"
        )
    return raters, raters.probs, raters.title


def _named(raters: RaterTable, prob_NK: Array) -> dict[str, Any]:
    votes_NJ, said_N = raters.votes, prob_NK.argmax(axis=1)
    among, n_pairs = pairwise(votes_NJ)
    beside, n_beside = pairwise(votes_NJ, said_N)
    majority_JK = with_majority(votes_NJ)
    lines = [
        [f"experts, pair by pair ({n_pairs} pairs)", *_per_cent(among)],
        [f"experts and the network, pair by pair ({n_beside} pairs)", *_per_cent(beside)],
        ["expert and the majority of the others", *_per_cent(mean_of_known(majority_JK))],
        ["the network and the majority of all", *_per_cent(with_majority(votes_NJ, said_N))],
    ]
    counts_NK = count_votes_by_rater(votes_NJ)
    of, label_N = agreement(counts_NK), majority(counts_NK)
    under = {title: under_curve(votes_NJ, prob_NK[:, k], k, raters.patients) for k, title in enumerate(CONSENSUS_NAMES)}
    noise_JK, threshold_JK = noise_and_bias(votes_NJ)
    return {
        "n_raters": len(raters.names),
        "whole": of,
        "agreement": Table(["agreement, %", *CONSENSUS_NAMES], lines, range(1, len(CLASSES) + 1)),
        "under": _under(under, label_N, prob_NK),
        "curves": {title: Picture(_curves(one, raters.names), 420, tools=True) for title, one in under.items()},
        "raters": {
            "agreement with the majority of the others, %": _by_rater(100 * majority_JK, raters.names, 0),
            "noise, logits": _by_rater(noise_JK, raters.names, 1),
            "threshold, logits": _by_rater(threshold_JK, raters.names, 1, signed=True),
            "calibration index": _by_rater(calibration_index(votes_NJ), raters.names, 0, signed=True),
        },
    }


def _under(under: dict[str, UnderCurve], label_N: np.ndarray, prob_NK: Array) -> Table:
    rows = []
    everything = np.ones((1, len(label_N)))
    for k, (title, one) in enumerate(under.items()):
        areas = auroc_and_auprc(label_N == k, prob_NK[:, k], everything)
        point = [f"{100 * mean_of_known(values):.0f}" for values in (one.tpr, one.fpr, one.ppv)]
        under_both = [interval(one.roc, 0), interval(one.pr, 0), number(one.own_rows, 0)]
        rows.append([title, *point, *under_both, *(_share(area[0]) for area in areas)])
    columns = ["class", "TPR, %", "FPR, %", "PPV, %", "under the ROC curve, %", "under the PR curve, %"]
    return Table([*columns, "under both on own rows, %", "AUROC", "AUPRC"], rows, range(1, len(columns) + 3))


def _curves(one: UnderCurve, names: tuple[str, ...]) -> go.Figure:
    from plotly.subplots import make_subplots

    made = make_subplots(cols=2, rows=1, horizontal_spacing=0.12)
    tpr, fpr, ppv = one.curve.tpr[0], one.curve.fpr[0], one.curve.ppv[0]
    for column, (x, y, at, over) in enumerate(((fpr, tpr, one.fpr, one.tpr), (tpr, ppv, one.tpr, one.ppv)), start=1):
        steps = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(np.nan_to_num(y))))])
        kept = np.unique(np.searchsorted(steps, np.linspace(0, steps[-1], _FEW)).clip(max=len(steps) - 1))
        line = {"color": "var(--series-0)", "width": 2}
        made.add_trace(
            go.Scatter(
                x=x[kept].round(4), y=y[kept].round(4), mode="lines", line=line, name="network", hoverinfo="skip"
            ),
            row=1,
            col=column,
        )
        made.add_trace(
            go.Scatter(
                x=at.round(4),
                y=over.round(4),
                text=[drawn(name) for name in names],
                mode="markers",
                name="expert",
                marker={"color": "var(--series-1)", "symbol": "diamond", "size": 8},
                hovertemplate="%{text}: %{x:.2f}, %{y:.2f}<extra></extra>",
            ),
            row=1,
            col=column,
        )
    made.update_layout(margin={"l": 10, "r": 10, "t": 24, "b": 10}, showlegend=False, hovermode="closest")
    made.update_xaxes(title_text="false positive rate", row=1, col=1)
    made.update_xaxes(title_text="recall", row=1, col=2)
    made.update_yaxes(title_text="true positive rate", row=1, col=1)
    made.update_yaxes(title_text="precision", row=1, col=2)
    made.update_xaxes(range=[0, 1])
    return made.update_yaxes(range=[0, 1.02])


def _by_rater(values_JK: Array, names: tuple[str, ...], digits: int, signed: bool = False) -> Picture:
    top = float(np.nanquantile(np.abs(values_JK), 0.95)) if np.isfinite(values_JK).any() else None
    drawn_names = [drawn(name) for name in names]
    made = heat_map(values_JK, CONSENSUS_NAMES, drawn_names, digits, "%{y}, %{x}: %{z:.2f}", top, signed)
    return Picture(made, _HEAD_PX + _CELL_PX * len(names), least_width_px=440)


def _per_cent(values_K: Array) -> list[str]:
    return [number(100 * value, 1) for value in values_K]


def _share(value: float) -> str:
    return number(value, 3)
