"""The blending methods by name.

=================  =====================================================================================
mean               plain arithmetic mean; nothing is fitted
convex             weighted arithmetic mean, weights on the simplex, global optimum
=================  =====================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hbac.ensembling.blends import Arithmetic, Blend
from hbac.ensembling.convex import fit_convex
from hbac.ensembling.nested import BlendData, FoldFits, Method, NestedFit
from hbac.errors import UserError


class Mean:
    """Plain arithmetic mean."""

    name = "mean"
    fitted = False

    def settings(self) -> Sequence[Any]:
        """Return the one setting there is."""
        return [None]

    def fit(self, data: BlendData, train_N: npt.NDArray[np.bool_], settings: Sequence[Any]) -> list[Blend]:
        """Weigh all members alike.

        Parameters
        ----------
        data : BlendData
            Only the number of members counts.
        train_N : ndarray of bool, shape (rows,)
            Ignored.
        settings : sequence
            One entry.

        Returns
        -------
        list of Blend
            One.
        """
        n_members = len(data.probs)
        return [Arithmetic(np.full(n_members, 1 / n_members))]


class Convex:
    """Weighted arithmetic mean, see `hbac.ensembling.convex`."""

    name = "convex"
    fitted = True

    def settings(self) -> Sequence[Any]:
        """Return the one setting there is."""
        return [None]

    def fit(self, data: BlendData, train_N: npt.NDArray[np.bool_], settings: Sequence[Any]) -> list[Blend]:
        """Find the best weights.

        Parameters
        ----------
        data : BlendData
            Rows and members.
        train_N : ndarray of bool, shape (rows,)
            Rows to fit on.
        settings : sequence
            One entry.

        Returns
        -------
        list of Blend
            One.
        """
        return [Arithmetic(fit_convex(data.filled[:, train_N], data.targets[train_N]).weights)]


METHODS: dict[str, type[Method]] = {method.name: method for method in (Mean, Convex)}


def fit_nested(data: BlendData, method: str = "convex") -> dict[str, NestedFit]:
    """Fit a method and score it nested by fold.

    Parameters
    ----------
    data : BlendData
        Rows and members.
    method : str
        Name of the method.

    Returns
    -------
    dict of str to NestedFit
        By name, the best first; more than one where the method compares others.

    Raises
    ------
    UserError
        Unknown method, or fewer than two folds.
    """
    if method not in METHODS:
        raise UserError(f"method={method}; known are {', '.join(METHODS)}")
    return {method: FoldFits(data, METHODS[method]()).result()}
