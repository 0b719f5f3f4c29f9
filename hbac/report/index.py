"""The report's folder: ``index.html`` with all sections, and the EEG page where the recordings are at hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hbac
from hbac.common.errors import UserError
from hbac.common.outputs import check_free, replacing
from hbac.common.progress import track
from hbac.report.curves import learning_curves
from hbac.report.diagrams import class_kl, confusion, disagreements, reliability_diagrams
from hbac.report.eeg_page import write_eeg_page
from hbac.report.expert_section import experts
from hbac.report.gather import Gathered
from hbac.report.operating_section import operating
from hbac.report.page import Table, write_page
from hbac.report.provenance import what_was_run
from hbac.report.ranking import ranking
from hbac.report.weights import blend_weights

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from hbac.recordings.datasets import Part

INDEX_FILE = "index.html"
COMMAND = "hbac.report"  # who its files are said to be of
_WHOLE = "."  # a report's folder is its own
#: Title to what its template shows, which is called after the title: ``Learning curves``, ``learning-curves.html.j2``.
SECTIONS: dict[str, Callable[[Gathered], dict[str, Any]]] = {
    "Ranking": ranking,
    "Learning curves": learning_curves,
    "Confusion": confusion,
    "Reliability": reliability_diagrams,
    "Classes": class_kl,
    "Operating points": operating,
    "Experts": experts,
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
    saliency_s: float = 0,
    refresh_s: float = 0,
    allow: str | Sequence[str] = (),
) -> Path:
    """Write the report into a folder that appears whole or not at all, and takes the place of an earlier report.

    The EEG page shows the windows of `hbac.report.window_choice.choose_windows`, where `part` has their recordings;
    `saliency_s` seconds are spent on saying why a network said what it said of them. `notes` are what a reader should
    know besides what `found` has to say, `command` is what made the report. A browser reads the page again after
    `refresh_s` seconds, 0: never. Networks may come from the packages of `allow`, too.

    A `UserError` when there is something else in the report's place, or it cannot be written.
    """
    with replacing(out, COMMAND, INDEX_FILE, [_WHOLE]) as folder:
        made = {title: show(found) for title, show in track(list(SECTIONS.items()), "drawing")}
        sections = [
            {"title": title, "anchor": title.lower().replace(" ", "-"), "shown": shown} for title, shown in made.items()
        ]
        if windows is not None and part is not None and len(windows):
            shown = _eeg(folder, part, windows, found, saliency_s, allow)
            sections.insert(-1, {"title": "EEG", "anchor": "eeg", "shown": shown})
        values = {
            "sections": sections,
            "n_members": len(found.members),
            "n_ensembles": len(found.ensembles),
            "n_rows": f"{len(found.joined.frame):,}",
            "n_patients": f"{found.joined.frame['patient_id'].nunique():,}",
            "best": found.names[0],
            "refresh_s": int(refresh_s),
            "notes": (*found.notes, *notes),
            "version": hbac.__version__,
            "written": time.strftime("%Y-%m-%d %H:%M"),
            "command": command,
        }
        write_page(folder / INDEX_FILE, "index", values)
    return out / INDEX_FILE


def check_out(out: Path) -> None:
    """Refuse a place of the report where something else is than what an earlier one wrote."""
    if out.is_file():
        raise UserError(f"out={out}: is a file; name a folder")
    check_free(out, COMMAND, own_folders=[_WHOLE])


def _eeg(
    folder: Path, part: Part, windows: pd.DataFrame, found: Gathered, saliency_s: float, allow: str | Sequence[str]
) -> dict[str, Any]:
    """Write the EEG page; with saliency where seconds are given for it."""
    from hbac.report.saliency import saliency  # torch models are slow to import, and most tests do without

    why_not: list[str] = []

    def explain(part: Part, position: np.ndarray) -> tuple[str, list[dict[str, Any] | None]]:
        name, maps, why = saliency(found, windows["fold"].tolist(), part, position, saliency_s, allow)
        why_not.append(f"No saliency: {why}." if why else "")
        return name, maps

    path = write_eeg_page(folder, part, windows, found.tables, explain if saliency_s else None)
    rows = [
        [row["why"], row["label_id"], row["eeg_id"], row["n_votes"], f"{row['kl']:.4f}", f"{row['entropy']:.3f}"]
        for row in windows.to_dict("records")
    ]
    columns = ["why", "label", "EEG", "votes", "KL", "entropy of the votes"]
    return {"page": path.name, "why_not": "".join(why_not), "windows": Table(columns, rows, range(1, len(columns)))}
