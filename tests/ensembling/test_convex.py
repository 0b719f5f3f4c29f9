"""The convex blend: optimal by certificate, equal to a general solver, and blind to order and copies."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from scipy.optimize import minimize

from hbac.ensembling.convex import fit_convex
from hbac.evaluation.metric import kl_rows
from tests.ensembling.standin import make_standin


def score(weights, probs, targets):
    return kl_rows(targets, np.einsum("m,mnk->nk", weights, probs.astype(np.float64))).mean()


def random_problem(seed: int, n_members: int = 4, n_rows: int = 60):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.full(6, 0.7), (n_members, n_rows)), rng.dirichlet(np.full(6, 0.5), n_rows)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_no_other_weights_score_better(seed):
    probs, targets = random_problem(seed)
    fit = fit_convex(probs, targets, prune_below=0)
    assert fit.weights.min() >= 0
    assert fit.weights.sum() == pytest.approx(1, abs=1e-9)
    assert fit.gap <= 1e-7
    mine = score(fit.weights, probs, targets)
    for other in np.random.default_rng(seed).dirichlet(np.ones(4), 200):
        assert mine <= score(other, probs, targets) + 2e-7
    for m in range(4):
        assert mine <= score(np.eye(4)[m], probs, targets) + 2e-7


def test_equals_a_general_solver():
    probs, targets = random_problem(3, n_members=5, n_rows=300)
    fit = fit_convex(probs, targets, prune_below=0)
    general = minimize(
        score,
        np.full(5, 0.2),
        (probs, targets),
        method="SLSQP",
        bounds=[(0, 1)] * 5,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        options={"ftol": 1e-12},
    )
    np.testing.assert_allclose(fit.weights, general.x, atol=2e-3)
    assert score(fit.weights, probs, targets) <= general.fun + 1e-7


def test_gap_bounds_the_distance_to_the_optimum():
    probs, targets = random_problem(4, n_rows=200)
    best = score(fit_convex(probs, targets, prune_below=0).weights, probs, targets)
    for gap in (1e-1, 1e-2, 1e-3):
        rough = fit_convex(probs, targets, gap=gap, prune_below=0)
        assert score(rough.weights, probs, targets) - best <= rough.gap + 1e-7
        assert rough.gap <= gap


def test_finds_planted_weights():
    standin = make_standin(n_rows=12_000, n_members=12, truth="convex", seed=1)
    exact = fit_convex(standin.probs, standin.truth)  # targets without noise: the planted blend is the optimum
    np.testing.assert_allclose(exact.weights, standin.weights, atol=2e-3)
    noisy = fit_convex(standin.probs, standin.targets)
    assert score(noisy.weights, standin.probs, standin.truth) == pytest.approx(0, abs=2e-3)


def test_order_of_rows_and_members_and_copies_do_not_matter():
    probs, targets = random_problem(6, n_members=6, n_rows=400)
    plain = fit_convex(probs, targets).weights
    rng = np.random.default_rng(0)
    rows, members = rng.permutation(400), rng.permutation(6)
    shuffled = fit_convex(probs[members][:, rows], targets[rows]).weights
    np.testing.assert_allclose(shuffled, plain[members], atol=1e-4)
    top = int(plain.argmax())
    doubled = fit_convex(np.concatenate([probs, probs[[top, top]]]), targets).weights
    assert doubled[[top, 6, 7]].sum() == pytest.approx(plain[top], abs=1e-4)
    np.testing.assert_allclose(np.delete(doubled[:6], top), np.delete(plain, top), atol=1e-4)


def test_small_weights_are_pruned_and_the_rest_fitted_again():
    standin = make_standin(n_rows=3000, n_members=20, seed=2)
    full = fit_convex(standin.probs, standin.targets, prune_below=0)
    pruned = fit_convex(standin.probs, standin.targets, prune_below=0.05)
    assert (pruned.weights > 0).sum() < (full.weights > 0).sum()
    assert pruned.weights.sum() == pytest.approx(1)
    kept = pruned.weights > 0
    again = fit_convex(standin.probs[kept], standin.targets, prune_below=0)
    np.testing.assert_allclose(pruned.weights[kept], again.weights, atol=1e-5)
    loss = score(pruned.weights, standin.probs, standin.targets) - score(full.weights, standin.probs, standin.targets)
    assert 0 <= loss <= pruned.gap + 1e-7


def test_probabilities_of_zero_are_survived():
    targets = np.eye(6)[[0, 1, 2, 3]]
    sure = np.eye(6)[[0, 1, 2, 4]]  # right three times, then certain and wrong
    uniform = np.full((4, 6), 1 / 6)
    fit = fit_convex(np.stack([sure, uniform]), targets, prune_below=0)
    # d/dw of 3 log(w + (1-w)/6) + log((1-w)/6) is 0 at w = 7/10
    np.testing.assert_allclose(fit.weights, [0.7, 0.3], atol=1e-3)
    only = fit_convex(sure[None], targets)
    assert only.weights.tolist() == [1.0]
