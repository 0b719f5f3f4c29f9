"""EfficientNet along time: its size, its chains, and window lengths."""

from __future__ import annotations

import pytest
import torch

from hbac.common.errors import UserError
from hbac.models import EfficientNet1d

SMALL = {"stem_width": 8, "widths": (8, 16), "kernels": (3, 5), "depth": 1}


def test_parameters_are_those_counted_of_the_published_network() -> None:
    network = EfficientNet1d(n_chans=16, n_times=1920)
    counted = [sum(p.numel() for p in part.parameters()) for part in (network.stem, network.stages, network.head)]
    assert round(sum(counted[:2]) / 1e6, 2) == 5.55  # without the head, as it was counted
    assert counted[2] == 384 * 384 + 2 * 384


def test_a_window_becomes_a_map_of_chains_and_times() -> None:
    network = EfficientNet1d(n_chans=16, n_times=1920).eval()
    shapes = []
    network.stages.register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape)))
    with torch.no_grad():
        assert network(torch.randn(1, 16, 1920)).shape == (1, 6)
        assert network(torch.randn(1, 16, 400)).shape == (1, 6)  # 10 s
    assert shapes == [(1, 384, 4, 60), (1, 384, 4, 12)]


def test_derivations_of_a_chain_are_its_channels() -> None:
    torch.manual_seed(0)
    network = EfficientNet1d(n_chans=16, n_times=400, **SMALL).eval()
    x = torch.randn(1, 16, 400)
    seen = []
    network.stem.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    network(x)
    for chain in range(4):
        for i in range(4):
            assert torch.equal(seen[0][0, i, chain], x[0, 4 * chain + i])


def test_other_numbers_of_derivations_are_channels_only() -> None:
    assert EfficientNet1d(n_chans=18, n_times=400, **SMALL).n_chains == 1
    assert EfficientNet1d(n_chans=18, n_times=400, n_chains=2, **SMALL).n_chains == 2
    with pytest.raises(UserError, match="model.n_chains=4: does not divide the 18 derivations; montage=chains_16"):
        EfficientNet1d(n_chans=18, n_chains=4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_times": 20}, r"a window of 20 samples .* needs 32 \(0.8 s at 40 Hz\)"),
        ({"kernels": (3, 3, 4, 5, 3)}, "must be odd"),
        ({"kernels": (3,)}, "a kernel for each stage"),
        ({"drop_path": 1.0}, r"model.drop_path=1.0: must lie in \[0, 1\)"),
        ({"depth": 0}, "model.depth=0: needs at least 1"),
    ],
)
def test_bad_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        EfficientNet1d(**settings)  # type: ignore[arg-type]
