"""Convolutions and Squeezeformer blocks: moments, positions, what the published recipe fixes."""

from __future__ import annotations

import pytest
import torch

from hbac.common.errors import UserError
from hbac.models import ConvSqueezeformer
from hbac.models.conv_squeezeformer import RotaryAttention, rotate


@pytest.mark.parametrize(("n_times", "moments"), [(10_000, 313), (2000, 63), (400, 13)])
def test_a_window_becomes_moments(n_times: int, moments: int) -> None:
    network = ConvSqueezeformer(n_chans=16, n_times=n_times).eval()
    shapes = []
    network.blocks.register_forward_hook(lambda _, args, __: shapes.append(tuple(args[0].shape)))
    with torch.no_grad():
        assert network(torch.randn(1, 16, n_times)).shape == (1, 6)
    assert shapes == [(1, moments, 128)]


def test_products_of_rotated_features_depend_on_the_distance_of_their_moments() -> None:
    query, key = torch.randn(2, 8), torch.randn(2, 8)
    turned_query, turned_key = (rotate(x.expand(1, 40, 2, 8)) for x in (query, key))
    product_NTT = torch.einsum("btnf,bsnf->nts", turned_query, turned_key)
    for distance in (0, 3, 17):
        same = product_NTT.diagonal(distance, 1, 2)
        torch.testing.assert_close(same, same[:, :1].expand_as(same), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(product_NTT[:, 0, 0], product_NTT[:, 0, 3], atol=1e-3)
    torch.testing.assert_close(turned_query.square().sum(), 40 * query.square().sum())


def test_attention_equals_its_formula() -> None:
    torch.manual_seed(0)
    attention, x = RotaryAttention(8, 2, 0.3).eval(), torch.randn(1, 5, 8)
    query, key = (rotate(part.view(1, 5, 2, 4)) for part in attention.queries_keys(x).split(8, dim=2))
    share = (torch.einsum("btnf,bsnf->bnts", query, key) / 4**0.5).softmax(3)
    found = torch.einsum("bnts,bsnf->btnf", share, attention.values(x).view(1, 5, 2, 4)).flatten(2)
    torch.testing.assert_close(attention(x), attention.out(found))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_times": 60}, r"a window of 60 samples .* needs 64 \(0.32 s at 200 Hz\)"),
        ({"width": 100, "n_heads": 8}, "model.width=100, model.n_heads=8: the width must be a multiple"),
        ({"conv_kernel": 50}, "model.conv_kernel=50: must be odd"),
        ({"dropout": -0.1}, r"model.dropout=-0.1: must lie in \[0, 1\)"),
        ({"n_blocks": 0}, "model.n_blocks=0: needs at least 1"),
    ],
)
def test_bad_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ConvSqueezeformer(**settings)  # type: ignore[arg-type]
