"""Whatever else MNE reads (BrainVision, FIF, EEGLAB, GDF …), and its `Raw` in memory."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hbac.common.errors import UserError
from hbac.reading.source import Annotation, Signal, Stretch

#: Of files that stand for a recording in a folder; MNE itself is asked about any file that is named.
SUFFIXES = (".vhdr", ".fif", ".fif.gz", ".set", ".gdf", ".cnt", ".lay", ".nxe", ".mff", ".data")
_GAP = "BAD_ACQ_SKIP"
_EDGES = ("EDGE boundary", "BAD boundary")
_UNITS = {107: "V", -1: "", 0: ""}  # FIFF's codes


class MneSource:
    """A recording that MNE holds, loaded or not: volts, and what `hbac.reading.source.Source` has."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self.notes: list[str] = []
        self.files = [Path(file) for file in raw.filenames if file is not None]
        self._sfreq = float(raw.info["sfreq"])
        self.signals = self.signals_of(raw.info)
        first_s = float(raw.first_time)  # from which MNE counts onsets, in a `Raw` without a date too
        found = [(float(a["onset"]) - first_s, float(a["duration"]), str(a["description"])) for a in raw.annotations]
        began = raw.info["meas_date"]
        self.start: datetime | None = None if began is None else began.replace(tzinfo=None)
        self.patient = str(raw.info.get("subject_info") or "")
        own = (_GAP, *_EDGES)
        of_channels = [tuple(a.get("ch_names") or (None,)) for a in raw.annotations]
        self.annotations = [
            Annotation(onset, duration, text, channel)
            for (onset, duration, text), channels in zip(found, of_channels, strict=True)
            for channel in channels
            if text not in own
        ]
        self._bounds = _bounds(found, raw.n_times, self._sfreq)
        self.stretches = [Stretch(a / self._sfreq, (b - a) / self._sfreq) for a, b in self._bounds]

    @staticmethod
    def signals_of(info: Any) -> list[Signal]:
        """Return the signals that an `mne.Info` speaks of."""
        return [
            Signal(ch["ch_name"], _unit(ch), float(info["sfreq"]), bad=ch["ch_name"] in info["bads"])
            for ch in info["chs"]
        ]

    def read(self, stretch: int, chosen: Sequence[int], first: int, stop: int) -> NDArray[np.float32]:
        """Return samples of signals, (chosen, stop - first), counted from the stretch's first, in volts."""
        begin = self._bounds[stretch][0]
        try:
            return np.asarray(self._raw.get_data(list(chosen), begin + first, begin + stop), np.float32)
        except (OSError, ValueError) as error:  # samples that are not loaded yet
            files = ", ".join(map(str, self.files)) or "the Raw"
            raise UserError(f"{files}: MNE cannot read samples {begin + first} to {begin + stop}: {error}") from None

    def check(self, i: int) -> None:
        """Do nothing: MNE has looked at it."""


def open_with_mne(path: Path) -> MneSource:
    """Open a file of any format that MNE knows; a `UserError` where it is not installed, or cannot read it."""
    try:
        import mne
    except ImportError:
        raise UserError(f"{path}: only EDF and BDF files are read without MNE: pip install 'mne>=1.7'") from None
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            source = MneSource(mne.io.read_raw(path, preload=False, verbose="ERROR"))
    except Exception as error:  # of whatever kind, by the format
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"{path}: MNE cannot read it: {lines[0]}") from None
    if path.is_file() and path.resolve() not in (file.resolve() for file in source.files):
        source.files.insert(0, path)  # of BrainVision MNE names the samples' file alone, and the header decides too
    source.notes += [
        str(warning.message).splitlines()[0] for warning in told if issubclass(warning.category, UserWarning)
    ]
    return source


def _unit(channel: Any) -> str:
    unit = int(channel["unit"])
    return _UNITS.get(unit, "none")


def _bounds(found: list[tuple[float, float, str]], n_times: int, sfreq: float) -> list[tuple[int, int]]:
    """Return first and last sample of each stretch without a gap or an edge between files that were joined."""
    recorded = np.ones(n_times, bool)
    cuts = {0, n_times}
    for onset_s, duration_s, text in found:
        at = round(onset_s * sfreq)
        if text == _GAP:
            end = round((onset_s + duration_s) * sfreq)
            recorded[max(at, 0) : max(end, 0)] = False
            cuts |= {at, end}
        elif text in _EDGES:
            cuts.add(at)
    places = sorted(cut for cut in cuts if 0 <= cut <= n_times)
    return [(a, b) for a, b in pairwise(places) if b > a and recorded[a]]
