"""A recording that is an array already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hbac.reading.source import Annotation, Signal, Stretch


@dataclass
class ArraySource:
    """Signals of one rate, without gaps, in their units; the rest as `hbac.reading.source.Source` has it."""

    signals: list[Signal]
    values: NDArray[np.floating]  # (signals, n)
    annotations: list[Annotation] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    start: datetime | None = None
    patient: str = ""

    @property
    def stretches(self) -> list[Stretch]:
        """All of it."""
        return [Stretch(0.0, self.values.shape[1] / self.signals[0].sfreq)]

    def read(self, stretch: int, chosen: Sequence[int], first: int, stop: int) -> NDArray[np.float32]:
        """Return samples of signals."""
        return np.asarray(self.values[list(chosen), first:stop], np.float32)

    def check(self, i: int) -> None:
        """Do nothing."""
