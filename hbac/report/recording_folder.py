"""All that is made of the predictions along a recording: its events, and its page."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import hbac
from hbac.common.files import hash_of_file
from hbac.common.outputs import check_free, replacing
from hbac.common.progress import track
from hbac.events.event_files import EVENT_FILES, write_events
from hbac.events.rule import EVENT_CLASSES, EventRule, hours
from hbac.predictions.course import COMMAND, COURSE_FILE, RECORDING_FILE, Course, RecordingFacts
from hbac.reading.opened import Recording
from hbac.report.recording_page import PAGE_FILE, write_recording_page
from hbac.report.recording_tiles import TILE_S
from hbac.vocabulary import CLASSES, SFREQ

log = logging.getLogger("hbac.infer")

PAGE_FOLDER = "page"
_MADE_OF = "made-of.json"
_WHOLE = "."


@dataclass(frozen=True)
class Summary:
    """What a recording shows."""

    name: str
    duration_s: float
    events: pd.DataFrame  # as `hbac.events.rule.find_events` and `hours` return them
    hours: pd.DataFrame
    page: Path | None  # where it is


def check_recording_folder(folder: Path) -> None:
    """Refuse a recording's folder in which something else is in the place of events or page."""
    check_free(folder, COMMAND, EVENT_FILES)
    check_free(folder / PAGE_FOLDER, COMMAND, own_folders=[_WHOLE])


def summarise(folder: Path, recording: Recording | None, rule: EventRule) -> Summary:
    """Write a recording's events beside its predictions, and, where the recording is given, its page.

    A page that was made of the same predictions by the same rule is left alone. A `UserError` when something else is in
    the way, or a file cannot be read or written.
    """
    course, facts = Course.read(folder), RecordingFacts.read(folder)
    with replacing(folder, COMMAND, EVENT_FILES[0]) as staged:
        events = write_events(staged, course, facts, rule)
    page, made_of = folder / PAGE_FOLDER / PAGE_FILE, _made_of(folder, rule)
    is_new = page.is_file() and _reads(page.with_name(_MADE_OF)) == made_of
    if recording is not None and not is_new:
        with replacing(page.parent, COMMAND, PAGE_FILE, [_WHOLE]) as staged:
            blocks = blocks_of(recording)
            write_recording_page(staged, course, facts, rule, events, blocks, partial(_has, recording))
            (staged / _MADE_OF).write_text(made_of, encoding="utf-8")
    elif page.is_file() and not is_new:
        log.warning("%s: of other predictions or another rule than the events; page=true makes it again", page)
    shown = page if recording is not None or is_new else None
    return Summary(folder.name, facts.duration_s, events, hours(course, rule), shown)


def totals(summaries: Sequence[Summary]) -> dict[str, float]:
    """Add recordings up for a logger: hours, and hours and events of each class."""
    found: dict[str, float] = {"recordings": len(summaries), "hours": sum(one.duration_s for one in summaries) / 3600}
    for name in CLASSES:
        found[f"hours/{name}"] = sum(float(one.hours["likeliest"][name]) for one in summaries)
        if name in EVENT_CLASSES:
            found[f"events/{name}"] = sum(int((one.events["class"] == name).sum()) for one in summaries)
    return found


def blocks_of(recording: Recording) -> Iterator[NDArray[np.float32]]:
    """Read a recording from its start to its end, ten minutes at a time: (T, 20), microvolt at 200 Hz, NaN for gaps."""
    size = round(10 * TILE_S * SFREQ)
    for start in track(range(0, recording.n_times, size), "reading for the page", log=False):
        yield recording.read(start, min(start + size, recording.n_times)).T


def _has(recording: Recording, weights: Mapping[str, float]) -> bool:
    """Say whether a derivation can be made of a recording's electrodes."""
    return not recording.electrodes.what_is_against(weights)


def _made_of(folder: Path, rule: EventRule) -> str:
    """Name all that decides what is on a page."""
    files = {name: hash_of_file(folder / name) for name in (COURSE_FILE, RECORDING_FILE)}
    return json.dumps({"hbac": hbac.__version__, "rule": asdict(rule), **files}, indent=1) + "\n"


def _reads(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
