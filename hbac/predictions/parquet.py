"""Parquet files, whoever wrote them: all columns, or the metadata alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from hbac.common.errors import UserError


def read_parquet(path: Path) -> pa.Table:
    """Read all columns of a parquet file as they are, without what pandas noted of them.

    Raises
    ------
    UserError
        No such file, or not (all of) a parquet file.
    """
    with _parquet(path):
        table = pq.read_table(path, partitioning=None)
        _ = table.column_names  # which fails where one is no UTF-8
        # Damaged notes of pandas' stop a conversion that is to ignore them.
        return table.replace_schema_metadata({k: v for k, v in (table.schema.metadata or {}).items() if k != b"pandas"})


def as_frame(table: pa.Table, path: Path) -> pd.DataFrame:
    """Make a DataFrame of a table.

    Raises
    ------
    UserError
        For what pandas does not know, such as dates of another age.
    """
    try:
        frame: pd.DataFrame = table.to_pandas(ignore_metadata=True)
        return frame
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise UserError(f"{path}: not readable as a table ({str(error).partition(chr(10))[0]})") from error


def read_footer(path: Path) -> dict[bytes, bytes]:
    """Read a parquet file's metadata, empty where it has none, and nothing else.

    Raises
    ------
    UserError
        No such file, or not (all of) a parquet file.
    """
    with _parquet(path):
        return dict(pq.read_schema(path).metadata or {})


@contextmanager
def _parquet(path: Path) -> Iterator[None]:
    if not path.is_file():
        raise UserError(f"{path}: no such prediction table")
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable as parquet ({str(error).partition(chr(10))[0]})") from error
