"""The rule of the settings, and the events of a recording in the files that other tools read."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from hbac.common.choices import check_choice
from hbac.common.errors import UserError
from hbac.ensembling.operating_points import OperatingPoints
from hbac.events.bids import write_bids
from hbac.events.edf_plus import write_annotations
from hbac.events.rule import EVENT_CLASSES, EventRule, find_events
from hbac.events.szcore import write_szcore
from hbac.predictions.course import Course, RecordingFacts

log = logging.getLogger("hbac.infer")

SEIZURES_FILE, ANNOTATIONS_FILE = "seizures.tsv", "annotations.edf"
EVENT_FILES = ("events.tsv", "events.json", SEIZURES_FILE, ANNOTATIONS_FILE)


def rule_of(settings: Mapping[str, Any], ensemble: Path) -> EventRule:
    """Make the rule that the settings of ``conf/events`` ask for; classes without a threshold have no events.

    ``threshold`` is a number or a number by class; ``recall`` takes the thresholds of the ensemble's operating points
    in its place, but for classes that these have none of. A `UserError` for a class or recall that there is not, a
    threshold that is no probability, or an ensemble without operating points.
    """
    given = settings["threshold"]
    threshold = dict(given) if isinstance(given, Mapping) else dict.fromkeys(EVENT_CLASSES, given)
    for name, value in threshold.items():
        check_choice("events.threshold", name, EVENT_CLASSES)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
            raise UserError(f"events.threshold: {name} is {value!r}, must be a number above 0 and up to 1")
    if settings["recall"] is not None:
        points = OperatingPoints.read(ensemble if ensemble.is_dir() else ensemble.parent)
        known = [name for name in threshold if points.classes[name].points]
        threshold |= {name: points.threshold(name, settings["recall"]) for name in known}
        if unknown := [f"{name} {threshold[name]:g}" for name in threshold if name not in known]:
            log.warning("no out-of-fold row was of some classes; their thresholds are %s", ", ".join(unknown))
    kept = {name: float(threshold[name]) for name in EVENT_CLASSES if name in threshold}
    lengths = {name: float(settings[name]) for name in ("held_s", "join_s", "least_s")}
    return EventRule(kept, settings["smooth"], **lengths)


def write_events(folder: Path, course: Course, facts: RecordingFacts, rule: EventRule) -> pd.DataFrame:
    """Find the events of a recording, and write `EVENT_FILES`; the last of them where edfio is installed.

    Of the recording nothing is written but its length, and the start where it was asked for.
    """
    events = find_events(course, rule)
    write_bids(folder, events, rule, course.ensemble)
    write_szcore(folder / SEIZURES_FILE, events, facts.duration_s, facts.start)
    if find_spec("edfio") is None:
        log.warning("%s is not written: pip install 'edfio>=0.4.5'", ANNOTATIONS_FILE)
    else:
        write_annotations(folder / ANNOTATIONS_FILE, events, facts.start)
    return events
