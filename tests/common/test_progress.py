"""What a long step says of itself, on a terminal and in a log."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import pytest

from hbac.common import progress as module
from hbac.common.progress import progress, track


def test_a_log_gets_a_line_now_and_then(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 8))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)) + 1)
    with progress("storing") as report:
        for done in range(10, 18):  # a resumed step begins at 10
            report(done, 20)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "storing …"
    assert lines[1] == "storing: 13 of 20, 0.12/s, 0:56 left"
    assert len(lines) == 3


def test_what_is_there_already_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("storing"):
        pass
    assert list(track([], "nothing")) == []
    assert list(track([1, 2], "fitting", log=False)) == [1, 2]  # a step of seconds is for those who watch
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar_with_rate_and_time_left() -> None:
    code = "import time\nfrom hbac.common.progress import track\nfor _ in track(range(40), 'storing'): time.sleep(0.02)"
    leader, follower = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen([sys.executable, "-c", code], stderr=follower, stdout=follower, env=environment)
    os.close(follower)
    shown = b""
    while True:
        try:
            piece = os.read(leader, 4096)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        shown += piece
    os.close(leader)
    assert process.wait() == 0
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())
    assert re.search(r"storing .*\d+/40 \d+/s, 0:0\d left", text), text[-500:]
