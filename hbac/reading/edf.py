"""EDF, EDF+C, EDF+D and BDF files, a few records at a time.

Read here and not by edfio, which keeps all of a BDF file in memory and knows nothing of the gaps of EDF+D, nor by MNE,
which joins them; the tests compare with both.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hbac.common.errors import UserError
from hbac.reading.header import Stored, read_header
from hbac.reading.source import Annotation, Stretch

_TAL = re.compile(rb"([+-]\d+(?:\.\d*)?)(?:\x15(\d+(?:\.\d*)?))?\x14([^\x00]*?)\x14\x00")
_BLOCK_BYTES = 32 << 20  # of annotations at a time
_SUFFIXES = (".edf", ".bdf", ".rec")


def is_edf(path: Path) -> bool:
    """Say whether a file is read here, by its name: ``.edf``, ``.bdf`` and ``.rec``."""
    return path.suffix.lower() in _SUFFIXES


class EdfSource:
    """An EDF or BDF file, with what `hbac.reading.source.Source` has; a `UserError` names file and byte.

    Signals are those that hold samples; there is one stretch but for EDF+D.
    """

    def __init__(self, path: Path) -> None:
        header = read_header(path)
        self._header = header
        self.notes = header.notes
        self.patient = header.patient
        self.files = [path]
        self.signals: list[Stored] = [signal for signal in header.signals if not signal.is_annotations]
        offsets = np.cumsum([0, *(header.item_bytes * signal.n_samples for signal in header.signals)]).tolist()
        self._offsets = [at for at, signal in zip(offsets, header.signals, strict=False) if not signal.is_annotations]
        texts = [(at, s) for at, s in zip(offsets, header.signals, strict=False) if s.is_annotations]
        onset_R, self.annotations = self._texts(texts)
        self.start: datetime | None = header.start and header.start + timedelta(seconds=float(onset_R[0]))
        self._first_record, self.stretches = self._stretches(onset_R - onset_R[0])

    def read(self, stretch: int, chosen: Sequence[int], first: int, stop: int) -> NDArray[np.float32]:
        """Return samples of signals of one rate, counted from the stretch's first, in the file's unit."""
        signals = [self.signals[i] for i in chosen]
        n = signals[0].n_samples
        r0, r1 = first // n, -(-stop // n)
        records = self._records(self._first_record[stretch] + r0, r1 - r0)
        out = np.empty((len(signals), (r1 - r0) * n), np.float32)
        for row, signal, i in zip(out, signals, chosen, strict=True):
            at = self._offsets[i]
            raw = records[:, at : at + n * self._header.item_bytes]
            gain = np.float32(signal.gain)
            np.multiply(_integers(raw, self._header.item_bytes), gain, out=row.reshape(r1 - r0, n))
            row += np.float32(signal.physical[0] - signal.digital[0] * signal.gain)
        return out[:, first - r0 * n : stop - r0 * n]

    def check(self, i: int) -> None:
        """Refuse a signal whose physical or digital minimum is its maximum: its values cannot be known."""
        signal = self.signals[i]
        for what, (low, high) in (("physical", signal.physical), ("digital", signal.digital)):
            if low == high:
                raise UserError(
                    f"{self._header.path}: channel {signal.label!r} (byte {signal.at}): {what} minimum and maximum are "
                    f"both {low:g}: its values cannot be known"
                )

    def _records(self, first: int, n: int) -> NDArray[np.uint8]:
        header = self._header
        try:
            with header.path.open("rb", buffering=0) as file:
                file.seek(header.n_bytes + first * header.record_bytes)
                raw = np.fromfile(file, np.uint8, n * header.record_bytes)
        except OSError as error:
            raise UserError(f"{header.path}: cannot be read: {error.strerror or error}") from None
        if len(raw) < n * header.record_bytes:
            raise UserError(f"{header.path}: became shorter while it was read")
        return raw.reshape(n, header.record_bytes)

    def _texts(self, texts: list[tuple[int, Stored]]) -> tuple[NDArray[np.float64], list[Annotation]]:
        """Return when each record began, in seconds from the header's time, and all annotations."""
        header = self._header
        onset_R = np.arange(header.n_records, dtype=np.float64) * np.float64(header.record_s)
        if not header.is_plus or not texts:
            return onset_R, []
        found: list[Annotation] = []
        step = max(1, _BLOCK_BYTES // header.record_bytes)
        for r0 in range(0, header.n_records, step):
            records = self._records(r0, min(step, header.n_records - r0))
            for k, (at, signal) in enumerate(texts):
                for r, raw in enumerate(records[:, at : at + signal.n_samples * header.item_bytes], r0):
                    tals = _TAL.findall(raw.tobytes())
                    if k == 0:
                        if not tals:
                            onset = header.n_bytes + r * header.record_bytes + at
                            raise UserError(f"{header.path}: byte {onset}: record {r} does not say when it began")
                        onset_R[r] = float(tals[0][0])
                        # The first one tells the time, and may have a text of its own behind it.
                        tals[0] = (*tals[0][:2], tals[0][2].partition(b"\x14")[2])
                    found += [annotation for tal in tals for annotation in _annotations(tal)]
        zero_s = float(onset_R[0])
        found = [Annotation(a.onset_s - zero_s, a.duration_s, a.text, a.channel) for a in found]
        return onset_R, sorted(found, key=lambda a: a.onset_s)

    def _stretches(self, onset_R: NDArray[np.float64]) -> tuple[list[int], list[Stretch]]:
        header = self._header
        highest = max((signal.sfreq for signal in self.signals), default=0.0) or 1.0
        step_R = np.diff(onset_R) - header.record_s
        if (back := np.flatnonzero(step_R < -1 / highest)).size:
            r = int(back[0]) + 1
            raise UserError(
                f"{header.path}: byte {header.n_bytes + r * header.record_bytes}: record {r} begins at "
                f"{onset_R[r]:g} s, before the one before it has ended"
            )
        first = [0, *(np.flatnonzero(step_R > 0.5 / highest) + 1).tolist()]
        stop = [*first[1:], header.n_records]
        lengths = [(b - a) * header.record_s for a, b in zip(first, stop, strict=True)]
        return first, [Stretch(float(onset_R[a]), length) for a, length in zip(first, lengths, strict=True)]


def _integers(raw: NDArray[np.uint8], item_bytes: int) -> NDArray[np.signedinteger]:
    if item_bytes == 2:
        return np.ascontiguousarray(raw).view("<i2")
    wide = np.zeros((*raw.shape[:-1], raw.shape[-1] // 3, 4), np.uint8)
    wide[..., 1:] = raw.reshape(*raw.shape[:-1], -1, 3)
    shifted: NDArray[np.signedinteger] = wide.view("<i4")[..., 0] >> 8  # the sign goes along
    return shifted


def _annotations(tal: tuple[bytes, bytes, bytes]) -> list[Annotation]:
    onset, duration, texts = tal
    found = []
    for raw in texts.split(b"\x14"):
        text, _, channel = raw.decode("utf-8", errors="replace").partition("@@")
        if text:
            found.append(Annotation(float(onset), float(duration or 0), text, channel or None))
    return found
