"""The log-linear blend, refined by what the members' agreement tells.

A weighted mean weighs each row alike. But where members disagree, or all are unsure, a blend should be less
sure than its logits say, and not evenly so for all classes. Some thirty summaries of a row (mean and spread of
the members' log-probabilities by class, mean probability, entropies, the log-linear blend itself), all blind to
the members' order, go through a fixed random layer of tanh units; a ridge regression on these corrects the
logits. Only the regression is fitted, so that the problem stays convex and has one answer; with growing ridge
it falls back to the log-linear blend.

References
----------
Random hidden layers: Rahimi & Recht, Weighted sums of random kitchen sinks, NeurIPS 2008.
Feature-weighted stacking: Sill et al., doi:10.48550/arXiv.0911.0460.
"""

# M member, N row, K class, F summary, H hidden unit, D hidden units and summaries together

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_triangular
from scipy.optimize import minimize

from hbac.ensembling.blends import (
    Array,
    LogLinear,
    Present,
    Probs,
    centred_logs,
    fill_missing,
    softmax,
    spread_rows,
)

Features = npt.NDArray[np.float32]

N_HIDDEN = 200
_SEED = 20240409
_SPREAD = 1.5  # of the hidden weights: units bend within the range that standardised summaries have
_CLIP = 4.0  # standard deviations; a row unlike all others must not run away
_LINEAR = 1 / 3  # scale of the summaries beside the hidden units: they share one ridge


def summaries(prob_MNK: Probs, log_MNK: npt.NDArray[np.float32], base: LogLinear) -> Features:
    """Summarise the members' predictions of each row, whatever their order.

    Parameters
    ----------
    prob_MNK : ndarray, shape (members, rows, classes)
        Probabilities.
    log_MNK : ndarray of float32, shape (members, rows, classes)
        Of `hbac.ensembling.blends.centred_logs`.
    base : LogLinear
        The blend to refine; members that it doesn't use don't count.

    Returns
    -------
    ndarray of float32, shape (rows, 5 * classes + 4)
        Mean and spread of the log-probabilities, mean probability, the base's logits and probabilities, by
        class; entropy of the mean, mean entropy, their difference (how much members disagree), the base's
        entropy.
    """
    members = np.flatnonzero(base.used)
    mean_log = np.zeros(log_MNK.shape[1:])
    mean_square, mean_prob = np.zeros_like(mean_log), np.zeros_like(mean_log)
    mean_entropy = np.zeros((len(mean_log), 1))
    for m in members:
        mean_log += log_MNK[m] / len(members)
        mean_square += np.square(log_MNK[m]) / len(members)
        mean_prob += prob_MNK[m] / len(members)
        mean_entropy += _entropy(prob_MNK[m]) / len(members)
    spread = np.sqrt(np.maximum(mean_square - mean_log**2, 0.0))
    logits = base.logits(log_MNK)
    logits -= logits.mean(axis=1, keepdims=True)
    blended = softmax(logits)
    entropy = _entropy(mean_prob)
    parts = [mean_log, spread, mean_prob, logits, blended]
    parts += [entropy, mean_entropy, entropy - mean_entropy, _entropy(blended)]
    return np.concatenate(parts, axis=1).astype(np.float32)


def _entropy(prob_NK: Probs) -> Array:
    prob = prob_NK.astype(np.float64)
    return np.asarray(-(prob * np.log(np.maximum(prob, 1e-12))).sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class Refined:
    """A log-linear blend plus a correction from the summaries.

    Parameters
    ----------
    base : LogLinear
        The blend that is corrected.
    centre, scale : ndarray, shape (summaries,)
        Mean and standard deviation of the summaries, by which they are standardised.
    hidden_weights : ndarray, shape (summaries, hidden)
        Of the tanh units.
    hidden_bias : ndarray, shape (hidden,)
        Of the tanh units.
    output : ndarray, shape (hidden + summaries, classes)
        From units and summaries to the correction of the logits.
    """

    base: LogLinear
    centre: Array
    scale: Array
    hidden_weights: Array
    hidden_bias: Array
    output: Array

    @property
    def used(self) -> npt.NDArray[np.bool_]:
        """Which members the base uses."""
        return self.base.used

    def features(self, summary_NF: Features) -> Features:
        """Standardise summaries and send them through the hidden units.

        Parameters
        ----------
        summary_NF : ndarray of float32, shape (rows, summaries)
            Of `summaries`.

        Returns
        -------
        ndarray of float32, shape (rows, hidden + summaries)
            What `output` is multiplied with.
        """
        standard = (summary_NF - self.centre.astype(np.float32)) / self.scale.astype(np.float32)
        standard = np.clip(standard, -_CLIP, _CLIP)
        hidden = np.tanh(standard @ self.hidden_weights.astype(np.float32) + self.hidden_bias.astype(np.float32))
        return np.concatenate([hidden, standard * np.float32(_LINEAR)], axis=1)

    def apply(self, prob_MNK: Probs, present_MN: Present = None) -> Array:
        """Blend; as `Blend.apply`."""
        filled = fill_missing(prob_MNK, present_MN)
        logs = centred_logs(filled)
        correction = self.features(summaries(filled, logs, self.base)) @ self.output.astype(np.float32)
        return softmax(self.base.logits(logs) + correction)

    def restrict(self, kept: npt.NDArray[np.bool_]) -> Refined:
        """Keep some members; as `Blend.restrict`."""
        return self._with_base(self.base.restrict(kept))

    def spread(self, place: npt.NDArray[np.int64], n_members: int) -> Refined:
        """Make room for members without weight; as `Blend.spread`."""
        return self._with_base(LogLinear(spread_rows(self.base.weights, place, n_members), self.base.bias))

    def _with_base(self, base: LogLinear) -> Refined:
        return Refined(base, self.centre, self.scale, self.hidden_weights, self.hidden_bias, self.output)

    def to_dict(self) -> dict[str, Any]:
        """Return plain containers."""
        return {
            "kind": "refined",
            "base_weights": self.base.weights.tolist(),
            "base_bias": self.base.bias.tolist(),
            "centre": self.centre.tolist(),
            "scale": self.scale.tolist(),
            "hidden_weights": self.hidden_weights.tolist(),
            "hidden_bias": self.hidden_bias.tolist(),
            "output": self.output.tolist(),
        }


def fit_refined(
    prob_MNK: Probs,
    log_MNK: npt.NDArray[np.float32],
    target_NK: Array,
    base: LogLinear,
    strengths: Sequence[float],
    n_hidden: int = N_HIDDEN,
) -> list[Refined]:
    """Fit the correction, once for each strength of the ridge.

    Parameters
    ----------
    prob_MNK : ndarray, shape (members, rows, classes)
        Probabilities.
    log_MNK : ndarray of float32, shape (members, rows, classes)
        Of `hbac.ensembling.blends.centred_logs`.
    target_NK : ndarray of float64, shape (rows, classes)
        Vote shares.
    base : LogLinear
        The blend to refine, fitted on the same rows.
    strengths : sequence of float
        Ridge in nats per row and unit of squared output weight; from strong to weak is fastest.
    n_hidden : int
        Number of tanh units.

    Returns
    -------
    list of Refined
        One per strength.
    """
    n_rows, n_classes = target_NK.shape
    summary_NF = summaries(prob_MNK, log_MNK, base)
    n_summaries = summary_NF.shape[1]
    rng = np.random.default_rng(_SEED)
    scale = summary_NF.std(axis=0, dtype=np.float64)
    empty = Refined(
        base=base,
        centre=summary_NF.mean(axis=0, dtype=np.float64),
        scale=np.where(scale > 1e-6, scale, 1.0),
        hidden_weights=rng.standard_normal((n_summaries, n_hidden)) * _SPREAD / np.sqrt(n_summaries),
        hidden_bias=rng.uniform(-1, 1, n_hidden),
        output=np.zeros((n_hidden + n_summaries, n_classes)),
    )
    feature_ND = empty.features(summary_NF)
    offset_NK = base.logits(log_MNK)
    prob_NK = softmax(offset_NK)
    offset_KN = np.ascontiguousarray(offset_NK.T, dtype=np.float32)
    target_KN = np.ascontiguousarray(target_NK.T, dtype=np.float32)
    gram = (feature_ND.T @ feature_ND).astype(np.float64) / n_rows
    # How curved the loss is in one output weight, on average over the classes.
    curvature = float((prob_NK * (1 - prob_NK)).mean())
    size = len(gram)
    output = np.zeros((size, n_classes))
    fits = []
    for strength in strengths:
        lower = np.linalg.cholesky(curvature * gram + (2 * strength + 1e-8) * np.eye(size))

        def objective(z: Array, strength: float = strength, lower: Array = lower) -> tuple[float, Array]:
            candidate = solve_triangular(lower, z.reshape(size, n_classes), trans="T", lower=True)
            logit_KN = offset_KN + candidate.T.astype(np.float32) @ feature_ND.T
            logit_KN -= logit_KN.max(axis=0)
            exponential = np.exp(logit_KN)
            total_N = exponential.sum(axis=0)
            loss = float(np.log(total_N).sum(dtype=np.float64)) - float(np.vdot(target_KN, logit_KN))
            loss /= n_rows
            error_KN = (exponential / total_N - target_KN) / np.float32(n_rows)
            gradient = (error_KN @ feature_ND).T.astype(np.float64) + 2 * strength * candidate
            loss += strength * float((candidate * candidate).sum())
            return loss, solve_triangular(lower, gradient, lower=True).ravel()

        found = minimize(
            objective,
            (lower.T @ output).ravel(),
            jac=True,
            method="L-BFGS-B",
            options={"ftol": 1e-6, "gtol": 1e-6, "maxiter": 40},
        )
        output = solve_triangular(lower, found.x.reshape(size, n_classes), trans="T", lower=True)
        fits.append(Refined(base, empty.centre, empty.scale, empty.hidden_weights, empty.hidden_bias, output))
    return fits
