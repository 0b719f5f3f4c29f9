"""What each member counts for in an ensemble, whatever the kind of blend."""

# M member, K class

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from hbac.ensembling.blends import Arithmetic, Array, Blend, LogLinear
from hbac.ensembling.build import REPORT
from hbac.labels.targets import population_of
from hbac.report.figures import blank, heat_map
from hbac.report.gather import Blended, Gathered
from hbac.report.page import figure, table
from hbac.vocabulary import CONSENSUS_NAMES

_BAR_PX, _CELL_PX = 24, 28


def weight_tables(blend: Blend, members: Sequence[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    """List the weights of a blend.

    Parameters
    ----------
    blend : Blend
        Of an ensemble file.
    members : sequence of str
        Names in its order.

    Yields
    ------
    title : str
        What the weights are.
    weights : DataFrame
        A line for each member, or of the biases; one column, or one for each class.

    Raises
    ------
    TypeError
        For a kind of blend that is not known here.

    Examples
    --------
    >>> [(title, weights)] = weight_tables(Arithmetic(np.array([0.25, 0.75])), ["a", "b"])
    >>> weights["weight"].to_dict()
    {'a': 0.25, 'b': 0.75}
    """
    names = list(members)
    if isinstance(blend, Arithmetic):
        yield "Weights of an arithmetic mean", pd.DataFrame({"weight": blend.weights}, index=names)
    elif isinstance(blend, LogLinear):
        yield from _by_class("Weights on log-probabilities", blend.weights, blend.bias, names)
    else:
        raise TypeError(f"the weights of {type(blend).__name__} are not known here")


def _by_class(title: str, weights_MK: Array, bias_K: Array, names: list[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    if np.allclose(weights_MK, weights_MK[:, :1]):
        yield title, pd.DataFrame({"weight": weights_MK[:, 0]}, index=names)
    else:
        yield title, pd.DataFrame(weights_MK, index=names, columns=list(CONSENSUS_NAMES))
    if np.any(bias_K):
        yield "Biases of the classes", pd.DataFrame(bias_K[None], index=["bias"], columns=list(CONSENSUS_NAMES))


def blend_weights(found: Gathered) -> str:
    """Show the weights of all ensembles.

    Parameters
    ----------
    found : Gathered
        What is compared.

    Returns
    -------
    str
        HTML.
    """
    if not found.ensembles:
        return '<p class="muted">There is no ensemble among the runs.</p>'
    ranked = [name for name in found.names if name in found.ensembles]
    return "".join(_one_ensemble(name, found.ensembles[name]) for name in ranked)


def _one_ensemble(name: str, blended: Blended) -> str:
    ensemble = blended.ensemble
    parts = [f"<h3>{escape(name)}</h3>"]
    gap = ensemble.nested.estimate - ensemble.in_sample.estimate
    parts.append(
        f'<p class="small">Method <b>{escape(ensemble.method)}</b>, fitted and scored on '
        f"{population_of(ensemble.population).rows}. Nested score {ensemble.nested}; in-sample "
        f"{ensemble.in_sample}; over-fit {gap:.4f}.</p>"
    )
    if ensemble.dropped:
        parts.append(f'<p class="small muted">Left out by the fit: {escape(", ".join(ensemble.dropped))}.</p>')
    for title, weights in weight_tables(ensemble.blend, [member.name for member in ensemble.members]):
        made = _bars(weights) if weights.shape[1] == 1 else _signed(weights)
        height = 70 + (_BAR_PX if weights.shape[1] == 1 else _CELL_PX) * len(weights)
        parts.append(f'<p class="muted small">{escape(title)}</p><div class="panel">{figure(made, height)}</div>')
    tried = ensemble.extras.get("nested_kl_by_method") or {}
    if len(tried) > 1:
        rows = [[method, f"{kl:.4f}"] for method, kl in sorted(tried.items(), key=lambda entry: entry[1])]
        parts.append(f'<p class="muted small">Methods tried</p>{table(["method", "nested KL"], rows, [1])}')
    gains = blended.folder / REPORT / "leave_one_out.csv"
    if gains.is_file():
        parts.append(_gains(pd.read_csv(gains)))
    return "".join(parts)


def _gains(gains: pd.DataFrame) -> str:
    rows = [
        [row["name"], f"{row['gain']:.4f}", f"[{row['low']:.4f}, {row['high']:.4f}]"]
        for row in gains.dropna().to_dict("records")
    ]
    if not rows:
        return ""
    explained = "What each member adds to a convex blend: the nested KL without it less that with it, with its interval"
    return f'<p class="muted small">{explained}</p>{table(["member", "gain", "95 % interval"], rows, [1, 2])}'


def _bars(weights: pd.DataFrame) -> go.Figure:
    made = blank()
    values = weights.iloc[:, 0]
    made.add_trace(
        go.Bar(
            x=values,
            y=list(weights.index),
            orientation="h",
            marker={"color": "var(--series-0)"},
            text=[f"{value:.3f}" for value in values],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{x:.4f}<extra></extra>",
        )
    )
    made.update_layout(margin={"r": 60})
    return made.update_yaxes(type="category", autorange="reversed", showgrid=False)


def _signed(weights: pd.DataFrame) -> go.Figure:
    values = weights.to_numpy()
    text = [[f"{value:.3f}" for value in line] for line in values]
    return heat_map(values, list(weights.columns), list(weights.index), text, "%{y}, %{x}: %{z:.4f}", signed=True)
