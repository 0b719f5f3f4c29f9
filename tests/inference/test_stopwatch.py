from __future__ import annotations

import time

import pytest
import torch

from hbac.inference.stopwatch import Stopwatch


class Event:
    """Of a GPU that takes 2 ms from one to the next."""

    now, waited = 0.0, 0

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self, stream: object) -> None:
        Event.now += 2.0
        self.at = Event.now

    def synchronize(self) -> None:
        Event.waited += 1

    def elapsed_time(self, other: Event) -> float:
        return other.at - self.at


def test_on_a_cpu_the_time_between() -> None:
    clock = Stopwatch()
    for _ in range(2):
        with clock.running(torch.device("cpu")):
            time.sleep(0.02)
    assert 0.04 <= clock.seconds < 1


def test_a_gpu_is_not_waited_for_before_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    clock = Stopwatch()
    for _ in range(3):
        with clock.running(torch.device("cuda")):
            pass
    assert Event.waited == 0
    assert clock.seconds == clock.seconds == pytest.approx(0.006)
    assert Event.waited == 3
