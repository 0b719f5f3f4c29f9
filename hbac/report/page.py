"""What every page of the report has: templates, figures in the colours of the theme, tables, and the files beside it.

Pages are the Jinja templates of ``templates/``, and their texts stand there: whoever wants them otherwise edits those.
Jinja escapes what comes from data, in HTML and in the JSON of a script alike, so that no name can become a part of the
page. Colours are named, never given: a figure says ``var(--series-0)``, ``assets/report.css`` says what that is in
light and in dark, and ``assets/report.js`` puts it in when it draws. Pages load only files that lie beside them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from hbac.common.files import whole_file
from hbac.evaluation.bootstrap import Interval

N_SERIES = 10  # colours --series-0 … in report.css
_HERE = Path(__file__).parent
_PLOTLY_FILE = "plotly.min.js"
_SHARED = (_PLOTLY_FILE, "report.css", "report.js")


class Picture:
    """A figure in its place, as wide as that; its colours are named ``var(--name)``.

    Without `tools` dragging scrolls the page; on a screen that is narrower than its least width it scrolls sideways.
    """

    def __init__(self, made: go.Figure, height_px: int, tools: bool = False, least_width_px: int = 0) -> None:
        content = json.loads(made.to_json())
        layout = {key: value for key, value in content["layout"].items() if key != "template"}
        layout |= {"height": height_px} | ({} if tools else {"dragmode": False})
        self.spec = {"data": content["data"], "layout": layout, "config": {"displayModeBar": tools}}
        self.height_px, self.least_width_px = height_px, least_width_px


class Table:
    """A table, scrolling sideways where it is too wide.

    Columns of `numbers` are set to the right, and lines may be broken in their cells; the first other is the widest.
    Rows may have a CSS class each: ``strong``, ``reference`` or nothing.
    """

    def __init__(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[object]],
        numbers: Iterable[int] = (),
        classes: Sequence[str] = (),
    ) -> None:
        self.columns, self.rows = columns, list(rows)
        self.classes = classes or [""] * len(self.rows)
        right = set(numbers)
        first = next((i for i in range(len(columns)) if i not in right), None)
        self.kinds = ["number" if i in right else "name" if i == first else "" for i in range(len(columns))]


def number(value: float | None, digits: int = 4) -> str:
    """Write a number as a cell has it, nothing where there is none."""
    return "" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def interval(found: Interval, digits: int = 4, sign: str = "") -> str:
    """Write an estimate above its interval, nothing where there is none; `sign` is ``+`` or nothing."""
    if not math.isfinite(found.estimate):
        return ""
    return f"{found.estimate:{sign}.{digits}f}\n[{found.low:.{digits}f}, {found.high:.{digits}f}]"


@cache
def _templates() -> Environment:
    found = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.policies["json.dumps_kwargs"] = {"separators": (",", ":")}  # in the order that they have: best first
    return found


def render(template: str, values: Mapping[str, Any]) -> str:
    """Fill in ``templates/<template>.html.j2``; text among the values is plain text."""
    return _templates().get_template(f"{template}.html.j2").render(values)


def write_page(path: Path, template: str, values: Mapping[str, Any], assets: Sequence[str] = ()) -> Path:
    """Write a page and the files that it needs beside it; those of them that are there stay.

    `assets` are files of ``assets/``, besides those that all pages share.
    """
    texts = {path.name: render(template, values)}
    for name in (*_SHARED, *assets):
        if not (path.parent / name).is_file():
            own = _HERE / "assets" / name
            texts[name] = get_plotlyjs() if name == _PLOTLY_FILE else own.read_text(encoding="utf-8")
    for name, text in texts.items():
        with whole_file(path.with_name(name)) as partial:
            partial.write_text(text, encoding="utf-8")
    return path
