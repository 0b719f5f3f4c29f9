"""Votes come about as the competition's did and have their figures; their distribution, and so the floor, is exact."""

from __future__ import annotations

import itertools
from math import comb, factorial, prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hbac.synthetic.comparison import simulated_figures, votes_table
from hbac.synthetic.labels import Evidence, Plan, _votes, draw_labels, vote_distribution
from hbac.synthetic.population import KEEP, MIXES, MOST_AMBIGUOUS
from hbac.synthetic.raters import agreed, mean_xlogx, outcomes, panel
from hbac.synthetic.reference import ALLOWED, HMS_FIGURES, vote_figures
from hbac.synthetic.votes import floors, kl
from hbac.vocabulary import CLASSES, N_CLASSES


def evidence(label: str, second: str, ambiguity: float, *, many: bool = True) -> Evidence:
    k = CLASSES.index(label)
    return Evidence(k, CLASSES.index(second), ambiguity, float(MIXES[many].spread[k]), MIXES[many].seconds[k])


@pytest.mark.parametrize("size", ["medium", "large"])
def test_votes_have_the_figures_of_the_competition(size: str) -> None:
    for population, found in simulated_figures(size).items():
        wanted = HMS_FIGURES[population]
        assert found.top == pytest.approx(wanted.top, abs=0.02)
        assert found.unanimous == pytest.approx(wanted.unanimous, abs=0.03)
        assert found.entropy == pytest.approx(wanted.entropy, abs=0.05)
        np.testing.assert_allclose(found.shares, wanted.shares, atol=0.02)
        np.testing.assert_allclose(found.by_consensus, wanted.by_consensus, atol=0.06)
        np.testing.assert_allclose(found.rows_per_eeg, wanted.rows_per_eeg, rtol=1 / 3)
        np.testing.assert_allclose(found.first, wanted.first, atol=0.03)
        assert found.eegs / sum(f.eegs for f in simulated_figures(size).values()) == pytest.approx(
            wanted.eegs / (11_845 + 5_903), abs=0.03
        )


def test_numbers_of_votes_are_those_of_the_competition() -> None:
    eegs = [eeg for patient in draw_labels((0,), Plan(4000, (1.0,), 60, 0.0)) for eeg in patient]
    count = np.concatenate([eeg.votes.sum(axis=1) for eeg in eegs])
    few, many = count[count <= 7], count[count >= 10]
    assert len(few) + len(many) == len(count)
    assert (few.min(), many.min()) == (1, 10)
    assert many.max() <= 28
    assert few.mean() == pytest.approx(3.0, abs=0.1)
    assert many.mean() == pytest.approx(14.3, abs=0.3)
    assert np.mean(few == 3) == pytest.approx(0.776, abs=0.03)
    assert np.mean(many == 15) == pytest.approx(0.267, abs=0.04)


def test_figures_count_rows_by_their_eeg_and_weight() -> None:
    votes = np.array([[0, 0, 3, 0, 0, 0], [0, 1, 2, 0, 0, 0], [4, 0, 0, 0, 0, 0], [12, 0, 0, 0, 0, 0]])
    found = vote_figures(votes, np.array([7, 7, 8, 8]), "up_to_7")
    assert (found.rows, found.eegs) == (3, 2)
    assert found.top == pytest.approx((1 + 2 / 3 + 1) / 3)
    assert found.unanimous == pytest.approx(2 / 3)
    assert found.entropy == pytest.approx((np.log(3) - 2 / 3 * np.log(2)) / 3)
    np.testing.assert_allclose(found.first, [0.5, 0, 0.5, 0, 0, 0])
    assert found.rows_per_eeg[2] == 2
    np.testing.assert_allclose(found.by_consensus[2], [0, 1 / 6, 5 / 6, 0, 0, 0])
    heavy = vote_figures(votes, np.array([7, 7, 8, 8]), "up_to_7", np.array([1, 1, 4, 1]))
    assert (heavy.rows, heavy.rows_per_eeg[0]) == (6, 4)
    assert heavy.unanimous == pytest.approx(5 / 6)
    assert max(HMS_FIGURES["up_to_7"].distances(HMS_FIGURES["up_to_7"]).values()) == 0
    assert set(ALLOWED) | {"rows_per_eeg"} == set(found.distances(heavy))


def test_outcomes_are_all_ways_votes_can_fall() -> None:
    for count in (1, 3, 5):
        found = outcomes(count)
        assert len(np.unique(found, axis=0)) == len(found) == comb(count + 5, 5)
        assert (found.sum(axis=1) == count).all()
        assert (found[:6].max(axis=1) == count).all()


def test_agreed_is_the_multinomial_distribution_given_what_was_kept() -> None:
    share = np.array([0.5, 0.2, 0.1, 0.1, 0.06, 0.04])
    weights = []
    for votes in outcomes(3):
        ways = factorial(3) / prod(factorial(v) for v in votes)
        weights.append(ways * np.prod(share**votes) * (1 if votes.max() == 3 else 0.4))
    np.testing.assert_allclose(agreed(share[None], 3, 0.4)[0], np.array(weights) / np.sum(weights))


def test_mean_entropy_of_different_experts_equals_the_sum_over_all_of_them() -> None:
    shares = np.random.default_rng(0).dirichlet(np.ones(6), 4)
    total, n = 0.0, 0
    for chosen in itertools.combinations(range(4), 2):
        n += 1
        for said in itertools.product(range(6), repeat=2):
            votes = np.bincount(said, minlength=6) / 2
            weight = prod(shares[j, c] for j, c in zip(chosen, said, strict=True))
            total += weight * sum(v * np.log(v) for v in votes if v > 0)
    assert mean_xlogx(shares, 2) == pytest.approx(total / n)


@pytest.mark.parametrize(("many", "count"), [(True, 14), (False, 3), (False, 5)])
def test_drawn_votes_have_the_distribution_and_cost_the_floor_that_is_said(many: bool, count: int) -> None:
    shown = evidence("lpd", "other", 0.35, many=many)
    mean, floor = vote_distribution(shown, count, many=many)
    rng = np.random.default_rng(0)
    n = 20_000
    votes = _votes(rng, np.tile(shown.shares, (n, 1)), many, rng.random(n))
    votes = votes[votes.sum(axis=1) == count]
    assert len(votes) > 800
    shares = votes / count
    error = shares.std(axis=0) / np.sqrt(len(votes))
    assert (np.abs(shares.mean(axis=0) - mean) < 4 * error + 1e-4).all()
    cost = kl(votes, np.tile(mean, (len(votes), 1)))
    assert cost.mean() == pytest.approx(floor, abs=4 * cost.std() / np.sqrt(len(votes)))


def test_the_floor_of_a_whole_data_set_is_what_its_votes_cost() -> None:
    eegs = [eeg for patient in draw_labels((1,), Plan(1500, (1.0,), 1, 0.0)) for eeg in patient]
    votes = np.concatenate([eeg.votes for eeg in eegs])
    known = [vote_distribution(e.evidence, int(e.votes[0].sum()), many=bool(e.many[0])) for e in eegs]
    found = floors(votes, np.stack([mean for mean, _ in known]), np.array([floor for _, floor in known]))
    for population in ("up_to_7", "10_or_more"):
        values = found[population]
        assert values["bayes_floor"] == pytest.approx(values["bayes_floor_expected"], rel=0.08)
        assert 0.1 < values["bayes_floor"] < values["uniform"] / 2


def test_panels_differ_and_so_do_their_experts() -> None:
    shown = evidence("seizure", "other", 0.5).shares[None]
    few, many = panel(False).shares(shown)[0], panel(True).shares(shown)[0]
    assert (len(few), len(many)) == (120, 28)
    assert many.std(axis=0).max() > 0.1
    assert many.mean(axis=0)[5] > few.mean(axis=0)[5] + 0.03


def test_agreement_sharpens_few_votes() -> None:
    shown = evidence("lrda", "grda", 0.4, many=False)
    kept, _ = vote_distribution(shown, 3, many=False)
    assert KEEP[3] < 1
    assert kept.max() > panel(False).shares(shown.shares[None])[0].mean(axis=0).max() + 0.03


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(list(itertools.permutations(CLASSES, 2))), st.floats(0, MOST_AMBIGUOUS), st.integers(1, 7))
def test_distributions_are_distributions(pair: tuple[str, str], ambiguity: float, count: int) -> None:
    for many in (False, True):
        mean, floor = vote_distribution(evidence(*pair, ambiguity, many=many), count, many=many)
        assert mean.sum() == pytest.approx(1)
        assert mean.min() > 0
        assert floor >= -1e-12


def test_rows_of_an_eeg_share_their_votes_but_for_one_change() -> None:
    eegs = [eeg for patient in draw_labels((3,), Plan(400, (0.5, 0.5), 60, 0.0)) for eeg in patient]
    changes = [int((np.diff(eeg.votes, axis=0) != 0).any(axis=1).sum()) for eeg in eegs]
    assert max(changes) == 1
    assert 0.05 < np.mean(changes) < 0.25
    for eeg in eegs:
        assert eeg.offsets_s[0] == 0
        assert (np.diff(eeg.offsets_s) > 0).all()
        assert (eeg.offsets_s % 2 == 0).all()
        assert ((eeg.votes.sum(axis=1) >= 10) == eeg.many).all()


def test_a_clear_data_set_has_both_populations_and_little_ambiguity() -> None:
    eegs = [eeg for patient in draw_labels((3,), Plan(600, (1.0,), 4, 1.0)) for eeg in patient]
    whole = [eeg for patient in draw_labels((3,), Plan(600, (1.0,), 4, 0.0)) for eeg in patient]
    assert np.mean([eeg.many[0] for eeg in eegs]) == pytest.approx(1 / 3, abs=0.03)
    assert np.mean([eeg.evidence.ambiguity for eeg in eegs]) < 0.4 * np.mean([e.evidence.ambiguity for e in whole])
    assert {eeg.evidence.label for eeg in eegs} == set(range(N_CLASSES))


def test_the_table_shows_both_populations_and_all_sizes() -> None:
    lines = votes_table().splitlines()
    assert sum(line.startswith("votes, consensus") for line in lines) == 12
    assert sum(line.endswith("  large") for line in lines) == 2 * (1 + 3 + 6)
    assert [line.split()[-3] for line in lines if line.startswith("share of the top class")] == ["0.892", "0.688"]
