"""One session of a patient: what happens when, and the signals it gives.

A session is as long as its spectrogram file. It is rendered twice: at 200 Hz where there is an EEG, and at 50 Hz all
along, which is enough for the spectrogram's 20 Hz. Both follow the same plan.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import scipy.fft

from hbac.synthetic.artefacts import Artefacts, draw_artefacts, render_artefacts
from hbac.synthetic.background import Background, draw_background, render_background
from hbac.synthetic.draws import (
    Array,
    chance,
    gate,
    irregular,
)
from hbac.synthetic.electrodes import Recorder, apply_recorder, draw_recorder
from hbac.synthetic.head import BIPOLAR
from hbac.synthetic.looks import Episode, Wish, show
from hbac.synthetic.patient import Patient
from hbac.synthetic.patterns import Pattern
from hbac.synthetic.seizures import Seizure
from hbac.vocabulary import CLASSES

_JUDGED_S = 20.0  # how far a pattern stands out is judged on the first seconds that have labels
_TALLEST_UV = 700.0


@dataclass(frozen=True)
class Session:
    """The plan of a session; its times are in seconds on its own clock."""

    patient: Patient
    background: Background
    artefacts: Artefacts
    recorder: Recorder
    episodes: tuple[Episode, ...]
    after: tuple[tuple[float, float, float], ...]  # (start, stop, factor) of changed background, as after a seizure
    labelled: tuple[tuple[float, float], ...]  # (start, stop): what the labels of each EEG concern


@dataclass(frozen=True)
class Layer:
    """A rendered pattern: its episodes, fields (parts, 19), waves in µV (parts, n), envelope (n,)."""

    pattern: Pattern
    episodes: tuple[Episode, ...]
    fields: Array
    waves: Array
    on: Array


@dataclass(frozen=True)
class Rendered:
    """A rendered stretch: the recorder's channels (20, n) in µV, and the patterns in it."""

    eeg: Array
    layers: tuple[Layer, ...]


def draw_session(
    rng: np.random.Generator, patient: Patient, wishes: list[Wish], span_s: float, clarity: float = 0.0
) -> Session:
    """Draw the plan of a session of `span_s` seconds that shows what is wished for, in the order of time.

    `clarity` is 0 for the whole range of what occurs; towards 1 patterns are taller, steadier and less in dispute, and
    artefacts fewer.
    """
    shown = any(CLASSES[wish.evidence.label] != "other" for wish in wishes)
    background = draw_background(rng, patient, sleep=0.05 if shown else 0.16)
    if shown and background.continuity in ("discontinuous", "bursts", "sleep") and chance(rng, 0.85):
        background = replace(background, continuity="continuous")
    edges = [0.0, *[(a.stop_s + b.start_s) / 2 for a, b in pairwise(wishes)], span_s]
    looks = [
        show(rng, patient, wish, start_s, stop_s, clarity)
        for wish, (start_s, stop_s) in zip(wishes, pairwise(edges), strict=True)
    ]
    rhythmic = (0.06 if shown else 0.25) * (1 - clarity)
    artefacts, recorder = draw_artefacts(rng, patient, rhythmic=rhythmic), draw_recorder(rng, patient)
    if clarity > 0:
        less = 1 - 0.7 * clarity
        artefacts = replace(artefacts, muscle_uv=artefacts.muscle_uv * less, movement_hz=artefacts.movement_hz * less)
        faults = tuple(fault for fault in recorder.faults if chance(rng, less))
        spread = np.float32(less) * recorder.spread + np.float32(1 - less) * np.eye(
            len(recorder.spread), dtype=np.float32
        )
        mains_uv = recorder.mains_uv * np.float32(less**2)
        recorder = replace(recorder, faults=faults, mains_uv=mains_uv, spread=spread)
        background = replace(background, rhythm_gain=background.rhythm_gain * less)
    return Session(
        patient=patient,
        background=background,
        artefacts=artefacts,
        recorder=recorder,
        episodes=tuple(e for look in looks for e in look.episodes),
        after=tuple(a for look in looks for a in look.after),
        labelled=tuple((wish.start_s, wish.stop_s) for wish in wishes),
    )


def _by_pattern(
    episodes: tuple[Episode, ...], first_s: float, last_s: float
) -> list[tuple[Pattern, tuple[Episode, ...]]]:
    """Return the patterns that are on in a stretch, each with its episodes there."""
    found: dict[int, tuple[Pattern, list[Episode]]] = {}
    for e in episodes:
        if e.stop_s + e.ramp_s > first_s and e.start_s - e.ramp_s < last_s:
            found.setdefault(id(e.pattern), (e.pattern, []))[1].append(e)
    return [(pattern, tuple(those)) for pattern, those in found.values()]


def _envelope(episodes: tuple[Episode, ...], t0_s: float, n: int, sfreq: float) -> tuple[Array, Array]:
    """Return where the episodes are on, 0 to 1, and the same times their scale."""
    on, scale = np.zeros(n, dtype=np.float32), np.zeros(n, dtype=np.float32)
    for e in episodes:
        first = max(0, int((e.start_s - e.ramp_s - t0_s) * sfreq))
        last = min(n, int((e.stop_s + e.ramp_s - t0_s) * sfreq) + 1)
        if last > first:
            here = gate(last - first, sfreq, t0_s + first / sfreq, e.start_s, e.stop_s, e.ramp_s)
            on[first:last] = np.maximum(on[first:last], here)
            scale[first:last] = np.maximum(scale[first:last], here * np.float32(e.scale))
    return on, scale


def render(rng: np.random.Generator, session: Session, t0_s: float, n: int, sfreq: float) -> Rendered:
    """Make `n` samples of a session from `t0_s` on its clock: channels without gaps, and the patterns apart."""
    patient = session.patient
    wanted, n = n, scipy.fft.next_fast_len(n, real=True)
    eeg = render_background(rng, patient, session.background, t0_s, n, sfreq)
    quiet = np.ones(n, dtype=np.float32)
    for start_s, stop_s, factor in session.after:
        quiet *= 1 - (1 - np.float32(factor)) * gate(n, sfreq, t0_s, start_s, stop_s, 2.0)
    layers = []
    for pattern, episodes in _by_pattern(session.episodes, t0_s, t0_s + n / sfreq):
        on, scale = _envelope(episodes, t0_s, n, sfreq)
        peak_uv = max(pattern.height * session.background.level_uv, pattern.floor_uv)
        waves = pattern.waves(rng, t0_s, n, sfreq, scale) * (pattern.gains[:, None] * np.float32(peak_uv))
        layers.append(Layer(pattern, episodes, pattern.fields, waves, on))
        if pattern.ragged > 0:
            rough = irregular(rng, pattern.rate_hz, len(waves), n, sfreq)
            weights = (pattern.fields * np.abs(pattern.gains[:, None])).T
            eeg += weights @ (rough * (np.float32(pattern.ragged * peak_uv) * scale))
        if pattern.calm < 1:
            quiet *= 1 - (1 - np.float32(pattern.calm)) * np.minimum(scale, 1)
    eeg *= quiet
    tense = np.ones(n, dtype=np.float32)
    for layer in layers:
        if isinstance(layer.pattern, Seizure):
            tense += np.float32(layer.pattern.tense) * layer.on
    body, heart = render_artefacts(rng, patient, session.artefacts, tense, sfreq)
    judged, rest = eeg + 0.7 * body, eeg + body  # experts see through part of an artefact
    layers = [replace(layer, waves=layer.waves * _factor(session, layer, judged, t0_s, sfreq)) for layer in layers]
    for layer in layers:
        rest += layer.fields.T @ layer.waves
    rest = session.recorder.spread @ rest
    out = apply_recorder(rng, patient, session.recorder, rest, heart, sfreq)
    return Rendered(np.ascontiguousarray(out[:, :wanted]), tuple(layers))


def _factor(session: Session, layer: Layer, rest: Array, t0_s: float, sfreq: float) -> np.float32:
    """How much taller or lower a pattern has to be to stand out as it should where the labels are."""
    least, most = layer.episodes[0].least, layer.episodes[0].most
    if least == 0:
        return np.float32(1)
    first, last = 0, 0
    for start_s, stop_s in session.labelled:  # of several EEGs that one in which the pattern is on the most
        a = max(0, int((start_s - t0_s) * sfreq))
        b = min(rest.shape[1], int((min(stop_s, start_s + _JUDGED_S) - t0_s) * sfreq))
        if b - a > 2 * sfreq and layer.on[a:b].sum() > layer.on[first:last].sum():
            first, last = a, b
    if first == last:
        return np.float32(1)
    part = np.asarray(BIPOLAR @ (layer.fields.T @ layer.waves[:, first:last]), dtype=np.float32)
    there = part[:, layer.on[first:last] > 0.5]
    others = np.asarray(BIPOLAR @ rest[:, first:last], dtype=np.float32)
    found = stands_out(there, others, sfreq, layer.pattern.seen_at) if there.shape[1] > sfreq else 0.0
    tallest = max(_TALLEST_UV / max(float(np.abs(part).max()), 1e-3), 0.02)
    return np.float32(min(float(np.clip(found, least, most)) / max(found, 1e-3), tallest))


def stands_out(part_uv: Array, rest_uv: Array, sfreq: float, at: float = 97.5) -> float:
    """Return a pattern's height over the spread of all else, mean of the three best derivations (seen from about 2 on).

    The eye takes the better of two: how far the pattern stands out, and how far its steep flanks do from slow waves.
    `part_uv` and `rest_uv` are (derivations, n), bipolar. `at` is the percentile of the pattern's samples that is taken
    for its height: high where it is peaks with nothing between them.
    """
    block = max(1, round(sfreq / 25))
    usable = part_uv.shape[1] // block * block
    part, rest = (x[:, :usable].reshape(len(x), -1, block).mean(axis=2) for x in (part_uv, rest_uv))

    def ratio(signal: Array, noise: Array, percentile: float) -> float:
        off = np.abs(noise - np.median(noise, axis=1, keepdims=True))
        spread = np.percentile(off, 80, axis=1) / 1.2816 + 0.5  # the bursts of a discontinuous background count
        return float(np.sort(np.percentile(np.abs(signal), percentile, axis=1) / spread)[-3:].mean())

    return max(ratio(part, rest, at), ratio(np.diff(part), np.diff(rest), at))
