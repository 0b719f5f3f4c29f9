"""What a user says about the recordings of a data set: their rate, their unit, and what lies around short ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from hbac.common.choices import check_choice
from hbac.common.errors import UserError
from hbac.recordings.outside import OUTSIDE
from hbac.vocabulary import CENTRAL_S, SFREQ, WINDOW_SAMPLES

UNITS_UV = {"V": 1e6, "mV": 1e3, "uV": 1.0}
#: Units by how files spell them, in lower case. Nanovolts are read, but nobody need declare them.
SPELLED_UNITS = {
    **dict.fromkeys(("v", "volt", "volts"), "V"),
    **dict.fromkeys(("mv", "millivolt", "millivolts"), "mV"),
    **dict.fromkeys(("uv", "µv", "μv", "microv", "microvolt", "microvolts"), "uV"),
    **dict.fromkeys(("nv", "nanovolt", "nanovolts"), "nV"),
}
LOWEST_HZ, HIGHEST_HZ = 80.0, 100_000.0


@dataclass(frozen=True)
class Declared:
    """Rate and unit of a data set's EEGs; a `UserError` for a rate below 80 Hz or no number, or another choice."""

    # Of the files in hertz, which are resampled to 200 Hz; None: 200, and whatever speaks against it is an error.
    sfreq: float | None = None
    unit: str | None = None  # V, mV or uV; None: microvolt, and values that cannot be are an error
    # Around EEGs of 10 to 50 s, which then lie in the middle of a window: of `OUTSIDE`. None: they are an error.
    outside: str | None = None

    def __post_init__(self) -> None:
        if self.outside is not None:
            check_choice("dataset.outside", self.outside, OUTSIDE)
        if self.unit is not None:
            check_choice("dataset.unit", self.unit, tuple(UNITS_UV))
        if self.sfreq is None:
            return
        valid = isinstance(self.sfreq, int | float) and not isinstance(self.sfreq, bool)
        if not valid or not LOWEST_HZ <= self.sfreq <= HIGHEST_HZ:
            raise UserError(
                f"dataset.sfreq={self.sfreq}: must be the rate of the EEG files in hertz, {LOWEST_HZ:g} or more (null: "
                f"{SFREQ:g})"
            )

    @property
    def rate_hz(self) -> float:
        """Samples per second of the files."""
        return SFREQ if self.sfreq is None else float(self.sfreq)

    @property
    def uv(self) -> float:
        """Microvolts that a 1 in the files stands for."""
        return UNITS_UV[self.unit or "uV"]

    @cached_property
    def ratio(self) -> Fraction:
        """Stored samples for each sample of a file."""
        return (Fraction(SFREQ) / Fraction(self.rate_hz).limit_denominator(1000)).limit_denominator(2000)

    def n_resampled(self, n_rows: int) -> int:
        """Return how many samples at 200 Hz a file with so many rows has."""
        return math.ceil(n_rows * self.ratio)

    def may_fill(self, n_rows: int) -> bool:
        """Say whether a file with so many rows is shorter than a window, and has the ten seconds that are labelled."""
        return round(CENTRAL_S * SFREQ) <= self.n_resampled(n_rows) < WINDOW_SAMPLES

    def fills(self, n_rows: int) -> bool:
        """Say whether a file with so many rows is to lie in the middle of a window."""
        return self.outside is not None and self.may_fill(n_rows)

    def n_stored(self, n_rows: int) -> int:
        """Return how many samples a file with so many rows becomes."""
        return WINDOW_SAMPLES if self.fills(n_rows) else self.n_resampled(n_rows)

    def described(self) -> list[object]:
        """Return what a fingerprint covers: nothing where nothing is declared that changes a value."""
        by = [] if self.ratio == 1 else ["sinc"]  # earlier stores were resampled by another filter
        around = [] if self.outside is None else [self.outside]
        return [*([] if self.ratio == 1 and self.uv == 1 else [self.rate_hz, self.uv, *by]), *around]


UNDECLARED = Declared()
