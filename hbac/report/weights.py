"""What each member counts for in an ensemble, whatever the kind of blend."""

# M member, K class

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from hbac.common.errors import UserError
from hbac.common.outputs import is_as_written
from hbac.ensembling.blends import Arithmetic, Array, Blend, LogLinear
from hbac.ensembling.build import COMPARISONS
from hbac.labels.targets import population_of
from hbac.report.figures import blank, drawn, heat_map
from hbac.report.gather import Blended, Gathered
from hbac.report.page import Picture, Table
from hbac.vocabulary import CONSENSUS_NAMES

_BAR_PX, _CELL_PX = 24, 28


def weight_tables(blend: Blend, members: Sequence[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    """List the weights of a blend: their title, and a line for each member, or of the biases, in one column or six.

    A `TypeError` for a kind of blend that is not known here.

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


def blend_weights(found: Gathered) -> dict[str, Any]:
    """Show the weights of all ensembles."""
    ranked = [name for name in found.names if name in found.ensembles]
    return {"ensembles": [{"name": name, **_one_ensemble(found.ensembles[name])} for name in ranked]}


def _one_ensemble(blended: Blended) -> dict[str, Any]:
    ensemble = blended.ensemble
    pictures = []
    for title, weights in weight_tables(ensemble.blend, [drawn(member.name) for member in ensemble.members]):
        made, row_px = (_bars(weights), _BAR_PX) if weights.shape[1] == 1 else (_signed(weights), _CELL_PX)
        pictures.append((title, Picture(made, 70 + row_px * len(weights))))
    tried = ensemble.extras.get("nested_kl_by_method")
    gains = blended.folder / COMPARISONS / "leave_one_out.csv"
    return {
        "ensemble": ensemble,
        "counted": population_of(ensemble.population).rows,
        "weights": pictures,
        "tried": _tried(tried) if isinstance(tried, dict) and len(tried) > 1 else None,
        "gains": _gains(gains) if gains.is_file() else None,
    }


def _tried(kl_of_method: dict[str, Any]) -> Table:
    known = sorted((kl, name) for name, kl in kl_of_method.items() if isinstance(kl, float))
    return Table(["method", "nested KL"], [[name, f"{kl:.4f}"] for kl, name in known], [1])


def _gains(path: Path) -> Table | None:
    if not is_as_written(path):
        raise UserError(f"{path}: not what hbac.ensemble wrote: damaged, or edited")
    try:
        gains = pd.read_csv(path, dtype={"name": str, "gain": float, "low": float, "high": float}).dropna()
        rows = [
            [row.name, f"{row.gain:.4f}", f"[{row.low:.4f}, {row.high:.4f}]"] for row in gains.itertuples(index=False)
        ]
    except (ValueError, AttributeError) as error:
        raise UserError(f"{path}: not a table of gains by member ({str(error).splitlines()[0]})") from None
    return Table(["member", "gain", "95 % interval"], rows, [1, 2]) if rows else None


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
    return heat_map(values, list(weights.columns), list(weights.index), 3, "%{y}, %{x}: %{z:.4f}", signed=True)
