"""What a file of any format gives: signals by label, stretches without gaps, annotations, and who was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hbac.recordings.declared import SPELLED_UNITS, UNITS_UV

_UNITS_UV = {**UNITS_UV, "nV": 1e-3}


@dataclass(frozen=True)
class Signal:
    """One signal of a file: label and unit as they stand there (the unit may be empty), samples a second."""

    label: str
    unit: str
    sfreq: float
    bad: bool = field(default=False, kw_only=True)  # somebody has marked it as bad: it is not read

    @property
    def uv(self) -> float | None:
        """Microvolts that a 1 stands for: 1 where the file says no unit, None where it is none of voltage."""
        return _UNITS_UV.get(SPELLED_UNITS.get(self.unit.strip().lower() or "uv", ""))


@dataclass(frozen=True)
class Stretch:
    """What was recorded without a gap, in seconds from the recording's start."""

    onset_s: float
    duration_s: float


@dataclass(frozen=True)
class Annotation:
    """A note that somebody, or a machine, made in a recording."""

    onset_s: float  # from the recording's start
    duration_s: float  # 0 where there is none
    text: str
    channel: str | None = None  # the label that it is about


class Source(Protocol):
    """A file of some format."""

    start: datetime | None
    patient: str

    @property
    def signals(self) -> Sequence[Signal]:
        """Those that hold samples."""

    @property
    def stretches(self) -> Sequence[Stretch]:
        """What was recorded without gaps, in the order of time."""

    @property
    def annotations(self) -> Sequence[Annotation]:
        """All of them, in the order of time."""

    @property
    def notes(self) -> Sequence[str]:
        """What was forgiven, a sentence each."""

    @property
    def files(self) -> Sequence[Path]:
        """Where the samples lie; empty for what is in memory."""

    def read(self, stretch: int, chosen: Sequence[int], first: int, stop: int) -> NDArray[np.float32]:
        """Return samples [first, stop) of a stretch: signals of one rate, in the file's unit."""

    def check(self, i: int) -> None:
        """Refuse a signal whose values cannot be known."""
