"""Parquet files, whoever wrote them: all columns, or the metadata alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from hbac.common.errors import UserError


def read_parquet(path: Path) -> pa.Table:
    """Read all columns of a parquet file as they are.

    Raises
    ------
    UserError
        No such file, or not (all of) a parquet file.
    """
    with _parquet(path):
        return pq.read_table(path, partitioning=None)


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
