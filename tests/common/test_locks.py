"""Locks hold where there are locks; where there are none, a warning and no end."""

from __future__ import annotations

import errno
import fcntl
import logging
from pathlib import Path

import pytest
from filelock import Timeout

from hbac.common.locks import locked


def test_only_one_at_a_time(tmp_path: Path) -> None:
    with locked(tmp_path / "a.lock"), pytest.raises(Timeout), locked(tmp_path / "a.lock", timeout_s=0):
        pass
    with locked(tmp_path / "a.lock", timeout_s=0):
        pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP])
def test_a_file_system_without_locks(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    done = []
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            with locked(tmp_path / "a.lock", timeout_s=1):
                done.append(1)
    assert done == [1, 1]
    assert caplog.text.count("has no locks") == 1


def test_a_folder_that_may_not_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"), locked(tmp_path / "file" / "a.lock"):
        pass
