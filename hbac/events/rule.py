"""From probabilities over time to events by class.

An event is a stretch in which the probability of a class stays at its threshold or above for long enough; stretches
that are near one another are joined, and what is still short is left out. Each class is looked at by itself: with low
thresholds two may overlap.
"""

# N row (step of the recording), K class, E event

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import entr

from hbac.predictions.course import Course
from hbac.vocabulary import CENTRAL_S, CLASSES, PROB_COLUMNS

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.bool_]

#: "Other" is what is left over, and no event.
EVENT_CLASSES = CLASSES[:-1]
COLUMNS = ("onset", "duration", "class", "mean_prob", "max_prob", "peak", "entropy")
#: ACNS terms for how long a pattern lasts: from so many seconds on.
DURATION_WORDS = {"very brief": 0.0, "brief": 10.0, "intermediate": 60.0, "long": 300.0, "very long": 3600.0}
_ROUNDING_S = 1e-6


@dataclass(frozen=True)
class EventRule:
    """When a class is an event."""

    # By class of `EVENT_CLASSES`: a probability of this or more. Classes that are left out have no events.
    threshold: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(EVENT_CLASSES, 0.5))
    # Whether a step whose likeliest class is another than that of both its neighbours, which agree, becomes their mean.
    smooth: bool = True
    held_s: float = 10.0  # stretches at the threshold that are shorter are no part of an event
    join_s: float = 10.0  # stretches of a class that are so near are one event
    least_s: float = 10.0  # shorter events are left out


def find_events(course: Course, rule: EventRule) -> pd.DataFrame:
    """Find the events of a recording, by onset.

    Columns are ``onset, duration`` in s, ``class``, ``mean_prob, max_prob`` over the event, ``peak``: where in the
    recording (s) the largest is, ``entropy`` in nats, the mean over the event.
    """
    prob_NK, step_s = probabilities(course, rule), course.step_s
    entropy_N = entr(prob_NK).sum(axis=1)
    parts = [pd.DataFrame({name: pd.Series(dtype=str if name == "class" else np.float64) for name in COLUMNS})]
    for name, threshold in rule.threshold.items():
        score_N = prob_NK[:, CLASSES.index(name)]
        first_E, last_E = _stretches(score_N >= threshold)
        held_E = (last_E - first_E + 1) * step_s >= rule.held_s - _ROUNDING_S
        first_E, last_E = first_E[held_E], last_E[held_E]
        between_E = (first_E[1:] - last_E[:-1] - 1) * step_s > rule.join_s + _ROUNDING_S
        n = len(first_E)  # maybe 0
        first_E, last_E = first_E[np.insert(between_E, 0, True)[:n]], last_E[np.append(between_E, True)[:n]]
        long_E = (last_E - first_E + 1) * step_s >= rule.least_s - _ROUNDING_S
        rows = [slice(first, last + 1) for first, last in zip(first_E[long_E], last_E[long_E], strict=True)]
        peak_E = np.array([one.start + np.nanargmax(score_N[one]) for one in rows], np.int64)
        found = {
            "onset": first_E[long_E] * step_s,
            "duration": (last_E - first_E + 1)[long_E] * step_s,
            "class": name,
            "mean_prob": [np.nanmean(score_N[one]) for one in rows],
            "max_prob": score_N[peak_E],
            "peak": (peak_E + 0.5) * step_s,
            "entropy": [np.nanmean(entropy_N[one]) for one in rows],
        }
        if rows:
            parts.append(pd.DataFrame(found))
    return pd.concat(parts[1:] or parts).sort_values(["onset", "duration"], kind="stable", ignore_index=True)


def probabilities(course: Course, rule: EventRule) -> Array:
    """Return the probabilities that the rule looks at, (steps, 6); NaN where nothing was recorded.

    Steps longer than the ten seconds that a window is labelled by are not smoothed.
    """
    prob_NK = course.frame[list(PROB_COLUMNS)].to_numpy(np.float64)
    return smoothed(prob_NK) if rule.smooth and course.step_s <= CENTRAL_S else prob_NK


def smoothed(prob_NK: Array) -> Array:
    """Replace single steps that stand alone by the mean of their neighbours, from the first on: (steps, 6).

    They are those whose likeliest class differs from that of the steps before and after, which agree.

    References
    ----------
    The rule that Morgoth smooths its own course by: https://github.com/bdsp-core/morgoth

    Examples
    --------
    >>> smoothed(np.eye(6)[[0, 5, 0, 0]]).argmax(axis=1).tolist()
    [0, 0, 0, 0]
    """
    likeliest_N = np.where(np.isnan(prob_NK[:, 0]), -1, prob_NK.argmax(axis=1))
    alone_N = np.zeros(len(prob_NK), bool)
    before, here, after = likeliest_N[:-2], likeliest_N[1:-1], likeliest_N[2:]
    alone_N[1:-1] = (before == after) & (here != before) & (before >= 0) & (here >= 0)
    # Of steps that alternate the first is replaced, after which the second stands alone no more, and so on.
    at = np.arange(len(alone_N))
    since_N = at - np.maximum.accumulate(np.where(alone_N, -1, at))
    replaced = np.flatnonzero(alone_N & (since_N % 2 == 1))
    out = prob_NK.copy()
    out[replaced] = (prob_NK[replaced - 1] + prob_NK[replaced + 1]) / 2
    return out


def hours(course: Course, rule: EventRule) -> pd.DataFrame:
    """Say how long each class lasts, by class in the order of `hbac.vocabulary.CLASSES`.

    ``likeliest`` are the hours in which it is the likeliest, ``expected`` the sum of its probability over time. Both
    add up to the hours that were predicted.
    """
    prob_NK = probabilities(course, rule)
    said_NK = prob_NK[~np.isnan(prob_NK[:, 0])]
    likeliest_K = np.bincount(said_NK.argmax(axis=1), minlength=len(CLASSES))
    hour = course.step_s / 3600
    columns = {"likeliest": likeliest_K * hour, "expected": said_NK.sum(axis=0) * hour}
    return pd.DataFrame(columns, index=pd.Index(CLASSES, name="class"))


def duration_word(duration_s: float) -> str:
    """Return the ACNS term for a duration, a key of `DURATION_WORDS`.

    Windows of 10 s cannot tell what is shorter than that.

    References
    ----------
    Hirsch LJ et al. ACNS Standardized Critical Care EEG Terminology 2021, doi:10.1097/WNP.0000000000000806.

    Examples
    --------
    >>> [duration_word(s) for s in (4, 59, 60, 3600)]
    ['very brief', 'brief', 'intermediate', 'very long']
    """
    return [word for word, least_s in DURATION_WORDS.items() if duration_s >= least_s][-1]


def _stretches(on_N: Rows) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return first and last row of each stretch that is on."""
    edges = np.flatnonzero(np.diff(np.pad(on_N, 1).astype(np.int8)))
    return edges[::2], edges[1::2] - 1
