"""Scores of fitted blends that are not measured on what was fitted.

For each fold, weights come from the other folds and are scored on this one. Where a method has a strength to
choose, it is chosen inside those other folds: fitted on all but two, scored on the second. A fit that leaves
out folds a and b serves both directions, so that five folds need 10 + 5 + 1 fits for each strength.

All of this looks only at the rows that count, those of one vote population; the blends then predict every row.
"""

# M member, N row, K class

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from hbac.common.errors import UserError
from hbac.common.progress import progress
from hbac.ensembling.blends import Blend, centred_logs, fill_missing
from hbac.evaluation.metric import kl_rows

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.bool_]
Excluded = frozenset[int]

_LARGE_BYTES = 100 * 2**20


@dataclass(frozen=True)
class BlendData:
    """What a blend is fitted on."""

    probs: npt.NDArray[np.float32]  # (members, rows, classes) out of fold
    targets: Array  # (rows, classes) vote shares
    fold: npt.NDArray[np.int16]  # (rows,)
    present: Rows | None = None  # (members, rows) whether the member has the row; None where all have all
    counts: Rows | None = None  # (rows,) that are fitted on, chosen by and scored; the others are only predicted

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

    @cached_property
    def counted(self) -> BlendData:
        """The rows that count, alone."""
        return self if self.counts is None else self.only(rows=self.counts)

    def only(self, members: npt.NDArray[Any] | None = None, rows: Rows | None = None) -> BlendData:
        """Take some members (positions, or a mask) and rows; all where absent."""
        member = slice(None) if members is None else members
        row = slice(None) if rows is None else rows
        return BlendData(
            self.probs[member][:, row],
            self.targets[row],
            self.fold[row],
            None if self.present is None else self.present[member][:, row],
            None if self.counts is None else self.counts[row],
        )

    def score(self, prob_NK: Array) -> float:
        """Return the mean divergence, in nats, of predictions (rows, classes) of all rows on those that count."""
        row = slice(None) if self.counts is None else self.counts
        return float(kl_rows(self.targets[row], prob_NK[row]).mean())


@dataclass(frozen=True)
class Method:
    """A blending method: a fit of each of several settings on some rows, and the settings to choose from."""

    name: str
    fit: Callable[[BlendData, Rows, Sequence[Any]], Sequence[Blend]]
    settings: Callable[[int], Sequence[Any]]  # for a number of members, strongest shrinkage first; one: no choice
    fitted: bool = True  # False: it learns nothing from the rows, so that one fold is enough to score it


@dataclass(frozen=True)
class NestedFit:
    """A method fitted on all rows that count, and its predictions for rows it wasn't fitted on."""

    name: str  # of the method
    blend: Blend  # fitted on the rows of all folds; what is used for new ones
    setting: Any  # the strength chosen for it
    nested: Array  # (rows, classes) each fold's rows by weights from the other folds, whether they count or not
    nested_kl: float  # of `nested` on the rows that count, the score to report
    in_sample_kl: float  # of `blend` on the rows that it was fitted on
    by_fold: Mapping[int, Blend]  # what predicted each fold's rows

    @property
    def used(self) -> Rows:
        """Which members any of its blends uses, shape (members,)."""
        return np.asarray(np.any([blend.used for blend in (self.blend, *self.by_fold.values())], axis=0))


class FoldFits:
    """All fits of one method that nesting needs, each made once; every row of `data` counts."""

    def __init__(self, data: BlendData, method: Method, quiet: bool = False) -> None:
        self.data = data
        self.method = method
        self.settings = method.settings(len(data.probs))
        self._blends: dict[Excluded, Sequence[Blend]] = {}
        self._losses: dict[tuple[Excluded, int], Array] = {}
        self._fit_all(quiet)

    def _fit_all(self, quiet: bool) -> None:
        """Fit every training set, as many at a time as there are cores; the result doesn't depend on that."""
        folds = self.data.folds
        todo: list[Excluded] = [frozenset(), *(frozenset({fold}) for fold in folds)]
        if len(self.settings) > 1 and len(folds) > 2:
            todo += [frozenset(pair) for pair in combinations(folds, 2)]
        # Several copies of many rows would fill the memory.
        workers = min(4, os.cpu_count() or 1) if self.data.probs.nbytes < _LARGE_BYTES else 1
        # One BLAS thread a fit: sums are then added up in the same order on every machine.
        with threadpool_limits(1), ThreadPoolExecutor(max_workers=workers) as pool:
            fits = zip(todo, pool.map(self._fit, todo), strict=True)
            if quiet:
                self._blends |= fits
                return
            with progress(f"fitting {self.method.name}", log=False) as tell:
                for done, (excluded, blends) in enumerate(fits, start=1):
                    self._blends[excluded] = blends
                    tell(done, len(todo))

    def _fit(self, excluded: Excluded) -> Sequence[Blend]:
        train_N = ~np.isin(self.data.fold, sorted(excluded))
        return self.method.fit(self.data, train_N, self.settings)

    def _loss(self, excluded: Excluded, fold: int) -> Array:
        """Each setting's divergence, summed over one fold's rows, by fits that left some folds out."""
        key = (excluded, fold)
        if key not in self._losses:
            rows = self.data.only(rows=self.data.fold == fold)
            self._losses[key] = np.array(
                [kl_rows(rows.targets, b.apply(rows.probs, rows.present)).sum() for b in self._blends[excluded]]
            )
        return self._losses[key]

    def best(self, outer: Excluded) -> tuple[Blend, Any]:
        """Return the blend fitted without some folds, at most one, and its setting, the best inside the others.

        That is the one with the lowest divergence on folds left out in turn. Where too few folds are left to leave one
        out, it is the strongest shrinkage.
        """
        inner = [fold for fold in self.data.folds if fold not in outer]
        chosen = 0
        if len(self.settings) > 1 and len(inner) > 1:
            chosen = int(np.argmin(sum(self._loss(outer | {fold}, fold) for fold in inner)))
        return self._blends[outer][chosen], self.settings[chosen]


def nest(data: BlendData, method: Method, quiet: bool = False) -> NestedFit:
    """Fit a method on the rows that count, predict all rows, and score.

    A `UserError` where fewer than two folds have rows that count.
    """
    folds = data.counted.folds
    if len(folds) < 2 and method.fitted:
        raise UserError(f"method {method.name}: a nested score needs rows of at least 2 folds, found {folds}")
    fits = FoldFits(data.counted, method, quiet)
    blend, setting = fits.best(frozenset())
    by_fold = {fold: fits.best(frozenset({fold}) & set(folds))[0] for fold in data.folds}
    nested = np.empty(data.targets.shape)
    for fold, its in by_fold.items():
        rows = data.fold == fold
        nested[rows] = its.apply(data.probs[:, rows], None if data.present is None else data.present[:, rows])
    in_sample = data.counted.score(blend.apply(data.counted.probs, data.counted.present))
    return NestedFit(method.name, blend, setting, nested, data.score(nested), in_sample, by_fold)
