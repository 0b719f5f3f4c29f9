"""The one seam between configs and objects."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from hbac.common.errors import UserError
from hbac.common.instantiate import build


def test_makes_what_the_config_names() -> None:
    layer = build({"_target_": "torch.nn.Linear", "in_features": 3}, out_features=2)
    assert isinstance(layer, nn.Linear)
    assert (layer.in_features, layer.out_features) == (3, 2)


def test_makes_partials() -> None:
    optimizer = build({"_target_": "torch.optim.AdamW", "_partial_": True, "lr": 0.25})
    assert isinstance(optimizer, partial)
    assert optimizer([torch.zeros(1, requires_grad=True)]).param_groups[0]["lr"] == 0.25


def test_gives_arguments_as_they_are() -> None:
    weight = torch.zeros(3, 2)
    layer = build({"_target_": "torch.nn.ParameterList"}, values=[weight])
    assert layer[0].data_ptr() == weight.data_ptr()


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "subprocess.run",
        "pickle.loads",
        "hbac.cli.launch.os.system",
        "torch.nn.modules.module.torch.load",
    ],
)
def test_refuses_what_is_not_allowed(target: str) -> None:
    with pytest.raises(UserError, match="may only name things in hbac, torch.nn"):
        build({"_target_": target})


def test_refuses_it_inside_as_well() -> None:
    with pytest.raises(UserError, match="os.system"):
        build({"_target_": "torch.nn.Sequential", "x": [{"_target_": "os.system"}]})


def test_says_which_target_is_not_there() -> None:
    with pytest.raises(UserError, match="hbac.models.NoSuchNet cannot be imported"):
        build({"_target_": "hbac.models.NoSuchNet"})


def test_says_which_argument_is_wrong() -> None:
    with pytest.raises(UserError, match="torch.nn.Linear cannot be made.*colour"):
        build({"_target_": "torch.nn.Linear", "in_features": 1, "out_features": 1, "colour": "red"})


def test_passes_on_what_a_constructor_says_to_the_user() -> None:
    with pytest.raises(UserError, match="kernels"):
        build({"_target_": "hbac.models.ResNetGRU", "kernels": []})
