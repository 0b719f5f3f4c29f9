"""The blending methods by name, and ``auto``, which takes the best by nested score.

mean
    plain arithmetic mean; nothing is fitted
convex
    weighted arithmetic mean, weights on the simplex, global optimum
greedy
    forward selection with replacement
log_linear
    weighted geometric mean, one weight per member, class biases, temperature
log_linear_class
    the same with one weight per member and class
refined
    ``log_linear_class`` over the members and their arithmetic means, with logits corrected by what the members'
    agreement tells
stacking
    scikit-learn's multinomial regression on all log-probabilities, the baseline
combined
    convex mixture of convex, log_linear, log_linear_class and refined
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
from hbac.common.errors import UserError
from hbac.ensembling.blends import Arithmetic, Blend, centred_logs
from hbac.ensembling.compound import Augmented, augment
from hbac.ensembling.convex import fit_convex
from hbac.ensembling.greedy import fit_greedy
from hbac.ensembling.log_linear import Strength, fit_log_linear
from hbac.ensembling.nested import BlendData, FoldFits, Method, NestedFit, combine
from hbac.ensembling.refined import fit_refined
from hbac.ensembling.stacking import fit_stacked
from hbac.evaluation.metric import kl_rows

Rows = npt.NDArray[np.bool_]

# Weak ones, too: where a few members are far better than the rest, the plain mean is a bad guess.
MEMBER_STRENGTHS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-6)
CLASS_STRENGTHS = tuple(product((1e-3, 1e-6), (1e-1, 2e-2, 5e-3, 1e-3)))  # on members, on classes
REFINED_STRENGTHS = tuple(product((1e-4, 1e-6), (3.0, 3e-1, 5e-2, 1e-2)))  # on the base's members, of the ridge
_BASE_CLASSES = 2e-2  # strength on the classes of what the refined blend corrects


class _Unchosen:
    """What methods without a strength have in common."""

    fitted = True

    def settings(self) -> Sequence[Any]:
        """Return the one setting there is."""
        return [None]


class _Mean(_Unchosen):
    """Plain arithmetic mean."""

    name = "mean"
    fitted = False

    def fit(self, data: BlendData, train_N: Rows, settings: Sequence[Any]) -> Sequence[Blend]:
        """Weigh all members alike; parameters as `Method.fit`."""
        n_members = len(data.probs)
        return [Arithmetic(np.full(n_members, 1 / n_members))]


class _Convex(_Unchosen):
    """Weighted arithmetic mean, see `hbac.ensembling.convex`."""

    name = "convex"

    def fit(self, data: BlendData, train_N: Rows, settings: Sequence[Any]) -> Sequence[Blend]:
        """Find the best weights on the simplex; parameters as `Method.fit`."""
        return [Arithmetic(fit_convex(data.filled[:, train_N], data.targets[train_N]).weights)]


class _Greedy(_Unchosen):
    """Forward selection, see `hbac.ensembling.greedy`."""

    name = "greedy"

    def fit(self, data: BlendData, train_N: Rows, settings: Sequence[Any]) -> Sequence[Blend]:
        """Pick members; parameters as `Method.fit`."""
        return [Arithmetic(fit_greedy(data.filled[:, train_N], data.targets[train_N]))]


class _Stacking(_Unchosen):
    """Multinomial regression, see `hbac.ensembling.stacking`."""

    name = "stacking"

    def fit(self, data: BlendData, train_N: Rows, settings: Sequence[Any]) -> Sequence[Blend]:
        """Fit scikit-learn's regression; parameters as `Method.fit`."""
        return [fit_stacked(data.logs[:, train_N], data.targets[train_N])]


class _OneWeight:
    """Log-linear with one weight per member, see `hbac.ensembling.log_linear`."""

    name = "log_linear"
    fitted = True

    def settings(self) -> Sequence[Any]:
        """Return the strengths to choose from, the strongest first."""
        return MEMBER_STRENGTHS

    def fit(self, data: BlendData, train_N: Rows, settings: Sequence[Any]) -> Sequence[Blend]:
        """Fit each strength, prune and fit again; parameters as `Method.fit`."""
        logs, targets = data.logs[:, train_N], data.targets[train_N]
        return fit_log_linear(logs, targets, [Strength(strength) for strength in settings])


class _ByClass:
    """Log-linear with one weight per member and class, see `hbac.ensembling.log_linear`."""

    name = "log_linear_class"
    fitted = True

    def settings(self) -> Sequence[Any]:
        """Return the strengths to choose from, the strongest first."""
        return CLASS_STRENGTHS

    def fit(self, data: BlendData, train_N: Rows, settings: Sequence[Any]) -> Sequence[Blend]:
        """Fit each strength, prune and fit again; parameters as `Method.fit`."""
        logs, targets = data.logs[:, train_N], data.targets[train_N]
        return fit_log_linear(logs, targets, [Strength(members, classes) for members, classes in settings])


class _Refined:
    """Log-linear, corrected by the members' agreement, see `hbac.ensembling.refined`."""

    name = "refined"
    fitted = True

    def settings(self) -> Sequence[Any]:
        """Return the strengths to choose from, the strongest first."""
        return REFINED_STRENGTHS

    def fit(self, data: BlendData, train_N: Rows, settings: Sequence[Any]) -> Sequence[Blend]:
        """Fit the arithmetic means, log-linear bases on all, then each ridge; parameters as `Method.fit`."""
        probs, targets = data.filled[:, train_N], data.targets[train_N]
        mixtures = np.stack([fit_convex(probs, targets).weights, np.full(len(probs), 1 / len(probs))])
        probs = augment(probs, mixtures)
        logs = centred_logs(probs)
        ridges: dict[float, list[float]] = {}
        for members, ridge in settings:
            ridges.setdefault(members, []).append(ridge)
        bases = fit_log_linear(logs, targets, [Strength(members, _BASE_CLASSES) for members in ridges])
        return [
            Augmented(mixtures, refined)
            for base, strengths in zip(bases, ridges.values(), strict=True)
            for refined in fit_refined(probs, logs, targets, base, strengths)
        ]


SINGLE: dict[str, type[Method]] = {
    method.name: method for method in (_Mean, _Convex, _Greedy, _OneWeight, _ByClass, _Refined, _Stacking)
}
COMBINED = (_Convex, _OneWeight, _ByClass, _Refined)
METHODS = (*SINGLE, "combined", "auto")


def fit_nested(data: BlendData, method: str = "convex") -> dict[str, NestedFit]:
    """Fit a method and score it nested by fold.

    Parameters
    ----------
    data : BlendData
        Rows and members.
    method : str
        One of `METHODS`.

    Returns
    -------
    dict of str to NestedFit
        By name, the best nested score first; more than one for ``auto``, all that were compared.

    Raises
    ------
    UserError
        Unknown method, fewer than two folds, or fewer than three for ``combined``.
    """
    check_choice("method", method, METHODS)
    if method == "combined" and len(data.folds) < 3:
        raise UserError(f"method=combined needs rows of at least 3 folds, found {data.folds}")
    place = _distinct(data)
    full, n_members = data, len(data.probs)
    if len(place) < n_members:
        data = BlendData(
            data.probs[place], data.targets, data.fold, None if data.present is None else data.present[place]
        )
    fits: dict[str, FoldFits] = {}
    results: list[NestedFit] = []
    for name, kind in SINGLE.items():
        if method in (name, "auto") or (method == "combined" and kind in COMBINED):
            fits[name] = FoldFits(data, kind())
            if method != "combined":
                results.append(fits[name].result())
    if method in ("combined", "auto") and len(data.folds) >= 3:
        results.append(combine("combined", [fits[kind.name] for kind in COMBINED]))
    if len(place) < n_members:
        results = [replace(fit, blend=fit.blend.spread(place, n_members)) for fit in results]
    assert all(len(fit.blend.used) == len(full.probs) for fit in results)
    return {fit.name: fit for fit in sorted(results, key=lambda fit: fit.nested_kl)}


def best_of(data: BlendData, fits: Mapping[str, NestedFit]) -> NestedFit:
    """Take the best of several methods, with a score that doesn't profit from having been the best.

    For each fold the method is chosen by its nested predictions of the other folds, and it is these choices that
    are scored: with the lowest of several scores as its own, a blend would look better than it is. (The choice
    itself saw this fold through the weights behind those predictions; fitting all once more without any two
    folds would shut that out, too.)

    Parameters
    ----------
    data : BlendData
        What they were fitted on.
    fits : mapping of str to NestedFit
        Of `fit_nested`, by name, best first.

    Returns
    -------
    NestedFit
        The blend of the best method under its name; `nested` and `nested_kl` are those of the choices.
    """
    ranked = list(fits.values())
    if len(ranked) == 1:
        return ranked[0]
    loss = np.stack([kl_rows(data.targets, fit.nested) for fit in ranked])
    nested = np.empty(data.targets.shape)
    for fold in data.folds:
        rows = data.fold == fold
        chosen = ranked[int(np.argmin(loss[:, ~rows].mean(axis=1)))]
        nested[rows] = chosen.nested[rows]
    return replace(ranked[0], nested=nested, nested_kl=float(kl_rows(data.targets, nested).mean()))


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
