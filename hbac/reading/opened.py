"""A recording as the models read it: electrodes in microvolt at 200 Hz, NaN where nothing was recorded."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hbac.common.choices import check_choice
from hbac.common.errors import UserError
from hbac.reading.edf import EdfSource, is_edf
from hbac.reading.interpolation import spline_weights
from hbac.reading.names import Electrodes, electrodes_of, parse_label
from hbac.reading.source import Annotation, Source, Stretch
from hbac.recordings.amplitudes import FLAT, LARGE, MICROVOLT, MISSING, SMALL, VOLTS, looks_of, spans
from hbac.recordings.declared import HIGHEST_HZ, LOWEST_HZ, UNITS_UV, Declared
from hbac.recordings.resample import Resampler
from hbac.vocabulary import CHANNELS, ELECTRODES, N_CHANNELS, SFREQ, WINDOW_SAMPLES

log = logging.getLogger("hbac.reading")

MOST_INTERPOLATED = 4
_PROBES = 16  # windows that are looked at before all of them are
_GUESSES = {
    VOLTS: "no value above 0.01 µV: this looks like volts",
    SMALL: "less than 1 µV: this looks like millivolts, or like nothing but an amplifier's noise",
    LARGE: "more than 20 mV: this looks like nanovolts, or like counts of a converter",
}


@dataclass(frozen=True, eq=False)
class Recording:
    """A recording, opened: what is in it is known, its samples are read when they are asked for."""

    name: str  # of the file, or of what it was made from; opens messages
    source: Source
    chosen: tuple[int, ...]  # its signals that are read
    electrodes: Electrodes  # how channels follow from these
    interpolated: tuple[str, ...]  # electrodes that are made of their neighbours
    uv: tuple[float, ...]  # microvolts that a 1 in each of these signals stands for
    notes: tuple[str, ...] = ()  # what was forgiven or made, a sentence each
    _resamplers: dict[float, Resampler] = field(default_factory=dict, init=False, repr=False)

    @property
    def duration_s(self) -> float:
        """Seconds from the first sample to the last, gaps included."""
        last = self.source.stretches[-1]
        return last.onset_s + last.duration_s

    @property
    def n_times(self) -> int:
        """Samples at 200 Hz, gaps included."""
        return round(self.duration_s * SFREQ)

    @property
    def sfreq(self) -> float:
        """Highest rate of the signals that are read, in the file, in hertz."""
        return max(self.source.signals[i].sfreq for i in self.chosen)

    @property
    def stretches(self) -> Sequence[Stretch]:
        """What was recorded without a gap."""
        return self.source.stretches

    @property
    def bounds(self) -> list[tuple[int, int]]:
        """First sample of each stretch, and the one behind its last, at 200 Hz."""
        return [
            (round(s.onset_s * SFREQ), min(round((s.onset_s + s.duration_s) * SFREQ), self.n_times))
            for s in self.stretches
        ]

    @property
    def gaps(self) -> tuple[tuple[float, float], ...]:
        """Onset and duration, in seconds, of what was not recorded in between."""
        ends = [s.onset_s + s.duration_s for s in self.stretches[:-1]]
        found = [(end, after.onset_s - end) for end, after in zip(ends, self.stretches[1:], strict=True)]
        return tuple((onset_s, duration_s) for onset_s, duration_s in found if duration_s > 0)

    @property
    def annotations(self) -> Sequence[Annotation]:
        """What people and machines noted in it."""
        return self.source.annotations

    @property
    def channels(self) -> tuple[dict[str, Any], ...]:
        """What was read: name, label, reference, unit, rate."""
        found = []
        for i in self.chosen:
            signal = self.source.signals[i]
            lead = parse_label(signal.label)
            assert lead is not None
            about = {"name": lead.name, "label": signal.label, "reference": lead.reference}
            found.append(about | {"unit": signal.unit, "sfreq": signal.sfreq})
        return tuple(found)

    @property
    def ignored(self) -> tuple[str, ...]:
        """Labels of signals that are not read."""
        return tuple(s.label for i, s in enumerate(self.source.signals) if i not in self.chosen)

    @cached_property
    def _matrix(self) -> NDArray[np.float32]:
        """Channels from signals in the file's units, what is interpolated included."""
        matrix = self.electrodes.matrix.copy()
        if self.interpolated:
            there = [name for name in ELECTRODES if name not in self.interpolated]
            rows = matrix[[CHANNELS.index(name) for name in there]]
            matrix[[CHANNELS.index(name) for name in self.interpolated]] = (
                spline_weights(there, self.interpolated) @ rows
            )
        return np.asarray(matrix * np.array(self.uv), np.float32)

    @cached_property
    def _rates(self) -> dict[float, list[int]]:
        """Places among `chosen` of the signals of each rate."""
        rates: dict[float, list[int]] = {}
        for place, i in enumerate(self.chosen):
            rates.setdefault(self.source.signals[i].sfreq, []).append(place)
        return rates

    def read(self, start: int, stop: int, device: torch.device | str = "cpu") -> NDArray[np.float32]:
        """Return samples [start, stop) at 200 Hz from the recording's start; they may lie outside of it.

        (20, stop - start) in microvolt, channels in the order of `hbac.vocabulary.CHANNELS`; NaN in gaps, outside, and
        for channels that the file has not.
        """
        out_CT = np.full((N_CHANNELS, max(stop - start, 0)), np.nan, np.float32)
        there = np.array(self.electrodes.part) >= 0  # also one that all others were recorded against: 0
        for number, (begin, end) in enumerate(self.bounds):
            a, b = max(start, begin), min(stop, end)
            if a >= b:
                continue
            signals_ST = np.empty((len(self.chosen), b - a), np.float32)
            for sfreq, places in self._rates.items():
                signals_ST[places] = self._resampled(number, sfreq, places, a - begin, b - begin, device)
            out_CT[there, a - start : b - start] = _combine(self._matrix[there], signals_ST)
        return out_CT

    def _resampled(
        self, stretch: int, sfreq: float, places: list[int], a: int, b: int, device: torch.device | str
    ) -> NDArray[np.float32]:
        """Return samples [a, b) of a stretch at 200 Hz, of signals of one rate."""
        resampler = self._resamplers.setdefault(sfreq, Resampler(Declared(sfreq).ratio))
        first, last = resampler.needs(a, b)
        n_there = round(self.stretches[stretch].duration_s * sfreq)
        chosen = [self.chosen[place] for place in places]
        # Before the first sample and behind the last one it is taken to stay as it is.
        raw = self.source.read(stretch, chosen, min(max(first, 0), n_there - 1), max(min(last, n_there), 1))
        if first < 0 or last > n_there:
            width = (max(-first, 0), last - max(n_there, first + 1) if last > n_there else 0)
            raw = np.pad(raw, ((0, 0), width), mode="edge")
        return resampler(raw, a, b, device)

    def check_amplitudes(self) -> None:
        """Look at windows all over the recording, and refuse it where none of them can be EEG in microvolt.

        A `UserError` says what it looks like.
        """
        starts = np.arange(0, max(1, self.n_times - WINDOW_SAMPLES // 2), WINDOW_SAMPLES)
        probes = starts[np.unique(np.linspace(0, len(starts) - 1, _PROBES).round().astype(int))]
        looks = self._looks(probes)
        if not set(looks) - {FLAT, MISSING}:  # it may have a beginning, and sampled parts, of nothing
            looks += self._looks(np.setdiff1d(starts, probes))
        live = [look for look in looks if look not in (FLAT, MISSING)]
        if not live:
            what = "has no value at all" if set(looks) == {MISSING} else "is flat throughout"
            raise UserError(f"{self.name}: its EEG {what}")
        look = max(set(live), key=live.count)
        if look != MICROVOLT:
            units = sorted({self.source.signals[i].unit or "no unit" for i in self.chosen})
            guess = _GUESSES[look].replace("nanovolts", "microvolts") if units == ["V"] else _GUESSES[look]
            raise UserError(
                f"{self.name}: its header says {', '.join(units)}, and then most of its EEG has {guess}; "
                "unit=V, unit=mV or unit=uV says what it is"
            )

    def _looks(self, starts: NDArray[np.int64]) -> list[int]:
        found = []
        for start in starts.tolist():
            low, high = spans(self.read(start, min(start + WINDOW_SAMPLES, self.n_times)).T)
            found.append(int(looks_of(low[None], high[None])[0]))
            if len(starts) > _PROBES and found[-1] not in (FLAT, MISSING):
                break
        return found


def open_recording(path: Path, unit: str | None = None, interpolate: int = MOST_INTERPOLATED) -> Recording:
    """Open a recording of any format: its header is checked, no sample is read.

    `unit` (``V``, ``mV``, ``uV``) says what values are in, whatever the file says; up to `interpolate` electrodes may
    be missing, and are made of their neighbours. A `UserError` names file, channel or byte.
    """
    if not path.exists():
        raise UserError(f"{path}: there is no such file")
    if is_edf(path):
        source: Source = EdfSource(path)
    else:
        from hbac.reading.mne_source import open_with_mne

        source = open_with_mne(path)
    return recording_of(source, str(path), unit, interpolate)


def recording_of(
    source: Source,
    name: str,
    unit: str | None = None,
    interpolate: int = MOST_INTERPOLATED,
    quiet: bool = False,
) -> Recording:
    """Find the electrodes among a source's signals; what was forgiven is warned of, but where it is to be ``quiet``.

    A `UserError` when there is no EEG, a rate is below 80 Hz, or a channel's values cannot be known; ``name`` opens the
    message.
    """
    if unit is not None:
        check_choice("unit", unit, tuple(UNITS_UV))
    leads = [parse_label(signal.label) for signal in source.signals]
    found = [i for i, lead in enumerate(leads) if lead is not None and (unit or source.signals[i].uv is not None)]
    found = [i for i in found if source.signals[i].sfreq > 0]
    bad = [source.signals[i].label for i in found if source.signals[i].bad]
    found = [i for i in found if not source.signals[i].bad]
    names = {leads[i].name for i in found}  # type: ignore[union-attr]
    if not names & set(ELECTRODES):
        labels = ", ".join(signal.label for signal in source.signals[:8]) or "none"
        but = f" but {len(bad)} marked as bad" if bad else ""
        raise UserError(f"{name}: no EEG channel{but}; its channels: {labels}{' …' if len(source.signals) > 8 else ''}")
    if not source.stretches:
        raise UserError(f"{name}: nothing was recorded: its annotations say that all of it is a gap")
    electrodes = electrodes_of([leads[i] for i in found])  # type: ignore[misc]
    # Signals that no electrode follows from (ears beside a common reference) need not be read.
    used = [place for place in range(len(found)) if np.abs(electrodes.matrix[:, place]).any()]
    chosen = tuple(found[place] for place in used)
    electrodes = Electrodes(electrodes.matrix[:, used], electrodes.part, electrodes.root, electrodes.repeated)
    for i in chosen:
        signal = source.signals[i]
        if not LOWEST_HZ <= signal.sfreq <= HIGHEST_HZ:
            raise UserError(
                f"{name}: channel {signal.label!r} has {signal.sfreq:g} Hz; EEG needs {LOWEST_HZ:g} Hz or more"
            )
        source.check(i)
    notes = list(source.notes)
    if bad:
        notes.append(f"marked as bad, not read: {', '.join(bad)}")
    twice = [source.signals[found[place]].label for place in electrodes.repeated]
    if twice:
        notes.append(f"there twice, the first is read: {', '.join(twice)}")
    unsaid = sum(unit is None and not source.signals[i].unit.strip() for i in chosen)
    if unsaid:
        notes.append(f"no unit is said of {unsaid} channels, read as microvolt; unit=V, mV or uV says what it is")
    missing = electrodes.missing
    parts = {electrodes.part[CHANNELS.index(name)] for name in ELECTRODES if name not in missing}
    interpolated = tuple(missing) if len(missing) <= interpolate and len(parts) == 1 else ()
    if interpolated:
        notes.append(f"made of their neighbours: {', '.join(interpolated)}")
        part = list(electrodes.part)
        for electrode in interpolated:
            part[CHANNELS.index(electrode)] = next(iter(parts))
        electrodes = Electrodes(electrodes.matrix, tuple(part), electrodes.root, electrodes.repeated)
    for note in [] if quiet else notes:
        log.warning("%s: %s", name, note)
    uv = tuple(UNITS_UV[unit] if unit else float(source.signals[i].uv or 1.0) for i in chosen)
    return Recording(name, source, chosen, electrodes, interpolated, uv, tuple(notes))


def _combine(matrix: NDArray[np.float32], signals_ST: NDArray[np.float32]) -> NDArray[np.float32]:
    """Multiply, so that a missing sample is missing in the channels that follow from it, and in no others."""
    missing_ST = ~np.isfinite(signals_ST)
    if not missing_ST.any():
        return matrix @ signals_ST
    out_CT: NDArray[np.float32] = matrix @ np.where(missing_ST, np.float32(0), signals_ST)
    out_CT[(np.abs(matrix) > 0).astype(np.float32) @ missing_ST.astype(np.float32) > 0] = np.nan
    return out_CT
