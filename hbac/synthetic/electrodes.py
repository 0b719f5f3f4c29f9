"""What comes from the recording itself: mains, the reference, bad electrodes, drift, clipping, gaps.

References
----------
Tatum WO et al. Artifact and recording concepts in EEG. J Clin Neurophysiol 2011.
doi:10.1097/WNP.0b013e31821c3c93
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hbac.synthetic.artefacts import steps
from hbac.synthetic.draws import (
    Array,
    chance,
    frequencies,
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
from hbac.synthetic.patient import Patient

FAULTS = {
    "mains": 0.25,
    "noisy": 0.2,
    "popping": 0.2,
    "flat": 0.1,
    "drifting": 0.15,
    "huge": 0.05,
    "bridged": 0.05,
}
# How often a recording has stretches without samples, and how much of it then: 0.12 % over all.
_GAP_CHANCE = 0.05
_STEP_UV = np.float32(1 / 32)  # of the converter


@dataclass(frozen=True)
class Fault:
    """One bad electrode: its index, what is wrong (one of `FAULTS`), and how badly (µV where that has a meaning)."""

    electrode: int
    kind: str
    size: float


@dataclass(frozen=True)
class Recorder:
    """The technical side of one recording; 20 channels, the EKG last."""

    mains_uv: Array  # (20,) amplitude of the mains
    mains_phase: Array  # (20,) radians
    reference_uv: float  # noise of the common reference
    drift_uv: Array  # (19,) slow drift (sweat)
    faults: tuple[Fault, ...]
    clip_uv: float  # where the recorder clips
    ekg: str  # ``good``, ``noisy``, ``flat`` or ``eeg`` (the reference and little heart)
    offset_uv: Array  # (20,)
    spread: Array  # (19, 19) from the scalp to the electrodes: each sits somewhat beside its place, with a gain


def _spread(rng: np.random.Generator) -> Array:
    """Draw a random spatial filter near the identity."""
    angle = np.arccos(np.clip(ELECTRODE_XYZ @ ELECTRODE_XYZ.T, -1, 1))
    near = np.exp(-0.5 * (angle / uniform(rng, 0.3, 0.7)) ** 2) * np.exp(0.7 * rng.standard_normal(angle.shape))
    near /= near.sum(axis=1, keepdims=True)
    part = uniform(rng, 0, 0.4) * rng.random((N_ELECTRODES, 1))
    gain = np.exp(uniform(rng, 0, 0.2) * rng.standard_normal((N_ELECTRODES, 1)))
    return np.asarray(gain * ((1 - part) * np.eye(N_ELECTRODES) + part * near), dtype=np.float32)


def draw_recorder(rng: np.random.Generator, patient: Patient) -> Recorder:
    """Draw the technical side of one recording of a patient."""
    mains = patient.mains_uv * np.exp(0.8 * rng.standard_normal(20)) * loguniform(rng, 0.3, 3)
    if chance(rng, 0.03):  # a recording drowned in mains
        mains *= loguniform(rng, 10, 100)
    # The mains comes in mostly through the reference, alike in all channels; bipolar montages cancel that part.
    phase = uniform(rng, 0, 2 * np.pi) + 0.5 * rng.standard_normal(20)
    count = int(rng.choice([0, 1, 2, 3, 4, 6], p=[0.55, 0.24, 0.12, 0.06, 0.02, 0.01]))
    faults = []
    for electrode in rng.choice(N_ELECTRODES, size=count, replace=False):
        kind = pick(rng, FAULTS)
        sizes = {
            "mains": (5, 300), "noisy": (5, 120), "popping": (20, 400), "flat": (0.01, 1), "drifting": (20, 400),
            "huge": (200, 3000), "bridged": (1, 2),
        }  # fmt: skip
        faults.append(Fault(int(electrode), kind, loguniform(rng, *sizes[kind])))
    sweaty = chance(rng, 0.2)
    drift = np.exp(0.7 * rng.standard_normal(N_ELECTRODES)) * (
        loguniform(rng, 8, 60) * patient.sweat if sweaty else 0.5
    )
    return Recorder(
        mains_uv=mains.astype(np.float32),
        mains_phase=phase.astype(np.float32),
        reference_uv=patient.reference_uv * loguniform(rng, 0.4, 2.5),
        drift_uv=drift.astype(np.float32),
        faults=tuple(faults),
        clip_uv=float(rng.choice([8192.0, 3276.7, 1600.0, 800.0, 500.0], p=[0.6, 0.25, 0.08, 0.05, 0.02])),
        ekg=pick(rng, {"good": 0.78, "noisy": 0.08, "flat": 0.04, "eeg": 0.1}),
        offset_uv=(lognormal(rng, 3, 1.2, 0, 100) * rng.standard_normal(20)).astype(np.float32),
        spread=_spread(rng),
    )


def _fault(rng: np.random.Generator, fault: Fault, eeg: Array, mains_hz: float, sfreq: float) -> None:
    """Spoil one electrode in place."""
    n = eeg.shape[1]
    t = np.arange(n, dtype=np.float32) / np.float32(sfreq)
    here = eeg[fault.electrode]
    if fault.kind == "mains":
        if mains_hz < sfreq / 2:
            swing = np.exp(0.3 * wander(rng, n, sfreq, 3.0)[0])
            here += fault.size * swing * np.sin(2 * np.pi * mains_hz * t + uniform(rng, 0, 6))
    elif fault.kind == "noisy":
        f = frequencies(n, sfreq)
        shape = np.minimum((1.0 / np.maximum(f, 0.3)) ** uniform(rng, 0, 1.5), 10)
        one = np.ones((1, 1), dtype=np.float32)
        noise = to_signal(spectrum_noise(rng, one, shape * (fault.size**2 / 30), n, sfreq), n)[0]
        here += noise * (np.clip(wander(rng, n, sfreq, 8.0)[0] + uniform(rng, -1, 1.5), 0, 1.5))
    elif fault.kind == "popping":
        # Pops may come nearly regularly: then they look like discharges, but at one electrode only.
        at = renewal(rng, 0, n / sfreq, loguniform(rng, 0.08, 1.6), uniform(rng, 0.1, 1.0))
        tall = fault.size * rng.choice([-1, 1]) * np.exp(0.5 * rng.standard_normal(at.size))
        if chance(rng, 0.3):
            tall *= rng.choice([-1, 1], at.size)
        here += steps((at * sfreq).astype(np.int64), tall, n, loguniform(rng, 0.03, 1.2) * sfreq)
        if chance(rng, 0.3):
            here += pulses(n, sfreq, at, np.full(at.size, 0.012), 0.6 * tall)
    elif fault.kind == "flat":
        here[:] = fault.size * rng.standard_normal(n, dtype=np.float32)
    elif fault.kind == "drifting":
        here += fault.size * wander(rng, n, sfreq, loguniform(rng, 0.4, 6.0))[0]
    elif fault.kind == "huge":
        here += fault.size * (wander(rng, n, sfreq, 0.05)[0] + 0.5 * wander(rng, n, sfreq, 1.0)[0])
    else:
        here[:] = eeg[(fault.electrode + 1) % len(eeg)] + 0.3 * rng.standard_normal(n, dtype=np.float32)


def apply_recorder(
    rng: np.random.Generator, patient: Patient, recorder: Recorder, eeg: Array, heart_uv: Array, sfreq: float
) -> Array:
    """Turn the scalp's potentials (19, n), changed in place, and the heart wave (n,) into what a recorder stores.

    That is (20, n) float32 without gaps; all in microvolt.
    """
    n = eeg.shape[1]
    out = np.empty((N_ELECTRODES + 1, n), dtype=np.float32)
    f = frequencies(n, sfreq)
    eeg += wander(rng, n, sfreq, uniform(rng, 2, 12), N_ELECTRODES) * recorder.drift_uv[:, None]
    for fault in recorder.faults:
        _fault(rng, fault, eeg, patient.mains_hz, sfreq)
    out[:-1] = eeg
    ekg = heart_uv
    if recorder.ekg == "flat":
        ekg = heart_uv * np.float32(1e-3)
    elif recorder.ekg == "noisy":
        ekg = heart_uv * np.float32(0.3) + patient.heart.ekg_uv * wander(rng, n, sfreq, 0.1)[0]
    elif recorder.ekg == "eeg":
        ekg = heart_uv * np.float32(0.02) + eeg.mean(axis=0)
    out[-1] = ekg
    shape = 1 / (0.3**2 + f**2) + 2e-3 / (1 + (f / 60) ** 4)
    shape /= shape.sum() * (f[1] - f[0])
    noise = spectrum_noise(rng, np.array([[recorder.reference_uv]], dtype=np.float32), shape, n, sfreq)
    out += to_signal(noise, n)
    if patient.mains_hz < sfreq / 2:
        t = np.arange(n) / sfreq
        swing = np.exp(0.15 * wander(rng, n, sfreq, 5.0)[0])
        turn = 2 * np.pi * patient.mains_hz * t + 0.3 * wander(rng, n, sfreq, 10.0)[0]
        wave = swing * np.exp(1j * turn)
        weight = recorder.mains_uv * np.exp(1j * recorder.mains_phase)
        out += (weight.real[:, None] * wave.real - weight.imag[:, None] * wave.imag).astype(np.float32)
    out += recorder.offset_uv[:, None]
    out /= _STEP_UV
    np.rint(out, out=out)
    out *= _STEP_UV
    return np.clip(out, -recorder.clip_uv, recorder.clip_uv, out=out)


def add_gaps(rng: np.random.Generator, eeg: Array, sfreq: float) -> None:
    """Put NaN where a recorder lost samples: stretches on some or on all channels, in place.

    About one recording in twenty has gaps; 0.12 % of all samples are missing.
    """
    if not chance(rng, _GAP_CHANCE):
        return
    n = eeg.shape[1]
    channels = np.arange(len(eeg))
    if chance(rng, 0.5):
        channels = rng.choice(len(eeg), size=int(rng.integers(1, 8)), replace=False)
    share = 0.0012 / _GAP_CHANCE * len(eeg) / channels.size  # expected share of the recording in these channels
    length = int(np.clip(rng.exponential(min(share, 1.0) * n * 1.3), 0.02 * sfreq, n))
    start = int(rng.integers(0, n - length + 1))
    eeg[channels, start : start + length] = np.nan
