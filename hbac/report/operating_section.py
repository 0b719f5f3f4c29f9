"""Where a class is called, what that costs, and how far the threshold moves with patients and folds."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from hbac.ensembling.operating_points import OperatingPoints
from hbac.evaluation.operating import ACCURACIES, RECALLS, reject_curve
from hbac.labels.targets import population_of
from hbac.report.figures import SYMBOLS, blank, legend_below, legend_height_px, series
from hbac.report.gather import Gathered
from hbac.report.page import Picture, Table, interval, number
from hbac.vocabulary import CLASSES, CONSENSUS_NAMES

_SHOWN = 4  # reject curves that are shown at first; the others are in the legend
_RESAMPLES = 500  # a fourth of those of the file
_FEW = 200  # points of a curve that are drawn


def operating(found: Gathered) -> dict[str, Any]:
    """Show the operating points of the best prediction and of all ensembles, and everybody's reject curve."""
    names = [name for name in found.names if name == found.names[0] or name in found.ensembles]
    shown = {}
    for name in names:
        table = found.tables[name]
        counts = population_of(found.population).contains(table.frame["n_votes"])
        if counts.any():
            points = OperatingPoints.of(table, counts, found.population, _RESAMPLES)
            shown[found.label(name)] = {
                "points": _points(points),
                "classes": _classes(points),
                "answered": _answered(points),
                "picture": Picture(_thresholds(points), 90 + 34 * len(CLASSES), least_width_px=420),
            }
    n = len(found.names)
    return {
        "shown": shown,
        "counted": population_of(found.population).rows,
        "reject": Picture(_reject(found), 400 + legend_height_px(n), tools=True),
    }


def _points(points: OperatingPoints) -> Table:
    rows = []
    for name, title in zip(CLASSES, CONSENSUS_NAMES, strict=True):
        for point in points.classes[name].points:
            folds = sorted(point.by_fold.values())
            rows.append(
                [
                    title,
                    f"{point.recall:.2f}",
                    interval(point.threshold, 3),
                    interval(point.precision, 2),
                    interval(point.alarms, 1),
                    f"{folds[0]:.3f} to {folds[-1]:.3f}" if len(folds) > 1 else "",
                    number(point.drift, 1),
                ]
            )
    columns = ["class", "recall", "threshold", "precision", "alarms in 100 negatives", "threshold by fold", "ratio"]
    return Table(columns, rows, range(1, len(columns)))


def _classes(points: OperatingPoints) -> Table:
    rows = [
        [title, f"{of.rows:,}", number(of.calibration_error), number(of.jitter)]
        for title, of in zip(CONSENSUS_NAMES, points.classes.values(), strict=True)
    ]
    return Table(["class", "rows", "calibration error", "jitter"], rows, [1, 2, 3])


def _answered(points: OperatingPoints) -> Table:
    rows = [[f"{accuracy:.2f}", interval(share, 3)] for accuracy, share in points.answered.items()]
    return Table(["accuracy", "share of the windows that can be answered"], rows, [0, 1])


def _thresholds(points: OperatingPoints) -> go.Figure:
    made = blank(x="threshold", **legend_below(len(RECALLS)))
    for i, recall in enumerate(RECALLS):
        known = [
            (title, points.classes[name].points[i])
            for name, title in zip(CLASSES, CONSENSUS_NAMES, strict=True)
            if points.classes[name].points
        ]
        shift = 0.25 * (1 - i)
        place = [list(CONSENSUS_NAMES).index(title) - shift for title, _ in known]
        colour = {"color": f"var(--series-{i})"}
        made.add_trace(
            go.Scatter(
                x=[value for _, point in known for value in point.by_fold.values()],
                y=[at for at, (_, point) in zip(place, known, strict=True) for _ in point.by_fold],
                text=[f"{title}, fold {fold}" for title, point in known for fold in point.by_fold],
                mode="markers",
                marker={"symbol": "line-ns", "size": 9, "line": {"width": 1.5, **colour}},
                showlegend=False,
                hovertemplate="%{text}: %{x:.3f}<extra></extra>",
            )
        )
        made.add_trace(
            go.Scatter(
                x=[point.threshold.estimate for _, point in known],
                y=place,
                text=[title for title, _ in known],
                name=f"recall {recall:.2f}",
                mode="markers",
                marker={"size": 9, "symbol": SYMBOLS[i], **colour},
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": [point.threshold.high - point.threshold.estimate for _, point in known],
                    "arrayminus": [point.threshold.estimate - point.threshold.low for _, point in known],
                    "thickness": 1.5,
                    "width": 3,
                    **colour,
                },
                hovertemplate="%{text}: %{x:.3f}<extra>%{fullData.name}</extra>",
            )
        )
    made.update_xaxes(rangemode="tozero")
    return made.update_yaxes(
        tickvals=list(range(len(CLASSES))),
        ticktext=list(CONSENSUS_NAMES),
        range=[len(CLASSES) - 0.5, -0.5],
        showgrid=False,
        zeroline=False,
    )


def _reject(found: Gathered) -> go.Figure:
    made = blank("share of the windows that are answered", "accuracy of the answers", **legend_below(len(found.names)))
    for j, label in enumerate(found.drawn):
        here = found.joined.present[j] & found.counts
        if not here.any():
            continue
        prob = found.joined.probs[j, here]
        right = prob.argmax(axis=1) == found.joined.targets[here].argmax(axis=1)
        share, accuracy = reject_curve(right, prob.max(axis=1))
        kept = np.unique(np.searchsorted(share, np.linspace(0.02, 1, _FEW)).clip(max=len(share) - 1))
        made.add_trace(
            go.Scatter(
                x=share[kept].round(4),
                y=accuracy[kept].round(4),
                name=label,
                mode="lines",
                line={**series(j), "width": 2},
                visible=True if j < _SHOWN else "legendonly",
                hovertemplate="%{x:.0%} answered, %{y:.1%} right",
            )
        )
    for asked in ACCURACIES:
        made.add_hline(asked, line={"color": "var(--muted)", "dash": "dot", "width": 1})
    return made.update_xaxes(range=[0, 1])
