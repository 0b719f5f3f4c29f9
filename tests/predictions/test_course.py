"""The two files of a recording: what is written is what is read, and what is wrong is said."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hbac.common.errors import UserError
from hbac.predictions.course import COURSE_DTYPES, COURSE_FILE, RECORDING_FILE, Course, RecordingFacts
from hbac.vocabulary import PROB_COLUMNS


def course_frame(n: int = 5, step_s: float = 2.0) -> pd.DataFrame:
    prob = np.random.default_rng(0).dirichlet(np.ones(6), n).astype(np.float32)
    prob[1] = np.nan
    frame = pd.DataFrame({"onset_s": np.arange(n) * step_s, **dict(zip(PROB_COLUMNS, prob.T, strict=True))})
    return frame.assign(window_s=50.0, signal_share=np.linspace(0, 1, n)).astype(COURSE_DTYPES)


def test_a_course_is_read_as_it_was_written(tmp_path: Path) -> None:
    models = ({"member": "a", "fold": 0, "montage": "longitudinal_bipolar", "band": "0.5-20"},)
    Course(course_frame(), 2.0, "reflected", "mine", models).write(tmp_path)
    found = Course.read(tmp_path)
    pd.testing.assert_frame_equal(found.frame, course_frame())
    assert (found.step_s, found.outside, found.ensemble, found.models) == (2.0, "reflected", "mine", models)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"onset_s": [0.0, 2.0, 4.0, 6.0, 9.0]}, "onset_s must rise from 0 by 2"),
        ({"signal_share": np.float32(2)}, "signal_share must be from 0 to 1"),
        ({"seizure_prob": np.float32(0.9)}, "row"),
        ({"window_s": 50}, "columns"),
    ],
)
def test_a_wrong_course_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Course(course_frame().assign(**change), 2.0, "missing", "mine")  # type: ignore[arg-type]


def test_another_table_is_no_course(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / COURSE_FILE)
    with pytest.raises(UserError, match="no hbac.course"):
        Course.read(tmp_path)


def test_facts_are_read_as_they_were_written(tmp_path: Path) -> None:
    channel = {"name": "Fp1", "label": "EEG FP1-LE", "reference": "LE", "unit": "uV", "sfreq": 256.0}
    facts = RecordingFacts(
        "a.edf", "0" * 64, 100.5, 256.0, (channel,), ("SPO2",), ("Cz",), ((20.0, 5.5),), ("note",),
        datetime(2026, 1, 2, 3, 4, 5, 250_000),
    )  # fmt: skip
    facts.write(tmp_path)
    assert RecordingFacts.read(tmp_path) == facts
    text = (tmp_path / RECORDING_FILE).read_text()
    (tmp_path / RECORDING_FILE).write_text(text.replace("SPO2", "SPO3"))
    with pytest.raises(UserError, match="damaged, or edited"):
        RecordingFacts.read(tmp_path)
