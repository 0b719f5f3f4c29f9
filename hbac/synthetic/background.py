"""What the brain does when it does nothing in particular: the background of a recording.

Coloured noise of many sources under a skull, in two states that cross-fade, with rhythms on top, slow change of
amplitude, and in some recordings suppression, bursts or sleep.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hbac.synthetic.draws import (
    Array,
    frequencies,
    gate,
    loguniform,
    pick,
    pulses,
    renewal,
    spectrum_noise,
    to_signal,
    uniform,
    wander,
)
from hbac.synthetic.head import hill, midline_place
from hbac.synthetic.patient import Patient

CONTINUITY = {"continuous": 0.74, "attenuated": 0.08, "discontinuous": 0.08, "bursts": 0.05}


@dataclass(frozen=True)
class Background:
    """The background of one recording."""

    level_uv: float  # standard deviation in the median bipolar derivation
    exponents: tuple[float, float]  # spectral shape of the two states
    knees_hz: tuple[float, float]
    balance: float  # mean share of the second state, 0 to 1
    fading_s: float  # how slowly the states cross-fade
    continuity: str  # one of `CONTINUITY`, or ``sleep``
    rhythm_gain: float  # reactivity: factor on the patient's rhythms in this recording
    wandering: float  # strength of the slow change of amplitude


def draw_background(rng: np.random.Generator, patient: Patient, sleep: float = 0.05) -> Background:
    """Draw the background of one recording; `sleep` is its weight beside those of `CONTINUITY`."""
    shift = 0.35 * rng.standard_normal(2)
    exponents = np.clip(patient.exponent + shift, 1.0, 4.6)
    continuity = pick(rng, {**CONTINUITY, "sleep": sleep})
    level = patient.level_uv * float(np.exp(0.22 * rng.standard_normal()))
    if continuity == "attenuated":
        level = min(level * uniform(rng, 0.25, 0.7), 12.0)
    return Background(
        level_uv=float(np.clip(level, 1.2, 55)),
        exponents=(float(exponents[0]), float(exponents[1])),
        knees_hz=(patient.knee_hz, float(np.clip(patient.knee_hz * loguniform(rng, 0.5, 2), 0.3, 4))),
        balance=uniform(rng, 0, 1),
        fading_s=loguniform(rng, 2, 40),
        continuity=continuity,
        rhythm_gain=loguniform(rng, 0.3, 1.4),
        wandering=patient.wandering * loguniform(rng, 0.6, 1.6),
    )


def _density(f: NDArray[np.float64], exponent: float, knee: float, high: float, low: float) -> NDArray[np.float64]:
    """Return the spectral shape, of unit variance between 0.5 and 30 Hz."""
    shape = 1 / (knee**exponent + f**exponent)
    shape *= f**4 / (high**4 + f**4) / (1 + (f / low) ** 8)
    inside = (f >= 0.5) & (f <= 30)
    step = f[1] - f[0]
    return np.asarray(shape / (shape[inside].sum() * step))


def render_background(
    rng: np.random.Generator, patient: Patient, background: Background, t0_s: float, n: int, sfreq: float
) -> Array:
    """Return the background, (19, n) float32 in microvolt, from `t0_s` on the recording's clock."""
    f = frequencies(n, sfreq)
    parts = [
        spectrum_noise(rng, mix, _density(f, exponent, knee, patient.highpass_hz, patient.lowpass_hz), n, sfreq)
        for mix, exponent, knee in zip(patient.mixes, background.exponents, background.knees_hz, strict=True)
    ]
    fade = np.clip(background.balance + 0.4 * wander(rng, n, sfreq, background.fading_s)[0], 0, 1)
    signal = to_signal(parts[0], n) * np.sqrt(1 - fade) + to_signal(parts[1], n) * np.sqrt(fade)
    for rhythm in patient.rhythms:
        hump = np.exp(-0.5 * ((f - rhythm.peak_hz) / rhythm.width_hz) ** 2)
        hump[hump < 1e-4] = 0
        hump /= max(hump.sum() * (f[1] - f[0]), 1e-9)
        wave = to_signal(spectrum_noise(rng, rhythm.mix, hump, n, sfreq), n)
        swing = np.exp(rhythm.waxing * wander(rng, n, sfreq, uniform(rng, 1, 6))[0] - rhythm.waxing**2 / 2)
        signal += wave * (swing * (rhythm.ratio * background.rhythm_gain))
    tau = loguniform(rng, 1.5, 20)
    swing = np.exp(background.wandering * wander(rng, n, sfreq, tau)[0])
    signal *= swing * np.float32(background.level_uv) * _continuity(rng, background, t0_s, n, sfreq)
    if background.continuity == "sleep":
        signal += _sleep(rng, background.level_uv, n, sfreq)
    return np.asarray(signal * patient.gains[:, None], dtype=np.float32)


def _continuity(rng: np.random.Generator, background: Background, t0_s: float, n: int, sfreq: float) -> Array:
    if background.continuity not in ("discontinuous", "bursts"):
        return np.ones(n, dtype=np.float32)
    stop = t0_s + n / sfreq
    strong = background.continuity == "bursts"
    floor = uniform(rng, 0.03, 0.25) if strong else uniform(rng, 0.2, 0.6)
    height = uniform(rng, 1.0, 2.5)
    envelope = np.zeros(n, dtype=np.float32)
    # Bursts of 0.7 to 4 s every 2 to 12 s; irregular, or they would be periodic discharges.
    for start in renewal(rng, t0_s - 5, stop, loguniform(rng, 0.08, 0.45), uniform(rng, 0.3, 0.8)):
        length = loguniform(rng, 0.7, 4.0) if strong else loguniform(rng, 1.5, 8)
        envelope = np.maximum(envelope, gate(n, sfreq, t0_s, start, start + length, uniform(rng, 0.15, 0.7)))
    return floor + (height - floor) * envelope


def _sleep(rng: np.random.Generator, level_uv: float, n: int, sfreq: float) -> Array:
    """Spindles, vertex waves and K-complexes."""
    span = n / sfreq
    t = np.arange(n, dtype=np.float32) / np.float32(sfreq)
    size = max(level_uv, 6.0)
    top = hill(rng, np.array([0.0, uniform(rng, -0.1, 0.5), 0.9]), uniform(rng, 0.5, 0.9))
    at = renewal(rng, 0, span, uniform(rng, 0.05, 0.3), 0.8)
    spindle = pulses(n, sfreq, at, rng.uniform(0.25, 0.6, at.size), np.exp(0.3 * rng.standard_normal(at.size)))
    pace = 2 * np.pi * (uniform(rng, 11.5, 14.5) * t + 0.05 * wander(rng, n, sfreq, 1.0)[0])
    wave = 1.4 * spindle * np.sin(pace)
    at = renewal(rng, 0, span, uniform(rng, 0.03, 0.3), 0.9)
    tall = np.exp(0.3 * rng.standard_normal(at.size)) * uniform(rng, 2, 5)
    wave += pulses(n, sfreq, at, np.full(at.size, 0.05), -tall) + pulses(
        n, sfreq, at + 0.13, np.full(at.size, 0.08), tall / 2
    )
    at = renewal(rng, 0, span, uniform(rng, 0.01, 0.12), 0.9)
    tall = np.exp(0.3 * rng.standard_normal(at.size)) * uniform(rng, 3, 7)
    broad = hill(rng, midline_place(rng), 1.0)
    slow = pulses(n, sfreq, at, np.full(at.size, 0.09), -tall) + pulses(
        n, sfreq, at + 0.4, np.full(at.size, 0.2), tall * 0.8
    )
    return (np.outer(top, wave) + np.outer(broad, slow)).astype(np.float32) * np.float32(size)
