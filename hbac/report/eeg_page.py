"""The report's EEG page: chosen windows as clinical readers look at them, with votes and predictions beside.

It opens from the disk without a server. The page holds the list of windows, votes, predictions and the montages; the
signals of a window lie in a script of their own (``eeg/<label_id>.js``), which the page loads when the window is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hbac.common.errors import UserError
from hbac.data.windows import source_of
from hbac.evaluation.metric import kl_rows
from hbac.labels.targets import POPULATIONS, count_votes, votes_to_shares
from hbac.predictions import PredictionTable
from hbac.predictions.table import key_columns
from hbac.recordings.datasets import Part
from hbac.report.eeg_data import (
    HIGH_DB,
    LOW_DB,
    MAX_HZ,
    N_COLUMNS,
    N_ROWS,
    window_contents,
    write_window,
)
from hbac.report.eeg_packing import N_NEIGHBOUR, N_OWN, SHIFT, neighbours
from hbac.report.official_picture import official_layout, officials
from hbac.report.page import write_page
from hbac.signal.montage import AVERAGE, derivation_weights
from hbac.signal.reading_order import CHAINS, reading_order, side_of
from hbac.vocabulary import CENTRAL_S, CHANNELS, CLASSES, CONSENSUS_NAMES, ELECTRODES, SFREQ, WINDOW_S

PAGE_FILE, DATA_FOLDER = "eeg.html", "eeg"
ASSETS = (
    "eeg_signals.js",
    "eeg_sheet.js",
    "eeg_votes.js",
    "eeg_opinion.js",
    "eeg_drawing.js",
    "eeg_page.js",
    "eeg.css",
)
Explain = Callable[[Part, NDArray[np.int64]], tuple[str, list[dict[str, Any] | None]]]

#: What can be chosen, the first by default: montage of `hbac.signal.montage` to how readers call it.
MONTAGES = {
    "longitudinal_bipolar": "longitudinal bipolar",
    "transverse_bipolar": "transverse bipolar",
    "average_reference": "average reference",
    "referential": "as recorded",
    "public_8": "public_8",
}
SENSITIVITIES, SENSITIVITY = (2, 3, 5, 7, 10, 15, 20, 30, 50), 7  # µV/mm
LOWS_HZ, LOW_HZ = (0.1, 0.3, 0.5, 1, 1.6, 5), 0.5
HIGHS_HZ, _HIGH_HZ = (15, 20, 30, 35, 50, 70), 70
SPANS_S = (5, 10, 15, 20, 30, 50)
_SOME = [group for group in POPULATIONS.values() if group.name != "all"]
GAINS = (0.1, 0.2, 0.5, 1, 2, 5)
PAD_S = 12.0  # mirrored at both ends before filtering: five time constants of the lowest edge
NOTCH_HZ = 2.0  # width of a notch, at half power
_SHRINKS = (2, 5, 10, 20, 50, 100, 200, 500)
_BARS_UV = (10, 20, 50, 100, 200, 500, 1000)
_EKG_UV_PER_MM = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
_SHARE_DIGITS = 4
_WHY = {"worst": "highest KL", "disputed": "disputed by the experts", "random": "at random", "chosen": "by id"}


def write_eeg_page(
    folder: Path,
    part: Part,
    windows: pd.DataFrame,
    tables: Mapping[str, PredictionTable],
    explain: Explain | None = None,
) -> Path:
    """Write the page, ``eeg.html``, its data (330 kB a window in ``eeg/``), and the files shared with other pages.

    `windows` have ``label_id`` (or −1, with ``eeg_id`` and ``eeg_sub_id``) and ``why`` (``worst``, ``disputed``,
    ``random``, ``chosen``, or other words), in the order of the page; those of one reason behind one another. `tables`
    are predictions by member, best first: the KL of the first is the one listed. `explain` says of the part and the
    positions of label rows why a network said what it said (`hbac.report.saliency`): whose it was, and a map for each
    window, or None.

    A `UserError` when there is no window, or one that the part does not have.
    """
    position = _positions(part, windows)
    index = page_index(part.rows.iloc[position], windows["why"].tolist(), tables)
    label_ids = [window["label_id"] for window in index["windows"]]
    explained, maps = explain(part, position) if explain is not None else ("", [None] * len(position))
    index["explained"] = explained
    contents = window_contents(source_of(part, "eeg"), position)
    for label_id, content, found, long in zip(label_ids, contents, maps, officials(part, position), strict=True):
        content |= {"saliency": found, "official": long}
        write_window(folder / DATA_FOLDER / f"{label_id}.js", label_id, content)
    values = {
        "index": index,
        "montages": MONTAGES,
        "lows_hz": LOWS_HZ,
        "low_hz": LOW_HZ,
        "highs_hz": HIGHS_HZ,
        "high_hz": _HIGH_HZ,
        "spans_s": SPANS_S,
        "members": list(tables),
        "gains": GAINS,
        "populations": [group.title for group in _SOME],
        "span_s": CENTRAL_S,
        "sensitivities": SENSITIVITIES,
        "sensitivity": SENSITIVITY,
        "scored": next((name for window in index["windows"] for name in window["predictions"]), None),
    }
    return write_page(folder / PAGE_FILE, "eeg_page", values, ASSETS)


def page_index(rows: pd.DataFrame, why: list[str], tables: Mapping[str, PredictionTable]) -> dict[str, Any]:
    """Return all that the page knows but the signals, plain, for JSON; `why` each of the label rows was chosen."""
    start = (WINDOW_S - CENTRAL_S) / 2
    return {
        "windows": _windows(rows, why, tables),
        "classes": list(CLASSES),
        "class_names": list(CONSENSUS_NAMES),
        "window_s": WINDOW_S,
        "page_s": CENTRAL_S,
        "central": [start, start + CENTRAL_S],
        "electrodes": list(ELECTRODES),
        "members": list(tables),
        "official": official_layout(),
        **sheet_index(SFREQ),
        "spectrogram": spectrogram_index(N_ROWS, N_COLUMNS),
    }


def sheet_index(sfreq: float, has: Callable[[Mapping[str, float]], bool] = lambda _: True) -> dict[str, Any]:
    """Return what a sheet of EEG needs to know (``assets/eeg_sheet.js``, ``assets/eeg_signals.js``), plain, for JSON.

    `sfreq`, in hertz, is of the packed signals. Derivations of whose weights `has` says that they cannot be made,
    and montages of none, are left out.
    """
    shown = {
        name: [
            rows for group in reading_order(name) if (rows := [_row(d) for d in group if has(derivation_weights(d))])
        ]
        for name in MONTAGES
    }
    return {
        "montages": {name: groups for name, groups in shown.items() if groups},
        "ekg": _row("EKG"),
        "pad_s": PAD_S,
        "notch_hz": NOTCH_HZ,
        "shrinks": _SHRINKS,
        "sfreq": sfreq,
        "bars_uv": list(_BARS_UV),
        "ekg_uv_per_mm": list(_EKG_UV_PER_MM),
        "packing": {
            "own": N_OWN,
            "neighbour": N_NEIGHBOUR,
            "shift": SHIFT,
            "neighbours": neighbours(),
        },
    }


def spectrogram_index(n_rows: int, n_columns: int) -> dict[str, Any]:
    """Return what a page needs to know to draw the spectrograms of the four regions, plain, for JSON.

    The colours are a ramp from dark to bright, even to the eye, which plotly.js does not know by name.
    """
    from plotly.colors import sequential

    ramp = sequential.Inferno
    return {
        "regions": list(CHAINS),
        "rows": n_rows,
        "columns": n_columns,
        "low_db": LOW_DB,
        "high_db": HIGH_DB,
        "max_hz": MAX_HZ,
        "colours": [[i / (len(ramp) - 1), colour] for i, colour in enumerate(ramp)],
    }


def _positions(part: Part, windows: pd.DataFrame) -> NDArray[np.int64]:
    if not len(windows):
        raise UserError("the EEG page: no windows to show")
    keys = key_columns(windows)
    found = _found(part.rows, windows, keys)
    if (found < 0).any():
        lost = windows.loc[(found < 0).tolist(), keys].iloc[0]
        what = ", ".join(f"{key} {value}" for key, value in lost.items())
        raise UserError(f"the EEG page: the data set's {part.recordings.part} part has no {what}")
    return found


def _found(frame: pd.DataFrame, wanted: pd.DataFrame, keys: list[str]) -> NDArray[np.int64]:
    """Return where the wanted rows stand in a frame, −1 where they do not."""
    here, there = (pd.MultiIndex.from_frame(one[keys]) for one in (frame, wanted))
    return np.asarray(here.get_indexer(there), np.int64)


def _row(derivation: str) -> dict[str, Any]:
    weights = derivation_weights(derivation)
    return {
        "name": derivation,
        "side": side_of(derivation),
        "electrodes": [name for name in derivation.split("-") if name != AVERAGE],
        "weights": [[CHANNELS.index(name), weight] for name, weight in weights.items()],
    }


def _windows(rows: pd.DataFrame, why: list[str], tables: Mapping[str, PredictionTable]) -> list[dict[str, Any]]:
    shares, n_votes = votes_to_shares(rows), count_votes(rows)
    found = []
    for i, (row, reason) in enumerate(zip(rows.to_dict("records"), why, strict=True)):
        found.append(
            {
                # Text, since JavaScript knows no whole numbers above 2**53, which those of patients with names are.
                **{name: str(row[name]) for name in ("label_id", "eeg_id", "patient_id")},
                "offset_s": float(row["eeg_label_offset_seconds"]),
                "why": _WHY.get(reason, reason),
                "n_votes": int(n_votes[i]),
                "populations": [group.title for group in _SOME if group.contains(n_votes[i : i + 1]).all()],
                "votes": shares[i].round(_SHARE_DIGITS).tolist(),
                "kl": None,
                "predictions": {},
            }
        )
    for name, table in tables.items():
        at = _found(table.frame, rows, key_columns(table.frame))
        prob_NK = table.probs[at]
        for window, k, prob, kl in zip(found, at, prob_NK, kl_rows(shares, prob_NK), strict=True):
            if k >= 0:
                said = {"prob": prob.round(_SHARE_DIGITS).tolist(), "kl": round(float(kl), _SHARE_DIGITS)}
                window["predictions"][name] = said
    for window in found:
        window["kl"] = window["predictions"].get(next(iter(tables), ""), {}).get("kl")
    return found
