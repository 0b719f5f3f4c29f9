"""The time that a file gives each of its rows, checked while it is read."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from hbac.common.errors import UserError
from hbac.recordings.declared import LOWEST_HZ
from hbac.vocabulary import SPECTROGRAM_ROW_S

_NAME = re.compile(
    r"(time|timestamp|datetime|t)(s|ms|us|sec|secs|second|seconds|milliseconds)?|(milli)?seconds?|secs?|ms"
)
_INDEX = "__index_level_0__"
_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
# Times are rounded: to whole milliseconds, say, of which 200 Hz has five.
_TOLERANCE = 1e-3


def time_column(schema: Iterable[tuple[str, str]]) -> str | None:
    """Find the column that says when a row was, by name and Arrow type of the columns of a file.

    That is ``time``, ``times``, ``timestamp``, ``seconds``, ``t`` …, in any case, with or without a unit behind it; or
    a pandas index without a name, where it is none of whole numbers, which may count anything.

    Examples
    --------
    >>> time_column([("Fp1", "float"), ("Time (s)", "double")])
    'Time (s)'
    """
    for name, kind in schema:
        is_index = name == _INDEX and kind.startswith(("float", "double", "timestamp", "duration"))
        if is_index or _NAME.fullmatch(re.sub(r"[^a-z]", "", name.lower())):
            return name
    return None


class Timeline:
    """Check that rows are in order, and as far apart as they should be; `name` is the column's, for messages.

    Times of a ``spectrogram`` are seconds; those of an ``eeg``, of `rate_hz`, seconds, milliseconds, microseconds,
    dates or the number of the sample, whichever fits.
    """

    def __init__(self, name: str, kind: str, rate_hz: float) -> None:
        self.name, self.kind, self.rate_hz = name, kind, rate_hz
        self.first = self.last = np.nan
        self.n = 0

    def add(self, column: Any) -> None:
        """Take the times of the next rows: numbers, times or durations, also as text.

        Time must not go back.
        """
        time_T = column.to_numpy(zero_copy_only=False)
        if time_T.dtype == object:
            time_T = _of_text(time_T)
        if time_T.dtype.kind in "mM":
            time_T = np.where(np.isnat(time_T), np.nan, time_T.astype(f"{time_T.dtype.kind}8[ns]").view(np.int64) / 1e9)
        elif time_T.dtype.kind not in "iuf":
            return
        if not len(time_T):
            return
        time_T = np.concatenate([[self.last], time_T.astype(np.float64)])
        step_T = np.diff(time_T)
        back = step_T <= 0 if self.kind == "spectrogram" else step_T < 0
        if back.any():
            row = int(np.argmax(back))
            raise UserError(
                f"column {self.name!r} goes from {time_T[row]:g} to {time_T[row + 1]:g} at row {self.n + row:,}: "
                "its rows are not in the order of time"
            )
        if self.n == 0:
            self.first = time_T[1]
        self.last = time_T[-1]
        self.n += len(step_T)

    def finish(self) -> None:
        """Compare the mean step with what it must be; a `UserError` says which rate the file has."""
        if self.n < 2:
            return
        step = (self.last - self.first) / (self.n - 1)
        if not step > 0:  # all missing, or a column that does not move and is no time
            return
        if self.kind == "spectrogram":
            if abs(step - SPECTROGRAM_ROW_S) > 1e-6:
                raise UserError(
                    f"a time step of {step:g} s on average, must be {SPECTROGRAM_ROW_S:g} s (column {self.name!r})"
                )
            return
        rates = {unit: 1 / (step * seconds) for unit, seconds in _UNITS.items()}
        tolerance = _TOLERANCE + 1 / self.n
        if step == 1 or any(abs(rate / self.rate_hz - 1) < tolerance for rate in rates.values()):
            return
        # What a rate may be; the unit that the times are in is not known.
        unit, rate = next(((u, r) for u, r in rates.items() if 20 <= r <= 50_000), ("s", rates["s"]))
        whole = abs(rate - round(rate)) < 0.02
        hint = f": dataset.sfreq={round(rate)} declares the rate of the files" if whole and rate >= LOWEST_HZ else ""
        raise UserError(
            f"column {self.name!r} goes by {step:g} {unit} on average, which is {rate:g} Hz; must be "
            f"{self.rate_hz:g} Hz without gaps{hint}"
        )


def _of_text(text_T: Any) -> Any:
    """Read numbers, hours and minutes, or dates that are written as text; NaN where it is none of them."""
    texts = pd.Series(text_T)
    time_T = pd.to_numeric(texts, errors="coerce").to_numpy(np.float64)
    if np.isnan(time_T).all():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # each date is looked at by itself
            for read in (pd.to_timedelta, pd.to_datetime):
                found = read(texts, errors="coerce").to_numpy()
                if not np.isnat(found).all():
                    return found
    return time_T
