"""Random numbers without state: pure, uniform, independent."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hbac.signal.chance import draw, row_keys, uniforms

INTS = st.integers(-(2**63), 2**63 - 1)


def _splitmix64(state: int) -> int:
    """The published function in Python's unbounded integers."""
    mask = 2**64 - 1
    z = state & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


@settings(max_examples=50)
@given(st.integers(0, 2**31 - 1), st.integers(0, 10_000), INTS)
def test_keys_are_splitmix64_of_seed_epoch_and_row(seed: int, epoch: int, row: int) -> None:
    golden = 0x9E3779B97F4A7C15
    key = seed
    for number in (epoch, row):
        key = _splitmix64(key + golden) + number
    wanted = _splitmix64(key + golden)
    assert int(row_keys(seed, epoch, torch.tensor([row]))[0]) % 2**64 == wanted


def test_a_rows_numbers_depend_on_nothing_else() -> None:
    rows = torch.arange(1000, 1032)
    together = uniforms(row_keys(7, 3, rows), "gain", 5)
    torch.manual_seed(0)
    order = torch.randperm(32)
    assert torch.equal(uniforms(row_keys(7, 3, rows[order]), "gain", 5), together[order])
    assert torch.equal(uniforms(row_keys(7, 3, rows[4:5]), "gain", 2), together[4:5, :2])
    assert torch.equal(uniforms(row_keys(7, 3, rows.int()), "gain", 5), together)


def test_seed_epoch_row_and_purpose_all_count_and_do_not_add_up() -> None:
    row = torch.tensor([5])
    numbers = [
        float(uniforms(row_keys(seed, epoch, row + step), purpose)[0, 0])
        for seed in range(4)
        for epoch in range(4)
        for step in range(4)
        for purpose in ("swap", "gain")
    ]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("rows", [torch.arange(20_000), torch.arange(20_000) * 4096 + 17])
def test_numbers_are_uniform_and_uncorrelated(rows: torch.Tensor) -> None:
    u = uniforms(row_keys(0, 0, rows), "test", 3).numpy()
    assert u.min() >= 0
    assert u.max() < 1
    assert scipy.stats.kstest(u[:, 0], "uniform").pvalue > 1e-3
    other = uniforms(row_keys(0, 1, rows), "test").numpy()[:, 0]
    for a, b in ((u[:, 0], u[:, 1]), (u[:, 0], other), (u[:-1, 0], u[1:, 0])):
        assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(len(a))


def test_purposes_drawn_together_have_the_numbers_that_each_has_alone() -> None:
    keys = row_keys(7, 3, torch.arange(16))
    together = draw(keys, {"gain": 5, "swap?": 1, "drop which": 19})
    assert {purpose: numbers.shape for purpose, numbers in together.items()} == {
        "gain": (16, 5), "swap?": (16, 1), "drop which": (16, 19)
    }  # fmt: skip
    for purpose, numbers in together.items():
        assert torch.equal(numbers, uniforms(keys, purpose, numbers.shape[1]))
    assert draw(keys, {}) == {}


def test_numbers_stay_what_they_were() -> None:
    """Runs that go on after an update draw as they began."""
    numbers = uniforms(row_keys(3, 2, torch.tensor([100])), "gain", 3) * (1 << 24)
    assert numbers.tolist() == [[6475774, 14277336, 14647843]]
