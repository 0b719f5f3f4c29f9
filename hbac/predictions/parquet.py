"""Parquet files, whoever wrote them: all columns, or the metadata alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from hbac.common.errors import UserError
from hbac.common.files import SEAL


def read_parquet(path: Path) -> pa.Table:
    """Read all columns of a parquet file as they are, without what pandas noted of them.

    A `UserError` where there is no such file, or it is not (all of) a parquet file.
    """
    with _parquet(path):
        table = pq.read_table(path, partitioning=None)
        _ = table.column_names  # which fails where one is no UTF-8
        # Damaged notes of pandas' stop a conversion that is to ignore them.
        return table.replace_schema_metadata({k: v for k, v in (table.schema.metadata or {}).items() if k != b"pandas"})


def as_frame(table: pa.Table, path: Path) -> pd.DataFrame:
    """Make a DataFrame of a table.

    A `UserError` for what pandas does not know, such as dates of another age.
    """
    try:
        frame: pd.DataFrame = table.to_pandas(ignore_metadata=True)
        return frame
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise UserError(f"{path}: not readable as a table ({str(error).partition(chr(10))[0]})") from error


def read_metadata(path: Path) -> dict[bytes, bytes]:
    """Read a parquet file's metadata, empty where it has none, and nothing else.

    A `UserError` where there is no such file, or it is not (all of) a parquet file.
    """
    with _parquet(path):
        return dict(pq.read_schema(path).metadata or {})


def content_hash(frame: pd.DataFrame, columns: Iterable[str], flat: Mapping[str, str]) -> str:
    """Hash the rows, as they are in memory, and the metadata."""
    digest = hashlib.sha256(json.dumps(sorted(flat.items())).encode())
    for column in columns:
        values = frame[column].to_numpy(copy=True)
        if values.dtype.kind == "f":
            values[np.isnan(values)] = np.nan  # there are many, and parquet keeps none of them
        digest.update(column.encode() + values.tobytes())
    return digest.hexdigest()


def check_content(frame: pd.DataFrame, columns: Iterable[str], flat: Mapping[str, str], path: Path, again: str) -> None:
    """Compare rows and metadata with the hash among the metadata, which files of earlier versions do not have.

    A `UserError` when they are others than were written; `again` says how to make them again.
    """
    stated = flat.get(SEAL)
    if stated is not None and stated != content_hash(frame, columns, {k: v for k, v in flat.items() if k != SEAL}):
        raise UserError(
            f"{path}: its rows or metadata are not what was written (SHA-256): damaged, or edited; restore it, or "
            f"make it again: {again}"
        )


@contextmanager
def _parquet(path: Path) -> Iterator[None]:
    if not path.is_file():
        raise UserError(f"{path}: no such prediction table")
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable as parquet ({str(error).partition(chr(10))[0]})") from error
