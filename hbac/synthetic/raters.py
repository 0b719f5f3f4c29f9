"""Who votes: two panels of experts, each expert with a bias and a noise of their own.

An expert sees the evidence for the six classes with Gumbel noise, weighs it by their own thresholds and names the class
that is then the largest; so their vote has the distribution ``softmax((log evidence + bias) / noise)``. The spread of
biases and noise is that of 20 experts fitted in this way to 35,740 segments (Jing et al., figure S8).

References
----------
Jing J et al. Interrater reliability of expert electroencephalographers identifying seizures and rhythmic and periodic
patterns in EEGs. Neurology 2023. doi:10.1212/WNL.0000000000201670
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import comb, softmax, xlogy

from hbac.vocabulary import CLASSES, N_CLASSES

assert CLASSES == ("seizure", "lpd", "gpd", "lrda", "grda", "other")
_BIAS_SD = np.array([0.65, 0.63, 0.51, 0.45, 0.73, 0.97])
_NOISE = (0.85, 0.10)  # median, and standard deviation of its logarithm
# What the panel for few votes leans to against the other. That the two differ is known (a network's probabilities have
# to be shifted from one to the other); by how much each class does is not: a guess along their class mixes.
FEW_LEANING = (0.35, 0.0, -0.1, 0.1, 0.15, -0.5)


@dataclass(frozen=True)
class Panel:
    """Experts: ``bias`` (experts, 6), ``noise`` (experts,)."""

    bias: NDArray[np.float64]
    noise: NDArray[np.float64]

    def shares(self, evidence: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how each expert's vote on windows is distributed, (windows, experts, 6).

        `evidence` (windows, 6), all above 0, is what an expert without bias would draw from.
        """
        score = (np.log(evidence)[:, None, :] + self.bias) / self.noise[:, None]
        return np.asarray(softmax(score, axis=2))


@cache
def panel(many: bool) -> Panel:
    """Return the panel of a population: 28 experts for many votes, 120 others for few; the same in every data set."""
    rng = np.random.default_rng([0x7A7E, int(many)])
    size = 28 if many else 120
    bias = _BIAS_SD * rng.standard_normal((size, N_CLASSES))
    leaning = np.zeros(N_CLASSES) if many else np.array(FEW_LEANING)
    noise = _NOISE[0] * np.exp(_NOISE[1] * rng.standard_normal(size))
    return Panel(bias - bias.mean(axis=0) + leaning, noise)


@cache
def outcomes(count: int) -> NDArray[np.int64]:
    """Return all ways in which `count` votes can fall, (outcomes, 6), the unanimous ones first."""
    rows = [[count if i == k else 0 for i in range(N_CLASSES)] for k in range(N_CLASSES)]

    def fill(left: int, done: list[int]) -> None:
        if len(done) == N_CLASSES - 1:
            full = [*done, left]
            if max(full) < count:
                rows.append(full)
            return
        for here in range(left, -1, -1):
            fill(left - here, [*done, here])

    fill(count, [])
    return np.array(rows, dtype=np.int64)


def agreed(share: NDArray[np.float64], count: int, keep: float) -> NDArray[np.float64]:
    """Return how probable each of `outcomes` is, (windows, outcomes), rows of sum 1.

    `share` (windows, 6) is the distribution of one vote. Windows whose `count` votes disagree were kept with
    probability `keep`, against those whose votes agree.
    """
    votes = outcomes(count)
    ways = np.ones(len(votes))
    left = np.full(len(votes), count)
    for k in range(N_CLASSES):
        ways = ways * comb(left, votes[:, k])
        left = left - votes[:, k]
    kept = np.where(votes.max(axis=1) == count, 1.0, keep)
    weight = ways * kept * np.exp(np.log(share) @ votes.T)
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))


def mean_xlogx(shares: NDArray[np.float64], count: int) -> float:
    """Return the mean of the sum of ``s log s`` over the shares `s` of votes, exactly (nats).

    `shares` (experts, 6) is how each expert's vote is distributed; `count` different ones of them vote, drawn at
    random.
    """
    # ways[c, m, v]: elementary symmetric sums, m of the experts chosen, v of them for class c
    ways = np.zeros((N_CLASSES, count + 1, count + 1))
    ways[:, 0, 0] = 1
    for p in shares[:, :, None, None]:
        ways[:, 1:, 1:] += ways[:, :-1, 1:] * (1 - p) + ways[:, :-1, :-1] * p
        ways[:, 1:, 0] += ways[:, :-1, 0] * (1 - p[:, 0])
    v = np.arange(count + 1) / count
    return float(np.sum(ways[:, count] @ xlogy(v, v)) / comb(len(shares), count))
