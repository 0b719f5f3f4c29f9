"""What the networks of the zoo cost: counted on networks whose numbers are known."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from hbac.cli.costs import cost, families, network_with_input
from hbac.cli.launch import composed
from hbac.cli.listing import listed


def test_multiply_adds_and_parameters_are_those_of_the_layers() -> None:
    network = nn.Sequential(nn.Conv1d(4, 8, 5, padding=2, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 100, 6))
    found = cost(network, torch.zeros(1, 4, 100))
    assert found.shape == (4, 100)
    assert found.parameters == 4 * 8 * 5 + 800 * 6 + 6
    assert found.multiply_adds == 100 * 8 * 4 * 5 + 800 * 6


def test_every_family_of_the_zoo_is_a_recipe_of_its_own(conf: Path) -> None:
    found = families(conf)
    assert len(set(found)) == len(found) >= 4
    for name in found:
        node = yaml.safe_load((conf / "experiment" / f"{name}.yaml").read_text())
        assert any("override /model" in entry for entry in node["defaults"]), name
        assert "hydra" not in node  # a sweep of its own could not be part of this one


def test_the_zoo_takes_a_family_s_settings_whole() -> None:
    alone = composed(["experiment=zoom_inside"])
    swept = composed(["experiment=zoo", "+experiment@_global_=zoom_inside"])
    assert all(swept[group] == alone[group] for group in ("front_end", "model"))
    network, x = network_with_input(composed(["experiment=efficientnet_1d"]))
    assert x.shape == (1, 16, 2000)
    assert network(x).shape == (1, 6)


@pytest.mark.slow
def test_the_table_of_the_zoo(conf: Path) -> None:
    lines = {line.split()[0]: line for line in listed("zoo", conf).splitlines() if line.strip()}
    assert set(families(conf)) <= set(lines)
    assert "16 x 2000" in lines["efficientnet_1d"]
    assert "3 x 1024 x 850" in lines["zoom_inside"]
    assert "1.09 M" in lines["sparcnet"]
