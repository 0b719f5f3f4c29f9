"""The whole way of a training batch, from the stored windows to the gradient, never asks the device for a value.

On the ``meta`` device a tensor that is moved to the CPU, or whose value decides a branch, is an error.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from hbac.common.instantiate import build
from hbac.data import EEGDataModule, SpectrogramDataModule
from hbac.data.base import WindowDataModule
from hbac.data.epoch import EpochRow
from hbac.models import EfficientNet, ResNetGRU
from hbac.recordings.datasets import HMS
from hbac.signal import EEGFrontEnd, ImageFrontEnd
from hbac.training.module import Classifier

AUGMENT = Path(__file__).parents[2] / "conf" / "augment"


def _signals(root: Path, stores: Path) -> tuple[WindowDataModule, nn.Module]:
    data = _module(EEGDataModule, root, stores, "strong", EEGFrontEnd())
    return data, ResNetGRU(filters=4, width=16, gru_hidden=8, depth=2)


def _images(root: Path, stores: Path) -> tuple[WindowDataModule, nn.Module]:
    front_end = ImageFrontEnd("both", tile_height=32, tile_width=64)
    data = _module(SpectrogramDataModule, root, stores, "image", front_end)
    return data, EfficientNet("test_efficientnet", front_end.in_chans)


def _module(
    kind: type[WindowDataModule], root: Path, stores: Path, augment: str, front_end: nn.Module
) -> WindowDataModule:
    part = HMS(root, stores).part("train")
    config = OmegaConf.load(AUGMENT / f"{augment}.yaml")
    if augment == "image":
        config.image.update(zero_p=0.5, band_p=0.5)
        config.raw.update(spread_p=0.5)
    stages = {str(stage): build(node, "augment") for stage, node in config.items()}
    folds = np.arange(len(part.rows)) % 3
    return kind(part, front_end=front_end, fold_of_row=folds, fold=1, augment=stages, batch_size=4)


@pytest.mark.parametrize("make", [_signals, _images])
def test_no_value_leaves_the_device(tiny_root: Path, tmp_path: Path, make: object) -> None:
    data, network = make(tiny_root, tmp_path)  # type: ignore[operator]
    for name, stage in data.augment.items():
        possible = [value for setting, value in stage.settings.items() if setting.endswith("_p")]
        assert possible, name
        assert all(possible), f"{name}: every augmentation is to be on"
    data.trainer = SimpleNamespace(training=True, current_epoch=2)  # type: ignore[assignment]
    stored = data.train_set.__getitems__([EpochRow(row, row + 4, 2) for row in range(4)])
    batch = data.on_after_batch_transfer({name: x.to("meta") for name, x in stored.items()}, 0)
    assert batch["x"].device.type == "meta"
    model = Classifier(network, partial(torch.optim.AdamW, lr=1e-3)).to("meta")
    loss = model.loss(model(batch["x"]), batch)
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in network.parameters())
