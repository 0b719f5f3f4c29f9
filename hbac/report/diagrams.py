"""Where predictions go wrong: confusion, reliability, KL by class, and how far members disagree."""

# J prediction, K class

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from hbac.ensembling.comparisons import disagreement
from hbac.evaluation.areas import ratio
from hbac.evaluation.calibration import N_BINS, expected_calibration_error, reliability
from hbac.evaluation.metric import kl_by_class
from hbac.evaluation.scores import confusion_matrix
from hbac.labels.targets import counted_first
from hbac.report.figures import blank, diagonal, heat_map, legend_below, legend_height_px, series
from hbac.report.gather import Gathered
from hbac.report.page import Picture
from hbac.vocabulary import CLASSES, CONSENSUS_NAMES

_OVERLAID = 4  # reliability curves that are shown at first; the others are in the legend
_CELL_PX, _HEAD_PX = 28, 60
_NAMES_PX, _NUMBER_PX = 220, 38  # room for a name, and for a number in a cell


def confusion(found: Gathered) -> dict[str, Any]:
    """Draw a confusion matrix of each prediction on each vote population."""
    pictures = {}
    for j, label in enumerate(found.labels):
        pictures[label] = {
            title: Picture(_confusion(confusion_matrix(found.joined.targets[rows], found.joined.probs[j, rows])), 330)
            for title, rows in _populations(found, j)
        }
    return {"pictures": pictures}


def _confusion(counts: npt.NDArray[np.int64]) -> go.Figure:
    total = counts.sum(axis=1, keepdims=True)
    share = ratio(counts.astype(np.float64), total)
    names = list(CONSENSUS_NAMES)
    text = [[f"{n:,}" if n else "" for n in line] for line in counts.tolist()]
    made = heat_map(share, names, names, text, "experts %{y}, predicted %{x}: %{text} rows, %{z:.1%}", top=1.0)
    return made.update_layout(margin={"t": 30})


def _populations(found: Gathered, j: int) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """Yield title and rows of each vote population that a prediction has rows of."""
    for group in counted_first(found.population).values():
        inside = group.contains(found.joined.n_votes) & found.joined.present[j]
        if inside.any():
            yield group.rows, inside


def reliability_diagrams(found: Gathered) -> dict[str, Any]:
    """Draw how often a confidence comes true: all predictions on top of one another, and each with its rows."""
    n = len(found.names)
    pictures = {}
    if n > 1:
        pictures["all together"] = Picture(_overlaid(found), 440 + legend_height_px(n), tools=True)
    for j, label in enumerate(found.labels):
        pictures[label] = Picture(_reliability(found, j), 520, tools=True)
    return {"pictures": pictures, "n_bins": N_BINS}


def _overlaid(found: Gathered) -> go.Figure:
    made = blank("probability of the class predicted", "share of rows where it had most votes")
    made.update_layout(**legend_below(len(found.names)))
    made.add_trace(diagonal())
    for j, label in enumerate(found.drawn):
        here = found.joined.present[j]
        bins = reliability(found.joined.targets[here], found.joined.probs[j, here]).dropna()
        made.add_trace(
            go.Scatter(
                x=bins["confidence"],
                y=bins["accuracy"],
                customdata=bins["n"],
                name=label,
                mode="lines+markers",
                line={**series(j), "width": 2},
                marker={"size": 6},
                visible=True if j < _OVERLAID else "legendonly",
                hovertemplate="said %{x:.2f}, true %{y:.2f}, %{customdata} rows",
            )
        )
    return _unit(made)


def _reliability(found: Gathered, j: int) -> go.Figure:
    made = make_subplots(rows=2, shared_xaxes=True, row_heights=[0.76, 0.24], vertical_spacing=0.06)
    made.add_trace(diagonal(), row=1, col=1)
    for number, (title, inside) in enumerate(_populations(found, j)):
        target, prob = found.joined.targets[inside], found.joined.probs[j, inside]
        bins = reliability(target, prob)
        kept = bins.dropna()
        error = expected_calibration_error(target, prob)
        made.add_trace(
            go.Scatter(
                x=kept["confidence"],
                y=kept["accuracy"],
                customdata=kept["n"],
                name=f"{title}, calibration error {error:.3f}",
                legendgroup=title,
                mode="lines+markers",
                line={**series(number), "width": 2},
                marker={"size": 6},
                hovertemplate="said %{x:.2f}, true %{y:.2f}, %{customdata} rows<extra></extra>",
            ),
            row=1,
            col=1,
        )
        made.add_trace(
            go.Bar(
                x=(bins["low"] + bins["high"]) / 2,
                y=bins["n"],
                marker={"color": f"var(--series-{number})"},
                legendgroup=title,
                showlegend=False,
                hovertemplate=f"{title}: %{{y}} rows<extra></extra>",
            ),
            row=2,
            col=1,
        )
    made.update_layout(**legend_below(3), margin={"l": 10, "r": 10, "t": 24, "b": 10}, bargap=0.15)
    made.update_xaxes(title_text="probability of the class predicted", row=2, col=1)
    made.update_yaxes(title_text="share that was right", row=1, col=1)
    made.update_yaxes(title_text="rows", row=2, col=1)
    return _unit(made)


def _unit(made: go.Figure) -> go.Figure:
    made.update_xaxes(range=[0, 1])
    return made.update_yaxes(range=[0, 1.02], selector=0)


def class_kl(found: Gathered) -> dict[str, Any]:
    """Show how much each class adds to the KL of each prediction."""
    pictures = {}
    for group in counted_first(found.population).values():
        inside = group.contains(found.joined.n_votes)
        if not inside.any():
            continue
        kl_JK = np.full((len(found.names), len(CLASSES)), np.nan)
        for j, here in enumerate(found.joined.present):
            if (rows := inside & here).any():
                kl_JK[j] = list(kl_by_class(found.joined.targets[rows], found.joined.probs[j, rows]).values())
        made = heat_map(kl_JK, CONSENSUS_NAMES, found.drawn, 3, "%{y}<br>%{x}: %{z:.4f} nats")
        width_px = _NAMES_PX + _NUMBER_PX * len(CLASSES)
        pictures[f"KL, {group.title}"] = Picture(made, _HEAD_PX + _CELL_PX * len(found.names), least_width_px=width_px)
    return {"pictures": pictures}


def disagreements(found: Gathered) -> dict[str, Any]:
    """Show how far apart the predictions are, pair by pair."""
    if len(found.names) < 2:
        return {"picture": None}
    matrix = disagreement({name: found.prob(name) for name in found.names}).to_numpy(copy=True)
    ranks = [str(rank) for rank in range(1, len(matrix) + 1)]
    np.fill_diagonal(matrix, np.nan)  # of nobody with itself
    made = heat_map(matrix, ranks, found.drawn, 3, "%{y}<br>and number %{x}: %{z:.4f} nats")
    width_px = _NAMES_PX + _NUMBER_PX * len(matrix)
    return {"picture": Picture(made, _HEAD_PX + _CELL_PX * len(matrix), least_width_px=width_px)}
