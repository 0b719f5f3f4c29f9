"""Votes to shares, and the populations."""

from __future__ import annotations

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given

from hbac.common.errors import UserError
from hbac.labels.targets import POPULATIONS, consensus, count_votes, sum_votes, votes_to_shares
from hbac.vocabulary import VOTE_COLUMNS

VOTES = hnp.arrays(np.int64, st.tuples(st.integers(1, 20), st.just(6)), elements=st.integers(0, 28)).filter(
    lambda votes: bool((votes.sum(axis=1) > 0).all())
)


@given(VOTES)
def test_shares_are_the_votes_over_their_number(votes):
    shares = votes_to_shares(pd.DataFrame(votes, columns=list(VOTE_COLUMNS)))
    np.testing.assert_allclose(shares * count_votes(votes)[:, None], votes, atol=1e-12)
    np.testing.assert_allclose(shares.sum(axis=1), 1)


def test_columns_are_taken_by_name_and_not_by_place():
    frame = pd.DataFrame({column: [k] for k, column in enumerate(VOTE_COLUMNS)}).iloc[:, ::-1]
    np.testing.assert_allclose(votes_to_shares(frame)[0], np.arange(6) / 15)
    assert consensus(frame).tolist() == [5]


def test_sum_votes_sums_over_the_windows_of_an_eeg():
    rows = pd.DataFrame({"eeg_id": [2, 1, 2]} | {column: [1, 10, 5] for column in VOTE_COLUMNS})
    summed = sum_votes(rows)
    assert summed.index.tolist() == [1, 2]
    assert summed["lpd_vote"].tolist() == [10, 6]


def test_population_bounds_are_inclusive_and_leave_out_eight_and_nine():
    n = np.arange(0, 13)
    assert list(POPULATIONS) == ["10_or_more", "up_to_7", "all"]
    assert n[POPULATIONS["up_to_7"].contains(n)].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert n[POPULATIONS["10_or_more"].contains(n)].tolist() == [10, 11, 12]
    assert POPULATIONS["all"].contains(n).all()


@pytest.mark.parametrize(
    ("votes", "message"),
    [
        ([[1, 0, 0, 0, 0, 0], [0, 0, -1, 0, 0, 2]], "row 1, column gpd_vote: -1"),
        ([[1, 0, 0, 0, 0, 0], [0] * 6], "row 1 has no votes at all"),
        ([[1, 0, 0, 0, 0, np.nan]], "row 0, column other_vote: nan"),
        ([[1, 2, 3]], r"shape \(1, 3\)"),
    ],
)
def test_bad_votes_are_named(votes, message):
    with pytest.raises(UserError, match=message):
        votes_to_shares(np.array(votes, dtype=float))


def test_a_missing_vote_column_is_named():
    with pytest.raises(UserError, match="grda_vote"):
        votes_to_shares(pd.DataFrame({c: [1] for c in VOTE_COLUMNS if c != "grda_vote"}))
