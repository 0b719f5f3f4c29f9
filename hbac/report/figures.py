"""What the figures of the report share: named colours, margins, heat maps with their numbers in them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from hbac.report.page import N_SERIES, number
from hbac.vocabulary import CLASSES

Array = npt.NDArray[np.float64]

RAMP = [[level / 4, f"var(--ramp-{level})"] for level in range(5)]
BOTH_SIGNS = [[0, "var(--negative)"], [0.5, "var(--ramp-0)"], [1, "var(--positive)"]]
_DASHES = ("solid", "dash", "dot")
_CLASS_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x")  # of the classes


def series(number: int) -> dict[str, str]:
    """Return ``color`` and ``dash`` of the so-manieth series, from 0; colours repeat with other dashes."""
    return {"color": f"var(--series-{number % N_SERIES})", "dash": _DASHES[number // N_SERIES % len(_DASHES)]}


def class_line(k: int) -> dict[str, str]:
    """Return a class's ``color``, and a ``dash`` of its own for who cannot tell colours apart."""
    return {"color": f"var(--{CLASSES[k]})", "dash": _CLASS_DASHES[k]}


def drawn(text: str) -> str:
    """Return text as plotly.js takes it, which reads some HTML; ``%{…}`` it reads in templates only."""
    return escape(text, quote=False)


def blank(x: str = "", y: str = "", **layout: Any) -> go.Figure:
    """Make an empty figure with these titles of the axes, which make room for their labels."""
    made = go.Figure(layout={"margin": {"l": 10, "r": 10, "t": 24, "b": 10}, "hovermode": "closest"})
    made.update_xaxes(title_text=x, automargin=True)
    made.update_yaxes(title_text=y, automargin=True)
    return made.update_layout(**layout)


def diagonal() -> go.Scatter:
    """Return the line where what is said comes true."""
    line = {"color": "var(--muted)", "dash": "dot", "width": 1.5}
    return go.Scatter(x=[0, 1], y=[0, 1], mode="lines", line=line, showlegend=False, hoverinfo="skip")


def legend_below(n_series: int) -> dict[str, Any]:
    """Return a layout whose legend of so many names stands under the figure, where long ones have room."""
    return {
        "legend": {"orientation": "h", "yref": "container", "yanchor": "bottom", "y": 0, "x": 0},
        "showlegend": n_series > 1,
    }


def legend_height_px(n_series: int) -> int:
    """Return the room in pixels that a legend under a figure needs."""
    return 30 + 21 * -(-n_series // 3)


def heat_map(
    values: Array,
    x: Sequence[str],
    y: Sequence[str],
    text: Sequence[Sequence[str]] | int,
    hover: str,
    top: float | None = None,
    signed: bool = False,
) -> go.Figure:
    """Draw a matrix with its numbers in it, and without a colour bar, the first row on top; NaN stays empty.

    In each cell stands its `text`, or the value with so many digits; `hover` is Plotly's template of what it says:
    ``%{x}``, ``%{y}``, ``%{z}``, ``%{text}``. The strongest colour is that of `top`, by default of the largest value;
    where they are `signed`, those under 0 get a colour of their own.
    """
    made = blank()
    strongest = top or float(np.nanmax(np.abs(values), initial=0.0)) or 1.0
    made.add_trace(
        go.Heatmap(
            z=values,
            x=list(x),
            y=list(y),
            text=[[number(z, text) for z in line] for line in values.tolist()] if isinstance(text, int) else text,
            texttemplate="%{text}",
            textfont={"color": "var(--ink)"},
            hovertemplate=f"{hover}<extra></extra>",
            colorscale=BOTH_SIGNS if signed else RAMP,
            zmin=-strongest if signed else 0,
            zmax=strongest,
            showscale=False,
            xgap=1,
            ygap=1,
        )
    )
    made.update_xaxes(type="category", side="top", showgrid=False)
    return made.update_yaxes(type="category", autorange="reversed", showgrid=False)
