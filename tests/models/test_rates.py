from __future__ import annotations

import pytest
import torch
from torch import nn

from hbac.models import ResNetGRU
from hbac.models.rates import layerwise_groups


def test_rates_fall_from_the_last_stage_to_the_first():
    stages = [nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2)]
    groups = layerwise_groups(stages, lr=0.8, decay=0.5)
    rate_of = {id(p): g["lr"] for g in groups for p in g["params"]}
    assert [rate_of[id(stage.weight)] for stage in stages] == pytest.approx([0.2, 0.4, 0.8])


def test_vectors_have_no_weight_decay_and_kernels_keep_the_optimisers():
    network = ResNetGRU(n_chans=2, n_times=400, depth=2, width=16)
    groups = layerwise_groups([network], lr=1e-3)
    optimiser = torch.optim.AdamW(groups, lr=1.0, weight_decay=0.05)
    assert [(g["lr"], g["weight_decay"]) for g in optimiser.param_groups] == [(1e-3, 0.05), (1e-3, 0.0)]
    assert all(p.ndim == 1 for p in groups[1]["params"])
    assert sum(len(g["params"]) for g in groups) == len(list(network.parameters()))


def test_frozen_parameters_and_empty_groups_are_left_out():
    frozen = nn.Linear(2, 2, bias=False).requires_grad_(False)
    assert [len(g["params"]) for g in layerwise_groups([frozen, nn.Linear(2, 2, bias=False)], lr=0.1)] == [1]


def test_a_parameter_in_two_stages_is_our_mistake():
    layer = nn.Linear(2, 2)
    with pytest.raises(AssertionError, match="two stages"):
        layerwise_groups([layer, layer], lr=0.1)
