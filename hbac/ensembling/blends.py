"""Fitted blends: what `hbac.infer` applies to the members' probabilities, as plain numbers that JSON can hold.

There are two kinds, the weighted arithmetic mean and the weighted geometric one.
"""

# M member, N row, K class, B blend

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from hbac.common.errors import UserError

Array = npt.NDArray[np.float64]
Probs = npt.NDArray[np.floating]
Present = npt.NDArray[np.bool_] | None

# Networks in half precision answer 0 now and then; a logarithm of 0 would outweigh all other members.
FLOOR = 1e-6


class Blend(Protocol):
    """One way of making one prediction out of several."""

    @property
    def used(self) -> npt.NDArray[np.bool_]:
        """Which members matter, shape (members,)."""

    def apply(self, prob_MNK: Probs, present_MN: Present = None) -> Array:
        """Blend probabilities (members, rows, classes) to (rows, classes).

        Where a member lacks a row, as `present_MN` says, an arithmetic mean scales the others' weights up; in the other
        blends the geometric mean of the others stands for it.
        """

    def restrict(self, kept: npt.NDArray[np.bool_]) -> Blend:
        """Keep the members of a mask; the others must be unused."""

    def spread(self, place: npt.NDArray[np.int64], n_members: int) -> Blend:
        """Make room for members without weight: this blend's stand at these places among `n_members`."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain containers, with the ``kind`` that `blend_from_dict` knows it by."""


def blend_from_dict(content: Mapping[str, Any]) -> Blend:
    """Make the blend that `Blend.to_dict` described.

    A `UserError` for an unknown kind, or where an entry is missing.

    Examples
    --------
    >>> blend_from_dict({"kind": "arithmetic", "weights": [0.25, 0.75]}).used.tolist()
    [True, True]
    """

    def numbers(name: str) -> Array:
        array = np.array(content[name], dtype=np.float64)
        if not np.isfinite(array).all():
            raise UserError(f"blend: its numbers make no probabilities: {name} has some that are not finite")
        return array

    try:
        kind = content["kind"]
        if kind == "arithmetic":
            return Arithmetic(numbers("weights"))
        if kind == "log_linear":
            return LogLinear(numbers("weights"), numbers("bias"))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"blend: damaged description ({error!r})") from error
    raise UserError(f"blend: unknown kind {kind!r}; this hbac knows arithmetic, log_linear")


def centred_logs(prob_MNK: Probs) -> npt.NDArray[np.float32]:
    """Take logarithms of (members, rows, classes), less their mean over the classes; below `FLOOR` counts as `FLOOR`.

    Centring changes no softmax of one weight per member, and treats the classes alike where each has its own weight.

    Examples
    --------
    >>> centred_logs(np.array([[[0.5, 0.5], [0.8, 0.2]]])).round(4).tolist()
    [[[0.0, 0.0], [0.6930999755859375, -0.6930999755859375]]]
    """
    logs = np.log(np.maximum(prob_MNK, FLOOR, dtype=np.float32))
    logs -= logs.mean(axis=-1, keepdims=True)
    return logs


def fill_missing(prob_MNK: Probs, present_MN: Present) -> Probs:
    """Give members the geometric mean of the others where they lack a row; (members, rows, classes) in and out.

    Where nothing is missing, the same object is returned.

    Examples
    --------
    >>> probs = np.array([[[0.8, 0.2]], [[0.0, 0.0]]])
    >>> fill_missing(probs, np.array([[True], [False]]))[1].round(4).tolist()
    [[0.8, 0.2]]
    """
    if present_MN is None or present_MN.all():
        return prob_MNK
    filled = prob_MNK.copy()
    row_N = np.flatnonzero(~present_MN.all(axis=0))
    present = present_MN[:, row_N]
    logs = centred_logs(prob_MNK[:, row_N])
    mean = softmax((logs * present[..., None]).sum(axis=0) / present.sum(axis=0)[:, None], axis=1)
    for m in range(len(filled)):
        absent = ~present[m]
        filled[m, row_N[absent]] = mean[absent]
    return filled


def spread_rows(values: Array, place: npt.NDArray[np.int64], n_members: int) -> Array:
    """Put rows at their places in an array of zeros with `n_members` rows.

    Examples
    --------
    >>> spread_rows(np.array([5.0, 6.0]), np.array([2, 0]), 3).tolist()
    [6.0, 0.0, 5.0]
    """
    out = np.zeros((n_members, *values.shape[1:]))
    out[place] = values
    return out


@dataclass(frozen=True)
class Arithmetic:
    """Weighted arithmetic mean.

    Parameters
    ----------
    weights : ndarray, shape (members,)
        0 or more, sum 1. A row that only members without weight have gets their plain mean.
    """

    weights: Array

    @property
    def used(self) -> npt.NDArray[np.bool_]:
        """Which members have a weight."""
        return self.weights > 0

    def apply(self, prob_MNK: Probs, present_MN: Present = None) -> Array:
        """See `Blend.apply`."""
        total_NK = np.zeros(prob_MNK.shape[1:])
        mass_N = np.zeros(prob_MNK.shape[1])
        for m, weight in enumerate(self.weights):
            if weight > 0:
                here = 1.0 if present_MN is None else present_MN[m].astype(np.float64)
                total_NK += weight * (prob_MNK[m] if present_MN is None else prob_MNK[m] * present_MN[m][:, None])
                mass_N += weight * here
        if present_MN is not None and (mass_N == 0).any():
            orphan = mass_N == 0
            total_NK[orphan] = prob_MNK[:, orphan].sum(axis=0, dtype=np.float64)
            mass_N[orphan] = present_MN[:, orphan].sum(axis=0)
        return np.asarray(total_NK / total_NK.sum(axis=1, keepdims=True))

    def restrict(self, kept: npt.NDArray[np.bool_]) -> Arithmetic:
        """See `Blend.restrict`."""
        return Arithmetic(self.weights[kept])

    def spread(self, place: npt.NDArray[np.int64], n_members: int) -> Arithmetic:
        """See `Blend.spread`."""
        return Arithmetic(spread_rows(self.weights, place, n_members))

    def to_dict(self) -> dict[str, Any]:
        """See `Blend.to_dict`."""
        return {"kind": "arithmetic", "weights": self.weights.tolist()}


@dataclass(frozen=True)
class LogLinear:
    """Softmax of weighted log-probabilities and class biases: a weighted geometric mean with temperature.

    Parameters
    ----------
    weights : ndarray, shape (members, classes)
        Weight of each member's centred log-probability of each class; a column's sum is an inverse temperature.
        Below 0 where a member only helps by what it gets wrong.
    bias : ndarray, shape (classes,)
        Added to the logits.
    """

    weights: Array
    bias: Array

    @property
    def used(self) -> npt.NDArray[np.bool_]:
        """Which members have any weight."""
        return np.asarray((self.weights != 0).any(axis=1))

    def logits(self, log_MNK: npt.NDArray[np.float32]) -> Array:
        """Sum up `centred_logs` (members, rows, classes) to (rows, classes), before the softmax."""
        logit_NK = np.tile(self.bias, (log_MNK.shape[1], 1))
        for m in np.flatnonzero(self.used):
            logit_NK += self.weights[m] * log_MNK[m]
        return logit_NK

    def apply(self, prob_MNK: Probs, present_MN: Present = None) -> Array:
        """See `Blend.apply`."""
        return np.asarray(softmax(self.logits(centred_logs(fill_missing(prob_MNK, present_MN))), axis=1))

    def restrict(self, kept: npt.NDArray[np.bool_]) -> LogLinear:
        """See `Blend.restrict`."""
        return LogLinear(self.weights[kept], self.bias)

    def spread(self, place: npt.NDArray[np.int64], n_members: int) -> LogLinear:
        """See `Blend.spread`."""
        return LogLinear(spread_rows(self.weights, place, n_members), self.bias)

    def to_dict(self) -> dict[str, Any]:
        """See `Blend.to_dict`."""
        return {"kind": "log_linear", "weights": self.weights.tolist(), "bias": self.bias.tolist()}
