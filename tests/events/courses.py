"""Courses whose classes over time are given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from hbac.predictions.course import COURSE_DTYPES, Course
from hbac.vocabulary import CLASSES, PROB_COLUMNS


def course_of(classes: Sequence[str], step_s: float = 2.0, sure: float = 0.9) -> Course:
    """One step after the other: its class, with the probability `sure`; an empty name was not recorded."""
    k = np.array([CLASSES.index(name) if name else -1 for name in classes], np.int64)
    prob = np.full((len(k), len(CLASSES)), (1 - sure) / (len(CLASSES) - 1))
    prob[np.arange(len(k)), k] = sure
    prob[k < 0] = np.nan
    columns = {"onset_s": step_s * np.arange(len(k)), **dict(zip(PROB_COLUMNS, prob.T, strict=True))}
    frame = pd.DataFrame({**columns, "window_s": 50.0, "signal_share": k >= 0}).astype(COURSE_DTYPES)
    return Course(frame, step_s, "reflected", "given")
