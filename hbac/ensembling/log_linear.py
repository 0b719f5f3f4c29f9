"""The weighted geometric mean: a softmax over weighted log-probabilities, with class biases and temperature.

With weights W (one per member and class) the logits are ``sum_m W[m, k] * log p[m, k] + b[k]``. W is taken
apart into four orthogonal pieces: its mean (an inverse temperature, free), how members differ, how classes
differ in temperature, and what is left, each member's own taste in classes. The last three are drawn toward
zero, that is toward the plain mean, by a quadratic penalty; infinite strength on the last two leaves one weight
per member. The objective is convex.

References
----------
Genest & Zidek, Combining probability distributions, doi:10.1214/ss/1177013825.
"""

# M member, N row, K class, P parameter

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_triangular
from scipy.optimize import minimize

from hbac.ensembling.blends import Array, LogLinear

Logs = npt.NDArray[np.float32]

PRUNE_BELOW = 0.01  # of the largest weight
_BIAS_SPREAD = 1.0  # prior standard deviation of a bias: nothing to thousands of rows, all to a class that none shows
_TOLERANCE = 1e-9  # change of the loss, in nats and relative, at which to stop


@dataclass(frozen=True)
class Strength:
    """How strongly weights are drawn toward the plain mean: loss per row and squared deviation, times members."""

    members: float  # on the differences among members
    classes: float = float("inf")  # on those among a member's classes; infinite for one weight per member


def fit_log_linear(
    log_MNK: Logs,
    target_NK: Array,
    strengths: Sequence[Strength],
    prune_below: float = PRUNE_BELOW,
) -> list[LogLinear]:
    """Find the weights and biases with the lowest penalised KL divergence, for each of several strengths.

    `log_MNK` are those of `hbac.ensembling.blends.centred_logs`. The strengths are all with one weight per member, or
    all with one per member and class; from strong to weak is fastest, since each fit starts where the one before ended.
    Members whose largest weight is less than the share `prune_below` of the largest of all are left out, and the rest
    is fitted again; 0 keeps all.

    Examples
    --------
    >>> from hbac.ensembling.blends import centred_logs
    >>> sure = centred_logs(np.array([[[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]]]))
    >>> target = np.array([[0.75, 0.25], [0.75, 0.25], [0.25, 0.75], [0.25, 0.75]])
    >>> fit_log_linear(sure, target, [Strength(0.0)])[0].weights.round(3).tolist()  # half as sure as the member is
    [[0.5, 0.5]]
    """
    n_members, _, n_classes = log_MNK.shape
    start = LogLinear(np.full((n_members, n_classes), 1 / n_members), np.zeros(n_classes))
    problem = _Problem(log_MNK, target_NK, one_weight=bool(np.isinf(strengths[0].classes)), start=start)
    everyone = np.ones(n_members, dtype=bool)
    fits = []
    theta = problem.pack(start)
    for strength in strengths:
        theta = problem.solve(strength, theta, everyone)
        fit = problem.unpack(theta)
        kept = prune(fit, prune_below)
        fits.append(fit if kept.all() else problem.unpack(problem.solve(strength, theta, kept)))
    return fits


class _Problem:
    """Loss, gradient and curvature on one set of rows.

    Parameters are the weights (by class, then member; or one per member), then the biases. L-BFGS runs in
    coordinates in which the curvature at the start (with the penalty at hand) is the identity: members are so
    alike that it would crawl without, and so few that the curvature is cheap, once for all strengths.
    """

    def __init__(self, log_MNK: Logs, target_NK: Array, one_weight: bool, start: LogLinear) -> None:
        self.n_members, self.n_rows, self.n_classes = log_MNK.shape
        self.one_weight = one_weight
        self.n_weights = self.n_members * (1 if one_weight else self.n_classes)
        self.log_KMN = np.ascontiguousarray(log_MNK.transpose(2, 0, 1))
        self.target_KN = np.ascontiguousarray(target_NK.T)
        self.bias_strength = 1 / (2 * _BIAS_SPREAD**2 * self.n_rows)
        _, prob_KN = self._loss(self._logits(self.pack(start)))
        self.hessian = self._curvature(prob_KN)

    def pack(self, blend: LogLinear) -> Array:
        weights = blend.weights.mean(axis=1) if self.one_weight else blend.weights.T.ravel()
        return np.concatenate([weights, blend.bias])

    def unpack(self, theta: Array) -> LogLinear:
        return LogLinear(self._weights(theta).T.copy(), theta[self.n_weights :] - theta[self.n_weights :].mean())

    def _weights(self, theta: Array) -> Array:
        weights = theta[: self.n_weights].reshape(-1, self.n_members)
        return np.asarray(np.broadcast_to(weights, (self.n_classes, self.n_members)))

    def _logits(self, theta: Array) -> Array:
        weight_KM = self._weights(theta).astype(np.float32)
        parts = [weight_M @ log_MN for weight_M, log_MN in zip(weight_KM, self.log_KMN, strict=True)]
        return np.stack(parts) + theta[self.n_weights :, None]

    def _loss(self, logit_KN: Array) -> tuple[float, Array]:
        """Cross-entropy and the probabilities."""
        logit_KN -= logit_KN.max(axis=0)
        exponential = np.exp(logit_KN)
        total = exponential.sum(axis=0)
        loss = float(np.log(total).sum()) - float(np.vdot(self.target_KN, logit_KN))
        return loss / self.n_rows, exponential / total

    def _penalty(self, theta: Array, strength: Strength) -> Array:
        """Half the gradient of the penalty: each orthogonal piece of the weights times its strength."""
        weight_KM = self._weights(theta)
        member = weight_KM.mean(axis=0)
        pull = np.broadcast_to(strength.members * (member - member.mean()), weight_KM.shape)
        if not self.one_weight:
            return np.asarray(self.n_members * (pull + strength.classes * (weight_KM - member)).ravel())
        return np.asarray(self.n_members * pull[0])

    def _curvature(self, prob_KN: Array) -> Array:
        """Hessian of the loss in all weights and biases.

        With logits z[k] = sum_m W[m, k] x[k, m] + b[k], cross-entropy has d²/dz[k]dz[j] = p[k] ((j == k) - p[j]) in
        each row, and z is linear: the block of the weights of class k against those of class j is the sum over rows of
        x[k] x[j]' times that. A bias is a weight whose x is 1. The weighted x is made once for each pair of classes,
        and only for j >= k; the rest is its mirror image.
        """
        if self.one_weight:
            return self._curvature_of_one(prob_KN)
        m, size = self.n_members, self.n_weights
        hessian = np.empty((size + self.n_classes, size + self.n_classes))
        for k in range(self.n_classes):
            for j in range(k, self.n_classes):
                share_N = (prob_KN[k] * ((j == k) - prob_KN[j]) / self.n_rows).astype(np.float32)
                scaled = self.log_KMN[k] * share_N
                rows, columns = slice(k * m, (k + 1) * m), slice(j * m, (j + 1) * m)
                hessian[rows, columns] = scaled @ self.log_KMN[j].T
                hessian[columns, rows] = hessian[rows, columns].T
                hessian[rows, size + j] = hessian[size + j, rows] = scaled.sum(axis=1)
                hessian[columns, size + k] = hessian[size + k, columns] = self.log_KMN[j] @ share_N
                hessian[size + k, size + j] = hessian[size + j, size + k] = share_N.sum()
        return hessian

    def _curvature_of_one(self, prob_KN: Array) -> Array:
        """Sum `_curvature` over all pairs of classes where a member has one weight for all: a covariance.

        Within a row the block of the weights is E[x x'] - E[x] E[x]' over the classes, with probabilities p; the mixed
        block with the bias of class k is p[k] (x[k] - E[x]), and that of the biases diag(p) - p p'.
        """
        m = self.n_members
        hessian = np.zeros((m + self.n_classes, m + self.n_classes))
        mean_MN = np.zeros(self.log_KMN.shape[1:], dtype=np.float32)
        share_KN = (prob_KN / self.n_rows).astype(np.float32)
        for k in range(self.n_classes):
            scaled = self.log_KMN[k] * share_KN[k]
            hessian[:m, :m] += scaled @ self.log_KMN[k].T
            hessian[:m, m + k] = scaled.sum(axis=1)
            mean_MN += scaled * np.float32(self.n_rows)
        hessian[:m, :m] -= mean_MN @ mean_MN.T / self.n_rows
        hessian[:m, m:] -= mean_MN @ share_KN.T
        hessian[m:, :m] = hessian[:m, m:].T
        hessian[m:, m:] = np.diag(share_KN.sum(axis=1)) - share_KN @ prob_KN.T
        return hessian

    def solve(self, strength: Strength, theta: Array, kept: npt.NDArray[np.bool_]) -> Array:
        """Minimise from `theta` over the weights of the members in `kept`; the others' are 0."""
        # Coordinates z with theta = origin + (L')^-1 z, L L' the curvature: L-BFGS then starts from the identity.
        size = self.n_weights
        free = np.concatenate([np.resize(kept, size), np.ones(self.n_classes, dtype=bool)])
        bent = self.hessian.copy()
        bent[:size, :size] += 2 * np.stack([self._penalty(one, strength) for one in np.eye(len(theta))[:size]])
        bent[np.diag_indices_from(bent)] += 2 * self.bias_strength + 1e-9 * np.trace(bent) / len(bent)
        lower = np.linalg.cholesky(bent[np.ix_(free, free)])
        origin = np.where(free, theta, 0.0)

        def at(z: Array) -> Array:
            point = origin.copy()
            point[free] += solve_triangular(lower, z, trans="T", lower=True)
            return point

        def objective(z: Array) -> tuple[float, Array]:
            point = at(z)
            loss, prob_KN = self._loss(self._logits(point))
            error_KN = ((prob_KN - self.target_KN) / self.n_rows).astype(np.float32)
            pulls = np.stack([log_MN @ error_N for log_MN, error_N in zip(self.log_KMN, error_KN, strict=True)])
            weights = pulls.sum(axis=0) if self.one_weight else pulls.ravel()
            gradient = np.concatenate([weights, error_KN.sum(axis=1)]).astype(np.float64)
            penalty = self._penalty(point, strength)
            gradient[:size] += 2 * penalty
            gradient[size:] += 2 * self.bias_strength * point[size:]
            loss += float(point[:size] @ penalty) + self.bias_strength * float(point[size:] @ point[size:])
            return loss, solve_triangular(lower, gradient[free], lower=True)

        found = minimize(
            objective,
            np.zeros(int(free.sum())),
            jac=True,
            method="L-BFGS-B",
            options={"ftol": _TOLERANCE, "gtol": 1e-7, "maxiter": 60},
        )
        return at(found.x)


def prune(blend: LogLinear, below: float) -> npt.NDArray[np.bool_]:
    """Say which members to keep: not those whose weights are all below this share of the largest of all.

    At least one.

    Examples
    --------
    >>> prune(LogLinear(np.array([[0.8, 0.7], [0.001, 0.0]]), np.zeros(2)), below=0.01).tolist()
    [True, False]
    """
    size = np.abs(blend.weights).max(axis=1)
    return np.asarray(size >= below * size.max())
