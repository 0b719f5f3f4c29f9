"""What a person reads while a network trains: on a terminal and in a pipe the same lines."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from hbac.training import epoch_lines
from hbac.training.epoch_lines import EpochLines, Place


def trained(lines: EpochLines, epochs: int = 2, **metrics: float) -> Any:
    """Go through the hooks of a training without one."""
    trainer = SimpleNamespace(
        current_epoch=0,
        max_epochs=epochs,
        num_training_batches=3,
        is_global_zero=True,
        world_size=1,
        datamodule=SimpleNamespace(batch_size=4),
        callback_metrics={name: torch.tensor(value) for name, value in metrics.items()},
    )
    lines.on_train_start(trainer, None)  # type: ignore[arg-type]
    for trainer.current_epoch in range(epochs):
        lines.on_train_epoch_start(trainer, None)  # type: ignore[arg-type]
        for batch in range(3):
            lines.on_train_batch_end(trainer, None, None, None, batch)  # type: ignore[arg-type]
        lines.on_train_epoch_end(trainer, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("terminal", [False, True])
def test_a_terminal_shows_what_a_pipe_shows(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(epoch_lines, "on_terminal", lambda: terminal)
    trained(EpochLines("val/kl", Place("fold", 1, 5)), **{"train/kl": 0.5, "val/kl": 0.75})
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    for epoch, line in enumerate(lines, 1):
        scores = r"train 0\.5000   val 0\.7500   \d+ windows/s   0 s left, 0 s of the sweep"
        assert re.fullmatch(rf"  fold 2 of 5, epoch {epoch}/2   {scores}", line), line


def test_outside_a_sweep_and_without_validation(capsys: pytest.CaptureFixture[str]) -> None:
    trained(EpochLines("val/kl"), epochs=1, **{"train/kl": 0.5})
    assert re.fullmatch(r"  epoch 1/1   train 0\.5000   \d+ windows/s   0 s left\n", capsys.readouterr().err)


def test_the_sweep_s_time_left(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = iter([0.0, *(30.0 * n for n in range(1, 20))])
    monkeypatch.setattr(epoch_lines.time, "monotonic", lambda: next(clock))
    trained(EpochLines("val/kl", Place("job", 0, 100)), epochs=2, **{"train/kl": 0.5, "val/kl": 0.75})
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("30 s left, 1:39:30 of the sweep")
    assert second.endswith("0 s left, 1:39:00 of the sweep")
