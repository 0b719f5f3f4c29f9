"""The stacking baseline: scikit-learn's multinomial regression on all members' log-probabilities.

It may use any member's opinion of any class for any class, which is members x classes x classes weights; what
the log-linear blend gains over it is the worth of knowing that a probability of LPD speaks about LPD.

References
----------
Wolpert, Stacked generalization, doi:10.1016/S0893-6080(05)80023-1.
"""

# M member, N row, K class

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hbac.ensembling.blends import Array, Present, Probs, centred_logs, fill_missing, softmax, spread_rows

STRENGTH = 3e-2  # ridge per row and squared weight, the same for all members
_MAX_STEPS = 300


@dataclass(frozen=True)
class Stacked:
    """Softmax of a linear map of all log-probabilities.

    Parameters
    ----------
    weights : ndarray, shape (members, classes seen, classes predicted)
        Weight of each member's centred log-probability of a class in each logit.
    bias : ndarray, shape (classes predicted,)
        Added to the logits.
    """

    weights: Array
    bias: Array

    @property
    def used(self) -> npt.NDArray[np.bool_]:
        """Which members have any weight."""
        return np.asarray((self.weights != 0).any(axis=(1, 2)))

    def apply(self, prob_MNK: Probs, present_MN: Present = None) -> Array:
        """Blend; as `Blend.apply`."""
        logs = centred_logs(fill_missing(prob_MNK, present_MN))
        logit_NK = np.tile(self.bias, (logs.shape[1], 1))
        for m in np.flatnonzero(self.used):
            logit_NK += logs[m] @ self.weights[m]
        return softmax(logit_NK)

    def restrict(self, kept: npt.NDArray[np.bool_]) -> Stacked:
        """Keep some members; as `Blend.restrict`."""
        return Stacked(self.weights[kept], self.bias)

    def spread(self, place: npt.NDArray[np.int64], n_members: int) -> Stacked:
        """Make room for members without weight; as `Blend.spread`."""
        return Stacked(spread_rows(self.weights, place, n_members), self.bias)

    def to_dict(self) -> dict[str, Any]:
        """Return plain containers."""
        return {"kind": "stacked", "weights": self.weights.tolist(), "bias": self.bias.tolist()}


def fit_stacked(log_MNK: npt.NDArray[np.float32], target_NK: Array, strength: float = STRENGTH) -> Stacked:
    """Fit scikit-learn's multinomial regression to soft targets.

    A row whose votes are spread over three classes enters three times, once under each, weighted by the shares:
    the weighted log loss of these is the cross-entropy of the soft target.

    Parameters
    ----------
    log_MNK : ndarray of float32, shape (members, rows, classes)
        Of `hbac.ensembling.blends.centred_logs`.
    target_NK : ndarray of float64, shape (rows, classes)
        Vote shares.
    strength : float
        Of the ridge, per row.

    Returns
    -------
    Stacked
        The fit. A class that no row has a vote for gets a bias far below the others.
    """
    from sklearn.linear_model import LogisticRegression  # a second of imports that the other methods do without

    n_members, n_rows, n_classes = log_MNK.shape
    row_I, class_I = np.nonzero(target_NK)
    design = log_MNK.transpose(1, 0, 2).reshape(n_rows, n_members * n_classes)[row_I]
    model = LogisticRegression(C=1 / (2 * strength * n_rows), max_iter=_MAX_STEPS, tol=1e-4)
    weights, bias = np.zeros((n_members * n_classes, n_classes)), np.full(n_classes, -10.0)
    seen = np.unique(class_I)
    if len(seen) == 1:
        bias[seen] = 0.0
        return Stacked(weights.reshape(n_members, n_classes, n_classes), bias)
    model.fit(design, class_I, sample_weight=target_NK[row_I, class_I])
    if len(seen) == 2:  # scikit-learn then keeps the second class's logit only
        weights[:, seen[1]], bias[seen] = model.coef_[0], [0.0, model.intercept_[0]]
    else:
        weights[:, seen], bias[seen] = model.coef_.T, model.intercept_
    return Stacked(weights.reshape(n_members, n_classes, n_classes), bias)
