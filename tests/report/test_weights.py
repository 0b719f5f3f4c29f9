"""Weights of every kind of blend that an ensemble may have."""

from __future__ import annotations

import numpy as np
import pytest

from hbac.ensembling.methods import METHODS, best_of, fit_nested
from hbac.ensembling.nested import BlendData
from hbac.report.weights import weight_tables
from tests.ensembling.standin import make_standin


@pytest.fixture(scope="module")
def data() -> BlendData:
    standin = make_standin(n_rows=600, n_members=3, n_folds=3, seed=2)
    return BlendData(standin.probs, standin.targets, standin.fold)


@pytest.mark.parametrize("method", [name for name in METHODS if name != "auto"])
def test_every_method_s_weights_are_shown_with_all_members(data: BlendData, method: str) -> None:
    blend = best_of(data, fit_nested(data, method)).blend
    tables = list(weight_tables(blend, ["a", "b", "c"]))
    assert tables
    of_members = [weights for _, weights in tables if "bias" not in weights.index]
    assert all(list(weights.index[:3]) == ["a", "b", "c"] for weights in of_members)
    assert all(np.isfinite(weights.to_numpy()).all() for _, weights in tables)


def test_a_mean_s_weights_add_up_to_one(data: BlendData) -> None:
    [(title, weights)] = weight_tables(best_of(data, fit_nested(data, "convex")).blend, ["a", "b", "c"])
    assert title == "Weights of an arithmetic mean"
    assert weights["weight"].sum() == pytest.approx(1)


def test_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(TypeError, match="object"):
        list(weight_tables(object(), ["a"]))  # type: ignore[arg-type]
