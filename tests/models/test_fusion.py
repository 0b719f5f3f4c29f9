"""Branches in one network: which numbers each reads, and whose head answers for which row."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hbac.common.errors import UserError
from hbac.models import EfficientNet, Fusion, ResNetGRU

SHAPES = {"signal": (4, 400), "picture": (2, 32, 64)}


def branches() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {
        "picture": EfficientNet("test_efficientnet", in_chans=2),
        "signal": ResNetGRU(n_chans=4, n_times=400, filters=4, depth=3, width=16, gru_hidden=8),
    }


def features(branch: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """What its last layer is given."""
    given: list[torch.Tensor] = []
    branch.final_layer.register_forward_pre_hook(lambda _, args: given.append(args[0]))
    branch.eval()(x)
    return given[0]


def test_one_head_reads_what_each_branch_finds_in_its_own_part() -> None:
    made = branches()
    signal, picture = torch.randn(3, 4, 400), torch.randn(3, 2, 32, 64)
    expected = torch.cat([features(made["signal"], signal), features(made["picture"], picture)], dim=1)
    network = Fusion(branches(), SHAPES).eval()
    nn.init.normal_(network.final_layer.weight)
    logits = network(torch.cat([signal.flatten(1), picture.flatten(1)], dim=1))
    torch.testing.assert_close(logits, network.final_layer(expected))


def test_each_head_answers_for_its_rows_in_training_and_the_joint_one_otherwise() -> None:
    network = Fusion(branches(), SHAPES, auxiliary=0.5)  # of four rows the last two
    for value, head in enumerate([network.final_layer, *network.heads.values()]):
        nn.init.zeros_(head.weight)
        nn.init.constant_(head.bias, value)
    x = torch.randn(9, 4 * 400 + 2 * 32 * 64)
    assert network.train()(x)[:, 0].tolist() == [0, 0, 2, 1, 0, 0, 2, 1, 0]
    assert network.eval()(x)[:, 0].tolist() == [0] * 9
    assert Fusion(branches(), SHAPES, auxiliary=0.0).period == 0


def test_a_branch_keeps_the_rate_of_its_own_backbone() -> None:
    made = branches()
    made["picture"].backbone_lr_factor = 0.1
    network = Fusion(made, SHAPES)
    rate_of = {id(p): group["lr"] for group in network.parameter_groups(0.5) for p in group["params"]}
    assert rate_of.keys() == {id(p) for p in network.parameters()}
    slow = {id(p) for p in made["picture"].backbone.parameters()}
    assert all(rate == (0.05 if key in slow else 0.5) for key, rate in rate_of.items())


def test_bad_settings() -> None:
    with pytest.raises(UserError, match=r"model.branches=\['signal'\]: needs two or more, of the front-end's names"):
        Fusion({"signal": branches()["signal"]}, SHAPES)
    with pytest.raises(UserError, match="of the front-end's names \\['signal', 'image'\\]"):
        Fusion(branches(), {"signal": (4, 400), "image": (2, 32, 64)})
    with pytest.raises(UserError, match="model.branches.picture: Flatten has no linear final_layer"):
        Fusion({**branches(), "picture": nn.Flatten()}, SHAPES)
    with pytest.raises(UserError, match="model.auxiliary=1.5"):
        Fusion(branches(), SHAPES, auxiliary=1.5)
