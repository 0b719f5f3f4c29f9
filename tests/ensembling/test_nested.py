"""Nested scores: what is scored was never fitted on."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import softmax

from hbac.common.errors import UserError
from hbac.ensembling.blends import Arithmetic, blend_from_dict
from hbac.ensembling.convex import fit_convex
from hbac.ensembling.methods import SINGLE, best_of, fit_nested
from hbac.ensembling.nested import BlendData, NestedFit, nest
from hbac.evaluation.metric import kl_divergence, kl_rows
from tests.ensembling.standin import make_standin


def data_of(standin) -> BlendData:
    return BlendData(standin.probs, standin.targets, standin.fold)


@pytest.fixture(scope="module")
def standin():
    return make_standin(n_rows=700, n_members=5, n_folds=3, seed=3)


@pytest.fixture(scope="module")
def fitted(standin):
    """Every method on the stand-in."""
    return fit_nested(data_of(standin), "auto")


def test_each_fold_is_predicted_by_weights_of_the_others(standin):
    fit = fit_nested(data_of(standin), "convex")["convex"]
    for fold in range(3):
        held_out = standin.fold == fold
        weights = fit_convex(standin.probs[:, ~held_out], standin.targets[~held_out]).weights
        expected = np.einsum("m,mnk->nk", weights, standin.probs[:, held_out].astype(float))
        np.testing.assert_allclose(fit.nested[held_out], expected, atol=1e-6)
    assert fit.nested_kl == pytest.approx(kl_rows(standin.targets, fit.nested).mean())
    assert fit.in_sample_kl < fit.nested_kl


class Spy:
    """Two settings; remembers the rows of each fit and answers with member 0 or 1."""

    name = "spy"
    fitted = True

    def __init__(self):
        self.trained_on = []

    def settings(self, n_members):
        return ["first", "second"]

    def fit(self, data, train_N, settings):
        self.trained_on.append(frozenset(np.unique(data.fold[train_N]).tolist()))
        return [Arithmetic(np.eye(2)[i]) for i in range(2)]


def test_settings_are_chosen_without_the_held_out_fold():
    """Fold 4 alone would choose the member that is bad everywhere else."""
    standin = make_standin(n_rows=700, n_members=2, seed=3)
    good, bad = standin.targets * 0.9 + 0.1 / 6, np.full(standin.targets.shape, 1 / 6)
    in_4 = (standin.fold == 4)[:, None]
    probs = np.stack([np.where(in_4, good, bad), np.where(in_4, bad, good)]).astype(np.float32)
    spy = Spy()
    result = nest(BlendData(probs, standin.targets, standin.fold), spy)
    np.testing.assert_allclose(result.nested[standin.fold == 4], 1 / 6, atol=1e-6)
    assert result.setting == "second"
    folds = frozenset(range(5))
    wanted = {folds - set(out) for n in (0, 1, 2) for out in combinations(range(5), n)}
    assert set(spy.trained_on) == wanted
    assert len(spy.trained_on) == len(wanted) == 16


def test_rows_of_the_held_out_fold_do_not_touch_its_predictions(standin, fitted):
    """The choice among methods looks at all folds; each of them must not."""
    poisoned = standin.targets.copy()
    held_out = standin.fold == 2
    poisoned[held_out] = poisoned[held_out][:, ::-1]
    again = fit_nested(BlendData(standin.probs, poisoned, standin.fold), "auto")
    assert set(again) == set(SINGLE)
    for name, fit in again.items():
        np.testing.assert_array_equal(fit.nested[held_out], fitted[name].nested[held_out], err_msg=name)
        if name != "mean":
            assert np.abs(fit.nested - fitted[name].nested)[~held_out].max() > 1e-3, name


def test_the_best_method_is_not_scored_by_having_been_the_best():
    """Of twenty predictions that are noise alike, one looks best; chosen on other folds, it scores as they all do."""
    rng = np.random.default_rng(0)
    target = np.eye(6)[rng.integers(0, 6, 1000)]
    fold = np.arange(1000) % 5
    fits = {}
    for i in range(20):
        prob = rng.dirichlet(np.full(6, 20.0), 1000)
        score = kl_divergence(target, prob)
        fits[str(i)] = NestedFit(str(i), Arithmetic(np.ones(1)), None, prob, score, score, {})
    fits = dict(sorted(fits.items(), key=lambda entry: entry[1].nested_kl))
    data = BlendData(np.full((1, 1000, 6), 1 / 6, dtype=np.float32), target, fold.astype(np.int16))
    best = best_of(data, fits)
    assert best.name == next(iter(fits))
    losses = {name: kl_rows(target, fit.nested) for name, fit in fits.items()}
    chosen = [min(losses, key=lambda name: losses[name][fold != k].mean()) for k in range(5)]
    expected = np.mean([losses[name][fold == k].mean() for k, name in enumerate(chosen)])
    assert best.nested_kl == pytest.approx(expected)
    assert best.nested_kl == pytest.approx(kl_divergence(target, best.nested))
    mean = np.mean([fit.nested_kl for fit in fits.values()])
    assert fits[best.name].nested_kl < mean - 0.01
    assert best.nested_kl > (fits[best.name].nested_kl + mean) / 2
    alone = {"only": fits[best.name]}
    assert best_of(data, alone) is alone["only"]


def test_methods_are_ranked_by_nested_score(fitted):
    scores = [fit.nested_kl for fit in fitted.values()]
    assert scores == sorted(scores)
    assert {name for name, fit in fitted.items() if fit.in_sample_kl < fit.nested_kl} >= {"convex", "log_linear"}


def test_reported_scores_are_those_of_the_predictions(standin, fitted):
    for name, fit in fitted.items():
        assert fit.nested_kl == pytest.approx(kl_divergence(standin.targets, fit.nested)), name
        blended = blend_from_dict(json.loads(json.dumps(fit.blend.to_dict()))).apply(standin.probs)
        assert fit.in_sample_kl == pytest.approx(kl_divergence(standin.targets, blended)), name


def test_only_rows_that_count_are_fitted_on_and_every_row_is_predicted():
    """The other rows' targets may say what they like; their predictions come from the fold's blend all the same."""
    standin = make_standin(n_rows=900, n_members=4, n_folds=3, seed=9)
    many = standin.n_votes >= 10
    alone = BlendData(standin.probs[:, many], standin.targets[many], standin.fold[many])
    wrong = standin.targets.copy()
    wrong[~many] = wrong[~many][:, ::-1]
    data = BlendData(standin.probs, wrong, standin.fold, counts=many)
    for name, fit in fit_nested(data, "auto").items():
        expected = fit_nested(alone, name)[name]
        np.testing.assert_array_equal(fit.nested[many], expected.nested, err_msg=name)
        assert fit.nested_kl == expected.nested_kl and fit.in_sample_kl == expected.in_sample_kl
        for fold, blend in fit.by_fold.items():
            rows = standin.fold == fold
            np.testing.assert_array_equal(fit.nested[rows], blend.apply(standin.probs[:, rows]))
    best = best_of(data, fit_nested(data, "auto"))
    assert best.nested_kl == pytest.approx(kl_rows(standin.targets[many], best.nested[many]).mean())


def test_a_fold_without_rows_that_count_is_predicted_by_all_of_them(standin):
    counts = standin.fold != 2
    fit = fit_nested(BlendData(standin.probs, standin.targets, standin.fold, counts=counts), "convex")["convex"]
    np.testing.assert_allclose(fit.nested[~counts], fit.blend.apply(standin.probs[:, ~counts]))
    assert np.isfinite(fit.nested).all()


def test_one_member_is_calibrated_by_a_temperature_and_six_biases(standin):
    """Nested by fold, as a general solver would do it."""
    many = standin.n_votes >= 10
    data = BlendData(standin.probs[:1], standin.targets, standin.fold, counts=many)
    fit = fit_nested(data, "log_linear")["log_linear"]
    logs = np.log(np.maximum(standin.probs[0].astype(float), 1e-6))
    logs -= logs.mean(axis=1, keepdims=True)
    for fold in range(3):
        train = many & (standin.fold != fold)

        def loss(theta, train=train):
            logits = theta[0] * logs[train] + theta[1:]
            kl = kl_rows(standin.targets[train], softmax(logits, axis=1)).mean()
            return kl + theta[1:] @ theta[1:] / (2 * train.sum())

        theta = minimize(loss, np.array([1.0, *np.zeros(6)]), method="BFGS", options={"gtol": 1e-7}).x
        rows = standin.fold == fold
        expected = softmax(theta[0] * logs[rows] + theta[1:], axis=1)
        np.testing.assert_allclose(fit.nested[rows], expected, atol=2e-4)


def test_a_stand_in_of_real_size():
    """33 members x 21,490 rows: what is fitted on the rows that count is far better there; planted blends are found."""
    standin = make_standin()
    many = standin.n_votes >= 10
    data = BlendData(standin.probs, standin.targets, standin.fold, counts=many)
    fits = fit_nested(data, "auto")
    found = {name: fit.nested_kl for name, fit in fits.items()}
    best_member = min(kl_rows(data.counted.targets, probs).mean() for probs in data.counted.probs)
    assert found["mean"] < best_member - 0.02
    assert found["convex"] < found["mean"] - 0.005
    # What it costs that the method is chosen on the other folds, and not by its score here.
    assert best_of(data, fits).nested_kl <= min(found.values()) + 1e-3
    for method in ("convex", "log_linear"):
        on_all = fit_nested(data_of(standin), method)[method]
        assert kl_rows(standin.targets[many], on_all.nested[many]).mean() > found[method] + 0.03
        assert on_all.nested_kl < kl_rows(standin.targets, fits[method].nested).mean() - 0.02
    of_all_rows = standin.names.index(next(name for name in standin.names if name.startswith("both")))
    alone = BlendData(standin.probs[[of_all_rows]], standin.targets, standin.fold, counts=many)
    raw = kl_rows(alone.counted.targets, alone.counted.probs[0]).mean()
    assert fit_nested(alone, "log_linear")["log_linear"].nested_kl < raw - 0.05
    for truth, method in (("convex", "convex"), ("log_linear", "log_linear")):
        planted = make_standin(truth=truth)
        fit = fit_nested(data_of(planted), method)[method]
        assert fit.nested_kl - planted.floor < 0.002, truth
        assert fit.in_sample_kl < planted.floor


def test_two_folds_are_enough_and_one_is_not(standin):
    two = BlendData(standin.probs, standin.targets, (standin.fold % 2).astype(np.int16))
    found = fit_nested(two, "auto")
    assert set(found) == set(SINGLE)
    assert all(np.isfinite(fit.nested_kl) for fit in found.values())
    one = BlendData(standin.probs, standin.targets, np.zeros(len(standin.fold), dtype=np.int16))
    with pytest.raises(UserError, match="at least 2 folds"):
        fit_nested(one, "convex")
    assert fit_nested(one, "mean")["mean"].nested_kl == pytest.approx(
        kl_rows(standin.targets, standin.probs.mean(axis=0)).mean()
    )
    with pytest.raises(UserError, match=r"unknown method 'magic'; there are: .*convex"):
        fit_nested(two, "magic")


def test_order_of_rows_and_members_and_copies_do_not_matter(standin, fitted):
    rng = np.random.default_rng(0)
    rows, members = rng.permutation(len(standin.fold)), np.array([3, 1, 4, 0, 2, 1, 3])
    mixed = BlendData(standin.probs[members][:, rows], standin.targets[rows], standin.fold[rows])
    other = fit_nested(mixed, "auto")
    for name, fit in other.items():
        assert fit.nested_kl == pytest.approx(fitted[name].nested_kl, abs=1e-4), name
        np.testing.assert_allclose(fit.nested, fitted[name].nested[rows], atol=5e-3, err_msg=name)
        assert not fit.blend.used[5:].any()
        np.testing.assert_allclose(fit.blend.apply(mixed.probs).sum(axis=1), 1, atol=1e-6)


def test_the_same_again_to_the_last_bit(standin, fitted):
    for name, fit in fit_nested(data_of(standin), "auto").items():
        np.testing.assert_array_equal(fit.nested, fitted[name].nested)


def test_missing_rows_are_blended_from_who_has_them(standin, fitted):
    present = np.ones(standin.probs.shape[:2], dtype=bool)
    present[0, ::3] = False
    probs = np.where(present[..., None], standin.probs, 0).astype(np.float32)
    weights = np.random.default_rng(0).dirichlet(np.ones(5))
    blended = Arithmetic(weights).apply(probs, present)
    others = np.einsum("m,mnk->nk", weights[1:] / weights[1:].sum(), standin.probs[1:, ::3].astype(float))
    np.testing.assert_allclose(blended[::3], others, atol=1e-6)
    full = Arithmetic(weights).apply(standin.probs)
    np.testing.assert_allclose(blended[1::3], full[1::3], atol=1e-6)
    for name, fit in fit_nested(BlendData(probs, standin.targets, standin.fold, present), "auto").items():
        assert fit.nested_kl == pytest.approx(fitted[name].nested_kl, abs=0.03), name
        np.testing.assert_allclose(fit.nested.sum(axis=1), 1, atol=1e-6)
