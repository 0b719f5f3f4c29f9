"""A handful of random kills; ``python -m tests.kills`` tries more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import kills


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="asks /proc which processes there are")
def test_commands_that_were_killed_end_as_if_nothing_had_happened() -> None:
    assert kills.main(["--trials", "3", "--seed", "11", "--only", "train", "best"]) == 0
