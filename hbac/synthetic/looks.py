"""What an EEG has to look like for its evidence: clear where experts agree, in between where they do not.

A window that is mostly one class and partly another is made on the line between the two: between left-only and both
sides, between discharges and delta waves, between a steady rate and one that evolves; between a pattern and "other" it
is faint, short or loose. How far it stands out is set where the EEG is made (`recording.render`), against what else
there is in the window.

References
----------
Hirsch LJ et al. American Clinical Neurophysiology Society's Standardized Critical Care EEG Terminology: 2021
version. J Clin Neurophysiol 2021. doi:10.1097/WNP.0000000000000806
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hbac.synthetic.draws import chance, lognormal, loguniform, pick, uniform
from hbac.synthetic.fields import lateral_fields, with_mirror
from hbac.synthetic.labels import Evidence
from hbac.synthetic.patient import Patient
from hbac.synthetic.patterns import Pattern, Periodic, Rhythmic, at_rate, draw_periodic, draw_rhythmic
from hbac.synthetic.seizures import Seizure, draw_seizure
from hbac.vocabulary import CLASSES

_SEIZURE, _LPD, _GPD, _LRDA, _GRDA, _OTHER = range(len(CLASSES))
assert CLASSES == ("seizure", "lpd", "gpd", "lrda", "grda", "other")

# Peak over the spread of all else at which half of the experts see a pattern, and how steeply more do above it.
_HALF_SEEN = {Periodic: (3.1, 3.0), Rhythmic: (1.4, 3.2), Seizure: (1.9, 3.0)}
_SEEN_TO_EVOLVE_S = 45.0  # a seizure of this length at most changes by a tenth or more within ten seconds
_CLEAR = 0.85  # what so many experts see need not be held down


@dataclass(frozen=True)
class Wish:
    """What an EEG is to show, and the stretch (s, on the session's clock) that its labels concern."""

    evidence: Evidence
    start_s: float
    stop_s: float


@dataclass(frozen=True)
class Episode:
    """A stretch of a session, in seconds on its clock, in which a pattern is on.

    `scale` is below 1 in faint ones; `least` and `most` bound the pattern's peak over the spread of all else.
    """

    start_s: float
    stop_s: float
    ramp_s: float
    pattern: Pattern
    scale: float = 1.0
    least: float = 0.0
    most: float = np.inf


@dataclass(frozen=True)
class Shown:
    """Episodes, and stretches (start s, stop s, factor) of changed background, as after a seizure."""

    episodes: tuple[Episode, ...]
    after: tuple[tuple[float, float, float], ...] = ()


def _logit(p: float) -> float:
    p = float(np.clip(p, 0.03, 0.97))
    return float(np.log(p / (1 - p)))


def _logistic(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


def draw_pattern(rng: np.random.Generator, patient: Patient, label: int, clarity: float = 0.0) -> Pattern:
    """Draw a pattern that most experts would give a label: the index of LPD, GPD, LRDA or GRDA.

    `clarity` is 0 for patterns as they come, up to 1 for tall ones far from the borders between the classes.
    """
    general = label in (_GPD, _GRDA)
    draw = draw_periodic if label in (_LPD, _GPD) else draw_rhythmic
    border, blunt = (0.22 if general else 0.46 + 0.08 * clarity), 0.5 - 0.1 * clarity
    pattern: Pattern = draw(rng, patient, general=general)
    for _ in range(20):
        fits = (abs(pattern.lateral) < border) == general
        if fits and (pattern.roundness < blunt or isinstance(pattern, Rhythmic)):
            break
        pattern = draw(rng, patient, general=general)
    less, half_less = 1 - clarity, 1 - 0.5 * clarity
    pattern = replace(pattern, height=pattern.height * (1 + clarity), ragged=pattern.ragged * less)
    if isinstance(pattern, Periodic):
        return replace(pattern, variation=pattern.variation * half_less, rhythmic=pattern.rhythmic * less)
    assert isinstance(pattern, Rhythmic)
    return replace(pattern, unrest=pattern.unrest * half_less, notch=pattern.notch * less, sharp=pattern.sharp * less)


def show(
    rng: np.random.Generator, patient: Patient, wish: Wish, start_s: float, stop_s: float, clarity: float
) -> Shown:
    """Draw what an EEG shows: episodes for `recording.Session`.

    From `start_s` to `stop_s`, around the stretch of the labels, the session is free for it. Towards a `clarity` of 1
    patterns are taller and steadier.
    """
    label, second = wish.evidence.label, wish.evidence.second
    shares = wish.evidence.shares
    main, aside = float(shares[label]), float(shares[second])
    part = (1 - clarity) * aside / (main + aside)
    seen = float(1 - shares[_OTHER])
    if label == _OTHER and (aside < 0.05 or chance(rng, clarity)):
        return Shown(tuple(_mimics(rng, patient, wish, start_s, stop_s, clarity)))
    if _OTHER in (label, second):
        shown = second if label == _OTHER else label
        if shown == _SEIZURE:
            return _seizure(rng, patient, wish, start_s, stop_s, clarity, seen)
        return _pattern(rng, draw_pattern(rng, patient, shown, clarity), wish, start_s, stop_s, clarity, seen)
    if label != _SEIZURE and part < 0.06:
        return _pattern(rng, draw_pattern(rng, patient, label, clarity), wish, start_s, stop_s, clarity, seen)
    pair = {label, second}
    if label == _SEIZURE:
        return _seizure(rng, patient, wish, start_s, stop_s, clarity, seen, disputed=part)
    first = draw_pattern(rng, patient, label, clarity)
    if second == _SEIZURE:
        # Experts disagree from 2.5 discharges a second on, or where the rate changes somewhat.
        at_hz = 2.6 + 0.3 * _logit(part) if isinstance(first, Periodic) else 2.7 + 0.3 * _logit(part)
        rate = float(np.clip(at_hz + 0.15 * rng.standard_normal(), 1.2, 3.4))
        if part > 0.08 and chance(rng, 0.8):
            first = at_rate(first, rate)
        return _pattern(rng, first, wish, start_s, stop_s, clarity, seen)
    if pair in ({_LPD, _GPD}, {_LRDA, _GRDA}):
        to_one_side = 1 - part if label in (_LPD, _LRDA) else part
        fields, gains, lags = with_mirror(*lateral_fields(rng, patient)[:2], 0.34 + 0.07 * _logit(to_one_side))
        first = replace(first, fields=fields, gains=gains, lags_s=np.resize(lags, len(gains)))
        return _pattern(rng, first, wish, start_s, stop_s, clarity, seen)
    other = draw_pattern(rng, patient, second, clarity)
    if pair in ({_LPD, _LRDA}, {_GPD, _GRDA}):  # delta with spikes, discharges with delta: at one place
        rounder = part if isinstance(first, Periodic) else 1 - part
        if chance(rng, 0.6):
            other = replace(
                other,
                rate_hz=first.rate_hz,
                fields=first.fields[:2],
                gains=first.gains[:2],
                lags_s=first.lags_s[:2],
            )
        share = _logistic(0.8 * _logit(1 - rounder if isinstance(first, Periodic) else rounder))
    else:
        share = _logistic(0.8 * _logit(1 - part))
    both = _pattern(rng, first, wish, start_s, stop_s, clarity, min(seen, 0.4 + 0.6 * share))
    too = _pattern(rng, other, wish, start_s, stop_s, clarity, min(seen, 1 - share))
    return Shown(both.episodes + too.episodes)


def bounds(rng: np.random.Generator, kind: type[Pattern], seen: float, clarity: float) -> tuple[float, float]:
    """Return `Episode.least` and `Episode.most` of a pattern that a share `seen` of the experts sees.

    Towards a `clarity` of 1 it stands out farther.
    """
    half, steep = _HALF_SEEN[kind]
    least = (1 + 2 * clarity) * half * float(np.exp(_logit(seen) / steep)) * lognormal(rng, 1, 0.2)
    return least, np.inf if seen > _CLEAR else 1.1 * least


def _pattern(
    rng: np.random.Generator,
    pattern: Pattern,
    wish: Wish,
    start_s: float,
    stop_s: float,
    clarity: float,
    seen: float,
) -> Shown:
    """Let a pattern be seen by so many experts: by its height, its length or its regularity."""
    dim = "no" if seen > _CLEAR else pick(rng, {"faint": 0.7, "short": 0.2, "loose": 0.1})
    least, most = bounds(rng, type(pattern), seen if dim in ("no", "faint") else 0.93, clarity)
    if dim == "loose" and isinstance(pattern, Periodic):
        pattern = replace(pattern, variation=float(np.clip(0.42 - 0.05 * _logit(seen), 0.2, 0.8)))
    elif dim == "loose" and isinstance(pattern, Rhythmic):
        pattern = replace(pattern, unrest=float(np.clip(0.5 - 0.08 * _logit(seen), 0.3, 0.8)))
    if dim == "short":
        waves = 3.2 + 0.6 * _logit(seen) if isinstance(pattern, Periodic) else 5.0 + 1.0 * _logit(seen)
        return Shown(tuple(_runs(rng, pattern, wish, start_s, stop_s, waves / pattern.rate_hz, least, most)))
    if chance(rng, 0.6 + 0.4 * clarity):
        first, last = wish.start_s - loguniform(rng, 5, 500), wish.stop_s + loguniform(rng, 5, 500)
        ramp = uniform(rng, 0.5, 3)
        return Shown((Episode(max(first, start_s), min(last, stop_s), ramp, pattern, 1.0, least, most),))
    length = loguniform(rng, 3.5, 9) * (0.4 + 0.6 * min(seen + 0.2, 1))
    return Shown(tuple(_runs(rng, pattern, wish, start_s, stop_s, length, least, most)))


def _runs(
    rng: np.random.Generator,
    pattern: Pattern,
    wish: Wish,
    start_s: float,
    stop_s: float,
    length_s: float,
    least: float,
    most: float,
) -> list[Episode]:
    """Let a pattern come and go: a run of about this length in every ten seconds."""
    found = []
    first = max(start_s, wish.start_s - loguniform(rng, 1, 200))
    last = min(stop_s, wish.stop_s + loguniform(rng, 1, 200))
    middle = wish.start_s + 5 + uniform(rng, -1, 1) * max(5 - length_s / 2, 0.5)  # one run within the first window
    at = middle - 10 * np.ceil((middle - first) / 10)
    while at < last:
        half = 0.5 * length_s * lognormal(rng, 1, 0.15, 0.6, 1.5)
        sway = 0.0 if abs(at - middle) < 1 else uniform(rng, -1.5, 1.5)
        scale = lognormal(rng, 1, 0.15, 0.6, 1.5)
        ramp = min(uniform(rng, 0.3, 1.2), half)
        found.append(Episode(at + sway - half, at + sway + half, ramp, pattern, scale, least, most))
        at += 10.0
    return found


def _seizure(
    rng: np.random.Generator,
    patient: Patient,
    wish: Wish,
    start_s: float,
    stop_s: float,
    clarity: float,
    seen: float,
    disputed: float = 0.0,
) -> Shown:
    """Draw one seizure over the labelled stretch, what came before, and the background after it."""
    span = wish.stop_s - wish.start_s
    length = max(loguniform(rng, 14, 160), span + 4)
    first = wish.start_s - uniform(rng, 0, 1) * (length - span)
    place = pick(rng, {"through": 0.55 + clarity, "starts": 0.25 * (1 - clarity), "ends": 0.2 * (1 - clarity)})
    if place == "starts":
        first = wish.start_s + uniform(rng, -6, 5)
    elif place == "ends":
        first = wish.stop_s + uniform(rng, -5, 6) - length
    dim = "no" if seen > _CLEAR else "faint" if span > 18 or chance(rng, 0.6) else "short"
    if dim == "short":  # it fills a third of the window, or less
        filled = 10 * float(np.clip(0.32 + 0.1 * _logit(seen), 0.1, 0.6))
        first = wish.stop_s - filled if chance(rng, 0.5) else wish.start_s + filled - length
    last = first + length
    seizure = draw_seizure(rng, patient, first, last, disputed=disputed)
    # One that is slow is a seizure by its evolution alone, which has to be seen.
    while seizure.kind == "slow" and chance(rng, clarity if length < _SEEN_TO_EVOLVE_S else 1.0):
        seizure = draw_seizure(rng, patient, first, last, disputed=disputed)
    seizure = replace(seizure, height=seizure.height * (1 + clarity))
    least, most = bounds(rng, Seizure, 0.93 if dim == "short" else seen, clarity)
    found = [Episode(first, last, uniform(rng, 0.3, 2.5), seizure, 1.0, least, most)]
    if chance(rng, 0.35):  # periodic discharges before, between seizures
        label = _LPD if abs(seizure.lateral) > 0.34 else _GPD
        found.append(Episode(start_s, first, 3.0, draw_pattern(rng, patient, label)))
    if chance(rng, 0.15):
        found.append(Episode(last, stop_s, 3.0, draw_pattern(rng, patient, _GRDA if chance(rng, 0.5) else _LPD)))
    onset = uniform(rng, 0.3, 0.9) if chance(rng, 0.3) else 1.0
    after = uniform(rng, 0.2, 0.9) if chance(rng, 0.6) else uniform(rng, 0.9, 1.6)
    return Shown(tuple(found), ((first - 2, first + 3, onset), (last, last + loguniform(rng, 10, 120), after)))


def _mimics(
    rng: np.random.Generator, patient: Patient, wish: Wish, start_s: float, stop_s: float, clarity: float
) -> list[Episode]:
    """Draw what "other" contains that nobody takes for a pattern and yet is near one: stray discharges, single runs."""
    kind = pick(rng, {"none": 0.36, "slowing": 0.26, "sporadic": 0.16, "aside": 0.12, "waves": 0.1})
    if kind == "none" or chance(rng, clarity):
        return []
    if kind == "sporadic":
        pattern = draw_periodic(rng, patient, general=chance(rng, 0.3))
        loose = replace(pattern, rate_hz=loguniform(rng, 0.04, 0.4), variation=uniform(rng, 0.6, 1.2))
        return [Episode(start_s, stop_s, 1.0, loose)]
    if kind == "aside":  # a pattern in another part of the session, or in the outer parts of the window
        aside = draw_pattern(rng, patient, int(rng.integers(_LPD, _OTHER)))
        length = loguniform(rng, 3, 100)
        if chance(rng, 0.5):
            return [Episode(wish.start_s - 1.5 - length, wish.start_s - 1.5, 1.0, aside)]
        return [Episode(wish.stop_s + 1.5, wish.stop_s + 1.5 + length, 1.0, aside)]
    if kind == "slowing":  # delta without rhythm, all over or at the lesion
        delta = draw_rhythmic(rng, patient, general=chance(rng, 0.55))
        loose_delta = replace(
            delta,
            unrest=uniform(rng, 0.55, 1.2),
            single=0.0,
            waxing=uniform(rng, 0.3, 1.0),
            ragged=uniform(rng, 0.5, 1.2),
        )
        if chance(rng, 0.6):
            return [Episode(start_s, stop_s, 1.0, loose_delta)]
        return _runs(rng, loose_delta, wish, start_s, stop_s, loguniform(rng, 2, 9), 0.0, np.inf)
    few_waves, found, at = draw_rhythmic(rng, patient, general=chance(rng, 0.6)), [], start_s
    while at < stop_s:  # two or three delta waves now and then
        length = uniform(rng, 0.8, 1.8)
        found.append(Episode(at, at + length, uniform(rng, 0.3, 0.6), few_waves, lognormal(rng, 1, 0.3, 0.4, 1.8)))
        at += length + lognormal(rng, 14, 0.7, 6, 120)
    return found
