"""Who is best, and how sure that is: the ranked table, the intervals as a picture, further metrics."""

# J prediction, N row

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from hbac.ensembling.comparisons import compare_with_best
from hbac.ensembling.nested import BlendData
from hbac.ensembling.summary import calibrated_kl, population_scores
from hbac.ensembling.swept import swept_settings
from hbac.evaluation.bootstrap import Interval
from hbac.evaluation.metric import kl_by_population
from hbac.evaluation.scores import scores
from hbac.labels.targets import POPULATIONS, counted_first, population_of
from hbac.report.figures import blank
from hbac.report.gather import Gathered
from hbac.report.page import Picture, Table, interval, number
from hbac.vocabulary import N_CLASSES

_FURTHER = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "log_loss": "log loss",
    "ece": "calibration error",
}
_ROW_PX = 24


def ranking(found: Gathered) -> dict[str, Any]:
    """Rank members and ensembles, between the uniform prediction and the Bayes floor."""
    joined = found.joined
    score = population_scores(joined.divergences, joined.n_votes, joined.patient_id, found.population)
    groups = counted_first(found.population)
    kept = {name: group for name, group in groups.items() if group.contains(joined.n_votes).any()}
    chance = kl_by_population(joined.targets, np.full(joined.targets.shape, 1 / N_CLASSES), joined.n_votes)
    pictures = {
        f"KL, {group.title}": Picture(
            _intervals(found, score, name, chance[name], found.floor.get(name)), 100 + _ROW_PX * len(found.names)
        )
        for name, group in kept.items()
    }
    return {
        "counted": population_of(found.population).rows,
        "scores": _table(found, score, list(kept), chance),
        "intervals": pictures,
        "settings": _settings(found),
        "everything": _everything(found),
        "further": _further(found),
    }


def _table(found: Gathered, score: pd.DataFrame, populations: list[str], chance: dict[str, float]) -> Table:
    joined = found.joined
    against = compare_with_best(
        joined.divergences[:, found.counts], list(found.names), joined.patient_id[found.counts]
    ).to_dict("records")
    calibrated = _calibrated(found)
    differences = {
        row["name"]: interval(Interval(row["difference"], row["low"], row["high"]), sign="+") for row in against[1:]
    }
    first, *others = (f"KL {POPULATIONS[name].title}" for name in populations)
    columns = ["", "name", "kind", "folds", "rows", first, "calibrated", *others]
    rows: list[list[object]] = []
    for j, name in enumerate(found.names):
        here = joined.present[j]
        blended = found.ensembles.get(name)
        scored = [Interval(*score.loc[j, [f"kl_{p}", f"kl_{p}_low", f"kl_{p}_high"]]) for p in populations]
        first, *others = map(interval, scored)
        rows.append(
            [
                j + 1,
                name,
                "member" if blended is None else f"{blended.ensemble.method} of {len(blended.ensemble.members)}",
                len(np.unique(joined.fold[here])),
                f"{here.sum():,}",
                first,
                number(calibrated.get(name)),
                *others,
                differences.get(name, ""),
            ]
        )
    n_blank = 4
    for title, known in (("uniform prediction", chance), ("Bayes floor (perfect predictor)", found.floor)):
        if known:
            first, *others = (number(known.get(p)) for p in populations)
            rows.append(["", title, *[""] * (n_blank - 1), first, "", *others, ""])
    kinds = ["strong" if name in found.ensembles else "" for name in found.names]
    kinds += ["reference"] * (len(rows) - len(kinds))
    return Table([*columns, "difference to the best"], rows, [0, *range(3, len(columns) + 1)], kinds)


def _calibrated(found: Gathered) -> dict[str, float]:
    """Score each member after its calibration to the rows that count; nobody who has them in one fold only."""
    joined, here = found.joined, np.array([name not in found.ensembles for name in found.names])
    data = BlendData(joined.probs[here], joined.targets, joined.fold, joined.present[here], found.counts)
    pairs = zip(found.members, calibrated_kl(data), strict=True)
    return {name: float(np.nanmean(kl_N)) for name, kl_N in pairs if np.isfinite(kl_N).any()}


def _settings(found: Gathered) -> Table | None:
    settings = swept_settings(list(found.members.values()))
    if not len(settings.columns):
        return None
    rows = [
        [found.names.index(name) + 1, name, *values]
        for name, values in zip(found.members, settings.to_numpy().tolist(), strict=True)
    ]
    return Table(["", "member", *settings.columns], rows, [0])


def _everything(found: Gathered) -> Table | None:
    """Tabulate all settings in which members differ, a line each."""
    settings = swept_settings(list(found.members.values()), everything=True)
    if not len(settings.columns):
        return None
    ranks = [found.label(name) for name in found.members]
    return Table(["setting", *ranks], [[name, *settings[name]] for name in settings])


def _further(found: Gathered) -> dict[str, Table]:
    joined = found.joined
    tables = {}
    by_name = {}
    for j, name in enumerate(found.names):
        here = joined.present[j]
        by_name[name] = scores(joined.targets[here], joined.probs[j, here].astype(np.float64), joined.n_votes[here])
    for population, group in counted_first(found.population).items():
        rows = [
            [j + 1, name, by_name[name][population]["rows"]]
            + [number(by_name[name][population].get(metric)) for metric in _FURTHER]
            for j, name in enumerate(found.names)
        ]
        tables[group.title] = Table(["", "name", "rows", *_FURTHER.values()], rows, [0, *range(2, 3 + len(_FURTHER))])
    return tables


def _intervals(found: Gathered, score: pd.DataFrame, population: str, chance: float, floor: float | None) -> go.Figure:
    column, names = f"kl_{population}", found.drawn
    made = blank(x="KL divergence, nats", showlegend=False)
    for ensembles in (False, True):
        chosen = [j for j, name in enumerate(found.names) if (name in found.ensembles) == ensembles]
        part = score.iloc[chosen]
        made.add_trace(
            go.Scatter(
                x=part[column],
                y=[names[j] for j in chosen],
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": part[f"{column}_high"] - part[column],
                    "arrayminus": part[column] - part[f"{column}_low"],
                    "thickness": 1.6,
                    "width": 4,
                },
                mode="markers",
                marker={"size": 10 if ensembles else 8, "symbol": "diamond" if ensembles else "circle"}
                | {"color": f"var(--series-{int(ensembles)})"},
                hovertemplate="%{y}: %{x:.4f}<extra></extra>",
            )
        )
    for level, (value, text) in enumerate(((floor, "Bayes floor"), (chance, "uniform"))):
        if value is not None and np.isfinite(value):
            # One above the other: on a narrow screen the lines may be close.
            label = {"text": text, "font": {"color": "var(--muted)", "size": 11}, "yanchor": "bottom", "y": 1}
            made.add_vline(
                value,
                line={"color": "var(--muted)", "dash": "dot", "width": 1.5},
                annotation=label | {"yshift": 13 * level},
            )
    made.update_layout(margin={"t": 46, "r": 60})
    made.update_xaxes(rangemode="tozero")
    return made.update_yaxes(type="category", categoryorder="array", categoryarray=names[::-1])
