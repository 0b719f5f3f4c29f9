"""What the EEGs of a data set show and what experts said of them, before any EEG is made.

Every EEG has *evidence*: a class, a second one that it could be taken for, and how much of it speaks for the second
(its ambiguity). Two panels of `raters` vote on it by two protocols: few votes, kept mostly where they agree, or many
votes on what is hard. The EEG is then made to look like its evidence (`looks`), never like the votes, so that the
distribution of the votes given the EEG is known, and with it the Bayes floor.

Draws are spread evenly instead of left to chance (systematic samples, weighted with the rows of an EEG), and of several
draws for a data set that one is taken whose figures are near those of `reference`: a thousand EEGs are too few to leave
it to luck. The votes of one EEG keep the distribution that `vote_distribution` says, but for what a choice by totals of
a thousand can do.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, xlogy
from scipy.stats import beta

from hbac.synthetic.population import KEEP, LAPSE, MANY_CHANCE, MIXES, MOST_AMBIGUOUS, Mix
from hbac.synthetic.raters import agreed, mean_xlogx, outcomes, panel
from hbac.synthetic.reference import HMS_FIGURES, ROWS_BY_COUNT, vote_figures
from hbac.vocabulary import N_CLASSES

_SPREAD = 0.9  # of the logarithm of the number of rows of an EEG
_TWICE = 0.2  # of the EEGs with several rows: part of them was labelled by itself …
_OTHER_PANEL = 0.5  # … of these, where many voted on the rest, by few
_STEPS = (1, 2, 3, 5)  # from one row to the next, in units of 2 s
_STEP_CHANCES = (0.7, 0.15, 0.1, 0.05)
_GOLDEN = 0.6180339887498949
_NEW = 0.65  # EEGs of a patient that show something else than the one before
_ATTEMPTS, _NEAR = 128, 1.0


@dataclass(frozen=True)
class Evidence:
    """What a window shows: `label`, but for the part `ambiguity` (below 0.6), then `second` or what else it could be.

    `others` (6,) are all that it could be taken for, which a part `spread` of the ambiguity speaks for.
    """

    label: int
    second: int
    ambiguity: float
    spread: float
    others: NDArray[np.float64]

    @property
    def shares(self) -> NDArray[np.float64]:
        """The distribution (6,) of the vote of an expert without bias or noise."""
        out = np.full(N_CLASSES, LAPSE / N_CLASSES)
        out[self.label] += (1 - LAPSE) * (1 - self.ambiguity)
        out[self.second] += (1 - LAPSE) * self.ambiguity * (1 - self.spread)
        return out + (1 - LAPSE) * self.ambiguity * self.spread * self.others


@dataclass(frozen=True)
class LabelledEEG:
    """One EEG of a patient, with its rows; neighbouring rows have the same votes."""

    number: int  # which of the patient's EEGs
    evidence: Evidence  # in all its rows
    offsets_s: NDArray[np.int64]  # (rows,) starts of the 50 s windows
    votes: NDArray[np.int64]  # (rows, 6)
    many: NDArray[np.bool_]  # (rows,) whether the panel for many votes gave them


@dataclass(frozen=True)
class Plan:
    """How many EEGs, of whom, with how many rows."""

    patients: int
    eegs: tuple[float, ...]  # chances of 1, 2, 3 … EEGs for a patient
    max_rows: int  # of an EEG
    clarity: float  # 0 for the ambiguity that windows have, towards 1 for less of it
    only_many: bool = False  # all are voted on by many
    more_rows: float = 1.0  # factor on the number of rows beyond the first
    matched: bool = False  # of several draws, take the one whose figures are near those of the competition


def _shuffled(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Return n numbers that are evenly spread over 0 to 1, in random order."""
    return (rng.permutation(n) + rng.random(n)) / max(n, 1)


def _choose(at: NDArray[np.float64], chances: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return which of the choices each place (0 to 1) falls on; `chances` (choices,) or (places, choices)."""
    edges = np.cumsum(chances, axis=-1)
    edges = edges / edges[..., -1:]
    return np.asarray((at[:, None] >= edges[..., :-1]).sum(axis=1), dtype=np.int64)


def _rows(mean: float, most: int, at: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return numbers of rows whose mean is near `mean`: lognormal, at most `most`, at these quantiles."""
    z = np.exp(_SPREAD * ndtri(np.clip(at, 1e-9, 1 - 1e-9)))
    low, high = 1e-3, 1e3
    for _ in range(40):
        middle = np.sqrt(low * high)
        rows = np.clip(np.round(middle * z), 1, most)
        low, high = (middle, high) if rows.mean() < mean else (low, middle)
    return np.asarray(np.clip(np.round(high * z), 1, most), dtype=np.int64)


def _votes(
    rng: np.random.Generator, evidence: NDArray[np.float64], many: bool, order: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Let a panel vote on windows, (n, 6); `order` (n,) are places in 0 to 1 that few votes are drawn with."""
    n = len(evidence)
    found = np.zeros((n, N_CLASSES), dtype=np.int64)
    if n == 0:
        return found
    table = ROWS_BY_COUNT["10_or_more" if many else "up_to_7"]
    counts = np.array(list(table))[_choose(_shuffled(rng, n), np.array(list(table.values()), dtype=float))]
    shares = panel(many).shares(evidence)
    if many:
        experts = shares.shape[1]
        at = np.stack([_shuffled(rng, n) for _ in range(experts)], axis=1)
        said = (at[:, :, None] >= np.cumsum(shares, axis=2)[:, :, :-1]).sum(axis=2)
        votes_too = rng.random((n, experts)).argsort(axis=1).argsort(axis=1) < counts[:, None]
        for k in range(N_CLASSES):
            found[:, k] = ((said == k) & votes_too).sum(axis=1)
        return found
    for count in np.unique(counts):
        here = np.flatnonzero(counts == count)
        chances = agreed(shares[here].mean(axis=1), int(count), KEEP[int(count)])
        found[here] = outcomes(int(count))[_choose(order[here], chances)]
    return found


def vote_distribution(evidence: Evidence, count: int, *, many: bool) -> tuple[NDArray[np.float64], float]:
    """Return the mean share (6,) of `count` votes given the evidence, and the KL in nats to expect of predicting it.

    The KL is exact: over the experts who may vote and over what they may say. The votes are those of the panel for
    `many`, or for few, whose windows were kept by agreement.
    """
    each = panel(many).shares(evidence.shares[None])
    if many:
        mean = each[0].mean(axis=0)
        return mean, mean_xlogx(each[0], count) - float(xlogy(mean, mean).sum())
    chances = agreed(each.mean(axis=1), count, KEEP[count])[0]
    found = outcomes(count) / count
    mean = chances @ found
    return mean, float(chances @ xlogy(found, found).sum(axis=1) - xlogy(mean, mean).sum())


@dataclass(frozen=True)
class _Draw:
    """A draw of all labels. Stretches are rows with the same votes: the first of each EEG, then the second ones."""

    patient: NDArray[np.int64]  # of each EEG
    number: NDArray[np.int64]
    evidence: list[Evidence]
    rows: NDArray[np.int64]
    first_rows: NDArray[np.int64]
    eeg: NDArray[np.int64]  # of each stretch
    many: NDArray[np.bool_]
    votes: NDArray[np.int64]

    def distance(self) -> float:
        """How far the figures are from those of the competition, the worst in units of what is allowed."""
        n = len(self.rows)
        weight = np.concatenate([self.first_rows, (self.rows - self.first_rows)[self.eeg[n:]]])
        return max(
            max(vote_figures(self.votes, self.eeg, name, weight).distances(figures).values())
            for name, figures in HMS_FIGURES.items()
        )


@cache
def draw_labels(seed: tuple[int, ...], plan: Plan) -> tuple[tuple[LabelledEEG, ...], ...]:
    """Draw the labels of a part of a data set: for each patient the EEGs. `seed` decides everything."""
    best, nearest = 0, np.inf
    for attempt in range(_ATTEMPTS if plan.matched else 0):
        distance = _draw(np.random.default_rng([*seed, attempt]), plan).distance()
        if distance < nearest:
            best, nearest = attempt, distance
        if nearest < _NEAR:
            break
    rng = np.random.default_rng([*seed, best])
    draw = _draw(rng, plan)
    n = len(draw.rows)
    second_of = {int(e): n + i for i, e in enumerate(draw.eeg[n:])}
    found: list[list[LabelledEEG]] = [[] for _ in range(plan.patients)]
    for i in range(n):
        stretch = np.where(np.arange(draw.rows[i]) < draw.first_rows[i], i, second_of.get(i, i))
        steps = rng.choice(_STEPS, size=draw.rows[i] - 1, p=_STEP_CHANCES)
        offsets = 2 * np.concatenate([[0], np.cumsum(steps)]).astype(np.int64)
        found[draw.patient[i]].append(
            LabelledEEG(int(draw.number[i]), draw.evidence[i], offsets, draw.votes[stretch], draw.many[stretch])
        )
    return tuple(map(tuple, found))


def _draw(rng: np.random.Generator, plan: Plan) -> _Draw:
    n_eegs = 1 + _choose(_shuffled(rng, plan.patients), np.array(plan.eegs))
    patient = np.repeat(np.arange(plan.patients), n_eegs)
    number = np.concatenate([np.arange(n) for n in n_eegs])
    # EEGs of a patient that follow one another often show the same.
    group = np.cumsum((number == 0) | (rng.random(len(number)) < _NEW)) - 1
    many, label = _cells(rng, group, plan)
    n = len(label)
    second = np.zeros(n, dtype=np.int64)
    ambiguity, order = np.zeros(n), np.zeros(n)
    rows = np.ones(n, dtype=np.int64)
    for crowd in (False, True):
        mix = MIXES[crowd]
        for k in range(N_CLASSES):
            here = rng.permutation(np.flatnonzero((many == crowd) & (label == k)))
            if not here.size:
                continue
            if plan.max_rows > 1:
                rows[here] = _rows(
                    1 + plan.more_rows * (mix.rows_per_eeg[k] - 1), plan.max_rows, _shuffled(rng, here.size)
                )
            # Places along the rows of these EEGs: even in each of three directions, by rows and not by EEGs.
            along = (np.cumsum(rows[here]) - rows[here] * rng.random(here.size)) / rows[here].sum()
            turns = np.array([1.0, round(np.sqrt(here.size)), here.size * _GOLDEN])
            place = (along[:, None] * turns + rng.random(3)) % 1.0
            ambiguity[here] = (1 - 0.75 * plan.clarity) * _ambiguity(mix, k, place[:, 0])
            second[here] = _choose(place[:, 1], mix.seconds[k])
            order[here] = place[:, 2]
    evidence = [
        Evidence(int(k), int(b), float(a), float(MIXES[bool(c)].spread[k]), MIXES[bool(c)].seconds[k])
        for k, b, a, c in zip(label, second, ambiguity, many, strict=True)
    ]
    twice = (rows > 1) & (rng.random(n) < _TWICE)
    first_rows = np.where(twice, 1 + np.floor(rng.random(n) * (rows - 1)), rows).astype(np.int64)
    eeg = np.concatenate([np.arange(n), np.flatnonzero(twice)])
    by_many = many[eeg].copy()
    by_many[n:] &= rng.random(len(eeg) - n) >= _OTHER_PANEL
    place_of = np.concatenate([order, rng.random(len(eeg) - n)])
    shares = np.stack([e.shares for e in evidence])[eeg]
    votes = np.zeros((len(eeg), N_CLASSES), dtype=np.int64)
    for crowd in (False, True):
        here = np.flatnonzero(by_many == crowd)
        votes[here] = _votes(rng, shares[here], crowd, place_of[here])
    return _Draw(patient, number, evidence, rows, first_rows, eeg, by_many, votes)


def _cells(
    rng: np.random.Generator, group: NDArray[np.int64], plan: Plan
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Spread population and class over the EEGs; those of a group have the same."""
    sizes = np.bincount(group)
    shuffled = rng.permutation(len(sizes))
    at = np.empty(len(sizes))
    at[shuffled] = (np.cumsum(sizes[shuffled]) - sizes[shuffled] * rng.random(len(sizes))) / sizes.sum()
    chance = 1.0 if plan.only_many else MANY_CHANCE
    cells = np.concatenate([(1 - chance) * MIXES[False].labels, chance * MIXES[True].labels])
    cell = _choose((at + rng.random()) % 1.0, cells)[group]
    return cell >= N_CLASSES, cell % N_CLASSES


def _ambiguity(mix: Mix, label: int, at: NDArray[np.float64]) -> NDArray[np.float64]:
    mean = mix.ambiguity[label] / MOST_AMBIGUOUS
    found = beta.ppf(np.clip(at, 1e-6, 1 - 1e-6), mean * mix.steady[label], (1 - mean) * mix.steady[label])
    return np.asarray(MOST_AMBIGUOUS * found, dtype=np.float64)
