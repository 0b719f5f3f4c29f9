"""The header of EDF, EDF+ and BDF files, field by field: what is wrong is named by its byte.

Fields of text may hold anything (clinics write names and µ in Latin-1); fields of numbers may not.

References
----------
Kemp et al. (1992), A simple format for exchange of digitized polygraphic recordings, doi:10.1016/0013-4694(92)90009-7.
Kemp and Olivan (2003), European data format 'plus' (EDF+), doi:10.1016/S1388-2457(03)00123-8.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from hbac.common.errors import UserError
from hbac.reading.source import Signal

_FIXED = 256
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_STARTDATE = re.compile(r"Startdate (\d\d)-([A-Z]{3})-(\d{4})")
_DATE = re.compile(r"\s*(\d{1,2})[.:'\-/ ](\d{1,2})[.:'\-/ ](\d{1,2})\s*")
# Name, bytes; of the signals all first fields come before all second ones.
_SIGNAL_FIELDS = (
    ("label", 16), ("transducer", 80), ("unit", 8), ("physical minimum", 8), ("physical maximum", 8),
    ("digital minimum", 8), ("digital maximum", 8), ("prefiltering", 80), ("samples in a record", 8), ("reserved", 32),
)  # fmt: skip


@dataclass(frozen=True)
class Stored(Signal):
    """A signal of an EDF or BDF file; its ``sfreq`` is 0 in a file of annotations only."""

    n_samples: int  # in a record
    physical: tuple[float, float]  # minimum and maximum
    digital: tuple[float, float]
    at: int  # byte in the header where its physical minimum stands, for messages

    @property
    def is_annotations(self) -> bool:
        """Whether it holds text in place of samples."""
        return self.label in ("EDF Annotations", "BDF Annotations")

    @property
    def gain(self) -> float:
        """Physical units of one digital step."""
        low, high = self.digital
        return (self.physical[1] - self.physical[0]) / (high - low)


@dataclass
class Header:
    """What the header of an EDF or BDF file says, checked."""

    path: Path
    item_bytes: int  # of a sample: 2 in EDF, 3 in BDF
    n_bytes: int  # of the header
    n_records: int  # that are there in full
    record_s: float
    signals: list[Stored]  # annotations, too
    start: datetime | None  # None where it does not say in a way that can be read
    patient: str
    is_plus: bool
    notes: list[str] = field(default_factory=list)  # what was forgiven

    @property
    def record_bytes(self) -> int:
        """Bytes of a record."""
        return self.item_bytes * sum(signal.n_samples for signal in self.signals)


def read_header(path: Path) -> Header:
    """Read and check a header, and compare it with the file's size; a `UserError` names file and byte.

    Noted is what was forgiven: a number of records that is −1 or wrong, an incomplete last record, bytes behind the
    last one, text that is not ASCII.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            fixed = file.read(_FIXED)
            if len(fixed) < _FIXED:
                raise UserError(f"{path}: {size} bytes; the header of an EDF file alone has 256 or more")
            item_bytes = _version(path, fixed)
            n_signals = round(_number(path, fixed, 252, 4, "number of signals"))
            if not 1 <= n_signals <= 9999:
                raise UserError(f"{path}: byte 252: {n_signals} signals; must be 1 or more")
            variable = file.read(_FIXED * n_signals)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    n_bytes = _FIXED * (n_signals + 1)
    if len(variable) < _FIXED * n_signals:
        raise UserError(f"{path}: ends at byte {size}, within its header: {n_signals} signals need {n_bytes} bytes")
    stated = round(_number(path, fixed, 184, 8, "bytes of the header"))
    if stated != n_bytes:
        raise UserError(
            f"{path}: byte 184: says that its header has {stated} bytes; {n_signals} signals need {n_bytes}"
        )
    record_s = _number(path, fixed, 244, 8, "duration of a record")
    header = Header(
        path=path,
        item_bytes=item_bytes,
        n_bytes=n_bytes,
        n_records=0,
        record_s=record_s,
        signals=_signals(path, variable, n_signals, record_s),
        start=_start(fixed),
        patient=_text(fixed[8:88]),
        is_plus=fixed[192:196] in (b"EDF+", b"BDF+"),
    )
    if header.start is None:
        header.notes.append(f"byte 168: no date and time: {_text(fixed[168:184])!r}")
    if not (fixed[1:] + variable).isascii():
        at = next(i for i, byte in enumerate(fixed + variable) if byte > 127 and i)
        header.notes.append(f"byte {at}: not ASCII; read as Latin-1")
    if any(not signal.is_annotations for signal in header.signals) and not record_s > 0:
        raise UserError(f"{path}: byte 244: a record lasts {record_s:g} s; must be above 0")
    _count_records(header, size, round(_number(path, fixed, 236, 8, "number of records")))
    return header


def _count_records(header: Header, size: int, stated: int) -> None:
    if not header.record_bytes:
        raise UserError(f"{header.path}: no signal has any sample in a record")
    there, rest = divmod(size - header.n_bytes, header.record_bytes)
    if not there:
        raise UserError(
            f"{header.path}: ends at byte {size}, before its first record of {header.record_bytes} bytes is complete"
        )
    if stated == -1:
        header.notes.append(f"byte 236: −1 records, as while it is recorded; {there} are there")
    elif stated != there:
        header.notes.append(f"byte 236: says {stated} records, {there} are there")
    if rest:
        at = size - rest
        header.notes.append(f"byte {at}: {rest} bytes behind the last complete record are left aside")
    header.n_records = there


def _version(path: Path, fixed: bytes) -> int:
    if fixed[:8] == b"\xffBIOSEMI":
        return 3
    if fixed[:8].strip() == b"0":
        return 2
    raise UserError(f"{path}: byte 0: {_text(fixed[:8])!r}; an EDF file begins with 0, a BDF file with 255 and BIOSEMI")


def _text(raw: bytes) -> str:
    return raw.decode("latin-1").rstrip(" \x00")


def _number(path: Path, raw: bytes, at: int, length: int, what: str, offset: int = 0, of: str = "") -> float:
    text = _text(raw[at : at + length])
    try:
        value = float(text.strip().replace(",", "."))
        if math.isfinite(value):
            return value
    except ValueError:
        pass
    raise UserError(f"{path}: byte {offset + at}: {what}{of} is {text!r}; must be a number")


def _signals(path: Path, raw: bytes, n_signals: int, record_s: float) -> list[Stored]:
    begins, at = {}, 0
    for name, length in _SIGNAL_FIELDS:
        begins[name] = (at, length)
        at += length * n_signals
    signals = []
    for i in range(n_signals):
        places = {name: (begin + i * length, length) for name, (begin, length) in begins.items()}
        texts = {name: _text(raw[at : at + length]) for name, (at, length) in places.items()}
        numbers = {
            name: _number(path, raw, *places[name], name, _FIXED, f" of {texts['label']!r}")
            for name in texts
            if name.startswith(("physical", "digital", "samples"))
        }
        n_samples = numbers["samples in a record"]
        if n_samples < 0 or n_samples % 1:
            at = _FIXED + places["samples in a record"][0]
            raise UserError(f"{path}: byte {at}: {texts['label']!r} has {n_samples:g} samples in a record")
        signals.append(
            Stored(
                label=texts["label"].strip(),
                unit=texts["unit"].strip(),
                sfreq=n_samples / record_s if record_s > 0 else 0.0,
                n_samples=int(n_samples),
                physical=(numbers["physical minimum"], numbers["physical maximum"]),
                digital=(numbers["digital minimum"], numbers["digital maximum"]),
                at=_FIXED + places["physical minimum"][0],
            )
        )
    return signals


def _start(fixed: bytes) -> datetime | None:
    date, time = _DATE.fullmatch(_text(fixed[168:176])), _DATE.fullmatch(_text(fixed[176:184]))
    long = _STARTDATE.match(_text(fixed[88:168]))
    try:
        if long and long[2] in _MONTHS:
            day, month, year = int(long[1]), _MONTHS.index(long[2]) + 1, int(long[3])
        elif date:
            day, month, year = (int(value) for value in date.groups())
            year += 1900 if year >= 85 else 2000
        else:
            return None
        hour, minute, second = (int(value) for value in time.groups()) if time else (0, 0, 0)
        return datetime(year, month, day, hour, minute, second)
    except ValueError:
        return None
