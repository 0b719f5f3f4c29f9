"""The metric against the competition's definition, written out here a second time."""

from __future__ import annotations

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from scipy.stats import entropy

from hbac.common.errors import UserError
from hbac.evaluation.metric import kl_by_class, kl_by_population, kl_divergence, kl_terms
from hbac.vocabulary import CLASSES, PROB_COLUMNS, VOTE_COLUMNS

DISTRIBUTIONS = (
    hnp.arrays(np.int64, st.tuples(st.integers(1, 12), st.just(12)), elements=st.integers(0, 9))
    .filter(lambda a: bool((a[:, :6].sum(1) > 0).all() and (a[:, 6:].sum(1) > 0).all()))
    .map(lambda a: (a[:, :6] / a[:, :6].sum(1, keepdims=True), a[:, 6:] / a[:, 6:].sum(1, keepdims=True)))
)


def competition(solution: np.ndarray, submission: np.ndarray) -> float:
    """domain.md, section 2, one cell at a time."""
    total = 0.0
    for target, prob in zip(solution.tolist(), submission.tolist(), strict=True):
        for t, p in zip(target, prob, strict=True):
            p = min(max(p, 1e-15), 1 - 1e-15)
            total += t * np.log(t / p) if t != 0 else 0.0
    return total / len(solution)


@given(DISTRIBUTIONS)
def test_equals_the_definition_also_where_it_clips(pair):
    target, prob = pair
    assert kl_divergence(target, prob) == pytest.approx(competition(target, prob), rel=1e-12, abs=1e-13)


def test_equals_scipy_where_nothing_is_clipped():
    rng = np.random.default_rng(0)
    target, prob = rng.dirichlet(np.ones(6), 50), rng.dirichlet(np.ones(6), 50)
    assert kl_divergence(target, prob) == pytest.approx(entropy(target, prob, axis=1).mean(), rel=1e-12)


def test_known_values():
    one_hot = np.eye(6)
    assert kl_divergence(one_hot, np.full((6, 6), 1 / 6)) == pytest.approx(np.log(6))
    assert kl_divergence(one_hot, one_hot) == pytest.approx(1e-15, rel=0.2)
    # a certain miss: log(1 / 1e-15), not infinite
    assert kl_divergence(one_hot, np.roll(one_hot, 1, axis=1)) == pytest.approx(15 * np.log(10))


def test_frames_are_matched_on_eeg_id():
    rng = np.random.default_rng(1)
    solution = pd.DataFrame(rng.dirichlet(np.ones(6), 8), columns=list(VOTE_COLUMNS)).assign(eeg_id=range(8))
    submission = pd.DataFrame(rng.dirichlet(np.ones(6), 8), columns=list(VOTE_COLUMNS)).assign(eeg_id=range(8))
    expected = competition(solution[list(VOTE_COLUMNS)].to_numpy(), submission[list(VOTE_COLUMNS)].to_numpy())
    assert kl_divergence(solution, submission.iloc[::-1, ::-1]) == pytest.approx(expected)
    renamed = submission.rename(columns=dict(zip(VOTE_COLUMNS, PROB_COLUMNS, strict=True)))
    assert kl_divergence(solution, renamed) == pytest.approx(expected)
    with pytest.raises(UserError, match="lacks eeg_id 7"):
        kl_divergence(solution, submission.iloc[:-1])
    with pytest.raises(UserError, match="row 1, column eeg_id: 0 stands twice"):
        kl_divergence(solution, submission.assign(eeg_id=[0, 0, *range(2, 8)]))


def test_other_classes_than_ours_are_scored_too():
    solution = pd.DataFrame({"yes": [1.0, 0.0], "no": [0.0, 1.0]})
    submission = pd.DataFrame({"no": [0.5, 0.75], "yes": [0.5, 0.25]})
    assert kl_divergence(solution, submission) == pytest.approx((np.log(2) + np.log(4 / 3)) / 2)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-0.1, "submission: row 2, column lpd_vote: -0.1 is negative"),
        (1.5, "submission: row 2, column lpd_vote: 1.5 is greater than 1"),
        (np.nan, "submission: row 2, column lpd_vote: nan is not a number"),
        (0.5, "submission: row 2, columns seizure_vote … other_vote sum to 1.333"),
        ("x", "submission: column lpd_vote is .*; it must be numeric"),
    ],
)
def test_bad_submissions_name_row_and_column(value, message):
    good = pd.DataFrame(np.full((4, 6), 1 / 6), columns=list(VOTE_COLUMNS))
    bad = good.astype({"lpd_vote": object}) if value == "x" else good.copy()
    bad.loc[2, "lpd_vote"] = value
    with pytest.raises(UserError, match=message):
        kl_divergence(good, bad)
    with pytest.raises(UserError, match=message.replace("submission", "solution")):
        kl_divergence(bad, good)


def test_shapes_must_agree():
    with pytest.raises(UserError, match=r"shape \(2, 6\), submission \(3, 6\)"):
        kl_divergence(np.full((2, 6), 1 / 6), np.full((3, 6), 1 / 6))
    with pytest.raises(UserError, match="no rows"):
        kl_divergence(np.zeros((0, 6)), np.zeros((0, 6)))
    with pytest.raises(UserError, match="missing column gpd_vote"):
        columns = [column for column in VOTE_COLUMNS if column != "gpd_vote"]
        kl_divergence(np.full((2, 6), 1 / 6), pd.DataFrame(1 / 5, index=[0, 1], columns=columns))


def test_populations_and_classes_add_up():
    rng = np.random.default_rng(2)
    target, prob = rng.dirichlet(np.ones(6), 30), rng.dirichlet(np.ones(6), 30)
    n_votes = np.tile([3, 8, 12], 10)
    by_population = kl_by_population(target, prob, n_votes)
    assert by_population["all"] == pytest.approx(kl_divergence(target, prob))
    assert by_population["up_to_7"] == pytest.approx(kl_divergence(target[::3], prob[::3]))
    assert by_population["10_or_more"] == pytest.approx(kl_divergence(target[2::3], prob[2::3]))
    assert np.isnan(kl_by_population(target, prob, np.full(30, 8))["up_to_7"])
    by_class = kl_by_class(target, prob)
    assert list(by_class) == list(CLASSES)
    assert sum(by_class.values()) == pytest.approx(by_population["all"])
    assert by_class["gpd"] == pytest.approx(kl_terms(target, prob)[:, 2].mean())
