"""Chains as the depth of a volume: who is seen together, and where chains meet."""

from __future__ import annotations

import pytest
import torch

from hbac.common.errors import UserError
from hbac.models import Volume

TINY = {"backbone": "test_efficientnet", "width": 8, "depth": 1, "head_width": 16}


def test_the_derivations_of_a_chain_are_one_picture() -> None:
    torch.manual_seed(0)
    network = Volume(in_chans=16, input_norm="none", **TINY).eval()
    x = torch.randn(2, 16, 32, 64)
    seen: list[torch.Tensor] = []
    network.backbone.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    assert network(x).shape == (2, 6)
    assert seen[0].shape == (8, 1, 128, 64)
    for window in range(2):
        for derivation in range(16):
            chain, i = divmod(derivation, 4)
            assert torch.equal(seen[0][4 * window + chain, 0, 32 * i : 32 * (i + 1)], x[window, derivation])


def test_chains_meet_in_the_volume_and_not_before() -> None:
    torch.manual_seed(0)
    network = Volume(in_chans=16, input_norm="none", **TINY).eval()
    x = torch.randn(1, 16, 32, 64)
    changed = x.clone()
    changed[:, :4] += 1  # the first chain
    maps: list[torch.Tensor] = []
    network.across.register_forward_hook(lambda _, args, out: maps.extend([args[0], out]))
    network(x), network(changed)
    before, after = (maps[i + 2] - maps[i] for i in (0, 1))
    assert [bool(before[:, :, chain].any()) for chain in range(4)] == [True, False, False, False]
    assert [bool(after[:, :, chain].any()) for chain in range(4)] == [True, True, False, False]  # one convolution


def test_rates_of_backbone_and_head() -> None:
    network = Volume(in_chans=4, backbone_lr_factor=0.25, **TINY)
    groups = network.parameter_groups(0.1)
    assert {group["lr"] for group in groups} == {0.1, 0.025}
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))


def test_bad_settings() -> None:
    with pytest.raises(UserError, match="model.n_chains=3: does not divide the 16 pictures"):
        Volume(in_chans=16, n_chains=3, **TINY)
    with pytest.raises(UserError, match="unknown model.input_norm 'layer'"):
        Volume(in_chans=16, input_norm="layer", **TINY)
    with pytest.raises(UserError, match="model.backbone=resnet_gru: timm .* has no such model"):
        Volume(in_chans=16, **(TINY | {"backbone": "resnet_gru"}))
    with pytest.raises(UserError, match="model.head_width=0: needs at least 1"):
        Volume(in_chans=16, **(TINY | {"head_width": 0}))
