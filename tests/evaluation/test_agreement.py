"""Agreement in closed form on small tables, and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from hbac.evaluation.agreement import (
    agreement,
    conditional,
    count_votes_by_rater,
    majority,
    majority_of_others,
    pairwise,
    with_majority,
)
from hbac.vocabulary import CLASSES

SZ, LPD, GPD, LRDA, GRDA, OTHER = range(6)
FLEISS_1971 = """0 0 0 6 0 0|0 3 0 0 3 0|0 1 4 0 1 0|0 0 0 0 6 0|0 3 0 3 0 0|2 0 4 0 0 0|0 0 4 0 2 0|2 0 3 1 0 0
2 0 0 4 0 0|0 0 0 0 6 0|1 0 0 5 0 0|1 1 0 4 0 0|0 3 3 0 0 0|1 0 0 5 0 0|0 2 0 3 1 0|0 0 5 0 1 0|3 0 0 1 2 0
5 1 0 0 0 0|0 2 0 4 0 0|1 0 2 0 3 0|0 0 0 0 6 0|0 1 0 5 0 0|0 2 0 1 3 0|2 0 0 4 0 0|1 0 0 4 1 0|0 5 0 1 0 0
4 0 0 0 2 0|0 2 0 4 0 0|1 0 5 0 0 0|0 0 0 0 6 0"""


def test_kappa_is_that_of_fleiss_s_own_example() -> None:
    """Thirty patients, six psychiatrists, five diagnoses (table 1 of the paper, whose kappa is .430)."""
    counts = np.array([row.split() for row in FLEISS_1971.replace("\n", "|").split("|")], dtype=int)
    assert (counts.sum(axis=1) == 6).all()
    found = agreement(counts[:, :5])
    assert found.fleiss_kappa == pytest.approx(0.430, abs=5e-4)
    assert found.rows == 30


def test_closed_forms() -> None:
    found = agreement(np.array([[3, 0], [0, 3], [2, 1], [1, 0]]))  # the last row has one vote
    assert found.rows == 3
    assert found.observed == pytest.approx((1 + 1 + 1 / 3) / 3)
    share = (1 + 0 + 2 / 3) / 3
    for value, chance in (
        (found.fleiss_kappa, share**2 + (1 - share) ** 2),
        (found.gwet_ac1, 2 * share * (1 - share)),
    ):
        assert value == pytest.approx((found.observed - chance) / (1 - chance))
    always = agreement(np.array([[3, 0], [2, 0]]))
    assert (always.observed, always.gwet_ac1) == (1, 1)
    assert np.isnan(always.fleiss_kappa)
    assert np.isnan(agreement(np.array([[1, 0]])).observed)


def test_with_two_raters_gwet_s_chance_is_that_of_his_paper() -> None:
    """Gwet's paper, table 1 (118 yes/yes, 5 yes/no, 2 no/yes, 0 no/no): AC1 is .9408, Cohen's kappa −.0234."""
    first = np.repeat([0, 0, 1, 1], [118, 5, 2, 0])
    second = np.repeat([0, 1, 0, 1], [118, 5, 2, 0])
    counts = np.stack([(first == k).astype(int) + (second == k) for k in range(2)], axis=1)
    assert agreement(counts).gwet_ac1 == pytest.approx(0.9408, abs=5e-5)
    assert cohen_kappa_score(first, second) == pytest.approx(-0.0234, abs=5e-5)


def test_a_tie_goes_to_other_and_then_to_the_order_of_the_classes() -> None:
    counts = np.array([[1, 1, 0, 0, 0, 1], [1, 1, 0, 0, 0, 0], [0, 2, 2, 0, 0, 1], [0, 0, 0, 0, 0, 0]])
    assert majority(counts).tolist() == [OTHER, SZ, LPD, -1]
    assert CLASSES[OTHER] == "other"


def test_the_others_are_all_but_oneself() -> None:
    votes = np.array([[LPD, LPD, GPD], [LPD, -1, GPD], [-1, -1, SZ], [SZ, GPD, GPD]])
    assert majority_of_others(votes).tolist() == [[LPD, LPD, LPD], [GPD, -1, LPD], [-1, -1, -1], [GPD, SZ, SZ]]
    assert count_votes_by_rater(votes).sum(axis=1).tolist() == [3, 2, 1, 3]
    first, second, third = with_majority(votes)
    assert first[LPD] == 1  # the one row where the others say LPD
    assert second[SZ] == 0  # says GPD there
    assert third[[LPD, SZ]].tolist() == [0, 0]


def test_pairs_without_enough_rows_are_left_out() -> None:
    full = np.repeat(np.arange(6), 10)
    votes = np.stack([full, full, np.where(full == SZ, -1, full)], axis=1)  # the third has no seizure
    agreed, n_pairs = pairwise(votes)
    assert n_pairs == 2
    np.testing.assert_array_equal(agreed, np.ones(6))
    said = np.where(full == GPD, LPD, full)
    agreed, n_pairs = pairwise(votes[:, :2], said)
    assert n_pairs == 2  # the network never says GPD, so it is no reference
    np.testing.assert_array_equal(agreed, [1, 1, 0, 1, 1, 1])
    assert conditional(said, full)[0][LPD] == 0.5
    assert np.isnan(pairwise(votes[:5])[0]).all()
