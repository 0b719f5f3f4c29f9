"""Locks between processes, and what to do where a file system has none."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

log = logging.getLogger("hbac.common")

_NOT_SUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)  # for ENOSYS filelock makes a file of its own
_told: set[Path] = set()  # folders, each once


@contextmanager
def locked(path: Path, timeout_s: float = -1) -> Iterator[None]:
    """Hold a lock; on a file system without locks, warn and go on without one; where nobody may write, in silence.

    Another process is waited for up to `timeout_s`, below 0 without end; then ``filelock.Timeout``.
    """
    lock = FileLock(path, timeout=timeout_s)
    try:
        lock.acquire()
    except (NotImplementedError, OSError) as error:
        if path.parent.is_dir() and not os.access(path.parent, os.W_OK):
            pass  # what is there may still be read
        elif isinstance(error, OSError) and error.errno not in _NOT_SUPPORTED:  # a Timeout, too
            raise
        else:
            _tell(path.parent)
    try:
        yield
    finally:
        if lock.is_locked:
            lock.release()


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Hold a folder itself, so that no lock file is left in it; whoever else holds it is waited for, as by `locked`."""
    import fcntl  # not there on Windows, where hbac says so

    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in (*_NOT_SUPPORTED, errno.EBADF):  # NFS locks only what is open for writing
                raise
            _tell(folder)
        yield
    finally:
        os.close(handle)


def _tell(folder: Path) -> None:
    if folder not in _told:
        _told.add(folder)
        log.warning("%s: this file system has no locks; do not run a command twice at a time there", folder)
