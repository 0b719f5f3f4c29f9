"""The page of a long recording: all of it over time, its events, and the EEG at any place of it.

It opens from the disk without a server, and reads of the EEG only the minutes that it shows (``eeg/<number>.js``).
"""

# N step, K class

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import hbac
from hbac.events.rule import EventRule, duration_word, hours
from hbac.predictions.course import Course, RecordingFacts
from hbac.report.eeg_packing import MISSING, pack_bytes
from hbac.report.eeg_page import (
    LOW_HZ,
    MONTAGES,
    SENSITIVITIES,
    SENSITIVITY,
    sheet_index,
    spectrogram_index,
)
from hbac.report.page import Table, write_page
from hbac.report.recording_tiles import BANDS, HIGHEST_HZ, TILE_HZ, TILE_S, Signal, Trends, write_tiles
from hbac.vocabulary import CENTRAL_S, CLASSES, CONSENSUS_NAMES, PROB_COLUMNS

PAGE_FILE, DATA_FOLDER = "index.html", "eeg"
ASSETS = ("eeg_signals.js", "eeg_sheet.js", "recording_overview.js", "recording_page.js", "eeg.css")
_LOWS_HZ, _HIGHS_HZ = (0.3, 0.5, 1, 1.6, 5), (15, 20, 30)
_SPANS_S = (5, 10, 15, 20, 30, 60)
_LEAD_S = 2.0  # of EEG before an event that is jumped to
_MARGIN_S = 5.0  # of EEG beside a page that its filters need
_OVERVIEW_PX = 790


def write_recording_page(
    folder: Path,
    course: Course,
    facts: RecordingFacts,
    rule: EventRule,
    events: pd.DataFrame,
    blocks: Iterable[Signal],
    has: Callable[[Mapping[str, float]], bool] = lambda _: True,
) -> Path:
    """Write the page, ``index.html``, what it shares with other pages, and its data, ``eeg/``: 6 MB for an hour of EEG.

    `events` were found by `rule`. `blocks` are the EEG from its start without a break, (T, 20): microvolt at 200 Hz,
    NaN where nothing was recorded. Derivations of whose weights `has` says that the recording lacks them are not shown.
    """
    trends = Trends(facts.duration_s)
    n_tiles = write_tiles(folder / DATA_FOLDER, blocks, trends)
    index = page_index(course, facts, events, trends, n_tiles) | sheet_index(TILE_HZ, has)
    values = {
        "name": facts.file,
        "facts": _facts(course, facts),
        "classes": _classes(course, rule, events),
        "events": _events(events, facts),
        "rule": rule_in_words(rule),
        "gaps": Table(["from", "for"], [[_clock(onset), _clock(duration)] for onset, duration in facts.gaps], (0, 1)),
        "notes": facts.notes,
        "index": index,
        "montages": {name: text for name, text in MONTAGES.items() if name in index["montages"]},
        "lows_hz": _LOWS_HZ,
        "low_hz": LOW_HZ,
        "highs_hz": _HIGHS_HZ,
        "highest_hz": f"{HIGHEST_HZ:g}",
        "sensitivities": SENSITIVITIES,
        "sensitivity": SENSITIVITY,
        "spans_s": _SPANS_S,
        "span_s": CENTRAL_S,
        "column_s": f"{trends.column_s:g}",
        "bands": [f"{name} {low:g}–{high:g}" for name, (low, high) in BANDS.items()],
        "overview_px": _OVERVIEW_PX,
        "version": hbac.__version__,
        "written": time.strftime("%Y-%m-%d %H:%M"),
    }
    return write_page(folder / PAGE_FILE, "recording", values, ASSETS)


def page_index(
    course: Course, facts: RecordingFacts, events: pd.DataFrame, trends: Trends, n_tiles: int
) -> dict[str, Any]:
    """Return all that the page knows of the recording but the EEG, plain, for JSON; see `write_recording_page`."""
    prob_NK = course.frame[list(PROB_COLUMNS)].to_numpy()
    code_KN = np.where(np.isnan(prob_NK), MISSING, np.rint(prob_NK * (MISSING - 1))).T.astype(np.uint8)
    level_IFW = trends.levels()
    asymmetry = {
        band: [None if np.isnan(value) else round(float(value), 3) for value in values]
        for band, values in trends.asymmetry().items()
    }
    number = {name: k for k, name in enumerate(CLASSES)}
    listed = zip(events["onset"], events["duration"], events["class"], strict=True)
    return {
        "classes": list(CLASSES),
        "class_names": list(CONSENSUS_NAMES),
        "duration_s": facts.duration_s,
        "start": None if facts.start is None else facts.start.replace(tzinfo=None).isoformat(timespec="seconds"),
        "step_s": course.step_s,
        "n_steps": len(course.frame),
        "probabilities": pack_bytes(np.ascontiguousarray(code_KN).tobytes()),
        "spectrogram": spectrogram_index(*level_IFW.shape[1:]),
        "levels": pack_bytes(level_IFW.tobytes()),
        "column_s": trends.column_s,
        "asymmetry": asymmetry,
        "events": [[round(onset, 2), round(duration, 2), number[name]] for onset, duration, name in listed],
        "n_tiles": n_tiles,
        "tile_s": TILE_S,
        "lead_s": _LEAD_S,
        "margin_s": _MARGIN_S,
    }


def rule_in_words(rule: EventRule) -> str:
    """Say in a sentence what an event is."""
    smooth = ", single steps smoothed" if rule.smooth else ""
    return (
        f"An event: the probability of a class at its threshold or above for {rule.held_s:g} s{smooth}; stretches up "
        f"to {rule.join_s:g} s apart are joined, and events under {rule.least_s:g} s left out."
    )


def _facts(course: Course, facts: RecordingFacts) -> str:
    gap_s = sum(duration for _, duration in facts.gaps)
    said_s = course.step_s * float(course.frame["other_prob"].notna().sum())
    parts = [
        f"{_clock(facts.duration_s)} long" + (f", {_clock(gap_s)} of it gaps" if gap_s else ""),
        f"predicted {_clock(said_s)} in steps of {course.step_s:g} s",
        f"{facts.sfreq:g} Hz",
        f"by {course.ensemble} ({len(course.models)} network{'' if len(course.models) == 1 else 's'})",
    ]
    if facts.interpolated:
        parts.append(f"interpolated from neighbours: {', '.join(facts.interpolated)}")
    begun = f"Begun {facts.start:%Y-%m-%d %H:%M:%S}. " if facts.start is not None else ""
    return f"{begun}{'; '.join(parts)}."


def _classes(course: Course, rule: EventRule, events: pd.DataFrame) -> list[dict[str, Any]]:
    lasting = hours(course, rule).to_numpy()
    rows = []
    for key, name, (likeliest, expected) in zip(CLASSES, CONSENSUS_NAMES, lasting, strict=True):
        own = events[events["class"] == key]
        rows.append(
            {
                "key": key,
                "name": name,
                "likeliest": f"{likeliest:.2f}",
                "expected": f"{expected:.2f}",
                "events": len(own) if key in rule.threshold else "",
                "longest": _clock(own["duration"].max()) if len(own) else "",
                "threshold": f"{rule.threshold[key]:.2f}" if key in rule.threshold else "",
            }
        )
    return rows


def _events(events: pd.DataFrame, facts: RecordingFacts) -> list[dict[str, Any]]:
    names = dict(zip(CLASSES, CONSENSUS_NAMES, strict=True))
    found = []
    for row in events.to_dict("records"):
        onset, duration = row["onset"], row["duration"]
        found.append(
            {
                "key": row["class"],
                "name": names[row["class"]],
                "at": f"{max(0.0, onset - _LEAD_S):.1f}",
                "onset": f"{onset:.2f}",
                "duration": f"{duration:.2f}",
                "time": _clock(onset),
                "clock": f"{facts.start + timedelta(seconds=onset):%H:%M:%S}" if facts.start is not None else "",
                "long": f"{duration:.0f} s" if duration < 120 else f"{duration / 60:.0f} min",
                "word": duration_word(duration),
                "mean": f"{row['mean_prob']:.2f}",
                "most": f"{row['max_prob']:.2f}",
                "entropy": f"{row['entropy']:.2f}",
            }
        )
    return found


def _clock(seconds: float) -> str:
    """Return h:mm:ss."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
