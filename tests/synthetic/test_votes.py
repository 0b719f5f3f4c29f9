"""Shares of votes follow what can be seen; the floor's expectation is exact."""

from __future__ import annotations

import itertools
from dataclasses import replace
from math import factorial, prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hbac.synthetic import simulate_window
from hbac.synthetic.patient import draw_patient
from hbac.synthetic.patterns import draw_periodic, draw_rhythmic
from hbac.synthetic.recording import draw_session, render
from hbac.synthetic.votes import draw_votes, expected_kl, kl, leaning, true_shares
from hbac.vocabulary import CLASSES


def test_expected_kl_equals_the_sum_over_all_outcomes() -> None:
    shares = np.array([0.5, 0.2, 0.1, 0.1, 0.06, 0.04])
    n, total = 4, 0.0
    for votes in itertools.product(range(n + 1), repeat=6):
        if sum(votes) == n:
            weight = factorial(n) / prod(factorial(v) for v in votes) * prod(shares ** np.array(votes))
            total += weight * float(kl(np.array([votes]), shares[None])[0])
    assert expected_kl(n, shares) == pytest.approx(total, rel=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.05, 1), min_size=6, max_size=6), st.integers(1, 28), st.integers(0, 2**32 - 1))
def test_kl_of_drawn_votes_is_never_negative_and_votes_add_up(weights: list[float], count: int, seed: int) -> None:
    shares = np.array(weights) / sum(weights)
    votes = draw_votes(np.random.default_rng(seed), shares, count)
    assert votes.sum() == count
    assert kl(votes[None], shares[None])[0] >= -1e-12


def test_drawn_votes_cost_what_the_expectation_says() -> None:
    rng = np.random.default_rng(0)
    shares = np.array([0.4, 0.3, 0.1, 0.1, 0.05, 0.05])
    votes = np.stack([draw_votes(rng, shares, 6) for _ in range(6000)])
    assert kl(votes, np.tile(shares, (6000, 1))).mean() == pytest.approx(expected_kl(6, shares), rel=0.03)


def test_leaning_moves_with_side_shape_and_rate() -> None:
    rng = np.random.default_rng(3)
    patient = draw_patient(rng)
    lateral = replace(draw_periodic(rng, patient, general=False), roundness=0.1)
    while abs(lateral.lateral) < 0.7:
        lateral = replace(draw_periodic(rng, patient, general=False), roundness=0.1)
    assert CLASSES[int(leaning(lateral, 1.0).argmax())] == "lpd"
    assert CLASSES[int(leaning(replace(lateral, roundness=0.9), 1.5).argmax())] == "lrda"
    assert CLASSES[int(leaning(lateral, 3.2).argmax())] == "seizure"
    general = draw_rhythmic(rng, patient, general=True)
    while abs(general.lateral) > 0.2:
        general = draw_rhythmic(rng, patient, general=True)
    assert CLASSES[int(leaning(general, 1.5).argmax())] == "grda"
    for pattern, rate in ((lateral, 0.5), (lateral, 2.5), (general, 2.0)):
        assert leaning(pattern, rate).sum() == pytest.approx(1)
        assert (leaning(pattern, rate) >= 0).all()


def test_a_fainter_pattern_is_more_often_other() -> None:
    rng = np.random.default_rng(11)
    patient = draw_patient(rng)
    session = draw_session(rng, patient, [("gpd", 300.0)], 600.0)
    others = []
    for scale in (3.0, 0.05):
        faint = replace(
            session, episodes=tuple(replace(e, scale=scale, start_s=0, stop_s=600) for e in session.episodes)
        )
        rendered = render(np.random.default_rng(1), faint, 275.0, 10000, 200.0)
        others.append(true_shares(faint, rendered, 0.0)[5])
    assert others[0] < 0.2 < 0.7 < others[1]


def test_the_label_concerns_the_central_ten_seconds() -> None:
    rng = np.random.default_rng(11)
    session = draw_session(rng, draw_patient(rng), [("gpd", 300.0)], 600.0)
    others = []
    for start_s, stop_s in ((294.0, 306.0), (275.0, 293.0)):
        only = replace(session.episodes[0], scale=3.0, start_s=start_s, stop_s=stop_s, ramp_s=0.5)
        alone = replace(session, episodes=(only,))
        rendered = render(np.random.default_rng(1), alone, 275.0, 10000, 200.0)
        others.append(true_shares(alone, rendered, 0.0)[5])
    assert others[0] < 0.2 < 0.7 < others[1]


@pytest.mark.parametrize("label", CLASSES)
def test_the_wanted_class_gets_most_votes_on_average(label: str) -> None:
    shares = np.mean([simulate_window(label, seed)[1]["shares"] for seed in range(10)], axis=0)
    assert shares.argmax() == CLASSES.index(label)
    assert shares.sum() == pytest.approx(1)
