"""How long a device works on something, measured without ever waiting for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Stopwatch:
    """Seconds that a device has spent; on a GPU its own events say so, which are read once in the end."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._spans: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def running(self, device: torch.device) -> Iterator[None]:
        """Count what is done meanwhile."""
        if device.type != "cuda":
            started = time.perf_counter()
            yield
            self._seconds += time.perf_counter() - started
            return
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        began.record(torch.cuda.current_stream(device))
        yield
        ended.record(torch.cuda.current_stream(device))
        self._spans.append((began, ended))

    @property
    def seconds(self) -> float:
        """What was counted so far; waits for the device."""
        for began, ended in self._spans:
            ended.synchronize()
            self._seconds += began.elapsed_time(ended) / 1000
        self._spans.clear()
        return self._seconds
