"""The running mean of the weights is what is validated, kept and scored; early stopping stops."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from hbac.common.errors import UserError
from hbac.training.averaging import weight_average
from hbac.training.callbacks import make_callbacks
from hbac.training.checkpoints import CHECKPOINTS, restore
from tests.training.line import N_STEPS, Line, fitted


def mean_after(n_steps: int, decay: float) -> float:
    mean = -1.0  # the weight after the first step
    for n in range(1, n_steps):
        share = min(decay, (1 + n) / (10 + n))
        mean = share * mean + (1 - share) * -(n + 1)
    return mean


@pytest.mark.parametrize("decay", [0.3, 0.99])
def test_the_mean_is_validated_kept_and_restored(tmp_path: Path, decay: float) -> None:
    line, _ = fitted(tmp_path, 3, ema=decay)
    assert line.validated == pytest.approx([mean_after(N_STEPS * epoch, decay) for epoch in (1, 2, 3)], rel=1e-5)
    checkpoint = torch.load(tmp_path / CHECKPOINTS / "last.ckpt", weights_only=True)
    assert float(checkpoint["state_dict"]["weight"]) == pytest.approx(mean_after(3 * N_STEPS, decay), rel=1e-5)
    assert float(checkpoint["current_model_state"]["weight"]) == -3 * N_STEPS  # what training goes on from
    fresh = Line()
    restore(fresh, tmp_path, "last")
    assert float(fresh.weight.detach()) == pytest.approx(line.validated[-1], rel=1e-6)


def test_a_resumed_mean_goes_on(tmp_path: Path) -> None:
    fitted(tmp_path / "cut", 2, ema=0.9)
    resumed, _ = fitted(tmp_path / "cut", 4, ema=0.9)
    whole, _ = fitted(tmp_path / "whole", 4, ema=0.9)
    assert resumed.validated == whole.validated[2:]


def test_without_a_mean_the_weights_themselves(tmp_path: Path) -> None:
    line, _ = fitted(tmp_path, 2)
    assert line.validated == [-N_STEPS, -2 * N_STEPS]


def test_patience_ends_a_run_that_no_longer_improves(tmp_path: Path) -> None:
    _, epochs = fitted(tmp_path, 20, patience=3, worse_from=4)
    assert epochs == 4 + 3
    again, epochs = fitted(tmp_path, 20, patience=3, worse_from=4)  # typed again: it stays stopped
    assert epochs == 4 + 3
    assert not again.validated


def test_no_step_asks_the_device_for_a_value() -> None:
    callback, line = weight_average(0.9), Line().to("meta")  # where a value that is asked for is an error
    trainer: Any = SimpleNamespace(global_step=0)
    callback.setup(trainer, line, "fit")
    for _ in range(3):
        trainer.global_step += 1
        callback.on_train_batch_end(trainer, line, None, None, 0)
    assert callback.state_dict() == {"latest_update_step": 3}


@pytest.mark.parametrize("ema", [1.0, -0.5, 1])
def test_a_decay_that_cannot_be(ema: float) -> None:
    with pytest.raises(UserError, match="must be a number above 0 and below 1"):
        weight_average(ema)


@pytest.mark.parametrize("patience", [0, 1.5])
def test_a_patience_that_cannot_be(tmp_path: Path, patience: float) -> None:
    with pytest.raises(UserError, match=r"patience=.*a whole number of epochs, 1 or more, or null"):
        make_callbacks(tmp_path, 0, patience=patience)  # type: ignore[arg-type]
