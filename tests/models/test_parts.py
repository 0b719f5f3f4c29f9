"""Pieces that networks share."""

from __future__ import annotations

import torch

from hbac.models.parts import DropPath, GeM, HeadNorm


def test_gem_lies_between_mean_and_maximum() -> None:
    x = torch.rand(3, 5, 4, 6)
    mean, most = x.mean(dim=(2, 3), keepdim=True), x.amax(dim=(2, 3), keepdim=True)
    torch.testing.assert_close(GeM(1.0)(x), mean)
    assert ((GeM(3.0)(x) > mean) & (GeM(3.0)(x) < most)).all()
    torch.testing.assert_close(GeM(200.0)(x), most, rtol=0.03, atol=0)
    torch.testing.assert_close(GeM(1.0, axis=2)(x), x.mean(2, keepdim=True))


def test_dropped_paths_leave_the_mean() -> None:
    torch.manual_seed(0)
    branch = torch.ones(20_000, 3, 2)
    dropped = DropPath(0.25)(branch)
    assert set(dropped.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert torch.equal(dropped, dropped[:, :1, :1].expand_as(dropped))  # whole windows
    torch.testing.assert_close(dropped.mean(), torch.tensor(1.0), atol=0.02, rtol=0)
    assert torch.equal(DropPath(0.25).eval()(branch), branch)


def test_a_single_window_is_normalised_by_running_statistics() -> None:
    norm = HeadNorm(3)
    norm(torch.randn(64, 3) * 2 + 5)
    before = norm.running_mean.clone()
    alone = norm(torch.full((1, 3), 5.0))
    assert torch.equal(alone, norm.eval()(torch.full((1, 3), 5.0)))
    assert torch.equal(norm.running_mean, before)
    torch.testing.assert_close(norm.train()(torch.randn(500, 3)).std(0), torch.ones(3), atol=0.01, rtol=0)
