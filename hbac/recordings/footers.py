"""What a parquet file says about itself in its last bytes: rows, columns, types.

The HMS data are 28,000 files; all that can be checked without reading their samples stands in their
footers, about 0.3 ms for an EEG and 3 ms for a spectrogram file with its 401 columns. With a cache, files
whose size and time of change are as before are not opened again.

Statistics of columns are left alone: asked for those of a damaged footer, pyarrow ends the process ("Definition level
histogram size mismatch"), where all that is used here raises an exception. What values are like is seen when they are
read (`hbac.recordings.converting`).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hbac.common.errors import UserError
from hbac.common.files import whole_file, with_digest, without_digest
from hbac.recordings.declared import SPELLED_UNITS
from hbac.vocabulary import SFREQ

# One read of this much fetches the whole footer of an EEG file.
_TAIL_BYTES = 1 << 16
_MAGIC = b"PAR1"
# Under one of these names, whoever wrote the file may have left the sampling rate in the metadata.
_SFREQ_KEYS = ("sfreq", "srate", "fs", "samplingrate", "samplingfrequency", "samplingfreq", "samplerate",
               "samplefrequency")  # fmt: skip
_RATE = re.compile(r"\s*(\d+\.?\d*(?:[eE][+-]?\d+)?)\s*(k?hz|samples ?(?:/|per) ?s(?:ec|econd)?)?\s*", re.IGNORECASE)
_UNIT_KEYS = ("unit", "units")
_OTHER_UNIT = re.compile(r"[munpf]?v[^a-z].*|[npfk]v|counts?|ad[cu]|lsb|bits?|digits?", re.IGNORECASE)
_DEEPEST = 4
_SHOWN = 20  # characters of a unit that nobody knows
_CACHE_VERSION = 3  # of what is kept of footers

Schema = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Footer:
    """What one parquet file says about itself."""

    path: Path
    size: int  # in bytes
    mtime_ns: int
    n_rows: int
    sha256: str  # of the footer's bytes
    schema: tuple[tuple[str, str], ...]  # name and Arrow type of every column
    sfreq: float | None = None  # in hertz, where the metadata name one
    unit: str | None = None  # V, mV or uV, or another that no EEG in microvolt has, where the metadata name one


def read_footer(path: Path) -> Footer:
    """Read the footer of one parquet file; a `UserError` where it is missing, cut short or no parquet.

    The error's message has no path in front: the caller adds it.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            tail = _read_tail(file, status.st_size)
        metadata = pq.read_metadata(pa.BufferReader(_MAGIC + tail))
        schema = metadata.schema.to_arrow_schema()
        fields = tuple(zip(schema.names, map(str, schema.types), strict=True))
    except FileNotFoundError as error:
        raise UserError("the file is missing") from error
    except OSError as error:  # ArrowInvalid is a ValueError, but some damaged footers come as OSError
        raise UserError(f"cannot be read: {error}") from error
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise UserError(f"damaged parquet footer: {error}") from error
    sfreq, unit = _stated([schema.metadata, *(schema.field(i).metadata for i in range(len(schema)))])
    return Footer(
        path=path,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        n_rows=metadata.num_rows,
        sha256=hashlib.sha256(tail).hexdigest(),
        schema=fields,
        sfreq=sfreq,
        unit=unit,
    )


def read_footers(
    paths: Mapping[int, Path], cache_dir: Path | None = None, n_threads: int = 8
) -> dict[int, Footer | UserError]:
    """Read many footers, in threads: for each id of a file in one folder its footer, or what is wrong with it.

    What was read is kept in `cache_dir`, so that the next call opens only files whose size or time of change differ.
    The wait for a disk or a network is what the threads share.
    """
    if not paths:
        return {}
    folder = next(iter(paths.values())).parent
    cached: dict[str, Footer] = {}
    cache = None
    if cache_dir is not None:
        of_folder = hashlib.sha256(bytes(folder.resolve())).hexdigest()[:12]
        cache = cache_dir / f"footers-{_CACHE_VERSION}-{of_folder}.cache"  # parquet, and its hash
        cached = _unchanged(_read_cache(cache, folder), folder)
    footers: dict[int, Footer | UserError] = {
        key: cached[path.name] for key, path in paths.items() if path.name in cached
    }
    new = [key for key in paths if key not in footers]
    with ThreadPoolExecutor(n_threads) as pool:
        found = pool.map(partial(_footer_or_error, schemas={}), (paths[key] for key in new))
        footers.update(zip(new, found, strict=True))
    if cache is not None and new:
        _write_cache(cache, [footer for footer in footers.values() if isinstance(footer, Footer)])
    return {key: footers[key] for key in paths}


def _footer_or_error(path: Path, schemas: dict[Schema, Schema]) -> Footer | UserError:
    try:
        footer = read_footer(path)
    except UserError as error:
        return error
    # Nearly all files share one schema; a copy of its own for each would be 50 kB for a spectrogram.
    return replace(footer, schema=schemas.setdefault(footer.schema, footer.schema))


def _read_tail(file: Any, size: int) -> bytes:
    """Return the footer with the eight bytes behind it; a file that was cut off has no footer at its end."""
    if size == 0:
        raise UserError("the file is empty")
    file.seek(max(0, size - _TAIL_BYTES))
    tail: bytes = file.read()
    if size < 12 or tail[-4:] != _MAGIC:
        raise UserError(f"no parquet footer at the end of its {size:,} bytes: cut short while copying, or no parquet")
    length = int.from_bytes(tail[-8:-4], "little") + 8
    if length + len(_MAGIC) > size:
        raise UserError(f"its footer claims {length:,} bytes, the file has {size:,}: damaged")
    if length > len(tail):
        file.seek(size - length)
        tail = file.read()
    return tail[-length:]


def _stated(metadata: Iterable[Mapping[bytes, bytes] | None]) -> tuple[float | None, str | None]:
    """Return rate and unit, of the file or of a column, under keys of their own or in JSON such as pandas' attrs."""
    rates, units = [], []
    entries = [
        (key.decode(errors="replace"), value.decode(errors="replace"))
        for part in metadata
        for key, value in (part or {}).items()
    ]
    for key, value in _entries(entries):
        name = re.sub(r"[^a-z]", "", key.lower()).removesuffix("hz")
        if name in _SFREQ_KEYS:
            rates += [found for text in _each(value) if (found := _rate(text)) is not None]
        if name in _UNIT_KEYS:
            units += [unit for text in _each(value) if (unit := _unit(text)) is not None]
    # Of several the one that speaks against what is needed.
    rates.sort(key=lambda rate: rate == SFREQ)
    units.sort(key=lambda unit: unit == "uV")
    return next(iter(rates), None), next(iter(units), None)


def _rate(text: str) -> float | None:
    match = _RATE.fullmatch(text)
    return float(match[1]) * (1000 if (match[2] or "").lower() == "khz" else 1) if match else None


def _unit(text: str) -> str | None:
    text = text.strip()
    return SPELLED_UNITS.get(text.lower()) or (text[:_SHOWN] if _OTHER_UNIT.fullmatch(text) else None)


def _each(value: Any) -> list[str]:
    """Return the texts of one value, or of one for each channel."""
    value = _decoded(value)
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
    return [str(entry) for entry in values if isinstance(entry, str | int | float) and not isinstance(entry, bool)]


def _entries(pairs: Iterable[tuple[str, Any]], depth: int = 0) -> Iterator[tuple[str, Any]]:
    for key, value in pairs:
        yield key, value
        inner = _decoded(value)
        if depth < _DEEPEST and isinstance(inner, dict):
            yield from _entries(inner.items(), depth + 1)


def _decoded(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("{", "["):
        with suppress(ValueError, RecursionError):
            return json.loads(value)
    return value


def _unchanged(cached: dict[str, Footer], folder: Path) -> dict[str, Footer]:
    if not cached:
        return {}
    fresh = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            footer = cached.get(entry.name)
            if footer is not None:
                status = entry.stat()
                if (status.st_size, status.st_mtime_ns) == (footer.size, footer.mtime_ns):
                    fresh[entry.name] = footer
    return fresh


def _read_cache(cache: Path, folder: Path) -> dict[str, Footer]:
    """Read what an earlier call kept; a cache that cannot be read only costs the time it would have saved."""
    try:
        content = without_digest(cache.read_bytes())
        columns = pq.read_table(pa.BufferReader(content)).to_pydict() if content is not None else {"schema": []}
        schemas = {text: tuple((n, t) for n, t in json.loads(text)) for text in set(columns["schema"])}
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        return {
            row["name"]: Footer(
                path=folder / row["name"],
                schema=schemas[row["schema"]],
                **{key: row[key] for key in ("size", "mtime_ns", "n_rows", "sha256", "sfreq", "unit")},
            )
            for row in rows
        }
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError):
        return {}


def _write_cache(cache: Path, footers: list[Footer]) -> None:
    text: dict[tuple[tuple[str, str], ...], str] = {}
    table = pa.table(
        {
            "name": [f.path.name for f in footers],
            "size": pa.array([f.size for f in footers], pa.int64()),
            "mtime_ns": pa.array([f.mtime_ns for f in footers], pa.int64()),
            "n_rows": pa.array([f.n_rows for f in footers], pa.int64()),
            "sha256": [f.sha256 for f in footers],
            "schema": [text.setdefault(f.schema, json.dumps(f.schema)) for f in footers],
            "sfreq": pa.array([f.sfreq for f in footers], pa.float64()),
            "unit": pa.array([f.unit for f in footers], pa.string()),
        }
    )
    pq.write_table(table, written := pa.BufferOutputStream())
    content = written.getvalue().to_pybytes()
    with suppress(UserError), whole_file(cache) as unfinished:  # on a full or read-only disk: no reason to stop
        unfinished.write_bytes(with_digest(content))
