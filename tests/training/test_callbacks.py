"""A training whose loss is no longer a number ends, before anything of it is kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hbac.common.errors import UserError
from hbac.training.checkpoints import CHECKPOINTS
from tests.training.line import N_STEPS, fitted


@pytest.mark.parametrize("step", [0, 2, N_STEPS + 3, 2 * N_STEPS])
def test_it_names_step_epoch_and_rate(tmp_path: Path, step: int) -> None:
    epoch, inside = divmod(step, N_STEPS)
    with pytest.raises(
        UserError, match=rf"not finite in step {inside + 1} of epoch {epoch + 1}, at a learning rate of 1:"
    ):
        fitted(tmp_path, 4, nan_from=step)
    path = tmp_path / CHECKPOINTS / "last.ckpt"
    assert path.is_file() == (epoch > 0)
    if epoch:
        checkpoint = torch.load(path, weights_only=True)
        assert float(checkpoint["state_dict"]["weight"]) == -epoch * N_STEPS


def test_weights_that_no_longer_predict(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the validation KL is not finite after epoch 2, at a learning rate of 1:"):
        fitted(tmp_path, 4, val_nan_from=1)
    assert torch.load(tmp_path / CHECKPOINTS / "last.ckpt", weights_only=True)["epoch"] == 0
