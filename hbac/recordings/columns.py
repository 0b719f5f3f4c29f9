"""Which column of a file is which channel, or which region and frequency of a spectrogram.

Columns are found by name and never by place: files from elsewhere order them differently, and spell
electrodes and frequencies a little differently.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hbac.vocabulary import CHANNELS, SFREQ, SPECTROGRAM_REGIONS, channel_name

# The HMS spectrograms have the bins 3 to 102 of a 1024-point transform at 200 Hz.
SPECTROGRAM_HZ = tuple(int(k * SFREQ / 1024 * 100 + 0.5) / 100 for k in range(3, 103))
SPECTROGRAM_COLUMNS = tuple(f"{region}_{hz:g}" for region in SPECTROGRAM_REGIONS for hz in SPECTROGRAM_HZ)
TIME_COLUMN = "time"

# No montage reads it: a recording without is as good as one in which it is missing throughout.
OPTIONAL_CHANNELS = ("EKG",)

# Names are rounded to 0.01 Hz, and 3.125 goes to 3.12 or 3.13 by whoever rounds; neighbours are 0.195 Hz apart.
_HZ_TOLERANCE = 0.011
_SHOWN = 6  # names that a message lists


class ColumnsError(ValueError):
    """Columns are missing or stand there twice; the message says which, without the file's name."""


def find_columns(names: Iterable[str], wanted: Sequence[str], kind: str) -> tuple[str | None, ...]:
    """Find the columns of one file that a store of this kind is made of: each's name there, None for a missing EKG.

    `wanted` are names of `CHANNELS`, or of `SPECTROGRAM_COLUMNS`. They are compared as electrodes for an ``eeg`` (any
    case, ``EEG Fp1-Ref``, T7 for T3), or as region and hertz for a ``spectrogram``; others may be among them. A
    `ColumnsError` where one is missing or two columns are the same one.

    Examples
    --------
    >>> find_columns(["EEG T7-Ref", "FP1", "A1"], ["Fp1", "T3"], "eeg")
    ('FP1', 'EEG T7-Ref')
    """
    names = list(names)
    known = set(wanted)
    found: dict[str, str] = {}
    twice = []
    for raw in names:
        name = channel_name(raw) if kind == "eeg" else spectrogram_column(raw)
        if name is None or name not in known:
            continue
        if name in found and name in OPTIONAL_CHANNELS:
            continue  # EKG1 beside EKG, say
        if name in found:
            twice.append(f"{name} stands there as {found[name]!r} and as {raw!r}")
        found[name] = raw
    missing = [name for name in wanted if name not in found and name not in OPTIONAL_CHANNELS]
    if missing:
        what = f"no column {_shorten(missing)}; found {_shorten(names)}"
        raise ColumnsError("; ".join([what, *twice]))
    if twice:
        raise ColumnsError("; ".join(twice))
    return tuple(found.get(name) for name in wanted)


def spectrogram_column(raw: str) -> str | None:
    """Return the one of `SPECTROGRAM_COLUMNS` that a name such as ``LL_0.59`` (region, underscore, hertz) is, or None.

    Examples
    --------
    >>> spectrogram_column("RP_3.12"), spectrogram_column("time")
    ('RP_3.13', None)
    """
    region, _, text = raw.strip().partition("_")
    if region not in SPECTROGRAM_REGIONS:
        return None
    try:
        hz = float(text)
    except ValueError:
        return None
    if not 0 < hz < SFREQ:
        return None
    k = round(hz * 1024 / SFREQ) - 3
    if not 0 <= k < len(SPECTROGRAM_HZ) or abs(SPECTROGRAM_HZ[k] - hz) > _HZ_TOLERANCE:
        return None
    return f"{region}_{SPECTROGRAM_HZ[k]:g}"


def columns_of(kind: str) -> tuple[str, ...]:
    """Return the columns of a store of this kind, in their order: `CHANNELS` or `SPECTROGRAM_COLUMNS`."""
    return {"eeg": CHANNELS, "spectrogram": SPECTROGRAM_COLUMNS}[kind]


def _shorten(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(names[:_SHOWN]) or "none") + rest
