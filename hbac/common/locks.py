"""Locks between processes, and what to do where a file system has none."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

log = logging.getLogger("hbac.common")

_NOT_SUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)  # for ENOSYS filelock makes a file of its own
_told: set[Path] = set()  # folders, each once


@contextmanager
def locked(path: Path, timeout_s: float = -1) -> Iterator[None]:
    """Hold a lock; on a file system without locks, warn and go on without one.

    Another process is waited for up to `timeout_s`, below 0 without end.

    Raises
    ------
    filelock.Timeout
        When another process still holds it.
    """
    lock = FileLock(path, timeout=timeout_s)
    try:
        lock.acquire()
    except (NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in _NOT_SUPPORTED:  # a Timeout, too
            raise
        if path.parent not in _told:
            _told.add(path.parent)
            log.warning("%s: this file system has no locks; do not run a command twice at a time there", path.parent)
    try:
        yield
    finally:
        if lock.is_locked:
            lock.release()
