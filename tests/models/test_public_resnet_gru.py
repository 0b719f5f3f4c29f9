"""What is particular about the public network: the length of its head, and the errors."""

from __future__ import annotations

import pytest
import torch

from hbac.common.errors import UserError
from hbac.models import PublicResNetGRU


@pytest.mark.parametrize("n_times", [200, 333, 2000, 10_000])
def test_the_head_follows_the_window(n_times: int) -> None:
    network = PublicResNetGRU(n_chans=2, n_times=n_times, filters=2, depth=5, gru_hidden=2).eval()
    assert network(torch.randn(1, 2, n_times)).shape == (1, 6)


def test_the_public_size() -> None:
    # 8 derivations of 50 s at 40 Hz, 24 filters, nine blocks: 7 samples are left before the pool, 1 behind it.
    assert PublicResNetGRU().final_layer.in_features == 24 * 1 + 2 * 128


def test_both_directions_of_the_gru_read_the_whole_window() -> None:
    network = PublicResNetGRU(n_chans=2, n_times=200, depth=3, gru_hidden=4).eval()
    torch.nn.init.zeros_(network.final_layer.weight[:, :-8])  # the convolutions away
    x = torch.randn(1, 2, 200, requires_grad=True)
    for half in (slice(-8, -4), slice(-4, None)):
        (gradient,) = torch.autograd.grad(network(x)[0] @ torch.randn(6), x)
        assert (gradient.abs().sum(dim=1) > 0).all(), half


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_times": 100}, "100 samples .2.5 s. is too short"),
        ({"block_kernel": 4}, "model.block_kernel=4: must be odd"),
        ({"kernels": []}, "model.kernels"),
        ({"filters": 0}, "model.filters=0: needs at least 1"),
    ],
)
def test_bad_settings(settings: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        PublicResNetGRU(**settings)  # type: ignore[arg-type]


def test_another_length_than_it_was_made_for() -> None:
    network = PublicResNetGRU(n_chans=1, n_times=200, depth=2, gru_hidden=2)
    with pytest.raises(UserError, match="a window of 201 samples; this network was made for 200"):
        network(torch.zeros(1, 1, 201))
