"""A WaveNet for each derivation: what it sees of time, and how its maps stand on the picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hbac.common.errors import UserError
from hbac.models.wavenet_2d import GatedBlock, WaveNet2d

TINY = {"backbone": "test_efficientnet", "widths": (4, 8), "depths": (3, 2), "columns": 50}


def test_the_chains_mean_maps_stand_one_above_another() -> None:
    torch.manual_seed(0)
    network = WaveNet2d(n_chans=16, n_times=400, **TINY).eval()
    x = torch.randn(2, 16, 400)
    picture = network.picture(x)
    assert picture.shape == (2, 1, 4 * 8, 50)
    each = network.wavenet(x.reshape(32, 1, 400)).reshape(2, 4, 4, 8, 50, 8).mean((2, 5))  # (B, chain, F, column)
    torch.testing.assert_close(picture[:, 0], each.reshape(2, 32, 50))


def test_the_same_weights_read_every_derivation() -> None:
    torch.manual_seed(0)
    network = WaveNet2d(n_chans=16, n_times=400, **TINY).eval()
    x = torch.randn(1, 16, 400)
    within = x[:, [3, 2, 1, 0, *range(4, 16)]]  # a chain's order does not count
    torch.testing.assert_close(network.picture(within), network.picture(x))
    chains = x[:, [*range(4, 8), *range(4), *range(8, 16)]]  # the chains' does
    halves = network.picture(x)[:, :, : 2 * 8].unflatten(2, (2, 8))
    torch.testing.assert_close(network.picture(chains)[:, :, : 2 * 8].unflatten(2, (2, 8)), halves.flip(2))


def test_a_block_equals_its_statement_in_numpy() -> None:
    torch.manual_seed(0)
    block = GatedBlock(1, 2, 2).double()
    x = torch.randn(1, 1, 9, dtype=torch.float64)
    weights = {name: value.detach().numpy() for name, value in block.named_parameters()}
    y = weights["widen.weight"][:, 0] * x[0].numpy() + weights["widen.bias"][:, None]
    for k in range(2):
        padded = np.pad(y, ((0, 0), (2**k, 2**k)))
        taps = np.stack([padded[:, j * 2**k : j * 2**k + 9] for j in range(3)], axis=-1)  # (2, 9, 3)
        both = np.einsum("oij,itj->ot", weights[f"both.{k}.weight"], taps) + weights[f"both.{k}.bias"][:, None]
        gated = np.tanh(both[:2]) / (1 + np.exp(-both[2:]))
        y = y + weights[f"join.{k}.weight"][:, :, 0] @ gated + weights[f"join.{k}.bias"][:, None]
    np.testing.assert_allclose(block(x)[0].detach().numpy(), y, atol=1e-12)


def test_how_far_it_sees() -> None:
    torch.manual_seed(0)
    x = torch.zeros(1, 1, 101, dtype=torch.float64)
    x[..., 50] = 1
    block = GatedBlock(1, 2, 3).double()
    changed = (block(x) - block(torch.zeros_like(x))).abs().sum(1)[0] > 0
    assert changed.nonzero().flatten().tolist() == list(range(50 - 7, 50 + 8))  # 1 + 2 + 4 samples to each side


def test_bad_settings() -> None:
    with pytest.raises(UserError, match="model.n_chains=3: does not divide the 16 derivations"):
        WaveNet2d(n_chans=16, n_chains=3, **TINY)
    with pytest.raises(UserError, match=r"model.widths=\[4, 8\], model.depths=\[3\]: needs a width and a depth"):
        WaveNet2d(**(TINY | {"depths": (3,)}))
    with pytest.raises(UserError, match=r"a window of 40 samples \(1 s at 40 Hz\) is too short for model.columns=50"):
        WaveNet2d(n_times=40, **TINY)
    with pytest.raises(UserError, match="unknown model.input_norm 'layer'"):
        WaveNet2d(input_norm="layer", **TINY)
