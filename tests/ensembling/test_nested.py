"""Nested scores: what is scored was never fitted on."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from hbac.ensembling.blends import Arithmetic
from hbac.ensembling.convex import fit_convex
from hbac.ensembling.methods import METHODS, fit_nested
from hbac.ensembling.nested import BlendData, FoldFits
from hbac.errors import UserError
from hbac.predictions.metric import kl_rows
from tests.ensembling.standin import make_standin


def data_of(standin) -> BlendData:
    return BlendData(standin.probs, standin.targets, standin.fold)


@pytest.fixture(scope="module")
def standin():
    return make_standin(n_rows=2200, n_members=8, seed=3)


def test_each_fold_is_predicted_by_weights_of_the_others(standin):
    fit = fit_nested(data_of(standin), "convex")["convex"]
    for fold in range(5):
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

    def settings(self):
        return ["first", "second"]

    def fit(self, data, train_N, settings):
        self.trained_on.append(frozenset(np.unique(data.fold[train_N]).tolist()))
        return [Arithmetic(np.eye(2)[i]) for i in range(2)]


def test_settings_are_chosen_without_the_held_out_fold(standin):
    """Fold 4 alone would choose the member that is bad everywhere else."""
    good, bad = standin.targets * 0.9 + 0.1 / 6, np.full(standin.targets.shape, 1 / 6)
    in_4 = (standin.fold == 4)[:, None]
    probs = np.stack([np.where(in_4, good, bad), np.where(in_4, bad, good)]).astype(np.float32)
    spy = Spy()
    fits = FoldFits(BlendData(probs, standin.targets, standin.fold), spy)
    result = fits.result()
    np.testing.assert_allclose(result.nested[standin.fold == 4], 1 / 6, atol=1e-6)
    assert result.setting == "second"
    folds = frozenset(range(5))
    wanted = {folds - set(out) for n in (0, 1, 2) for out in combinations(range(5), n)}
    assert set(spy.trained_on) == wanted
    assert len(spy.trained_on) == len(wanted) == 16


def test_rows_of_the_held_out_fold_do_not_touch_its_predictions(standin):
    data = data_of(standin)
    poisoned_targets = standin.targets.copy()
    poisoned_targets[standin.fold == 2] = poisoned_targets[standin.fold == 2][:, ::-1]
    for method in METHODS:
        clean = fit_nested(data, method)
        poisoned = fit_nested(BlendData(data.probs, poisoned_targets, data.fold), method)
        name = next(iter(clean)) if method != "auto" else None
        if name is None:
            continue  # the choice among methods looks at all folds; its parts are tested here one by one
        np.testing.assert_array_equal(
            clean[name].nested[standin.fold == 2], poisoned[name].nested[standin.fold == 2], err_msg=method
        )


def test_two_folds_are_enough_and_one_is_not(standin):
    two = BlendData(standin.probs, standin.targets, (standin.fold % 2).astype(np.int16))
    for method in METHODS:
        assert np.isfinite(next(iter(fit_nested(two, method).values())).nested_kl)
    one = BlendData(standin.probs, standin.targets, np.zeros(len(standin.fold), dtype=np.int16))
    with pytest.raises(UserError, match="at least 2 folds"):
        fit_nested(one, "convex")
    with pytest.raises(UserError, match=r"method=magic; known are .*convex"):
        fit_nested(two, "magic")


@pytest.mark.parametrize("method", sorted(set(METHODS)))
def test_same_result_again_and_in_other_orders(standin, method):
    data = data_of(standin)
    first = next(iter(fit_nested(data, method).values()))
    again = next(iter(fit_nested(data, method).values()))
    np.testing.assert_array_equal(first.nested, again.nested)
    rng = np.random.default_rng(0)
    rows, members = rng.permutation(len(data.fold)), rng.permutation(len(data.probs))
    mixed = BlendData(data.probs[members][:, rows], data.targets[rows], data.fold[rows])
    other = next(iter(fit_nested(mixed, method).values()))
    assert other.nested_kl == pytest.approx(first.nested_kl, abs=2e-5)
    np.testing.assert_allclose(other.nested, first.nested[rows], atol=5e-3)


def test_missing_rows_are_blended_from_who_has_them(standin):
    present = np.ones(standin.probs.shape[:2], dtype=bool)
    present[0, ::3] = False
    probs = np.where(present[..., None], standin.probs, 0).astype(np.float32)
    weights = np.random.default_rng(0).dirichlet(np.ones(8))
    blended = Arithmetic(weights).apply(probs, present)
    others = np.einsum("m,mnk->nk", weights[1:] / weights[1:].sum(), standin.probs[1:, ::3].astype(float))
    np.testing.assert_allclose(blended[::3], others, atol=1e-6)
    full = Arithmetic(weights).apply(standin.probs)
    np.testing.assert_allclose(blended[1::3], full[1::3], atol=1e-6)
    for method in METHODS:
        fit = next(iter(fit_nested(BlendData(probs, standin.targets, standin.fold, present), method).values()))
        assert fit.nested_kl == pytest.approx(fit_nested_kl(standin, method), abs=0.02)
        np.testing.assert_allclose(fit.nested.sum(axis=1), 1, atol=1e-6)


def fit_nested_kl(standin, method):
    return next(iter(fit_nested(data_of(standin), method).values())).nested_kl
