"""The report's folder: ``index.html`` with all sections, and the EEG page where the recordings are at hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import hbac
from hbac.common.errors import UserError
from hbac.common.outputs import check_free, replacing
from hbac.common.progress import track
from hbac.report.curves import learning_curves
from hbac.report.diagrams import class_kl, confusion, disagreements, reliability_diagrams
from hbac.report.gather import Gathered
from hbac.report.page import page, table, write_assets
from hbac.report.provenance import what_was_run
from hbac.report.ranking import ranking
from hbac.report.weights import blend_weights

if TYPE_CHECKING:
    import pandas as pd

    from hbac.recordings.datasets import Part

INDEX_FILE = "index.html"
COMMAND = "hbac.report"  # who its files are said to be of
_WHOLE = "."  # a report's folder is its own
SECTIONS: dict[str, Callable[[Gathered], str]] = {
    "Ranking": ranking,
    "Learning curves": learning_curves,
    "Confusion": confusion,
    "Reliability": reliability_diagrams,
    "Classes": class_kl,
    "Blend weights": blend_weights,
    "Disagreement": disagreements,
    "What was run": what_was_run,
}


def write_report(
    found: Gathered,
    out: Path,
    windows: pd.DataFrame | None = None,
    part: Part | None = None,
    command: str = "",
    notes: tuple[str, ...] = (),
) -> Path:
    """Write the report.

    Parameters
    ----------
    found : Gathered
        What is compared.
    out : Path
        Folder of the report; it appears whole or not at all, and takes the place of an earlier report.
    windows : DataFrame, optional
        Of `hbac.report.windows.choose_windows`: those of the EEG page.
    part : Part, optional
        Where their recordings are; no EEG page without it.
    command : str
        What made the report.
    notes : tuple of str
        What a reader should know, besides what `found` has to say.

    Returns
    -------
    Path
        ``index.html``.

    Raises
    ------
    UserError
        When there is something else in the report's place, or it cannot be written.
    """
    with replacing(out, COMMAND, INDEX_FILE, [_WHOLE]) as folder:
        write_assets(folder)
        made = {title: SECTIONS[title](found) for title in track(list(SECTIONS), "drawing")}
        eeg = ""
        if windows is not None and part is not None and len(windows):
            eeg = _eeg_section(folder, part, windows, found)
        body = [_summary(found), *(f'<p class="panel">{escape(note)}</p>' for note in (*found.notes, *notes))]
        links = {}
        for title, html in made.items():
            if title == "What was run" and eeg:
                body.append(eeg)
                links["EEG"] = "#eeg"
            anchor = title.lower().replace(" ", "-")
            links[title] = f"#{anchor}"
            body.append(f'<section id="{anchor}"><h2>{title}</h2>{html}</section>')
        body.append(_foot(command))
        (folder / INDEX_FILE).write_text(page("Report", "\n".join(body), links), encoding="utf-8")
    return out / INDEX_FILE


def check_out(out: Path) -> None:
    """Refuse a place where something else is than what an earlier report wrote.

    Parameters
    ----------
    out : Path
        Folder of the report.

    Raises
    ------
    UserError
        When it is a file, or anything else is in it.
    """
    if out.is_file():
        raise UserError(f"out={out}: is a file; name a folder")
    check_free(out, COMMAND, own_folders=[_WHOLE])


def _summary(found: Gathered) -> str:
    frame = found.joined.frame
    best = found.names[0]
    n_members, n_ensembles = len(found.members), len(found.ensembles)
    what = [f"{n_members} member{'s' * (n_members != 1)}"]
    if n_ensembles:
        what.append(f"{n_ensembles} ensemble{'s' * (n_ensembles != 1)}")
    return (
        f"<p>{' and '.join(what)} on {len(frame):,} out-of-fold rows of {frame['patient_id'].nunique():,} patients. "
        f"Best: <b>{escape(best)}</b>.</p>"
    )


def _eeg_section(folder: Path, part: Part, windows: pd.DataFrame, found: Gathered) -> str:
    from hbac.report.eeg_page import write_eeg_page

    path = write_eeg_page(folder, part, windows, found.tables)
    rows = [
        [row["why"], row["label_id"], row["eeg_id"], row["n_votes"], f"{row['kl']:.4f}", f"{row['entropy']:.3f}"]
        for row in windows.to_dict("records")
    ]
    columns = ["why", "label", "EEG", "votes", "KL", "entropy of the votes"]
    return (
        f'<section id="eeg"><h2>EEG</h2><p><a href="{path.name}">Look at {len(windows)} windows</a>: the signals in a '
        "montage and band of your choice, the spectrogram, what the experts voted and what each member predicted.</p>"
        f"<details><summary>The windows</summary>{table(columns, rows, range(1, len(columns)))}</details></section>"
    )


def _foot(command: str) -> str:
    written = time.strftime("%Y-%m-%d %H:%M")
    typed = f" by <code>{escape(command)}</code>" if command else ""
    return (
        f'<p class="muted small">Written by hbac {hbac.__version__} on {written}{typed}. hbac is for research. It is '
        "not a medical device.</p>"
    )
