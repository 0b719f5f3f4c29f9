from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hbac.common.errors import UserError
from hbac.models.resnet_gru import MultiKernelConv, ResidualBlock, ResNetGRU, asinh

SMALL = {"n_chans": 4, "filters": 4, "depth": 3, "width": 16, "gru_hidden": 8}


def test_parameter_count_of_the_defaults_adds_up():
    stem = 18 * 16 * (3 + 5 + 7 + 9)
    block = 2 * (2 * 64) + 2 * (64 * 64 * 3)
    gru = 2 * 3 * 64 * (64 + 64 + 2)
    head = (2 * 64 + 2 * (64 + 2 * 64) + 1) * 6
    assert sum(p.numel() for p in ResNetGRU().parameters()) == stem + 5 * block + 2 * 64 + gru + head == 184_198


def test_compression_keeps_small_values_and_tames_large_ones():
    torch.manual_seed(0)
    network = ResNetGRU(n_times=400, **SMALL).eval()
    plain = ResNetGRU(n_times=400, compress=False, **SMALL).eval()
    plain.load_state_dict(network.state_dict())
    x = 5 * torch.randn(2, 4, 400)
    torch.testing.assert_close(network(x), plain(x.asinh()))
    assert (network(x) - plain(x)).abs().max() > 1e-4


@settings(max_examples=25, deadline=None)
@given(
    n_times=st.integers(100, 900),
    kernels=st.lists(st.integers(2, 31), min_size=1, max_size=4),
    stem_pool=st.integers(1, 4),
    depth=st.integers(1, 4),
    step_s=st.floats(0.2, 3.0),
)
def test_any_window_length_and_any_kernels(n_times, kernels, stem_pool, depth, step_s):
    settings_ = {**SMALL, "kernels": kernels, "stem_pool": stem_pool, "depth": depth, "step_s": step_s}
    try:
        network = ResNetGRU(n_times=n_times, **settings_)
    except UserError as error:
        assert "too short" in str(error)
        assert n_times < 2 * max(2 * stem_pool, step_s * 40)
        return
    assert network(torch.randn(1, 4, n_times)).shape == (1, 6)


def test_weights_of_one_length_run_at_another():
    network = ResNetGRU(n_times=2000, **SMALL).eval()
    for n_times in (network.min_times, 1999, 10_000):
        assert torch.isfinite(network(torch.randn(2, 4, n_times))).all()
    with pytest.raises(UserError, match=f"{network.min_times - 1} samples is too short"):
        network(torch.randn(2, 4, network.min_times - 1))


def test_inverse_hyperbolic_sine_is_as_exact_as_torchs():
    x = torch.cat([torch.logspace(-30, 12, 10_001), torch.zeros(1), torch.tensor([32.0])])
    x = torch.cat([x, -x])
    exact = x.double().asinh()
    assert (asinh(x).double() - exact).abs().le(2.5e-7 * exact.abs()).all()
    torch.testing.assert_close(asinh(x.double()), exact, rtol=1e-15, atol=0)
    assert torch.autograd.gradcheck(asinh, torch.linspace(-3, 3, 7, dtype=torch.float64, requires_grad=True))


@pytest.mark.parametrize(
    ("sfreq", "step_s", "depth", "expected"),
    [(40.0, 1.6, 5, 64), (40.0, 1.59, 5, 32), (200.0, 1.6, 5, 256), (200.0, 1.6, 2, 32), (40.0, 0.01, 5, 8)],
)
def test_blocks_halve_the_rate_until_a_step_is_long_enough(sfreq, step_s, depth, expected):
    network = ResNetGRU(n_times=2000, sfreq=sfreq, step_s=step_s, depth=depth)
    assert network.min_times == 2 * expected


def test_lists_from_a_config_are_welcome():
    network = ResNetGRU(n_chans=2, n_times=400, kernels=[3, 7, 15, 31], depth=2, width=16, gru_layers=2)
    assert network(torch.zeros(1, 2, 400)).shape == (1, 6)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"kernels": []}, r"model\.kernels=\[\]"),
        ({"kernels": [3, 1]}, r"at least 2 samples"),
        ({"block_kernel": 4}, r"model\.block_kernel=4: must be odd"),
        ({"depth": 0}, r"model\.depth=0"),
        ({"n_chans": 0}, r"model\.n_chans=0"),
        ({"dropout": 1.0}, r"model\.dropout=1\.0"),
        ({"head_dropout": -0.1}, r"model\.head_dropout=-0\.1"),
        ({"step_s": 0.0}, r"model\.step_s=0\.0"),
        ({"n_times": 100}, r"100 samples is too short.*needs 128 \(3\.2 s at 40 Hz\)"),
    ],
)
def test_settings_out_of_range(setting, message):
    with pytest.raises(UserError, match=message):
        ResNetGRU(**setting)


@pytest.mark.parametrize("kernels", [(3, 5, 7, 9), (9, 3), (3, 7, 15, 31), (5,)])
@pytest.mark.parametrize("n_times", [64, 65])
def test_stem_equals_one_convolution_for_each_odd_kernel(kernels, n_times):
    torch.manual_seed(0)
    stem = MultiKernelConv(3, 4, kernels, stride=2)
    x = torch.randn(2, 3, n_times)
    apart = [F.conv1d(x, w, stride=2, padding=w.shape[2] // 2) for w in stem.weights]
    torch.testing.assert_close(stem(x.unsqueeze(2)).squeeze(2), torch.cat(apart, dim=1), rtol=1e-5, atol=1e-5)


def test_stem_centres_even_kernels_within_half_a_sample():
    stem = MultiKernelConv(1, 1, [4, 9], stride=1)
    with torch.no_grad():
        for weight in stem.weights:
            weight.fill_(1.0)
    click = torch.zeros(1, 1, 1, 101)
    click[..., 50] = 1.0
    response = stem(click)[0, :, 0]
    middle = (response * torch.arange(101)).sum(dim=1) / response.sum(dim=1)
    assert middle.tolist() == pytest.approx([50.5, 50.0])


def test_block_is_a_plain_shortcut_when_its_convolutions_are_silent():
    block = ResidualBlock(8, 8, kernel=3, pool=2, dropout=0.0)
    nn.init.zeros_(block.conv2.weight)
    x = torch.randn(2, 8, 1, 10)
    assert torch.equal(block(x), F.max_pool2d(x, (1, 2)))


def test_dropout_takes_whole_features():
    block = ResidualBlock(32, 32, kernel=1, pool=1, dropout=0.5)
    with torch.no_grad():
        block.conv1.weight.copy_(torch.eye(32)[:, :, None, None])
        block.conv2.weight.copy_(torch.eye(32)[:, :, None, None])
    x = torch.randn(4, 32, 1, 50)
    gone_BFS = (block(x) - x == 0).squeeze(2)
    dropped_BF = gone_BFS.all(dim=2)
    assert 0.3 < dropped_BF.float().mean() < 0.7
    assert not gone_BFS[~dropped_BF].all(dim=1).any()


def test_learns_which_half_of_the_derivations_oscillates():
    """Eight steps on four windows: the loss falls far below chance, so no path is cut or saturated."""
    torch.manual_seed(0)
    t = torch.arange(400) / 40
    x = 0.3 * torch.randn(16, 4, 400)
    y = torch.arange(16) % 2
    x[y == 0, :2] += torch.sin(2 * torch.pi * 2 * t)
    x[y == 1, 2:] += torch.sin(2 * torch.pi * 2 * t)
    network = ResNetGRU(n_times=400, n_outputs=2, **SMALL)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(25):
        loss = F.cross_entropy(network(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert F.cross_entropy(network.eval()(x), y) < 0.2
