"""What comes from the body but not from the brain: eyes, muscle, heart, breathing, movement.

Artefacts are drawn without regard to the class, so that none gives it away; but several of them repeat at the rates
of periodic discharges and rhythmic delta (heart, chewing, breathing, tremor), which is what makes "other" hard.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hbac.synthetic.draws import (
    Array,
    chance,
    frequencies,
    gate,
    lognormal,
    loguniform,
    pick,
    pulses,
    renewal,
    spectrum_noise,
    to_signal,
    uniform,
    wander,
)
from hbac.synthetic.head import ELECTRODE_XYZ, N_ELECTRODES
from hbac.synthetic.patient import Heart, Patient
from hbac.vocabulary import ELECTRODES

RHYTHMIC_ARTEFACTS = {
    "chewing": 0.18, "tremor": 0.18, "breathing": 0.2, "pulse": 0.18, "nystagmus": 0.08, "patting": 0.1, "hiccup": 0.08,
}  # fmt: skip


@dataclass(frozen=True)
class Artefacts:
    """The body's artefacts in one recording: rates, heights in microvolt, places."""

    blink_hz: float
    blink_uv: float
    gaze_hz: float  # side glances
    gaze_uv: float
    roving_uv: float  # slow roving eyes
    muscle_uv: float  # noise at the temporal electrodes
    muscle_bursts: float  # 0 steady, 1 all in bursts
    muscle_mix: Array  # (19, 6) how six muscles reach the electrodes
    movement_hz: float  # transients
    movement_uv: float
    rhythmic: str  # one of `RHYTHMIC_ARTEFACTS`, or an empty string
    rhythmic_hz: float
    rhythmic_uv: float
    rhythmic_variation: float
    rhythmic_field: Array  # (19,)
    rhythmic_duty: float  # share of the time it is on


def _eyes(front_back: float) -> tuple[Array, Array]:
    """Fields of blinks (both frontal poles) and glances (F7 against F8)."""
    front = np.exp(4.5 * (ELECTRODE_XYZ[:, 1] - 1)) * np.exp(-front_back * ELECTRODE_XYZ[:, 2])
    eye = np.array([0.45, 0.85, -0.25])
    right = np.exp(4.0 * (ELECTRODE_XYZ @ (eye / np.linalg.norm(eye)) - 1))
    eye[0] *= -1
    left = np.exp(4.0 * (ELECTRODE_XYZ @ (eye / np.linalg.norm(eye)) - 1))
    aside = right - left
    return (front / front.max()).astype(np.float32), (aside / np.abs(aside).max()).astype(np.float32)


def _local_field(rng: np.random.Generator, kind: str) -> Array:
    """Where a rhythmic artefact is: often one electrode or an odd group, unlike any field of the brain."""
    field = np.zeros(N_ELECTRODES)
    if kind == "chewing":
        names = {"F7": 1, "F8": 1, "T3": 1, "T4": 1, "Fp1": 0.4, "Fp2": 0.4, "T5": 0.3, "T6": 0.3}
        for name, weight in names.items():
            field[ELECTRODES.index(name)] = weight * uniform(rng, 0.3, 1.2) * rng.choice([-1, 1])
    elif kind == "nystagmus":
        field[:] = _eyes(0.5)[1]
    elif kind in ("hiccup", "patting", "breathing") and chance(rng, 0.6):
        direction = rng.standard_normal(3)
        field[:] = ELECTRODE_XYZ @ (direction / np.linalg.norm(direction)) + 0.5 * rng.standard_normal(N_ELECTRODES)
    else:
        chosen = rng.choice(N_ELECTRODES, size=int(rng.choice([1, 1, 2, 3, 4])), replace=False)
        field[chosen] = rng.uniform(0.4, 1, chosen.size) * rng.choice([-1, 1], chosen.size)
    return np.asarray(field / np.abs(field).max(), dtype=np.float32)


def draw_artefacts(rng: np.random.Generator, patient: Patient, *, rhythmic: float = 0.12) -> Artefacts:
    """Draw the artefacts of one recording; `rhythmic` is the probability of a rhythmic one."""
    muscle_mix = np.abs(rng.standard_normal((N_ELECTRODES, 6))) ** 2 * 0.25
    outer = 1 - np.clip(ELECTRODE_XYZ[:, 2], 0, 1) + 0.05  # muscle is at the rim, not at the vertex
    muscle_mix *= outer[:, None] * rng.choice([-1, 1], muscle_mix.shape)
    kind = pick(rng, RHYTHMIC_ARTEFACTS) if chance(rng, rhythmic) else ""
    rates = {
        "chewing": (0.8, 2.2), "tremor": (3.0, 7.0), "breathing": (0.2, 0.6), "pulse": (1.0, 1.0),
        "nystagmus": (1.0, 3.5), "patting": (1.5, 5.0), "hiccup": (0.15, 0.6), "": (1.0, 1.0),
    }  # fmt: skip
    rate = loguniform(rng, *rates[kind]) if kind not in ("pulse", "") else patient.heart.rate_hz
    return Artefacts(
        blink_hz=patient.blink_hz * loguniform(rng, 0.4, 2),
        blink_uv=loguniform(rng, 25, 220),
        gaze_hz=loguniform(rng, 0.05, 0.5) if chance(rng, 0.3) else 0.0,
        gaze_uv=loguniform(rng, 10, 90),
        roving_uv=loguniform(rng, 10, 80) if chance(rng, 0.15) else 0.0,
        muscle_uv=lognormal(rng, 1.0 + 8 * patient.muscle, 0.9, 0.0, 80.0) if chance(rng, 0.75) else 0.0,
        muscle_bursts=uniform(rng, 0, 1),
        muscle_mix=muscle_mix.astype(np.float32),
        movement_hz=loguniform(rng, 0.01, 0.2) * (0.2 + patient.rough) if chance(rng, 0.45) else 0.0,
        movement_uv=loguniform(rng, 30, 400),
        rhythmic=kind,
        rhythmic_hz=rate,
        rhythmic_uv=patient.level_uv * loguniform(rng, 1.0, 8) + loguniform(rng, 2, 25),
        rhythmic_variation=uniform(rng, 0.01, 0.3),
        rhythmic_field=_local_field(rng, kind) if kind else np.zeros(N_ELECTRODES, dtype=np.float32),
        rhythmic_duty=uniform(rng, 0.2, 1.0),
    )


def _ocular(rng: np.random.Generator, a: Artefacts, n: int, sfreq: float) -> Array:
    blink_field, gaze_field = _eyes(uniform(rng, 0.2, 1.0))
    out = np.zeros((N_ELECTRODES, n), dtype=np.float32)
    span = n / sfreq
    if a.blink_hz > 0:
        at = renewal(rng, 0, span, a.blink_hz, 0.9)
        tall = a.blink_uv * np.exp(0.35 * rng.standard_normal(at.size))
        width = 0.07 * np.exp(0.25 * rng.standard_normal(at.size))
        wave = pulses(n, sfreq, at, width, tall) + pulses(n, sfreq, at + 2 * width, 1.6 * width, 0.35 * tall)
        wave -= pulses(n, sfreq, at + 5.5 * width, 2.5 * width, 0.2 * tall)
        out += np.outer(blink_field, wave)
    if a.gaze_hz > 0:  # a step that the recorder's high-pass lets decay
        glance = np.asarray(renewal(rng, 0, span, a.gaze_hz, 0.8) * sfreq, dtype=np.int64)
        out += np.outer(
            gaze_field,
            steps(glance, np.asarray(a.gaze_uv * rng.standard_normal(glance.size)), n, uniform(rng, 0.3, 1.5) * sfreq),
        )
    if a.roving_uv > 0:
        pace = np.cumsum(0.35 * np.exp(0.4 * wander(rng, n, sfreq, 3.0)[0])) / sfreq
        wave = a.roving_uv * np.sin(2 * np.pi * pace) * np.clip(wander(rng, n, sfreq, 8.0)[0], 0, None)
        out += np.outer(gaze_field, wave.astype(np.float32))
    return out


def steps(at: NDArray[np.int64], tall: NDArray[np.float64], n: int, decay_samples: float) -> Array:
    """Make steps that decay exponentially: electrode pops, glances."""
    out = np.zeros(n, dtype=np.float32)
    for where, height in zip(at, tall, strict=True):
        stop = min(n, int(where) + int(6 * decay_samples) + 1)
        if stop > where:
            out[where:stop] += height * np.exp(-np.arange(stop - where, dtype=np.float32) / decay_samples)
    return out


def _muscle(rng: np.random.Generator, a: Artefacts, n: int, sfreq: float) -> Array:
    f = frequencies(n, sfreq)
    shape = (f / 18.0) ** 3 / (1 + (f / 18.0) ** 3) / (1 + (f / 70) ** 2)
    shape *= a.muscle_uv**2 / 60.0  # about 60 Hz wide
    steady = wander(rng, n, sfreq, loguniform(rng, 0.3, 8), 6)
    swing = (1 - a.muscle_bursts) * np.exp(0.3 * steady) + a.muscle_bursts * 2.5 * np.clip(steady - 0.6, 0, 3)
    sources = to_signal(spectrum_noise(rng, np.eye(6, dtype=np.float32), shape, n, sfreq), n)
    return np.asarray(a.muscle_mix @ (sources * swing), dtype=np.float32)


def beats(rng: np.random.Generator, heart: Heart, n: int, sfreq: float) -> tuple[Array, NDArray[np.float64]]:
    """Return the heart's wave (n,), R being 1 high, and the times of the beats in seconds."""
    at = renewal(rng, -1.0, n / sfreq + 1.0, heart.rate_hz, heart.variation)
    wave = np.zeros(n, dtype=np.float32)
    for lag, width, height in heart.waves:
        wave += pulses(n, sfreq, at + lag, np.full(at.size, width), np.full(at.size, height))
    return wave, at


def _rhythmic(rng: np.random.Generator, a: Artefacts, beat_s: NDArray[np.float64], n: int, sfreq: float) -> Array:
    span = n / sfreq
    t = np.arange(n, dtype=np.float32) / np.float32(sfreq)
    wave: NDArray[np.floating]
    if a.rhythmic == "pulse":
        wave = pulses(n, sfreq, beat_s + 0.25, np.full(beat_s.size, 0.11), np.ones(beat_s.size))
    elif a.rhythmic in ("tremor", "patting"):
        pace = a.rhythmic_hz * np.exp(0.1 * wander(rng, n, sfreq, 1.5)[0])
        phase = 2 * np.pi * np.cumsum(pace) / sfreq
        wave = np.sin(phase) + uniform(rng, 0, 0.6) * np.sin(2 * phase + uniform(rng, 0, 6))
    elif a.rhythmic == "nystagmus":
        phase = np.cumsum(a.rhythmic_hz * np.exp(0.15 * wander(rng, n, sfreq, 1.0)[0])) / sfreq
        wave = 2 * (phase % 1.0) - 1
    elif a.rhythmic == "chewing":
        at = renewal(rng, 0, span, a.rhythmic_hz, a.rhythmic_variation)
        burst = pulses(n, sfreq, at, np.full(at.size, 0.1), np.exp(0.3 * rng.standard_normal(at.size)))
        wave = burst * (0.4 + 1.2 * rng.standard_normal(n, dtype=np.float32))
    else:  # breathing, hiccup: a slow or sharp odd wave at each
        at = renewal(rng, 0, span, a.rhythmic_hz, a.rhythmic_variation)
        width = uniform(rng, 0.05, 0.5)
        tall = np.exp(0.2 * rng.standard_normal(at.size))
        wave = pulses(n, sfreq, at, np.full(at.size, width), tall)
        wave -= pulses(n, sfreq, at + 2.5 * width, np.full(at.size, width * 1.3), 0.7 * tall)
        wave += 0.2 * np.sin(2 * np.pi * 9 * t) * wave
    on = np.clip((wander(rng, n, sfreq, 6.0)[0] + 2.2 * (a.rhythmic_duty - 0.5)) * 2 + 0.5, 0, 1)
    return np.outer(a.rhythmic_field, (wave * on * a.rhythmic_uv).astype(np.float32))


def _movement(rng: np.random.Generator, a: Artefacts, n: int, sfreq: float) -> Array:
    out = np.zeros((N_ELECTRODES, n), dtype=np.float32)
    even = np.full(N_ELECTRODES, 1 / N_ELECTRODES)  # without it NumPy draws in another way: other data from a seed
    for start in renewal(rng, 0, n / sfreq, a.movement_hz, 0.9):
        length = loguniform(rng, 0.3, 6)
        chosen = rng.choice(N_ELECTRODES, int(rng.integers(1, 12)), replace=False, p=even)
        first, last = int(start * sfreq), min(n, int((start + length) * sfreq))
        m = last - first
        if m < 8:
            continue
        wave = wander(rng, m, sfreq, loguniform(rng, 0.05, 0.5), chosen.size)
        out[chosen, first:last] += a.movement_uv * wave * gate(m, sfreq, 0, 0.2 * length, 0.8 * length, 0.4 * length)
    return out


def render_artefacts(
    rng: np.random.Generator, patient: Patient, artefacts: Artefacts, tense: Array, sfreq: float
) -> tuple[Array, Array]:
    """Return the body's artefacts (19, n), to be added to the EEG, and the EKG's heart wave (n,): float32, microvolt.

    `tense` (n,) is a factor on the muscles' noise: 1, and more in some seizures.
    """
    n = tense.size
    out = _ocular(rng, artefacts, n, sfreq)
    if artefacts.muscle_uv > 0:
        out += _muscle(rng, artefacts, n, sfreq) * tense
    heart_wave, beat_s = beats(rng, patient.heart, n, sfreq)
    if patient.heart.leak_uv > 0:
        out += np.outer(patient.heart.leak * np.float32(patient.heart.leak_uv), heart_wave)
    if artefacts.rhythmic:
        out += _rhythmic(rng, artefacts, beat_s, n, sfreq)
    if artefacts.movement_hz > 0:
        out += _movement(rng, artefacts, n, sfreq)
    return out, heart_wave * np.float32(patient.heart.ekg_uv)
