"""Where predictions go wrong: confusion, reliability, KL by class, and how far members disagree."""

# J prediction, K class

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from hbac.ensembling.comparisons import disagreement
from hbac.evaluation.calibration import N_BINS, expected_calibration_error, reliability
from hbac.evaluation.metric import kl_by_class
from hbac.evaluation.scores import confusion_matrix
from hbac.labels.targets import counted_first
from hbac.report.figures import Array, blank, heat_map, legend_below, legend_height_px, series
from hbac.report.gather import Gathered
from hbac.report.page import choice, figure
from hbac.vocabulary import CLASSES, CONSENSUS_NAMES

_OVERLAID = 4  # reliability curves that are shown at first; the others are in the legend
_CELL_PX, _HEAD_PX = 28, 60
_NAMES_PX, _NUMBER_PX = 220, 38  # room for a name, and for a number in a cell


def confusion(found: Gathered) -> str:
    """Draw a confusion matrix of each prediction on each vote population.

    Parameters
    ----------
    found : Gathered
        What is compared.

    Returns
    -------
    str
        HTML.
    """
    panels = {}
    for j, label in enumerate(found.labels):
        drawn = []
        for title, inside in _populations(found, j):
            counts = confusion_matrix(found.joined.targets[inside], found.joined.probs[j, inside])
            drawn.append(f"<div><h3>{title}</h3>{figure(_confusion(counts), 330)}</div>")
        panels[label] = f'<div class="columns">{"".join(drawn)}</div>'
    return (
        '<p class="muted small">Down: the class with most votes; across: the class predicted. Colours are shares of a '
        "line, numbers are rows.</p>"
        f'<div class="panel">{choice("confusion", panels)}</div>'
    )


def _confusion(counts: npt.NDArray[np.int64]) -> go.Figure:
    total = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)
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


def reliability_diagrams(found: Gathered) -> str:
    """Draw how often a confidence comes true: all predictions on top of one another, and each with its rows.

    Parameters
    ----------
    found : Gathered
        What is compared.

    Returns
    -------
    str
        HTML.
    """
    n = len(found.names)
    panels = {}
    if n > 1:
        panels["all together"] = figure(_overlaid(found), 440 + legend_height_px(n), tools=True)
    for j, label in enumerate(found.labels):
        panels[label] = figure(_reliability(found, j), 520, tools=True)
    return (
        f'<p class="muted small">Rows by the probability of the class predicted, in {N_BINS} bins: how often that '
        "class had most votes. Under the diagonal a prediction is too sure of itself. Above it, it may be right all "
        "the same: where a class gets half of the votes, it mostly is the one with most votes.</p>"
        f'<div class="panel">{choice("reliability", panels)}</div>'
    )


def _overlaid(found: Gathered) -> go.Figure:
    made = blank("probability of the class predicted", "share of rows where it had most votes")
    made.update_layout(**legend_below(len(found.names)))
    made.add_trace(_diagonal())
    for j, label in enumerate(found.labels):
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
    made.add_trace(_diagonal(), row=1, col=1)
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


def _diagonal() -> go.Scatter:
    line = {"color": "var(--muted)", "dash": "dot", "width": 1.5}
    return go.Scatter(x=[0, 1], y=[0, 1], mode="lines", line=line, showlegend=False, hoverinfo="skip")


def _unit(made: go.Figure) -> go.Figure:
    made.update_xaxes(range=[0, 1])
    return made.update_yaxes(range=[0, 1.02], selector=0)


def class_kl(found: Gathered) -> str:
    """Show how much each class adds to the KL of each prediction.

    Parameters
    ----------
    found : Gathered
        What is compared.

    Returns
    -------
    str
        HTML.
    """
    panels = {}
    for group in counted_first(found.population).values():
        inside = group.contains(found.joined.n_votes)
        if not inside.any():
            continue
        kl_JK = np.full((len(found.names), len(CLASSES)), np.nan)
        for j, here in enumerate(found.joined.present):
            if (rows := inside & here).any():
                kl_JK[j] = list(kl_by_class(found.joined.targets[rows], found.joined.probs[j, rows]).values())
        made = heat_map(
            kl_JK,
            CONSENSUS_NAMES,
            found.labels,
            _texts(kl_JK, 3),
            "%{y}<br>%{x}: %{z:.4f} nats",
        )
        panels[f"KL, {group.title}"] = figure(
            made, _HEAD_PX + _CELL_PX * len(found.names), least_width_px=_NAMES_PX + _NUMBER_PX * len(CLASSES)
        )
    return (
        '<p class="muted small">Each class\'s part of the KL divergence: the parts of a line add up to its KL.</p>'
        f'<div class="panel">{choice("classes", panels)}</div>'
    )


def disagreements(found: Gathered) -> str:
    """Show how far apart the predictions are, pair by pair.

    Parameters
    ----------
    found : Gathered
        What is compared.

    Returns
    -------
    str
        HTML.
    """
    if len(found.names) < 2:
        return '<p class="muted">There is only one prediction.</p>'
    matrix = disagreement({name: found.prob(name) for name in found.names}).to_numpy()
    ranks = [str(rank) for rank in range(1, len(matrix) + 1)]
    texts = _texts(matrix, 3)
    for j in range(len(texts)):
        texts[j][j] = ""
    made = heat_map(matrix, ranks, found.labels, texts, "%{y}<br>and number %{x}: %{z:.4f} nats")
    drawn = figure(made, _HEAD_PX + _CELL_PX * len(matrix), least_width_px=_NAMES_PX + _NUMBER_PX * len(matrix))
    return (
        '<p class="muted small">Mean Jensen-Shannon divergence in nats: 0 for the same prediction, 0.693 where two '
        "exclude each other. Members that score alike and disagree make the best blends.</p>"
        f'<div class="panel">{drawn}</div>'
    )


def _texts(values: Array, digits: int) -> list[list[str]]:
    return [[f"{value:.{digits}f}" if np.isfinite(value) else "" for value in line] for line in values.tolist()]
