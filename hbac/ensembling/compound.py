"""Blends made of blends: a mixture of several, and one that has arithmetic means as further members."""

# M member, N row, K class

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hbac.ensembling.blends import Arithmetic, Array, Blend, Present, Probs, fill_missing, spread_rows


@dataclass(frozen=True)
class Mixture:
    """Weighted arithmetic mean of several blends of the same members.

    Parameters
    ----------
    parts : sequence of Blend
        What is averaged.
    weights : ndarray, shape (parts,)
        0 or more, sum 1.
    """

    parts: Sequence[Blend]
    weights: Array

    @property
    def used(self) -> npt.NDArray[np.bool_]:
        """Which members any part uses."""
        return np.asarray(np.any([part.used for part in self.parts], axis=0))

    def apply(self, prob_MNK: Probs, present_MN: Present = None) -> Array:
        """Blend; as `Blend.apply`."""
        parts = [w * part.apply(prob_MNK, present_MN) for part, w in zip(self.parts, self.weights, strict=True)]
        return np.asarray(np.sum(parts, axis=0))

    def restrict(self, kept: npt.NDArray[np.bool_]) -> Mixture:
        """Keep some members; as `Blend.restrict`."""
        return Mixture([part.restrict(kept) for part in self.parts], self.weights)

    def spread(self, place: npt.NDArray[np.int64], n_members: int) -> Mixture:
        """Make room for members without weight; as `Blend.spread`."""
        return Mixture([part.spread(place, n_members) for part in self.parts], self.weights)

    def to_dict(self) -> dict[str, Any]:
        """Return plain containers."""
        parts = [part.to_dict() for part in self.parts]
        return {"kind": "mixture", "weights": self.weights.tolist(), "parts": parts}


@dataclass(frozen=True)
class Augmented:
    """A blend that has arithmetic means of the members as further members.

    A geometric mean is at the mercy of a member that is sure and wrong, an arithmetic one isn't; a log-linear
    blend that may use both takes what it needs of each.

    Parameters
    ----------
    mixtures : ndarray, shape (mixtures, members)
        Weights of each arithmetic mean, 0 or more, sum 1.
    inner : Blend
        Of the members and, after them, the mixtures.
    """

    mixtures: Array
    inner: Blend

    @property
    def used(self) -> npt.NDArray[np.bool_]:
        """Which members the inner blend uses, itself or through a mixture."""
        n_members = self.mixtures.shape[1]
        mixture_used = self.inner.used[n_members:, None] & (self.mixtures > 0)
        return np.asarray(self.inner.used[:n_members] | mixture_used.any(axis=0))

    def apply(self, prob_MNK: Probs, present_MN: Present = None) -> Array:
        """Blend; as `Blend.apply`."""
        return self.inner.apply(augment(fill_missing(prob_MNK, present_MN), self.mixtures))

    def restrict(self, kept: npt.NDArray[np.bool_]) -> Augmented:
        """Keep some members; as `Blend.restrict`."""
        mixtures = np.ones(len(self.mixtures), dtype=bool)
        return Augmented(self.mixtures[:, kept], self.inner.restrict(np.concatenate([kept, mixtures])))

    def spread(self, place: npt.NDArray[np.int64], n_members: int) -> Augmented:
        """Make room for members without weight; as `Blend.spread`."""
        n_mixtures = len(self.mixtures)
        inner_place = np.concatenate([place, n_members + np.arange(n_mixtures)])
        mixtures = spread_rows(self.mixtures.T, place, n_members).T
        return Augmented(mixtures, self.inner.spread(inner_place, n_members + n_mixtures))

    def to_dict(self) -> dict[str, Any]:
        """Return plain containers."""
        return {"kind": "augmented", "mixtures": self.mixtures.tolist(), "inner": self.inner.to_dict()}


def augment(prob_MNK: Probs, mixtures: Array) -> npt.NDArray[np.float32]:
    """Append arithmetic means of the members.

    Parameters
    ----------
    prob_MNK : ndarray, shape (members, rows, classes)
        Probabilities.
    mixtures : ndarray, shape (mixtures, members)
        Weights of each mean.

    Returns
    -------
    ndarray of float32, shape (members + mixtures, rows, classes)
        Members, then means.

    Examples
    --------
    >>> augment(np.array([[[1.0, 0.0]], [[0.0, 1.0]]]), np.array([[0.25, 0.75]]))[2].tolist()
    [[0.25, 0.75]]
    """
    n_members = len(prob_MNK)
    out = np.empty((n_members + len(mixtures), *prob_MNK.shape[1:]), dtype=np.float32)
    out[:n_members] = prob_MNK
    for q, weights in enumerate(mixtures):
        out[n_members + q] = Arithmetic(weights).apply(prob_MNK)
    return out
