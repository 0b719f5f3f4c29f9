"""The label recipe: targets, weights and selection in closed form, and what always holds."""

from __future__ import annotations

import dataclasses

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given

from hbac.common.errors import UserError
from hbac.labels.recipe import ROWS, TARGETS, VOTE_SMOOTHING, WEIGHTS, LabelRecipe
from hbac.labels.targets import votes_to_shares
from hbac.vocabulary import VOTE_COLUMNS


def label_rows(votes: list[list[int]], eeg_ids: list[int] | None = None) -> pd.DataFrame:
    frame = pd.DataFrame(votes, columns=list(VOTE_COLUMNS))
    return frame.assign(eeg_id=range(len(frame)) if eeg_ids is None else eeg_ids)


SEIZURE, OTHER = [1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1]
ROW = st.lists(st.integers(0, 28), min_size=6, max_size=6).filter(any)
RECIPES = st.builds(
    LabelRecipe,
    target=st.sampled_from(TARGETS),
    vote_smoothing=st.sampled_from(list(VOTE_SMOOTHING)),
    vote_prior=st.floats(1e-3, 10),
    temperature=st.floats(0.05, 20),
    label_smoothing=st.floats(0, 0.9),
    weight=st.sampled_from(list(WEIGHTS)),
    few_votes_weight=st.floats(0.01, 10),
    few_votes_decay=st.floats(0.1, 1),
    pseudo_share=st.floats(0.1, 1),
    pseudo_hard=st.booleans(),
    pseudo_min_confidence=st.floats(0, 1),
    pseudo_weight=st.floats(0.01, 10),
)


@given(RECIPES, st.lists(ROW, min_size=1, max_size=12), st.integers(0, 60), st.randoms(use_true_random=False))
def test_targets_are_distributions_and_weights_positive(recipe, votes, epoch, chance):
    rows = label_rows(votes, [chance.randrange(3) for _ in votes])
    pseudo = np.random.default_rng(chance.randrange(100)).dirichlet(np.ones(6), len(rows))
    pseudo[::2] = np.nan
    labels = recipe.labels(rows, pseudo_NK=pseudo)
    np.testing.assert_allclose(labels.target.sum(axis=1), 1, rtol=1e-5)
    assert (labels.target >= 0).all()
    assert (labels.weight_at(epoch) > 0).all()
    assert (labels.weight_at(epoch + 1) <= labels.weight_at(epoch)).all()


def test_the_default_is_the_plain_share_of_every_row_all_alike():
    votes = [[3, 0, 0, 0, 0, 1], [0, 2, 2, 0, 0, 14]]
    labels = LabelRecipe().labels(label_rows(votes))
    np.testing.assert_allclose(labels.target, votes_to_shares(np.array(votes)))
    assert labels.rows.tolist() == [0, 1]
    assert labels.weight_at(9).tolist() == [1, 1]


def test_targets_of_an_eeg():
    rows = label_rows([[3, 0, 0, 0, 0, 0], SEIZURE, OTHER, OTHER], [5, 8, 5, 8])
    mean = LabelRecipe(target="eeg_mean").labels(rows).target
    summed = LabelRecipe(target="eeg_sum").labels(rows).target
    assert mean[:, 0].tolist() == [0.5, 0.5, 0.5, 0.5]
    assert summed[:, 0].tolist() == [0.75, 0.5, 0.75, 0.5]


def test_only_rows_that_are_trained_on_speak_for_their_eeg():
    rows = label_rows([[12, 0, 0, 0, 0, 0], OTHER], [5, 5])
    labels = LabelRecipe(target="eeg_mean", min_votes=10).labels(rows)
    assert labels.rows.tolist() == [0]
    assert labels.target[0, 0] == 1


def test_the_middle_row_of_an_eeg_learns_from_the_votes_of_all():
    rows = label_rows([SEIZURE, [0, 2, 0, 0, 0, 0], OTHER, OTHER, SEIZURE, [0, 9, 0, 0, 0, 0]], [5, 8, 5, 5, 8, 5])
    rows["eeg_label_offset_seconds"] = [
        0,
        4,
        30,
        20,
        0,
        40,
    ]  # the middle of EEG 5 is 20 s, that of EEG 8 is between its two
    labels = LabelRecipe(rows="middle_of_eeg", target="eeg_sum", weight="votes").labels(rows)
    assert labels.rows.tolist() == [1, 3]
    np.testing.assert_allclose(labels.target[:, [0, 1, 5]], [[1 / 3, 2 / 3, 0], [1 / 12, 9 / 12, 2 / 12]], rtol=1e-6)
    np.testing.assert_allclose(labels.weight, [0.1, 0.05])
    # Rows that are not trained on neither vote nor say where the middle is.
    fewer = LabelRecipe(rows="middle_of_eeg", target="eeg_sum").labels(rows, np.array([1, 0, 1, 1, 0, 0], bool))
    assert fewer.rows.tolist() == [3]
    np.testing.assert_allclose(fewer.target[:, [0, 5]], [[1 / 3, 2 / 3]], rtol=1e-6)


@pytest.mark.parametrize("n", [1, 4, 16])
def test_vote_smoothing_of_the_root_adds_one_over_ten_and_the_root(n):
    (target,) = LabelRecipe(vote_smoothing="sqrt").labels(label_rows([[n, 0, 0, 0, 0, 0]])).target
    added = 1 / (10 + n**0.5)
    np.testing.assert_allclose(target, np.array([n + added] + 5 * [added]) / (n + 6 * added), rtol=1e-6)


@given(st.sampled_from(["constant", "sqrt"]), st.floats(0.01, 5), st.integers(1, 27))
def test_vote_smoothing_falls_with_the_number_of_votes(form, prior, n):
    recipe = LabelRecipe(vote_smoothing=form, vote_prior=prior)
    few, more = recipe.labels(label_rows([[n, 0, 0, 0, 0, 0], [n + 1, 0, 0, 0, 0, 0]])).target[:, 0]
    assert few < more < 1


def test_temperature_and_label_smoothing():
    rows = label_rows([[3, 1, 0, 0, 0, 0]])
    np.testing.assert_allclose(LabelRecipe(temperature=0.5).labels(rows).target[0, :2], [0.9, 0.1], rtol=1e-6)
    smooth = LabelRecipe(label_smoothing=0.6).labels(rows).target[0]
    np.testing.assert_allclose(smooth, [0.4, 0.2, 0.1, 0.1, 0.1, 0.1], rtol=1e-6)


def test_weights():
    rows = label_rows([[3, 0, 0, 0, 0, 0], [10, 0, 0, 0, 0, 0]])
    few = {"few_votes_weight": 0.5, "few_votes_decay": 0.1}
    np.testing.assert_allclose(LabelRecipe(weight="votes").labels(rows).weight_at(3), [0.15, 0.5])
    np.testing.assert_allclose(LabelRecipe(weight="log_votes").labels(rows).weight_at(0), np.log([4, 11]))
    np.testing.assert_allclose(LabelRecipe(**few).labels(rows).weight_at(0), [0.5, 1])
    np.testing.assert_allclose(LabelRecipe(**few).labels(rows).weight_at(2), [0.005, 1], rtol=1e-6)


def test_bounds_and_mask():
    rows = label_rows([[n, 0, 0, 0, 0, 0] for n in (3, 8, 12, 20)])
    assert LabelRecipe(min_votes=8, max_votes=12).labels(rows).rows.tolist() == [1, 2]
    assert LabelRecipe(min_votes=8).labels(rows, np.array([True, False, True, True])).rows.tolist() == [2, 3]


PREDICTION = np.array([0.7, 0.3, 0, 0, 0, 0])


@pytest.mark.parametrize(
    ("settings", "target"),
    [
        ({}, PREDICTION),
        ({"pseudo_share": 0.25}, 0.75 * np.array(OTHER) + 0.25 * PREDICTION),
        ({"pseudo_share": 0.25, "pseudo_hard": True}, 0.75 * np.array(OTHER) + 0.25 * np.array(SEIZURE)),
        ({"pseudo_min_confidence": 0.71}, OTHER),
    ],
)
def test_pseudo_labels_of_rows_with_votes(settings, target):
    recipe = LabelRecipe(**settings, pseudo_weight=0.3, weight="votes")
    labels = recipe.labels(label_rows([OTHER, OTHER]), pseudo_NK=np.stack([PREDICTION, np.full(6, np.nan)]))
    np.testing.assert_allclose(labels.target, [target, OTHER], rtol=1e-6)
    np.testing.assert_allclose(labels.weight_at(0), [0.05 if "pseudo_min_confidence" in settings else 0.3, 0.05])


def test_a_row_outside_the_bounds_comes_in_by_its_pseudo_label_and_does_not_decay():
    rows = label_rows([OTHER, OTHER, [12, 0, 0, 0, 0, 0]])
    pseudo = np.full((3, 6), np.nan)
    pseudo[1] = PREDICTION
    labels = LabelRecipe(min_votes=10, few_votes_decay=0.5).labels(rows, pseudo_NK=pseudo)
    assert labels.rows.tolist() == [1, 2]
    assert labels.weight_at(5).tolist() == [1, 1]


def test_rows_without_votes_learn_from_their_pseudo_label_alone():
    rows = pd.DataFrame({"eeg_id": [1, 2]})
    pseudo = np.stack([np.full(6, np.nan), PREDICTION])
    labels = LabelRecipe(pseudo_share=0.5).labels(rows, pseudo_NK=pseudo)
    assert labels.rows.tolist() == [1]
    np.testing.assert_allclose(labels.target[0], PREDICTION, rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "target"),
    [
        ({}, [0.5, 0.4, 0, 0, 0, 0.1]),
        ({"opinions_replace": True}, [0, 0.8, 0, 0, 0, 0.2]),
        (
            {"opinions_replace": True, "vote_smoothing": "constant", "vote_prior": 1},
            [1 / 11, 5 / 11, *[1 / 11] * 3, 2 / 11],
        ),
    ],
)
def test_second_opinions_change_the_target_of_their_row_alone(settings, target):
    rows = label_rows([[5, 0, 0, 0, 0, 0], OTHER], [7, 8])
    opinions = np.zeros((2, 6))
    opinions[0, [1, 5]] = 4, 1
    recipe = LabelRecipe(**settings, weight="votes", max_votes=5)
    said, plain = recipe.labels(rows, opinions_NK=opinions), recipe.labels(rows)
    np.testing.assert_allclose(said.target[0], target, rtol=1e-6)
    np.testing.assert_array_equal(said.target[1], plain.target[1])
    np.testing.assert_array_equal(said.weight, plain.weight)
    assert said.rows.tolist() == [0, 1]


def test_opinions_count_among_the_votes_of_an_eeg():
    opinions = np.array([[0, 2, 0, 0, 0, 0], [0] * 6], float)
    labels = LabelRecipe(target="eeg_sum").labels(label_rows([SEIZURE, SEIZURE], [7, 7]), opinions_NK=opinions)
    np.testing.assert_allclose(labels.target[:, :2], [[0.5, 0.5]] * 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"target": "eeg_means"},
            "labels.target 'eeg_means'; there are: row, eeg_mean, eeg_sum. Did you mean 'eeg_mean'",
        ),
        ({"rows": "some"}, "labels.rows 'some'; there are: all, one_per_eeg, middle_of_eeg"),
        ({"temperature": 0}, "labels.temperature=0: must be a number above 0"),
        ({"few_votes_decay": 1.5}, "labels.few_votes_decay=1.5: must be above 0 and at most 1"),
        ({"few_votes_weight": "a"}, "labels.few_votes_weight=a: must be a number above 0"),
        ({"label_smoothing": 1.0}, "labels.label_smoothing=1.0: must be a share"),
        ({"jitter_s": -1}, "labels.jitter_s=-1: must be seconds"),
        ({"min_votes": 0}, "labels.min_votes=0: must be a whole number"),
        ({"min_votes": 9, "max_votes": 7}, "labels.max_votes=7: .* labels.min_votes=9"),
        ({"pseudo_hard": "soft"}, "labels.pseudo_hard=soft: must be true or false"),
        ({"opinions_replace": 1}, "labels.opinions_replace=1: must be true or false"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(UserError, match=message):
        LabelRecipe(**settings)


def test_the_config_shows_the_defaults(conf):
    config = yaml.safe_load((conf / "labels" / "default.yaml").read_text())
    assert LabelRecipe.from_config(config) == LabelRecipe()
    assert set(config) == {f.name for f in dataclasses.fields(LabelRecipe)} | {
        "n_folds",
        "seed",
        "pseudo",
        "pseudo_split",
        "opinions",
    }
    assert ROWS[0] == config["rows"]
