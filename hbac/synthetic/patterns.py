"""Periodic discharges and rhythmic delta: what they look like and where on the head they are.

A pattern is a few fields on the scalp, each with its own wave over time. Classes are not templates: how lateral, how
sharp, how fast a pattern is varies without steps; `looks` chooses it for the evidence.

References
----------
Hirsch LJ et al. American Clinical Neurophysiology Society's Standardized Critical Care EEG Terminology: 2021
version. J Clin Neurophysiol 2021. doi:10.1097/WNP.0000000000000806
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hbac.synthetic.draws import (
    Array,
    chance,
    lognormal,
    loguniform,
    pick,
    pulses,
    renewal,
    uniform,
    wander,
)
from hbac.synthetic.fields import general_fields, lateral_fields
from hbac.synthetic.head import lateralisation
from hbac.synthetic.patient import Patient


@dataclass(frozen=True)
class Pattern:
    """What every pattern has."""

    fields: Array  # (parts, 19); the first is the main one, its largest bipolar difference is 1
    gains: Array  # (parts,)
    lags_s: Array  # (parts,)
    rate_hz: float  # discharges or waves per second
    height: float  # peak in the best bipolar derivation, in units of the background's level
    floor_uv: float  # least peak, whatever the background
    calm: float  # factor on the background while the pattern is on, 0 to 1
    roundness: float  # 0 for sharp discharges with quiet between them, 1 for a sinusoid; about 0.5 is in dispute
    ragged: float  # irregular slow activity at its place and rate while it is on, as a share of its height
    seen_at: ClassVar[float] = 92.0  # percentile of the samples by whose height the eye goes

    @property
    def lateral(self) -> float:
        """Lateralisation of the whole pattern: -1 left only, 0 even, +1 right only."""
        return lateralisation(self.fields * self.gains[:, None])

    @property
    def side(self) -> int:
        """The side it is on: -1 left, +1 right, 0 neither clearly."""
        return int(np.sign(self.lateral)) if abs(self.lateral) > 0.3 else 0

    def waves(self, rng: np.random.Generator, t0_s: float, n: int, sfreq: float, on: Array) -> Array:
        """Return the parts' waves, (parts, n), about 1 high where the envelope `on` (n,) is 1."""
        raise NotImplementedError


@dataclass(frozen=True)
class Periodic(Pattern):
    """Periodic discharges."""

    variation: float  # coefficient of variation of the intervals
    missing: float  # share of discharges left out
    bumps: NDArray[np.float64]  # (bumps, 4): lag s, width s, height, and 1 for what belongs to the slow part
    restless: float  # how much discharges differ from each other
    fast_hz: float
    fast: float  # strength of superimposed fast activity (0 for none)
    rhythmic: float  # superimposed rhythmic delta between the discharges (0 for none)
    seen_at: ClassVar[float] = 97.5

    def waves(self, rng: np.random.Generator, t0_s: float, n: int, sfreq: float, on: Array) -> Array:
        """See `Pattern.waves`."""
        at = renewal(rng, -1.5, n / sfreq + 1.5, self.rate_hz, self.variation)
        at += 0.15 / self.rate_hz * uniform(rng, 0, 1) * np.sin(at / loguniform(rng, 4, 40) + uniform(rng, 0, 6.28))
        at = at[rng.random(at.size) >= self.missing]
        index = np.clip((at * sfreq).astype(np.int64), 0, n - 1)
        tall = on[index] * np.exp(self.restless * rng.standard_normal(at.size))
        count = (at.size, len(self.bumps))
        lag = self.bumps[:, 0] * (1 + 0.5 * self.restless * rng.standard_normal(count))
        width = self.bumps[:, 1] * np.exp(0.5 * self.restless * rng.standard_normal(count))
        height = self.bumps[:, 2] * np.exp(0.6 * self.restless * rng.standard_normal(count)) * tall[:, None]
        slow = self.bumps[:, 3] > 0
        out = np.zeros((len(self.fields), n), dtype=np.float32)
        for part, lag_s in enumerate(self.lags_s):
            use = np.ones_like(slow) if part > 1 else slow if part == 1 else ~slow
            if not use.any():
                continue
            loose = 0.004 * rng.standard_normal((at.size, 1)) * (part > 0)
            centre = at[:, None] + lag[:, use] + lag_s + loose
            out[part] = pulses(n, sfreq, centre, width[:, use], height[:, use])
        t = np.arange(n, dtype=np.float32) / np.float32(sfreq)
        if self.fast > 0:
            bed = pulses(n, sfreq, at + 0.05, np.full(at.size, 0.12), tall) * self.fast
            out[0] += bed * np.sin(2 * np.pi * self.fast_hz * t + wander(rng, n, sfreq, 0.3)[0])
        if self.rhythmic > 0:
            out[0] += self.rhythmic * on * np.sin(2 * np.pi * self.rate_hz * t + 1.5 * wander(rng, n, sfreq, 2.0)[0])
        return out


@dataclass(frozen=True)
class Rhythmic(Pattern):
    """Rhythmic delta activity: a wandering oscillation, or single waves with a height of their own."""

    unrest: float  # wandering of the frequency, as a share of it
    harmonics: tuple[tuple[int, float, float], ...]  # (order, height, phase) beyond the fundamental
    waxing: float  # strength of waxing and waning
    single: float  # 0 for an oscillation; above, how much the widths of single waves differ
    notch: float  # depth of a notch in the waves (0 for none)
    sharp: float  # height of sharp waves that ride on some of them (0 for none)
    fast_hz: float
    fast: float  # strength of superimposed fast activity (0 for none)
    seen_at: ClassVar[float] = 85.0

    def waves(self, rng: np.random.Generator, t0_s: float, n: int, sfreq: float, on: Array) -> Array:
        """See `Pattern.waves`."""
        out = self._single(rng, n, sfreq) if self.single > 0 else self._oscillation(rng, n, sfreq)
        swing = np.exp(self.waxing * (0.7 * wander(rng, n, sfreq, 1.2)[0] + 0.7 * wander(rng, n, sfreq, 6.0)[0]))
        out *= np.minimum(swing, 2.5) * on
        if self.fast > 0:
            t = np.arange(n, dtype=np.float32) / np.float32(sfreq)
            hum = np.sin(2 * np.pi * self.fast_hz * t + wander(rng, n, sfreq, 0.3)[0])
            out[0] += self.fast * on * hum * np.clip(wander(rng, n, sfreq, 1.0)[0] + 0.7, 0, 2)
        return out

    def _single(self, rng: np.random.Generator, n: int, sfreq: float) -> Array:
        at = renewal(rng, -1.5, n / sfreq + 1.5, self.rate_hz, self.unrest)
        width = 0.19 / self.rate_hz * np.exp(self.single * rng.standard_normal(at.size))
        tall = np.exp(0.3 * rng.standard_normal(at.size))
        after = at + 0.5 / self.rate_hz * (1 + 0.3 * self.single * rng.standard_normal(at.size))
        depth = tall * uniform(rng, 0.5, 1.0)
        spiked = tall * self.sharp * (rng.random(at.size) < 0.5)
        lead = uniform(rng, -0.2, 0.2) / self.rate_hz
        out = np.empty((len(self.fields), n), dtype=np.float32)
        for part, lag_s in enumerate(self.lags_s):
            wave = pulses(n, sfreq, at + lag_s, width, tall) - pulses(n, sfreq, after + lag_s, 1.1 * width, depth)
            if self.notch > 0:
                wave -= pulses(n, sfreq, at + lag_s + lead, 0.35 * width, self.notch * tall)
            if self.sharp > 0 and part == 0:
                wave -= pulses(n, sfreq, at + lead, np.full(at.size, 0.03), spiked)
            out[part] = wave
        return out

    def _oscillation(self, rng: np.random.Generator, n: int, sfreq: float) -> Array:
        quick, slow = wander(rng, n, sfreq, 0.7 / self.rate_hz)[0], wander(rng, n, sfreq, 8.0)[0]
        pace = self.rate_hz * np.exp(self.unrest * (0.8 * quick + 0.5 * slow))
        phase = 2 * np.pi * (np.cumsum(pace) / sfreq + uniform(rng, 0, 1))
        at, notch_width = uniform(rng, 0, 2 * np.pi), uniform(rng, 0.3, 0.7)
        some = np.maximum(wander(rng, n, sfreq, 1.5 / self.rate_hz)[0], 0)
        out = np.empty((len(self.fields), n), dtype=np.float32)
        for part, lag_s in enumerate(self.lags_s):
            here = phase - 2 * np.pi * self.rate_hz * lag_s + 0.15 * (part > 0) * wander(rng, n, sfreq, 1.0)[0]
            wave = np.sin(here)
            for order, tall, turn in self.harmonics:
                wave = wave + tall * np.sin(order * here + turn)
            if self.notch > 0:
                wave = wave - self.notch * _bell(here - at, notch_width)
            if self.sharp > 0 and part == 0:
                wave = wave - self.sharp * some * _bell(here - at - 0.5, 0.19 * self.rate_hz)
            out[part] = wave
        return out


def _bell(phase: NDArray[np.floating], width: float) -> NDArray[np.floating]:
    """Return a narrow hump in each turn of a phase."""
    return np.asarray(np.exp((np.cos(phase) - 1) / width**2))


def _bumps(rng: np.random.Generator, general: bool) -> NDArray[np.float64]:
    """Draw the shape of one discharge: rows of lag, width, height, slow part."""
    kinds = {"spike": 0.18, "sharp": 0.32, "blunt": 0.2, "triphasic": 0.13, "poly": 0.17}
    if general:
        kinds = {"spike": 0.12, "sharp": 0.25, "blunt": 0.18, "triphasic": 0.3, "poly": 0.15}
    kind = pick(rng, kinds)
    rows: list[tuple[float, float, float, float]]
    if kind == "triphasic":
        stretch = uniform(rng, 0.75, 1.35)
        rows = [
            (-0.10 * stretch, 0.030 * stretch, -uniform(rng, 0.15, 0.7), 0),
            (0.0, uniform(rng, 0.04, 0.075) * stretch, 1.0, 0),
            (
                0.19 * stretch,
                uniform(rng, 0.07, 0.14) * stretch,
                -uniform(rng, 0.2, 0.8),
                float(chance(rng, 0.4)),
            ),
        ]
    elif kind == "poly":
        count = int(rng.integers(3, 8))
        lags = np.sort(rng.uniform(-0.25, 0.3, count))
        rows = [
            (float(lag), loguniform(rng, 0.015, 0.06), float(rng.choice([-1, 1])) * uniform(rng, 0.3, 1), 0)
            for lag in lags
        ]
        if chance(rng, 0.6):
            rows.append((0.25, uniform(rng, 0.1, 0.2), uniform(rng, -0.9, 0.9), 1))
    else:
        low, high = {"spike": (0.014, 0.026), "sharp": (0.024, 0.05), "blunt": (0.05, 0.12)}[kind]
        width = uniform(rng, low, high)
        rows = [(0.0, width, 1.0, 0)]
        if chance(rng, 0.5):
            rows.append((-1.8 * width, width * uniform(rng, 0.6, 1.2), -uniform(rng, 0.1, 0.5), 0))
        if chance(rng, 0.6):
            rows.append((2.2 * width, width * uniform(rng, 0.8, 1.8), -uniform(rng, 0.2, 0.9), 0))
        if chance(rng, 0.6):
            slow = uniform(rng, 0.07, 0.2)
            rows.append((2 * width + 1.6 * slow, slow, uniform(rng, 0.2, 0.9) * (1 if chance(rng, 0.6) else -1), 1))
    out = np.array(rows)
    if chance(rng, 0.5):
        out[:, 2] *= -1
    return out


def draw_periodic(rng: np.random.Generator, patient: Patient, *, general: bool) -> Periodic:
    """Draw periodic discharges: generalised ones, or lateral ones, mostly at the patient's lesion."""
    bumps = _bumps(rng, general)
    rate = lognormal(rng, 1.05, 0.38, 0.4, 2.8)
    if general:
        lag = uniform(rng, 0.02, 0.12) * (1 if chance(rng, 0.8) else -1) if chance(rng, 0.5) else 0.0
        fields, gains, lags = general_fields(rng, lag)
    else:
        fields, gains, lags = lateral_fields(rng, patient)
    rhythmic = uniform(rng, 0.1, 0.5) if chance(rng, 0.12) else 0.0
    # Roundness: how much of a period the discharge fills, the slow part counting half.
    tall = np.abs(bumps[:, 2]) * np.where(bumps[:, 3] > 0, 0.5, 1.0)
    filled = float(np.sum(2.35 * bumps[:, 1] * tall) / tall.max()) * rate
    return Periodic(
        fields=np.stack(fields),
        gains=np.array(gains, dtype=np.float32),
        lags_s=np.array(lags, dtype=np.float32),
        rate_hz=rate,
        height=lognormal(rng, 4.6, 0.6, 1.2, 18.0),
        floor_uv=uniform(rng, 6, 22),
        calm=uniform(rng, 0.12, 0.7) if chance(rng, 0.35 if general else 0.15) else 1.0,
        roundness=float(np.clip(0.7 * filled + 0.6 * rhythmic, 0, 0.8)),
        ragged=uniform(rng, 0.0, 0.5) if chance(rng, 0.6) else 0.0,
        variation=loguniform(rng, 0.03, 0.3),
        missing=uniform(rng, 0, 0.15) if chance(rng, 0.5) else 0.0,
        bumps=bumps,
        restless=uniform(rng, 0.05, 0.45),
        fast_hz=uniform(rng, 9, 25),
        fast=uniform(rng, 0.1, 0.4) if chance(rng, 0.15) else 0.0,
        rhythmic=rhythmic,
    )


def at_rate(pattern: Pattern, rate_hz: float) -> Pattern:
    """Return a pattern at another rate; discharges become narrower where they come faster."""
    if isinstance(pattern, Periodic) and rate_hz > pattern.rate_hz:
        shorter = np.array([pattern.rate_hz / rate_hz] * 2 + [1.0, 1.0])
        return replace(pattern, rate_hz=rate_hz, bumps=pattern.bumps * shorter)
    return replace(pattern, rate_hz=rate_hz)


def draw_rhythmic(rng: np.random.Generator, patient: Patient, *, general: bool) -> Rhythmic:
    """Draw rhythmic delta activity, generalised or lateral."""
    rate = lognormal(rng, 1.6, 0.3, 0.7, 2.6)  # faster delta is in dispute with seizures: `looks.show`
    if general:
        fields, gains, lags = general_fields(rng, uniform(rng, 0, 0.12) if chance(rng, 0.6) else 0.0)
    else:
        fields, gains, lags = lateral_fields(rng, patient)
    gains[1] = uniform(rng, 0.0, 0.6)  # a second, shifted focus: the wave travels
    lags[1] = uniform(rng, -0.08, 0.08)
    shape = pick(rng, {"sine": 0.25, "arched": 0.4, "saw": 0.35})
    harmonics: tuple[tuple[int, float, float], ...] = ()
    depth = uniform(rng, 0.08, 0.4)
    if shape == "arched":
        turn = np.pi / 2 * (1 if chance(rng, 0.5) else -1)
        harmonics = ((2, depth, turn), (3, 0.5 * depth**2 * 2, -np.pi * (turn > 0)))
    elif shape == "saw":
        turn = 0.0 if chance(rng, 0.5) else np.pi
        harmonics = ((2, depth, turn), (3, 0.6 * depth, 0.0), (4, 0.4 * depth, turn))
    fields_all = np.stack(fields)
    return Rhythmic(
        fields=fields_all,
        gains=np.array(gains, dtype=np.float32),
        lags_s=np.array(lags, dtype=np.float32),
        rate_hz=rate,
        height=lognormal(rng, 2.4, 0.5, 0.7, 9.0),
        floor_uv=loguniform(rng, 5, 20),
        calm=uniform(rng, 0.4, 1.0) if chance(rng, 0.3) else 1.0,
        roundness=float(np.clip(1.0 - 0.55 * depth * (shape == "saw") + 0.03 * rng.standard_normal(), 0.6, 1)),
        ragged=uniform(rng, 0.05, 0.8),
        unrest=loguniform(rng, 0.04, 0.4),
        harmonics=harmonics,
        waxing=uniform(rng, 0.05, 0.6),
        single=uniform(rng, 0.05, 0.35) if chance(rng, 0.4) else 0.0,
        notch=uniform(rng, 0.1, 0.5) if chance(rng, 0.35) else 0.0,
        # Sharp waves on delta above 2.5 Hz would make it a seizure (ACNS 2021).
        sharp=uniform(rng, 0.1, 0.5) if chance(rng, 0.25) and rate < 2.3 else 0.0,
        fast_hz=uniform(rng, 7, 25),
        fast=uniform(rng, 0.1, 0.6) if chance(rng, 0.4) else 0.0,
    )
