"""The Bayes floor: what a predictor scores that knows the distribution of the votes on each window."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

from hbac.vocabulary import FEW_VOTES, MANY_VOTES, N_CLASSES


def kl(votes: NDArray[np.integer], shares: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return KL(votes / n || shares) of every row in nats: (rows, 6) counts, and probabilities above 0."""
    found = votes / votes.sum(axis=1, keepdims=True)
    return np.asarray(np.sum(xlogy(found, found) - xlogy(found, shares), axis=1))


def floors(
    votes: NDArray[np.int64], shares: NDArray[np.float64], expected: NDArray[np.float64]
) -> dict[str, dict[str, Any]]:
    """Return what can be scored at best, for ``all`` rows, and those with ``up_to_7`` and ``10_or_more`` votes.

    Each has ``rows``; ``bayes_floor``, the KL of `shares` on these votes; ``bayes_floor_expected``, its mean over all
    draws of as many votes; ``uniform``, the KL of 1/6 each; and ``vote_shares``, the mean share of votes by class. None
    where a population has no rows. `votes` (rows, 6) are counts, `shares` (rows, 6) their means given what the EEG
    shows, and `expected` (rows,) the mean KL of these over all votes there could have been.
    """
    count = votes.sum(axis=1)
    realised = kl(votes, shares)
    even = kl(votes, np.full_like(shares, 1 / N_CLASSES))
    found: dict[str, dict[str, Any]] = {}
    groups = {"all": count > 0, "up_to_7": count <= FEW_VOTES, "10_or_more": count >= MANY_VOTES}
    for name, group in groups.items():
        values = {"bayes_floor": realised, "bayes_floor_expected": expected, "uniform": even}
        found[name] = {"rows": int(group.sum())}
        for key, value in values.items():
            found[name][key] = float(value[group].mean()) if group.any() else None
        share = (votes / count[:, None])[group]
        found[name]["vote_shares"] = [float(x) for x in share.mean(axis=0)] if group.any() else None
    return found
