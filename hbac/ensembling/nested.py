"""Scores of fitted blends that are not measured on what was fitted.

For each fold, weights come from the other folds and are scored on this one. Where a method has a strength to
choose, it is chosen inside those other folds: fitted on all but two, scored on the second. A fit that leaves
out folds a and b serves both directions, so that five folds need 10 + 5 + 1 fits for each strength.
"""

# M member, N row, K class

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from hbac.common.errors import UserError
from hbac.common.progress import progress
from hbac.ensembling.blends import Blend, centred_logs, fill_missing
from hbac.ensembling.compound import Mixture
from hbac.ensembling.convex import fit_convex
from hbac.evaluation.metric import kl_rows

Array = npt.NDArray[np.float64]
Excluded = frozenset[int]

_LARGE_BYTES = 100 * 2**20


@dataclass(frozen=True)
class BlendData:
    """What a blend is fitted on.

    Parameters
    ----------
    probs : ndarray of float32, shape (members, rows, classes)
        Members' out-of-fold probabilities.
    targets : ndarray of float64, shape (rows, classes)
        Vote shares.
    fold : ndarray of int, shape (rows,)
        Fold of each row.
    present : ndarray of bool, shape (members, rows), optional
        Whether the member has the row; None where all have all.
    """

    probs: npt.NDArray[np.float32]
    targets: Array
    fold: npt.NDArray[np.int16]
    present: npt.NDArray[np.bool_] | None = None

    @property
    def folds(self) -> list[int]:
        """The folds there are, ascending."""
        return [int(fold) for fold in np.unique(self.fold)]

    @cached_property
    def filled(self) -> npt.NDArray[np.float32]:
        """Probabilities with missing rows replaced by the mean of the members that have them."""
        return np.asarray(fill_missing(self.probs, self.present), dtype=np.float32)

    @cached_property
    def logs(self) -> npt.NDArray[np.float32]:
        """Centred log-probabilities of `filled`."""
        return centred_logs(self.filled)


class Method(Protocol):
    """A blending method: settings to choose from, and a fit on the rows of some folds."""

    name: str
    fitted: bool  # False: it learns nothing from the rows, so that one fold is enough to score it

    def settings(self) -> Sequence[Any]:
        """Return what there is to choose from, strongest shrinkage first; one entry means no choice."""

    def fit(self, data: BlendData, train_N: npt.NDArray[np.bool_], settings: Sequence[Any]) -> Sequence[Blend]:
        """Fit each of the settings on the rows in `train_N`."""


@dataclass(frozen=True)
class NestedFit:
    """A method fitted on all rows, and its predictions for rows it wasn't fitted on.

    Parameters
    ----------
    name : str
        The method.
    blend : Blend
        Fitted on all rows; what is used for new ones.
    setting : object
        The strength chosen for it.
    nested : ndarray, shape (rows, classes)
        Each fold's rows by weights from the other folds.
    nested_kl : float
        Mean divergence of `nested`, the score to report.
    in_sample_kl : float
        Mean divergence of `blend` on the rows that it was fitted on.
    """

    name: str
    blend: Blend
    setting: Any
    nested: Array
    nested_kl: float
    in_sample_kl: float


class FoldFits:
    """All fits of one method that nesting needs, each made once.

    Parameters
    ----------
    data : BlendData
        Rows and folds.
    method : Method
        What to fit.
    """

    def __init__(self, data: BlendData, method: Method) -> None:
        self.data = data
        self.method = method
        self.all_settings = list(method.settings())
        self._rows = {fold: data.fold == fold for fold in data.folds}
        self._predicted: dict[tuple[Excluded, int, int], Array] = {}
        self._blends: dict[Excluded, Sequence[Blend]] = {}

    def prepare(self, excluded: Iterable[Excluded]) -> None:
        """Fit several training sets, as many at a time as there are cores; the result doesn't depend on that.

        Parameters
        ----------
        excluded : iterable of frozenset of int
            Folds left out of each fit.
        """
        todo = sorted({e for e in excluded if e not in self._blends}, key=sorted)
        if not todo:
            return
        # One BLAS thread a fit: sums are then added up in the same order on every machine.
        with (
            threadpool_limits(1),
            warnings.catch_warnings(),
            ThreadPoolExecutor(max_workers=self._n_workers()) as pool,
        ):
            # The stacking baseline stops early on purpose. Filters belong to the process: set here, not in a thread.
            warnings.filterwarnings("ignore", message="lbfgs failed to converge")
            fits = zip(todo, pool.map(self._fit, todo), strict=True)
            with progress(f"fitting {self.method.name}", log=False) as report:
                for done, (e, blends) in enumerate(fits, start=1):
                    self._blends[e] = blends
                    report(done, len(todo))

    def _n_workers(self) -> int:
        """As many as there are cores; one alone where several copies of the rows would fill the memory."""
        return min(4, os.cpu_count() or 1) if self.data.probs.nbytes < _LARGE_BYTES else 1

    def _fit(self, excluded: Excluded) -> Sequence[Blend]:
        train_N = ~np.isin(self.data.fold, sorted(excluded))
        return self.method.fit(self.data, train_N, self.all_settings)

    def predict(self, excluded: Excluded, fold: int, setting: int) -> Array:
        """Predict one fold's rows by a fit that left some folds out.

        Parameters
        ----------
        excluded : frozenset of int
            Folds left out of the fit.
        fold : int
            Whose rows to predict.
        setting : int
            Index into the method's settings.

        Returns
        -------
        ndarray, shape (rows of the fold, classes)
            Probabilities.
        """
        key = (excluded, fold, setting)
        if key not in self._predicted:
            self.prepare([excluded])
            rows = self._rows[fold]
            present = None if self.data.present is None else self.data.present[:, rows]
            self._predicted[key] = self._blends[excluded][setting].apply(self.data.probs[:, rows], present)
        return self._predicted[key]

    def choose(self, outer: Excluded) -> int:
        """Choose the setting inside the folds that aren't in `outer`.

        Parameters
        ----------
        outer : frozenset of int
            Folds that must not be looked at; empty for the final fit.

        Returns
        -------
        int
            Index of the setting with the lowest divergence on folds left out in turn. Where too few folds are
            left to leave one out, the strongest shrinkage.
        """
        inner = [fold for fold in self.data.folds if fold not in outer]
        if len(self.all_settings) == 1 or len(inner) < 2:
            return 0
        scores = [
            sum(
                kl_rows(self.data.targets[self._rows[fold]], self.predict(outer | {fold}, fold, setting)).sum()
                for fold in inner
            )
            for setting in range(len(self.all_settings))
        ]
        return int(np.argmin(scores))

    def chosen(self, outer: Excluded) -> Array:
        """Predict all rows outside of `outer`, each by a fit without its fold, under the setting chosen there.

        Parameters
        ----------
        outer : frozenset of int
            Folds that must not be looked at.

        Returns
        -------
        ndarray, shape (rows, classes)
            NaN in the rows of `outer`.
        """
        setting = self.choose(outer)
        out = np.full(self.data.targets.shape, np.nan)
        for fold in self.data.folds:
            if fold not in outer:
                out[self._rows[fold]] = self.predict(outer | {fold}, fold, setting)
        return out

    def all_needed(self, inner: bool) -> list[Excluded]:
        """List the training sets that a nested score needs.

        Parameters
        ----------
        inner : bool
            Whether something is chosen inside the training folds.

        Returns
        -------
        list of frozenset of int
            Folds left out of each.
        """
        singles = [frozenset({fold}) for fold in self.data.folds]
        pairs = [frozenset(pair) for pair in combinations(self.data.folds, 2)]
        return [frozenset(), *singles, *(pairs if inner and len(singles) > 2 else [])]

    def final(self) -> tuple[Blend, Any]:
        """Fit all rows.

        Returns
        -------
        blend : Blend
            Under the setting chosen by leaving out each fold in turn.
        setting : object
            That setting.
        """
        setting = self.choose(frozenset())
        self.prepare([frozenset()])
        return self._blends[frozenset()][setting], self.all_settings[setting]

    @property
    def used(self) -> npt.NDArray[np.bool_]:
        """Which members any of the fits so far uses, shape (members,)."""
        return np.asarray(np.any([blend.used for blends in self._blends.values() for blend in blends], axis=0))

    def rows(self, fold: int) -> npt.NDArray[np.bool_]:
        """Say which rows are a fold's.

        Parameters
        ----------
        fold : int
            The fold.

        Returns
        -------
        ndarray of bool, shape (rows,)
            True for its rows.
        """
        rows: npt.NDArray[np.bool_] = self._rows[fold]
        return rows

    def result(self) -> NestedFit:
        """Fit all and score.

        Returns
        -------
        NestedFit
            Scores and the blend for new rows.

        Raises
        ------
        UserError
            Fewer than two folds.
        """
        folds = self.data.folds
        if len(folds) < 2 and self.method.fitted:
            raise UserError(f"method {self.method.name}: a nested score needs rows of at least 2 folds, found {folds}")
        self.prepare(self.all_needed(inner=len(self.all_settings) > 1))
        nested = np.empty(self.data.targets.shape)
        for fold in folds:
            outer = frozenset({fold})
            nested[self._rows[fold]] = self.predict(outer, fold, self.choose(outer))
        blend, setting = self.final()
        return scored(self.method.name, self.data, blend, setting, nested)


def scored(name: str, data: BlendData, blend: Blend, setting: Any, nested: Array) -> NestedFit:
    """Score a fit on the rows it didn't see and on those it did.

    Parameters
    ----------
    name : str
        The method.
    data : BlendData
        Rows and members.
    blend : Blend
        Fitted on all rows.
    setting : object
        The strength chosen for it.
    nested : ndarray, shape (rows, classes)
        Predictions for rows that weren't fitted on.

    Returns
    -------
    NestedFit
        With both scores.
    """
    in_sample = blend.apply(data.probs, data.present)
    return NestedFit(
        name=name,
        blend=blend,
        setting=setting,
        nested=nested,
        nested_kl=float(kl_rows(data.targets, nested).mean()),
        in_sample_kl=float(kl_rows(data.targets, in_sample).mean()),
    )


def combine(name: str, fits: Sequence[FoldFits]) -> NestedFit:
    """Mix several methods, by convex weights that are nested as well.

    For each fold the weights come from predictions that the methods, fitted without this fold and one more,
    made for that other one.

    Parameters
    ----------
    name : str
        What the mixture is called.
    fits : sequence of FoldFits
        Methods, all on the same data of three folds or more.

    Returns
    -------
    NestedFit
        The mixture.
    """
    data = fits[0].data
    for fit in fits:
        fit.prepare(fit.all_needed(inner=True))

    def weights(outer: Excluded) -> Array:
        inside = ~np.isin(data.fold, sorted(outer))
        stack = np.stack([fit.chosen(outer)[inside] for fit in fits]).astype(np.float32)
        return fit_convex(stack, data.targets[inside], prune_below=0.02).weights

    nested = np.empty(data.targets.shape)
    for fold in data.folds:
        outer = frozenset({fold})
        parts = [fit.predict(outer, fold, fit.choose(outer)) for fit in fits]
        nested[fits[0].rows(fold)] = np.tensordot(weights(outer), parts, axes=1)
    share = weights(frozenset())
    kept = np.flatnonzero(share > 0).tolist()
    finals = [fits[i].final() for i in kept]
    blend = Mixture([part for part, _ in finals], share[kept])
    settings = {fits[i].method.name: setting for i, (_, setting) in zip(kept, finals, strict=True)}
    return scored(name, data, blend, settings, nested)
