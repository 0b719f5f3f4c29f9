"""The blending methods by name, and ``auto``, which takes the best by nested score.

mean
    plain arithmetic mean; nothing is fitted
convex
    weighted arithmetic mean, weights on the simplex, global optimum
log_linear
    weighted geometric mean, one weight per member, class biases, temperature; of one member, its calibration
log_linear_class
    the same with one weight per member and class
auto
    all of these; the one with the best nested score, which is then scored by `best_of`

Members that are equal in all rows count as one, so that copies change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from hbac.common.choices import check_choice
from hbac.ensembling.blends import Arithmetic, Blend
from hbac.ensembling.convex import fit_convex
from hbac.ensembling.log_linear import Strength, fit_log_linear
from hbac.ensembling.nested import BlendData, Method, NestedFit, Rows, nest
from hbac.evaluation.metric import kl_rows

# Weak ones, too: where a few members are far better than the rest, the plain mean is a bad guess.
MEMBER_STRENGTHS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-6)
CLASS_STRENGTHS = tuple(product((1e-3, 1e-6), (1e-1, 2e-2, 5e-3, 1e-3)))  # on members, on classes


def _mean(data: BlendData, train_N: Rows, settings: Sequence[Any]) -> Sequence[Blend]:
    n_members = len(data.probs)
    return [Arithmetic(np.full(n_members, 1 / n_members))]


def _convex(data: BlendData, train_N: Rows, settings: Sequence[Any]) -> Sequence[Blend]:
    return [Arithmetic(fit_convex(data.filled[:, train_N], data.targets[train_N]).weights)]


def _log_linear(data: BlendData, train_N: Rows, settings: Sequence[Any]) -> Sequence[Blend]:
    strengths = [Strength(members) for members in settings]
    return fit_log_linear(data.logs[:, train_N], data.targets[train_N], strengths)


def _log_linear_class(data: BlendData, train_N: Rows, settings: Sequence[Any]) -> Sequence[Blend]:
    strengths = [Strength(members, classes) for members, classes in settings]
    return fit_log_linear(data.logs[:, train_N], data.targets[train_N], strengths)


SINGLE = {
    method.name: method
    for method in (
        Method("mean", _mean, lambda n_members: [None], fitted=False),
        Method("convex", _convex, lambda n_members: [None]),
        # one member has nobody to differ from
        Method("log_linear", _log_linear, lambda n_members: MEMBER_STRENGTHS[: None if n_members > 1 else 1]),
        Method("log_linear_class", _log_linear_class, lambda n_members: CLASS_STRENGTHS),
    )
}
METHODS = (*SINGLE, "auto")


def fit_nested(data: BlendData, method: str = "convex", quiet: bool = False) -> dict[str, NestedFit]:
    """Fit one of `METHODS` and score it nested by fold; of ``auto`` all that it compares, the best score first.

    A `UserError` for an unknown method, or where fewer than two folds have rows that count.
    """
    check_choice("method", method, METHODS)
    place, n_members = _distinct(data), len(data.probs)
    if len(place) < n_members:
        data = data.only(members=place)
    fits = [nest(data, kind, quiet) for name, kind in SINGLE.items() if method in (name, "auto")]
    if len(place) < n_members:
        fits = [
            replace(
                fit,
                blend=fit.blend.spread(place, n_members),
                by_fold={fold: blend.spread(place, n_members) for fold, blend in fit.by_fold.items()},
            )
            for fit in fits
        ]
    return {fit.name: fit for fit in sorted(fits, key=lambda fit: fit.nested_kl)}


def best_of(data: BlendData, fits: Mapping[str, NestedFit]) -> NestedFit:
    """Take the best of several methods, with a score that doesn't profit from having been the best.

    For each fold the method is chosen by its nested predictions of the other folds, and it is these choices that are
    scored: with the lowest of several scores as its own, a blend would look better than it is. (The choice itself saw
    this fold through the weights behind those predictions; fitting all once more without any two folds would shut that
    out, too.)

    `fits` are those of `fit_nested`. Returned is the blend of the best under its name, with `nested` and `nested_kl` of
    the choices.
    """
    ranked = list(fits.values())
    if len(ranked) == 1:
        return ranked[0]
    counts = np.ones(len(data.fold), dtype=bool) if data.counts is None else data.counts
    loss = np.stack([kl_rows(data.targets, fit.nested) for fit in ranked])
    nested = np.empty(data.targets.shape)
    for fold in data.folds:
        rows = data.fold == fold
        chosen = ranked[int(np.argmin(loss[:, counts & ~rows].sum(axis=1)))]
        nested[rows] = chosen.nested[rows]
    return replace(ranked[0], nested=nested, nested_kl=data.score(nested))


def _distinct(data: BlendData) -> npt.NDArray[np.int64]:
    """Return the first of each set of equal members."""
    place: list[int] = []
    seen: dict[int, list[int]] = {}
    for m, probs in enumerate(data.probs):
        alike = seen.setdefault(hash(probs.tobytes()), [])
        if not any(np.array_equal(data.probs[other], probs) for other in alike):
            place.append(m)
        alike.append(m)
    return np.array(place)
