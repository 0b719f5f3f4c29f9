"""What experts would say: the shares of votes that a window deserves, draws from them, and the Bayes floor.

The shares are a function of what can be seen in the central 10 seconds: how far the pattern stands out, how much of
the 10 s it fills, how lateral, round, fast and evolving it is. They are known exactly, so the best possible score is.

References
----------
Jing J et al. Interrater reliability of expert electroencephalographers identifying seizures and rhythmic and periodic
patterns in EEGs. Neurology 2023. doi:10.1212/WNL.0000000000201670
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy
from scipy.stats import binom

from hbac.synthetic.head import BIPOLAR
from hbac.synthetic.patterns import Pattern, Periodic, Rhythmic
from hbac.synthetic.recording import Layer, Rendered, Session
from hbac.synthetic.seizures import Seizure
from hbac.vocabulary import CENTRAL_S, CLASSES, FEW_VOTES, MANY_VOTES, N_CLASSES

_SEIZURE, _LPD, _GPD, _LRDA, _GRDA, _OTHER = range(N_CLASSES)
# Few-vote rows: 1 to 7 votes, mean 3.0.
_FEW_COUNTS = np.array([0.14, 0.14, 0.50, 0.10, 0.06, 0.04, 0.02])
LAPSE = 0.03  # votes that have nothing to do with the window

assert CLASSES == ("seizure", "lpd", "gpd", "lrda", "grda", "other")


def _logistic(x: float) -> float:
    return float(1 / (1 + np.exp(-np.clip(x, -40, 40))))


def leaning(pattern: Pattern, rate_hz: float) -> NDArray[np.float64]:
    """Return the shares of votes for a pattern that stands out perfectly.

    Parameters
    ----------
    pattern : Pattern
        Which.
    rate_hz : float
        Its frequency in the window (a seizure's changes).

    Returns
    -------
    numpy.ndarray
        (6,) shares.
    """
    lateral = _logistic((abs(pattern.lateral) - 0.42) / 0.08)
    if isinstance(pattern, Seizure):
        ictal = float(np.clip(0.68 * pattern.ictal + 0.4 * _logistic((rate_hz - 2.4) / 0.25), 0, 0.96))
        delta, other = 0.25, 0.15
    else:
        delta = _logistic((pattern.roundness - 0.56) / 0.06)
        fast = (1 - delta) * 0.85 * _logistic((rate_hz - 2.55) / 0.2) + delta * 0.6 * _logistic((rate_hz - 3.7) / 0.25)
        ictal, other = fast, 0.03
    out = np.zeros(N_CLASSES)
    out[_SEIZURE] = ictal
    out[_OTHER] = (1 - ictal) * other
    rest = (1 - ictal) * (1 - other)
    out[_LPD], out[_LRDA] = rest * lateral * (1 - delta), rest * lateral * delta
    out[_GPD], out[_GRDA] = rest * (1 - lateral) * (1 - delta), rest * (1 - lateral) * delta
    return out


def _ratio(part: NDArray[np.floating], rest: NDArray[np.floating], percentile: float) -> float:
    """Return the pattern's peak over the spread of all else, mean of the three best derivations."""
    centred = np.abs(rest - np.median(rest, axis=1, keepdims=True))
    spread = 1.4826 * np.median(centred, axis=1) + 0.5
    peak = np.percentile(np.abs(part), percentile, axis=1)
    return float(np.sort(peak / spread)[-3:].mean())


def _seen(layer: Layer, first: int, last: int, sfreq: float, channels_uv: NDArray[np.float32], block: int) -> float:
    """Probability that an expert sees the pattern at all."""
    pattern = layer.pattern
    usable = (last - first) // block * block

    def shrink(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(x[:, :usable].reshape(len(x), -1, block).mean(axis=2))

    on = layer.on[first:last]
    covered = float(np.mean(on > 0.4))
    if covered < 0.02:
        return 0.0
    part = (BIPOLAR @ layer.fields.T) @ shrink(layer.waves[:, first:last])
    whole = BIPOLAR @ shrink(channels_uv[:19, first:last])
    # The eye takes the better of two: how far it stands out at all, and how far its steep flanks do from slow waves.
    best = max(_ratio(part, whole - part, 97.5), _ratio(np.diff(part), np.diff(whole - part), 98.5))
    seconds = covered * (last - first) / sfreq
    if isinstance(pattern, Seizure):
        return _logistic(3 * np.log(best / 1.7 + 1e-9)) * _logistic((covered - 0.3) / 0.08)
    if isinstance(pattern, Periodic):
        count = seconds * pattern.rate_hz * (1 - pattern.missing)
        regular = _logistic((0.42 - pattern.variation) / 0.05)
        return _logistic(3 * np.log(best / 2.4 + 1e-9)) * _logistic((count - 3.2) / 0.6) * regular
    assert isinstance(pattern, Rhythmic)
    cycles = seconds * pattern.rate_hz
    regular = _logistic((0.4 - pattern.unrest) / 0.07)
    return _logistic(3 * np.log(best / 1.6 + 1e-9)) * _logistic((cycles - 5.0) / 1.0) * regular


def true_shares(session: Session, rendered: Rendered, offset_s: float) -> NDArray[np.float64]:
    """Return the distribution that the votes on one window are drawn from.

    Parameters
    ----------
    session : Session
        The plan the window comes from.
    rendered : Rendered
        The EEG the window lies in.
    offset_s : float
        Start of the 50 s window within the EEG; the label concerns its central 10 s.

    Returns
    -------
    numpy.ndarray
        (6,) shares, sum 1.
    """
    sfreq = rendered.sfreq
    first = round((offset_s + 20) * sfreq)
    last = first + round(CENTRAL_S * sfreq)
    # Blocks of one or two mains periods: their mean is what is left behind a notch filter.
    block = 10 if session.patient.mains_hz == 60 else 8
    background = np.full(N_CLASSES, 0.01)
    names = {rhythm.name: rhythm.ratio * session.background.rhythm_gain for rhythm in session.patient.rhythms}
    background[_GRDA] += 0.09 * min(names.get("delta", 0.0), 1.5)
    background[_LRDA] += 0.08 * min(names.get("focal", 0.0), 1.5)
    background[_GPD] += 0.08 * (session.background.continuity == "bursts")
    background[_OTHER] = 1 - background[:_OTHER].sum()
    seen = []
    for layer in rendered.layers:
        middle = rendered.t0_s + offset_s + 25
        pattern = layer.pattern
        rate = pattern.rate_hz
        if isinstance(pattern, Seizure):
            through = float(np.clip((middle - pattern.start_s) / (pattern.stop_s - pattern.start_s), 0, 1))
            rate *= (pattern.last_hz / pattern.rate_hz) ** (through**0.8)
        seen.append((_seen(layer, first, last, sfreq, rendered.eeg, block), leaning(pattern, rate)))
    merged: list[tuple[float, NDArray[np.float64]]] = sorted(seen, key=lambda pair: -pair[0])
    out, left = np.zeros(N_CLASSES), 1.0
    for visible, shares in merged:
        out += left * visible * shares
        left *= 1 - visible
    out += left * background
    out = (1 - LAPSE) * out + LAPSE / N_CLASSES
    return np.asarray(out / out.sum())


def draw_count(rng: np.random.Generator, *, many: bool) -> int:
    """Draw how many experts vote: 10 to 28 (mean 14.3), or 1 to 7 (mean 3.0)."""
    if many:
        return int(min(10 + rng.negative_binomial(2, 2 / (2 + 4.35)), 28))
    return int(rng.choice(np.arange(1, 8), p=_FEW_COUNTS))


def draw_votes(rng: np.random.Generator, shares: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Draw `count` votes, (6,) integers."""
    return np.asarray(rng.multinomial(count, shares), dtype=np.int64)


def kl(votes: NDArray[np.integer], shares: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return KL(votes / n || shares) of every row.

    Parameters
    ----------
    votes : numpy.ndarray
        (rows, 6) counts, no row all zero.
    shares : numpy.ndarray
        (rows, 6) probabilities, all above 0.

    Returns
    -------
    numpy.ndarray
        (rows,) in nats.
    """
    found = votes / votes.sum(axis=1, keepdims=True)
    return np.asarray(np.sum(xlogy(found, found) - xlogy(found, shares), axis=1))


def expected_kl(count: int, shares: NDArray[np.float64]) -> float:
    """Return the mean of `kl` over all draws of `count` votes, exactly.

    Each class's count is binomial, so that the mean of ``(v / n) log (v / n)`` is a finite sum.
    """
    v = np.arange(count + 1)
    share = v / count
    total = 0.0
    for p in shares:
        total += float(np.sum(binom.pmf(v, count, p) * xlogy(share, share)) - xlogy(p, p))
    return total


def floors(votes: NDArray[np.int64], shares: NDArray[np.float64]) -> dict[str, dict[str, Any]]:
    """Return what can be scored at best, for all rows and for both vote populations.

    Parameters
    ----------
    votes : numpy.ndarray
        (rows, 6) counts.
    shares : numpy.ndarray
        (rows, 6) the distribution they were drawn from.

    Returns
    -------
    dict
        For ``all``, ``up_to_7`` and ``10_or_more`` votes: ``rows``; ``bayes_floor``, the KL of `shares` on these votes;
        ``bayes_floor_expected``, its mean over all draws of as many votes; ``uniform``, the KL of 1/6 each; and
        ``vote_shares``, the mean share of votes by class. None where a population has no rows.
    """
    count = votes.sum(axis=1)
    realised = kl(votes, shares)
    expected = np.array([expected_kl(int(n), p) for n, p in zip(count, shares, strict=True)])
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
