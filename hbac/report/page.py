"""What every page of the report has: its frame, figures in the colours of the theme, panels to choose among, tables.

Colours are named, never given: a figure says ``var(--series-0)``, ``assets/report.css`` says what that is in light and
in dark, and ``assets/report.js`` puts it in when it draws. Pages load only files that lie beside them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from hbac.common.files import whole_file

if TYPE_CHECKING:
    import plotly.graph_objects as go

PLOTLY_FILE, STYLE_FILE, SCRIPT_FILE = "plotly.min.js", "report.css", "report.js"
N_SERIES = 10  # colours --series-0 … in report.css
_MANY = 5  # so many choices still are buttons, more are a list
_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{style}">
{scripts}
</head>
<body>
<header><strong>hbac</strong><nav>{links}</nav><button id="theme" type="button">Light / dark</button></header>
<main>
<h1>{title}</h1>
{body}
</main>
</body>
</html>
"""


def write_assets(folder: Path) -> None:
    """Write plotly.js, the style and the script that all pages of a folder share; what is there already stays.

    Parameters
    ----------
    folder : Path
        Of the pages.
    """
    from plotly.offline import get_plotlyjs

    own = files(__package__).joinpath("assets")
    texts = {
        PLOTLY_FILE: get_plotlyjs,
        STYLE_FILE: own.joinpath(STYLE_FILE).read_text,
        SCRIPT_FILE: own.joinpath(SCRIPT_FILE).read_text,
    }
    for name, text in texts.items():
        if not (folder / name).is_file():
            with whole_file(folder / name) as partial:
                partial.write_text(text(), encoding="utf-8")


def page(title: str, body: str, links: Mapping[str, str] | None = None, scripts: Sequence[str] = ()) -> str:
    """Put a page together.

    Parameters
    ----------
    title : str
        Plain text; also the page's first heading.
    body : str
        HTML.
    links : mapping of str to str, optional
        Text to address, for the bar at the top.
    scripts : sequence of str
        Further scripts beside the page, loaded after ``report.js`` and plotly.js in this order.

    Returns
    -------
    str
        HTML. It needs what `write_assets` writes beside it.
    """
    bar = "".join(f'<a href="{escape(href)}">{escape(text)}</a>' for text, href in (links or {}).items())
    # The page's own script is not deferred: it sets the theme before anything is shown. The others run in this order.
    deferred = "\n".join(f'<script defer src="{escape(name)}"></script>' for name in (PLOTLY_FILE, *scripts))
    tags = f'<script src="{SCRIPT_FILE}"></script>\n{deferred}'
    return _TEMPLATE.format(title=escape(title), style=STYLE_FILE, scripts=tags, links=bar, body=body)


def figure(made: go.Figure, height_px: int, tools: bool = False, least_width_px: int = 0) -> str:
    """Place a figure.

    Parameters
    ----------
    made : plotly.graph_objects.Figure
        Its colours as ``var(--name)``; axes, text and background get theirs from the theme.
    height_px : int
        Height; it is as wide as its place.
    tools : bool
        Whether a reader may zoom and move it; without, dragging scrolls the page.
    least_width_px : int
        On a narrower screen it scrolls sideways.

    Returns
    -------
    str
        HTML.
    """
    content = json.loads(made.to_json())
    layout = {key: value for key, value in content["layout"].items() if key != "template"}
    layout |= {"height": height_px} | ({} if tools else {"dragmode": False})
    spec = json.dumps(
        {"data": content["data"], "layout": layout, "config": {"displayModeBar": tools}}, separators=(",", ":")
    )
    # Nothing in a script is escaped, so that its end must not stand in it.
    inside = spec.replace("</", "<\\/")
    style = f"min-height:{height_px}px" + (f";min-width:{least_width_px}px" if least_width_px else "")
    html = f'<div class="figure" style="{style}"><script type="application/json">{inside}</script></div>'
    return f'<div class="scroll">{html}</div>' if least_width_px else html


def choice(name: str, options: Mapping[str, str]) -> str:
    """Show one of several panels, and let the reader switch: by buttons, or by a list where there are many.

    Parameters
    ----------
    name : str
        Of the choice: letters, digits and hyphens, once in a page.
    options : mapping of str to str
        Plain title to HTML; the first is shown.

    Returns
    -------
    str
        HTML; of a single option the panel alone.
    """
    if len(options) == 1:
        return next(iter(options.values()))
    ids = [f"{name}-{number}" for number in range(len(options))]
    if len(options) > _MANY:
        entries = "".join(f'<option value="{i}">{escape(t)}</option>' for i, t in zip(ids, options, strict=True))
        control = f'<select aria-label="{escape(name)}" autocomplete="off">{entries}</select>'
    else:
        control = "".join(
            f'<button type="button" value="{i}" aria-pressed="{str(i == ids[0]).lower()}">{escape(t)}</button>'
            for i, t in zip(ids, options, strict=True)
        )
    panels = "".join(
        f'<div class="option" id="{i}"{"" if i == ids[0] else " hidden"}>{html}</div>'
        for i, html in zip(ids, options.values(), strict=True)
    )
    return f'<div><div class="choice">{control}</div>{panels}</div>'


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], numbers: Iterable[int] = (), classes: Sequence[str] = ()
) -> str:
    """Make a table.

    Parameters
    ----------
    columns : sequence of str
        Headings, plain text.
    rows : iterable of sequence
        Cells, shown as plain text.
    numbers : iterable of int
        Columns that are set to the right, in whose cells a line may be broken; the first other one is the widest.
    classes : sequence of str
        CSS class of each row: ``strong``, ``reference`` or nothing; none at all by default.

    Returns
    -------
    str
        HTML, scrolling sideways where it is too wide.
    """
    right = set(numbers)
    first = next((i for i in range(len(columns)) if i not in right), None)
    kinds = ["number" if i in right else "name" if i == first else "" for i in range(len(columns))]

    def line(tag: str, cells: Sequence[object]) -> str:
        return "".join(
            f'<{tag} class="{kind}">{escape(str(cell))}</{tag}>' for kind, cell in zip(kinds, cells, strict=True)
        )

    cells = list(rows)
    body = "".join(
        f'<tr class="{kind}">{line("td", row)}</tr>'
        for kind, row in zip(classes or [""] * len(cells), cells, strict=True)
    )
    return (
        f'<div class="scroll"><table><thead><tr>{line("th", columns)}</tr></thead><tbody>{body}</tbody></table></div>'
    )
