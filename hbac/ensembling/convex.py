"""The weighted arithmetic mean, with the weights that minimise KL over the simplex, to the global optimum.

The score of a mixture is convex in its weights. With the targets' shares as counts it is the classical problem
of mixture proportions: maximise ``sum_i c_i log (A w)_i``. Newton steps solve it in about ten rounds, each a
small non-negative least-squares problem in the members; the sum-to-one constraint is traded for a linear term,
which has the same optimum. The solution carries a certificate: by convexity no weights at all can score better
by more than its gap.

References
----------
Kim, Carbonetto, Stephens & Anitescu, A fast algorithm for maximum likelihood estimation of mixture proportions
using sequential quadratic programming, doi:10.1080/10618600.2019.1689985.
"""

# M member, N row, K class, I row-class pair with a target above 0

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from hbac.evaluation.metric import CLIP

Array = npt.NDArray[np.float64]

GAP = 1e-7
MAX_STEPS = 100
PRUNE_BELOW = 1e-3
_BLOCK = 1 << 15  # pairs at a time, so that double precision never holds the whole problem


@dataclass(frozen=True)
class ConvexFit:
    """Weights and how near they are to the best."""

    weights: Array  # (members,) 0 or more, sum 1
    gap: float  # the score of the best weights is at most this much lower, in nats


def fit_convex(
    prob_MNK: npt.NDArray[np.floating],
    target_NK: Array,
    gap: float = GAP,
    prune_below: float = PRUNE_BELOW,
) -> ConvexFit:
    """Find the weights of the mixture with the lowest mean KL divergence.

    `prob_MNK` are in [0, 1]; single precision is enough and saves memory. `gap` is the certified distance to the
    optimum at which to stop, in nats. Members that get less than `prune_below` are left out and the rest is fitted
    again; 0 keeps all.

    Examples
    --------
    >>> target = np.eye(2)
    >>> good, bad = np.array([[0.8, 0.2], [0.2, 0.8]]), np.full((2, 2), 0.5)
    >>> fit_convex(np.stack([bad, good]), target).weights.round(6).tolist()
    [0.0, 1.0]
    """
    row_I, class_I = np.nonzero(target_NK)
    count_I = target_NK[row_I, class_I] * (1 / len(target_NK))
    prob_IM = np.empty((len(row_I), len(prob_MNK)), dtype=np.float32)
    for m, prob_NK in enumerate(prob_MNK):
        prob_IM[:, m] = prob_NK[row_I, class_I]
    weight, certified = _newton(prob_IM, count_I, gap)
    kept = np.flatnonzero(weight >= prune_below)
    if len(kept) < np.count_nonzero(weight) and len(kept):
        pruned = np.zeros(len(weight))
        pruned[kept], _ = _newton(prob_IM[:, kept], count_I, gap)
        certified += max(_loss(prob_IM, count_I, pruned) - _loss(prob_IM, count_I, weight), 0.0)
        weight = pruned
    return ConvexFit(weight, certified)


def _blocks(prob_IM: npt.NDArray[np.float32], count_I: Array) -> Iterator[tuple[Array, Array]]:
    for start in range(0, len(count_I), _BLOCK):
        stop = start + _BLOCK
        yield prob_IM[start:stop].astype(np.float64), count_I[start:stop]


def _loss(prob_IM: npt.NDArray[np.float32], count_I: Array, weight: Array) -> float:
    """Cross-entropy plus the total weight: its minimum over all weights >= 0 lies on the simplex."""
    entropy = sum(float(count @ np.log(np.maximum(prob @ weight, CLIP))) for prob, count in _blocks(prob_IM, count_I))
    return float(weight.sum() * count_I.sum()) - entropy


def _derivatives(prob_IM: npt.NDArray[np.float32], count_I: Array, weight: Array) -> tuple[Array, Array]:
    """Gradient of the cross-entropy with its sign turned (1 at used members of the optimum), and Hessian."""
    n_members = len(weight)
    pull, hessian = np.zeros(n_members), np.zeros((n_members, n_members))
    for prob, count in _blocks(prob_IM, count_I):
        ratio = prob / np.maximum(prob @ weight, CLIP)[:, None]
        pull += count @ ratio
        ratio *= np.sqrt(count)[:, None]
        hessian += ratio.T @ ratio
    return pull / count_I.sum(), hessian / count_I.sum()


def _newton(prob_IM: npt.NDArray[np.float32], count_I: Array, gap: float) -> tuple[Array, float]:
    """Minimise `_loss` over weights >= 0; return weights and their certified gap.

    With gradient 1 - pull and Hessian H at the weights w, a step minimises the model
    (1 - pull)'(v - w) + (v - w)'H(v - w) / 2 over v >= 0. With H = LL' and y = L^-1 (Hw + pull - 1) that is, up to a
    constant, |L'v - y|² / 2: a non-negative least-squares problem as small as the number of members. Then the step is
    halved until the loss falls as much as its slope promises (Armijo).

    At weights on the simplex w'pull = 1, and by convexity no v on the simplex has a loss below
    loss + (1 - pull)'(v - w) >= loss - (max pull - 1): that is the certificate.
    """
    n_members = prob_IM.shape[1]
    weight = np.full(n_members, 1 / n_members)
    total = count_I.sum()
    loss = _loss(prob_IM, count_I, weight) / total
    certified = np.inf
    for _ in range(MAX_STEPS):
        pull, hessian = _derivatives(prob_IM, count_I, weight)
        certified = max(float(pull.max() - 1), 0.0)
        if certified <= gap:
            return weight, certified
        # min over v >= 0 of the second-order model around the weights, written as |L'v - y|²
        ridge = 1e-12 * np.trace(hessian) / n_members
        lower = np.linalg.cholesky(hessian + ridge * np.eye(n_members))
        goal = np.linalg.solve(lower, hessian @ weight + pull - 1)
        target, _ = nnls(lower.T, goal, maxiter=50 * n_members)
        direction = target - weight
        slope = float((1 - pull) @ direction)
        length = 1.0
        while length > 1e-10:
            trial = np.maximum(weight + length * direction, 0.0)
            trial_loss = _loss(prob_IM, count_I, trial) / total
            if trial_loss <= loss + 1e-4 * length * slope:
                break
            length /= 2
        else:
            break
        weight = trial / trial.sum()
        loss = _loss(prob_IM, count_I, weight) / total
    return weight, certified
