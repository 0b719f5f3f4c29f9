"""Electrographic seizures: discharges that evolve in frequency, shape and place.

Four kinds. *Spike-wave*: one to four spikes and a dome, up to 1.8 times as high, generalised, at 2.5–4 Hz and
slowing. *Evolving*: a rhythm of 2.5–16 Hz that grows, slows to a third and spreads. *Fast discharges*: periodic
discharges above 2.3 Hz without much evolution, the kind in dispute. *Slow*: 1–2.5 Hz, a seizure only because it
evolves: it quickens or slows by half, grows and spreads.

References
----------
Hirsch LJ et al. American Clinical Neurophysiology Society's Standardized Critical Care EEG Terminology: 2021
version. J Clin Neurophysiol 2021. doi:10.1097/WNP.0000000000000806
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hbac.synthetic.draws import Array, chance, lognormal, loguniform, pick, pulses, uniform, wander
from hbac.synthetic.fields import general_fields
from hbac.synthetic.head import MIRROR_INDEX, hill, lateral_place, normalise
from hbac.synthetic.patient import Patient
from hbac.synthetic.patterns import Pattern

SEIZURE_KINDS = {"spike-wave": 0.25, "evolving": 0.38, "discharges": 0.21, "slow": 0.16}
_UNREST = {"spike-wave": (0.01, 0.1), "evolving": (0.02, 0.18), "discharges": (0.03, 0.15), "slow": (0.03, 0.2)}


@dataclass(frozen=True)
class Seizure(Pattern):
    """One seizure, from its own start to its own end on the recording's clock."""

    kind: str  # one of `SEIZURE_KINDS`
    start_s: float
    stop_s: float
    last_hz: float  # frequency at the end; `rate_hz` is that at the start
    build_up: float  # share of its length over which the amplitude grows
    spread: float  # how far through the seizure it spreads; above 1 it stays where it began
    shape: NDArray[np.float64]  # (bumps, 4): lag, width, both as shares of the period; height; 1 for what slows with it
    restless: float  # how much discharges differ from each other, in shape and height
    waxing: float  # strength of waxing and waning
    unrest: float  # irregularity of the frequency
    onset_fast: float  # strength of the low-voltage fast activity in the first seconds (0 for none)
    tense: float  # how much more muscle there is in it (0 for no more)

    def waves(self, rng: np.random.Generator, t0_s: float, n: int, sfreq: float, on: Array) -> Array:
        """See `Pattern.waves`."""
        t = t0_s + np.arange(n) / sfreq
        u = np.clip((t - self.start_s) / (self.stop_s - self.start_s), 0, 1)
        pace = self.rate_hz * (self.last_hz / self.rate_hz) ** (u**0.8)
        pace = pace * np.exp(self.unrest * wander(rng, n, sfreq, 1.0)[0])
        cycles = np.cumsum(pace) / sfreq + uniform(rng, 0, 1)
        grow = np.clip(u / max(self.build_up, 1e-3), 0.12, 1) ** 0.8
        swing = on * grow * np.exp(self.waxing * wander(rng, n, sfreq, 1.5)[0])
        beats = np.arange(int(np.ceil(cycles[0])), int(cycles[-1]) + 1)
        at = np.interp(beats, cycles, np.arange(n) / sfreq)
        period = 1 / np.interp(at, np.arange(n) / sfreq, pace)
        at = at + 0.04 * self.unrest * period * rng.standard_normal(at.size)
        count = (at.size, len(self.shape))
        long = np.where(self.shape[:, 3] > 0, period[:, None], np.minimum(period, 1 / self.rate_hz)[:, None])
        lag = self.shape[:, 0] * long * (1 + 0.3 * self.restless * rng.standard_normal(count))
        width = self.shape[:, 1] * long * np.exp(0.3 * self.restless * rng.standard_normal(count))
        tall = np.exp(self.restless * (rng.standard_normal((at.size, 1)) + rng.standard_normal(count)))
        wave = pulses(n, sfreq, at[:, None] + lag, width, self.shape[:, 2] * tall)
        wave *= swing.astype(np.float32)
        if self.onset_fast > 0:
            early = np.exp(-0.5 * ((t - self.start_s - 1.5) / 1.5) ** 2) * (t > self.start_s)
            hum = np.sin(2 * np.pi * (18 - 2 * (t - self.start_s)).clip(9, 25) * t + wander(rng, n, sfreq, 0.3)[0])
            wave = wave + (self.onset_fast * early * hum).astype(np.float32)
        out = np.empty((len(self.fields), n), dtype=np.float32)
        out[0] = wave
        for part in range(1, len(self.fields)):
            opened = 1 / (1 + np.exp(-(u - self.spread * part / (len(self.fields) - 1)) / 0.08))
            shift = round(float(self.lags_s[part]) * sfreq)
            out[part] = opened * np.roll(wave, shift)
        return out


def _shape(rng: np.random.Generator, kind: str, rate_hz: float) -> NDArray[np.float64]:
    """Draw one discharge and its slow wave: `Seizure.shape`, at most 1 high."""
    sign = 1 if chance(rng, 0.6) else -1
    if kind == "spike-wave":
        width, apart = uniform(rng, 0.012, 0.035) * rate_hz, uniform(rng, 0.04, 0.08) * rate_hz
        spikes = int(rng.integers(2, 5)) if chance(rng, 0.4) else 1
        rows = [(-apart * k, width, uniform(rng, 0.5, 1.0), 0.0) for k in range(spikes)]
        rows.append((1.8 * width, 1.3 * width, -uniform(rng, 0.0, 0.7), 0.0))
        rows.append((uniform(rng, 0.4, 0.55), uniform(rng, 0.14, 0.24), sign * loguniform(rng, 0.3, 1.8), 1.0))
    else:
        low, high = {"evolving": (0.09, 0.2), "discharges": (0.07, 0.17), "slow": (0.06, 0.2)}[kind]
        wave = uniform(rng, 0.0, 1.2 if kind == "slow" else 0.9)
        rows = [(0.0, uniform(rng, low, high), 1.0, 1.0), (0.45, uniform(rng, 0.15, 0.22), -wave, 1.0)]
        if chance(rng, 0.4):  # sharper than a wave: spikes on it, phases beside it
            for _ in range(int(rng.integers(1, 4))):
                sharp = loguniform(rng, 0.012, 0.05) * rate_hz
                rows.append((uniform(rng, -0.3, 0.3), min(sharp, 0.12), sign * uniform(rng, 0.3, 1.2), 0.0))
    found = np.array(rows)
    found[:, 2] /= np.abs(found[:, 2]).max()
    return found


def draw_seizure(
    rng: np.random.Generator, patient: Patient, start_s: float, stop_s: float, disputed: float = 0.0
) -> Seizure:
    """Draw one seizure; focal ones start mostly at the patient's lesion.

    `disputed`, 0 to 1: how many experts, of those who see it, would not call it a seizure.
    """
    kind = pick(rng, SEIZURE_KINDS) if disputed < 0.1 else "discharges"
    general = kind == "spike-wave" or (kind == "discharges" and chance(rng, 0.5)) or chance(rng, 0.1)
    if general:
        fields, gains, lags = general_fields(rng, uniform(rng, 0, 0.05))
        gains[1] *= 0.3
        spread = 0.0
    else:
        side = patient.side if chance(rng, 0.8) else -patient.side
        near = patient.lesion * np.array([side * patient.side, 1.0, 1.0]) + 0.2 * rng.standard_normal(3)
        focus = near / np.linalg.norm(near) if chance(rng, 0.7) else lateral_place(rng, side)
        main = hill(rng, focus, uniform(rng, 0.35, 0.8))
        wide = hill(rng, focus, uniform(rng, 0.8, 1.3))
        fields, gains, lags = [main, wide], [1.0, uniform(rng, 0.3, 1)], [0.0, uniform(rng, 0, 0.03)]
        if chance(rng, 0.5):
            fields.append(normalise(wide[MIRROR_INDEX]))
            gains.append(uniform(rng, 0.2, 0.9))
            lags.append(uniform(rng, 0.0, 0.05))
        spread = uniform(rng, 0.2, 1.4)
    if kind == "spike-wave":
        first, drop = uniform(rng, 2.5, 4.2), uniform(rng, 0.55, 1.0)
    elif kind == "evolving":
        first, drop = loguniform(rng, 2.5, 16), uniform(rng, 0.3, 0.9)
    elif kind == "slow":
        first = loguniform(rng, 1.0, 2.5)
        drop = uniform(rng, 0.45, 0.75) if chance(rng, 0.6) else uniform(rng, 1.4, 2.2)
    else:
        first, drop = uniform(rng, 2.4, 4.2), uniform(rng, 0.7, 1.1)
        if disputed >= 0.1:
            first, drop = uniform(rng, 2.3, 3.0) - disputed, uniform(rng, 0.7 + 0.3 * disputed, 1.0)
    if chance(rng, 0.5):
        gains = [-g for g in gains]
    return Seizure(
        fields=np.stack(fields),
        gains=np.array(gains, dtype=np.float32),
        lags_s=np.array(lags, dtype=np.float32),
        rate_hz=first,
        height=lognormal(rng, 4.5, 0.65, 1.0, 22.0),
        floor_uv=lognormal(rng, 25, 0.8, 5, 250),
        calm=uniform(rng, 0.5, 1.0),
        roundness=0.5,
        ragged=uniform(rng, 0.0, 0.6) if chance(rng, 0.6) else 0.0,
        kind=kind,
        start_s=start_s,
        stop_s=stop_s,
        last_hz=max(first * drop, 0.6 if kind == "slow" else 1.5),
        build_up=uniform(rng, 0.05, 0.5),
        spread=spread,
        shape=_shape(rng, kind, first),
        restless=uniform(rng, 0.02, 0.3),
        waxing=uniform(rng, 0.03, 0.4),
        unrest=uniform(rng, *_UNREST[kind]) * loguniform(rng, 0.7, 2),
        onset_fast=uniform(rng, 0.03, 0.2) if kind == "evolving" and chance(rng, 0.4) else 0.0,
        tense=loguniform(rng, 0.5, 10) if chance(rng, 0.45) else 0.0,
    )
