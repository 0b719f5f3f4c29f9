"""The log-linear blend: closed forms, a general solver, a planted blend, and what shrinkage does."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import softmax

from hbac.ensembling.blends import centred_logs
from hbac.ensembling.log_linear import Strength, fit_log_linear
from hbac.evaluation.metric import kl_rows
from tests.ensembling.standin import make_standin


@pytest.fixture(scope="module")
def standin():
    return make_standin(n_rows=1500, n_members=4, seed=4)


def objective(weights, bias, logs, targets, strength):
    logits = np.einsum("mk,mnk->nk", weights, logs.astype(float)) + bias
    loss = -(targets * np.log(softmax(logits, axis=1))).sum(axis=1).mean()
    member = weights.mean(axis=1, keepdims=True)
    penalty = 6 * strength.members * np.square(member - member.mean()).sum()
    if np.isfinite(strength.classes):
        penalty += strength.classes * np.square(weights - member).sum()
    return loss + len(weights) * penalty + np.square(bias).sum() / (2 * len(targets))


@pytest.mark.parametrize("by_class", [False, True])
def test_equals_a_general_solver(standin, by_class):
    logs = centred_logs(standin.probs)
    # one weight per member: the penalty counts members, not members times classes
    strength = Strength(0.01, 0.02) if by_class else Strength(0.06)
    (fit,) = fit_log_linear(logs, standin.targets, [strength], prune_below=0)
    compared = strength if by_class else Strength(0.01)

    def loss(theta):
        weights = theta[:24].reshape(4, 6) if by_class else np.repeat(theta[:4, None], 6, axis=1)
        return objective(weights, theta[-6:], logs, standin.targets, compared)

    general = minimize(loss, np.concatenate([np.full(24 if by_class else 4, 0.25), np.zeros(6)]), method="BFGS")
    mine = objective(fit.weights, fit.bias, logs, standin.targets, compared)
    assert mine == pytest.approx(general.fun, abs=2e-6)
    if not by_class:
        assert np.ptp(fit.weights, axis=1).max() == 0


def test_temperature_is_free_and_infinite_strength_is_the_plain_mean(standin):
    logs = centred_logs(standin.probs)
    for strength in (Strength(1e6), Strength(1e6, 1e6)):
        (fit,) = fit_log_linear(logs, standin.targets, [strength])
        np.testing.assert_allclose(fit.weights, fit.weights.mean(), atol=1e-4)
    cooler = centred_logs(softmax(0.5 * logs.astype(float), axis=-1))
    (cool,) = fit_log_linear(cooler, standin.targets, [Strength(1e6)])
    (warm,) = fit_log_linear(logs, standin.targets, [Strength(1e6)])
    assert cool.weights.mean() == pytest.approx(2 * warm.weights.mean(), rel=0.01)


def test_finds_a_planted_blend():
    planted = make_standin(n_rows=12_000, n_members=10, truth="log_linear", seed=2)
    (fit,) = fit_log_linear(centred_logs(planted.probs), planted.truth, [Strength(0.0)], prune_below=0)
    np.testing.assert_allclose(fit.weights[:, 0], 1.2 * planted.weights, atol=0.02)
    np.testing.assert_allclose(fit.bias, 0, atol=0.02)
    (noisy,) = fit_log_linear(centred_logs(planted.probs), planted.targets, [Strength(1e-4)])
    excess = kl_rows(planted.truth, noisy.apply(planted.probs)).mean()
    assert excess < 1.5 * (10 + 6) / (2 * 12_000)  # what estimating so many parameters costs, at one vote a row


def test_class_bias_mends_a_prior_shift(standin):
    shift = np.array([1.0, -0.5, 0.3, 0.0, -0.8, 0.0])
    shifted = softmax(np.log(standin.truth) + shift, axis=1)[None].astype(np.float32)
    (fit,) = fit_log_linear(centred_logs(shifted), standin.truth, [Strength(1e-3)])
    np.testing.assert_allclose(fit.bias, -(shift - shift.mean()), atol=0.02)
    np.testing.assert_allclose(fit.weights, 1, atol=0.02)


def test_negligible_members_are_pruned(standin):
    noise = np.random.default_rng(0).dirichlet(np.ones(6), (1, 1500)).astype(np.float32)
    probs = np.concatenate([standin.probs, noise])
    (fit,) = fit_log_linear(centred_logs(probs), standin.targets, [Strength(0.0)], prune_below=0.2)
    assert not fit.used[4]
    (without,) = fit_log_linear(centred_logs(probs[fit.used]), standin.targets, [Strength(0.0)], prune_below=0)
    np.testing.assert_allclose(fit.weights[fit.used], without.weights, atol=2e-3)


def test_a_class_that_no_row_shows_gets_a_bias_that_is_finite():
    """Twenty rows know little; a class that they do not show may be in the next."""
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(6), 20)
    targets = np.eye(6)[rng.integers(0, 5, 20)]
    (fit,) = fit_log_linear(centred_logs(probs[None]), targets, [Strength(1e-3)])
    assert -3 < fit.bias[5] < -0.3
