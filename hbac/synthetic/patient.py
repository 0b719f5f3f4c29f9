"""Who is recorded: what stays the same over all of a patient's recordings.

The ranges are wide on purpose. A model that is to read real EEG has to learn what does not depend on any of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hbac.synthetic.draws import Array, chance, lognormal, loguniform, pick, uniform
from hbac.synthetic.head import ELECTRODE_XYZ, N_ELECTRODES, hill, lateral_place, random_mix


@dataclass(frozen=True)
class Rhythm:
    """A band-limited background rhythm: alpha, mu, theta, beta or a focal slow band."""

    name: str
    peak_hz: float
    width_hz: float  # standard deviation of the spectral hump
    ratio: float  # amplitude in units of the background's level
    mix: Array  # (19, sources) weights on the scalp
    waxing: float  # strength of the slow waxing and waning, 0 to 1


@dataclass(frozen=True)
class Heart:
    """Heart rhythm and how it shows: in the EKG channel, and as QRS leak or pulse wave in the EEG."""

    rate_hz: float
    variation: float  # coefficient of variation of the intervals
    waves: tuple[tuple[float, float, float], ...]  # (lag s, width s, height) of P, Q, R, S, T; R is 1 high
    ekg_uv: float  # height of R in the EKG channel
    leak_uv: float  # height of R in the EEG; 0 in many patients
    leak: Array  # (19,) how the leak lies over the electrodes


@dataclass(frozen=True)
class Patient:
    """All that a patient's recordings share."""

    level_uv: float  # standard deviation of the background in the median bipolar derivation, 2 to 45
    exponent: float  # spectrum ``1 / (knee^exponent + f^exponent)``
    knee_hz: float
    highpass_hz: float  # corners of the recorder
    lowpass_hz: float
    mixes: tuple[Array, Array]  # (19, 19) each, of the broad-band background; recordings blend them
    rhythms: tuple[Rhythm, ...]
    wandering: float  # strength of the slow change of the background's amplitude
    gains: Array  # (19,) of electrodes: asymmetry, breach, small differences of contact
    mains_hz: float
    mains_uv: float  # median amplitude at an electrode
    reference_uv: float  # noise of the common reference, cancelled by bipolar montages
    heart: Heart
    blink_hz: float  # how much of these artefacts the patient brings; the others are factors of about 0 to 1
    muscle: float
    sweat: float
    rough: float
    side: int  # of a lesion: -1 left, +1 right; lateral patterns are mostly there
    lesion: NDArray[np.float64]  # (3,)


_BACK = np.array([0.0, -0.88, 0.47])
_FRONT = np.array([0.0, 0.85, 0.53])
_TOP = np.array([0.0, 0.0, 1.0])


def _rhythms(rng: np.random.Generator, lesion: NDArray[np.float64]) -> tuple[Rhythm, ...]:
    found = []
    if chance(rng, 0.4):
        peak = uniform(rng, 7, 12)
        mix = random_mix(rng, _BACK, uniform(rng, 2.5, 6), 0.6)
        found.append(Rhythm("alpha", peak, uniform(rng, 0.4, 1.5), loguniform(rng, 0.1, 0.8), mix, 0.5))
    if chance(rng, 0.08):
        place = np.array([rng.choice([-0.75, 0.75]), 0.0, 0.66])
        mix = random_mix(rng, place, 6, 0.3)
        found.append(Rhythm("mu", uniform(rng, 8, 11), 0.6, loguniform(rng, 0.2, 0.8), mix, 0.8))
    if chance(rng, 0.45):
        mix = random_mix(rng, _FRONT if chance(rng, 0.5) else None, uniform(rng, 0.5, 3), 0.7)
        found.append(
            Rhythm("theta", uniform(rng, 4, 7.5), uniform(rng, 0.4, 1.6), loguniform(rng, 0.15, 0.8), mix, 0.4)
        )
    if chance(rng, 0.3):
        mix = random_mix(rng, _FRONT, uniform(rng, 0.5, 3), 0.3)
        found.append(Rhythm("beta", uniform(rng, 13, 26), uniform(rng, 1, 4), loguniform(rng, 0.08, 0.45), mix, 0.4))
    if chance(rng, 0.45):
        mix = random_mix(rng, _FRONT if chance(rng, 0.4) else None, uniform(rng, 0.5, 3), 0.9)
        found.append(
            Rhythm("delta", uniform(rng, 0.7, 2.8), uniform(rng, 0.4, 1.4), loguniform(rng, 0.3, 1.8), mix, 0.4)
        )
    if chance(rng, 0.35):
        mix = random_mix(rng, lesion, uniform(rng, 4, 9), 0.8)
        found.append(
            Rhythm("focal", uniform(rng, 0.7, 3.5), uniform(rng, 0.4, 1.5), loguniform(rng, 0.3, 1.3), mix, 0.4)
        )
    return tuple(found)


def _heart(rng: np.random.Generator) -> Heart:
    squeeze = uniform(rng, 0.7, 1.3)
    invert = -1.0 if chance(rng, 0.4) else 1.0
    waves = (
        (-0.17 * squeeze, 0.022, 0.12 * uniform(rng, 0, 1.5)),
        (-0.03, 0.008, -0.15 * uniform(rng, 0, 2)),
        (0.0, 0.010 * uniform(rng, 0.7, 1.8), 1.0),
        (0.032, 0.010 * uniform(rng, 0.8, 2), -0.3 * uniform(rng, 0, 2.5)),
        (0.26 * squeeze, 0.045 * squeeze, 0.25 * uniform(rng, -0.6, 1.6)),
    )
    across = ELECTRODE_XYZ @ np.array([uniform(rng, 0.3, 1), uniform(rng, -0.6, 0.6), uniform(rng, -0.5, 0.5)])
    return Heart(
        rate_hz=lognormal(rng, 1.4, 0.22, 0.7, 2.5),
        variation=0.25 if chance(rng, 0.12) else uniform(rng, 0.01, 0.08),
        waves=tuple((lag, width, invert * height) for lag, width, height in waves),
        ekg_uv=loguniform(rng, 40, 3000),
        leak_uv=loguniform(rng, 2, 35) if chance(rng, 0.4) else 0.0,
        leak=across.astype(np.float32),
    )


def _gains(rng: np.random.Generator, side: int) -> Array:
    gains = np.exp(0.1 * rng.standard_normal(N_ELECTRODES))
    half = 0.5 + 0.5 * np.tanh(4 * side * ELECTRODE_XYZ[:, 0])
    kind = pick(rng, {"even": 0.56, "weak side": 0.22, "strong side": 0.1, "breach": 0.12})
    if kind == "weak side":
        gains *= 1 - uniform(rng, 0.2, 0.7) * half
    elif kind == "strong side":
        gains *= 1 + uniform(rng, 0.2, 0.8) * half
    elif kind == "breach":
        gains *= 1 + uniform(rng, 0.5, 2) * np.abs(hill(rng, lateral_place(rng, side), 0.4))
    return gains.astype(np.float32)


def draw_patient(rng: np.random.Generator) -> Patient:
    """Draw one patient, with every range as wide as recordings of critically ill patients are."""
    side = -1 if chance(rng, 0.5) else 1
    lesion = lateral_place(rng, side)
    level = lognormal(rng, 10.0, 0.62, 2.0, 45.0)
    return Patient(
        level_uv=level,
        exponent=float(np.clip(2.5 + 0.75 * rng.standard_normal(), 1.0, 4.4)),
        knee_hz=loguniform(rng, 0.4, 3.0),
        highpass_hz=loguniform(rng, 0.08, 0.9),
        lowpass_hz=uniform(rng, 45, 95),
        mixes=(
            random_mix(rng, _FRONT if chance(rng, 0.4) else None, 1.5, uniform(rng, 0.25, 1.0)),
            random_mix(rng, _TOP if chance(rng, 0.3) else None, 1.5, uniform(rng, 0.25, 1.0)),
        ),
        rhythms=_rhythms(rng, lesion),
        wandering=uniform(rng, 0.08, 0.5),
        gains=_gains(rng, side),
        mains_hz=60.0 if chance(rng, 0.75) else 50.0,
        mains_uv=lognormal(rng, 15.0, 1.1, 0.0, 400.0),
        reference_uv=lognormal(rng, 15.0, 0.9, 0.0, 300.0),
        heart=_heart(rng),
        blink_hz=lognormal(rng, 0.12, 0.8, 0.01, 0.8) if chance(rng, 0.45) else 0.0,
        muscle=uniform(rng, 0, 1) ** 2,
        sweat=uniform(rng, 0, 1) ** 3,
        rough=uniform(rng, 0, 1) ** 1.5,
        side=side,
        lesion=lesion,
    )
