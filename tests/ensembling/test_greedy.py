"""Greedy selection against the definition, one pick at a time."""

from __future__ import annotations

import numpy as np
import pytest

from hbac.ensembling.convex import fit_convex
from hbac.ensembling.greedy import fit_greedy
from hbac.evaluation.metric import kl_rows
from tests.ensembling.standin import make_standin


def test_each_pick_is_the_best_one():
    standin = make_standin(n_rows=400, n_members=6, seed=1)
    probs = standin.probs.astype(float)

    def score(counts):
        return kl_rows(standin.targets, np.tensordot(counts / counts.sum(), probs, axes=1)).mean()

    counts, best, expected = np.zeros(6), np.inf, None
    for _ in range(12):
        scores = [score(counts + np.eye(6)[m]) for m in range(6)]
        counts[int(np.argmin(scores))] += 1
        if min(scores) < best:
            best, expected = min(scores), counts / counts.sum()
    weights = fit_greedy(standin.probs, standin.targets, max_picks=12)
    np.testing.assert_allclose(weights, expected, atol=1e-12)


def test_comes_near_the_convex_optimum_and_not_below():
    standin = make_standin(n_rows=1500, n_members=6, seed=2)

    def score(weights):
        return kl_rows(standin.targets, np.tensordot(weights, standin.probs.astype(float), axes=1)).mean()

    optimum = score(fit_convex(standin.probs, standin.targets, prune_below=0).weights)
    assert optimum - 1e-6 <= score(fit_greedy(standin.probs, standin.targets)) <= optimum + 1e-3
    assert fit_greedy(standin.probs[:1], standin.targets).tolist() == pytest.approx([1.0])
