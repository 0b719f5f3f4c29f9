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
    lognormal,
    loguniform,
    pick,
    uniform,
)
from hbac.synthetic.electrodes import Recorder, apply_recorder, draw_recorder
from hbac.synthetic.patient import Patient
from hbac.synthetic.patterns import Pattern, Periodic, Rhythmic, draw_periodic, draw_rhythmic
from hbac.synthetic.seizures import Seizure, draw_seizure


@dataclass(frozen=True)
class Episode:
    """A stretch of a session, in seconds on its clock, in which a pattern is on; `scale` is below 1 in faint ones."""

    start_s: float
    stop_s: float
    ramp_s: float
    pattern: Pattern
    scale: float = 1.0


@dataclass(frozen=True)
class Session:
    """The plan of a session.

    Attributes
    ----------
    patient : Patient
        Whose.
    background : Background
        Its background.
    artefacts : Artefacts
        The body's artefacts.
    recorder : Recorder
        The technical side.
    episodes : tuple of Episode
        Patterns over time.
    after : tuple of tuple of float
        (start s, stop s, factor): stretches of changed background, as after a seizure.
    """

    patient: Patient
    background: Background
    artefacts: Artefacts
    recorder: Recorder
    episodes: tuple[Episode, ...]
    after: tuple[tuple[float, float, float], ...]


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
    t0_s: float
    sfreq: float


def draw_pattern(rng: np.random.Generator, patient: Patient, label: str, clarity: float = 0.0) -> Pattern:
    """Draw a pattern that most experts would give a label.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    patient : Patient
        Whose.
    label : str
        ``lpd``, ``gpd``, ``lrda`` or ``grda``.
    clarity : float
        0 for patterns as they come, up to 1 for tall ones far from the borders between the classes.

    Returns
    -------
    Pattern
        The pattern.
    """
    general = label.startswith("g")
    draw = draw_periodic if label.endswith("pd") else draw_rhythmic
    border, blunt = 0.42 + (-0.2 if general else 0.2) * clarity, 0.8 - 0.4 * clarity
    pattern: Pattern = draw(rng, patient, general=general)
    for _ in range(8 + round(12 * clarity)):  # most, not all: the rest are the ones in dispute
        fits = (abs(pattern.lateral) < border) == general
        sharp = pattern.roundness < blunt or isinstance(pattern, Rhythmic)
        if (fits and sharp) or chance(rng, 0.08 * (1 - clarity)):
            break
        pattern = draw(rng, patient, general=general)
    return replace(pattern, height=pattern.height * (1 + clarity))


def _runs(
    rng: np.random.Generator, pattern: Pattern, start_s: float, stop_s: float, centre_s: float, clarity: float
) -> list[Episode]:
    """Let a pattern come and go, or stay."""
    if chance(rng, 0.55 + 0.4 * clarity):
        first = centre_s - loguniform(rng, 30, 500)
        last = centre_s + loguniform(rng, 30, 500)
        return [Episode(first, last, uniform(rng, 1, 10), pattern)]
    found = []
    typical, pause = loguniform(rng, 5, 35), loguniform(rng, 3, 30)
    length = lognormal(rng, typical, 0.5, 3, 60)
    first = centre_s + uniform(rng, -4, 4) - length * uniform(rng, 0.15, 0.85)
    at = first
    while at < stop_s:
        found.append(Episode(at, at + length, uniform(rng, 0.5, 3), pattern, lognormal(rng, 1, 0.2, 0.5, 1.6)))
        at += length + lognormal(rng, pause, 0.6, 2, 90)
        length = lognormal(rng, typical, 0.5, 3, 60)
    at = first
    while at > start_s:
        at -= lognormal(rng, pause, 0.6, 2, 90)
        length = lognormal(rng, typical, 0.5, 3, 60)
        found.append(Episode(at - length, at, uniform(rng, 0.5, 3), pattern, lognormal(rng, 1, 0.2, 0.5, 1.6)))
        at -= length
    return found


def _mimics(
    rng: np.random.Generator, patient: Patient, start_s: float, stop_s: float, centre_s: float, clarity: float
) -> list[Episode]:
    """Draw what "other" contains that nearly is a pattern: faint, too short, or not periodic."""
    kind = pick(rng, {"none": 0.5, "faint": 0.14, "short": 0.14, "sporadic": 0.16, "one": 0.06})
    label = pick(rng, {"lpd": 1, "gpd": 1, "lrda": 1, "grda": 1.3})
    if kind == "none" or chance(rng, clarity):
        return []
    pattern = draw_pattern(rng, patient, label)
    if kind == "faint":
        episodes = _runs(rng, pattern, start_s, stop_s, centre_s, clarity)
        return [replace(e, scale=e.scale * uniform(rng, 0.08, 0.4)) for e in episodes]
    if kind == "sporadic":
        pattern = draw_pattern(rng, patient, "lpd" if chance(rng, 0.7) else "gpd")
        assert isinstance(pattern, Periodic)
        loose = replace(pattern, rate_hz=loguniform(rng, 0.04, 0.6), variation=uniform(rng, 0.6, 1.2))
        return [Episode(start_s, stop_s, 1.0, loose)]
    found, at = [], start_s
    while at < stop_s:  # short runs: frontal delta of a few waves, a few discharges in a row
        length = loguniform(rng, 0.8, 4.0)
        found.append(Episode(at, at + length, uniform(rng, 0.3, 0.8), pattern, lognormal(rng, 1, 0.3, 0.4, 1.8)))
        at += length + lognormal(rng, 14, 0.7, 4, 120)
    return found


def _seizure(
    rng: np.random.Generator, patient: Patient, start_s: float, stop_s: float, centre_s: float, clarity: float
) -> tuple[list[Episode], list[tuple[float, float, float]]]:
    """Draw one seizure that touches the centre, what came before, and the background after it."""
    length = loguniform(rng, 12, 150)
    place = pick(rng, {"through": 0.45 + clarity, "starts": 0.3, "ends": 0.25})
    if place == "through":
        length = max(length, 16)
        first = centre_s - 5 - uniform(rng, 0, 1) * (length - 10)
    elif place == "starts":
        first = centre_s + uniform(rng, -14, 1)
    else:
        first = centre_s + uniform(rng, -1, 14) - length
    last = first + length
    seizure = draw_seizure(rng, patient, first, last)
    seizure = replace(seizure, height=seizure.height * (1 + clarity))
    found = [Episode(first, last, uniform(rng, 0.3, 2.5), seizure)]
    if chance(rng, 0.35):  # periodic discharges before, between seizures
        label = "lpd" if abs(seizure.lateral) > 0.4 else "gpd"
        found.append(Episode(start_s, first, 3.0, draw_pattern(rng, patient, label)))
    if chance(rng, 0.15):
        found.append(Episode(last, stop_s, 3.0, draw_pattern(rng, patient, "grda" if chance(rng, 0.5) else "lpd")))
    onset = uniform(rng, 0.3, 0.9) if chance(rng, 0.3) else 1.0
    after = uniform(rng, 0.2, 0.9) if chance(rng, 0.6) else uniform(rng, 0.9, 1.6)
    return found, [(first - 2, first + 3, onset), (last, last + loguniform(rng, 10, 120), after)]


def draw_session(
    rng: np.random.Generator,
    patient: Patient,
    wishes: list[tuple[str, float]],
    span_s: float,
    clarity: float = 0.0,
) -> Session:
    """Draw the plan of a session.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    patient : Patient
        Whose.
    wishes : list of tuple of (str, float)
        For each EEG of the session the class it is to show, and the time (s) around which.
    span_s : float
        Length of the session in seconds.
    clarity : float
        0 for the whole range of what occurs; towards 1 patterns are taller, steadier and less in dispute, and
        artefacts fewer.

    Returns
    -------
    Session
        The plan.
    """
    background = draw_background(rng, patient)
    shown = any(label != "other" for label, _ in wishes)
    if shown and background.continuity in ("bursts", "sleep") and chance(rng, 0.7):
        background = replace(background, continuity="continuous")
    episodes: list[Episode] = []
    after: list[tuple[float, float, float]] = []
    edges = [0.0, *[(a[1] + b[1]) / 2 for a, b in pairwise(wishes)], span_s]
    for i, (label, centre_s) in enumerate(wishes):
        start_s, stop_s = edges[i], edges[i + 1]
        if label == "other":
            episodes += _mimics(rng, patient, start_s, stop_s, centre_s, clarity)
        elif label == "seizure":
            found, changed = _seizure(rng, patient, start_s, stop_s, centre_s, clarity)
            episodes += found
            after += changed
        else:
            episodes += _runs(rng, draw_pattern(rng, patient, label, clarity), start_s, stop_s, centre_s, clarity)
            if chance(rng, 0.12 * (1 - clarity)):  # a second pattern now and then
                second = pick(rng, {"lpd": 1, "lrda": 1} if label.startswith("l") else {"gpd": 1, "grda": 1})
                aside = centre_s + uniform(rng, -40, 40)
                extra = _runs(rng, draw_pattern(rng, patient, second), start_s, stop_s, aside, clarity)
                episodes += [replace(e, scale=e.scale * uniform(rng, 0.2, 0.8)) for e in extra]
    rhythmic = (0.12 if shown else 0.3) * (1 - clarity)
    artefacts, recorder = draw_artefacts(rng, patient, rhythmic=rhythmic), draw_recorder(rng, patient)
    if clarity > 0:
        less = 1 - 0.7 * clarity
        artefacts = replace(artefacts, muscle_uv=artefacts.muscle_uv * less, movement_hz=artefacts.movement_hz * less)
        recorder = replace(recorder, faults=tuple(fault for fault in recorder.faults if chance(rng, less)))
    return Session(
        patient=patient,
        background=background,
        artefacts=artefacts,
        recorder=recorder,
        episodes=tuple(episodes),
        after=tuple(after),
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
    """Make the signals of a stretch of a session.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    session : Session
        The plan.
    t0_s : float
        Time of the first sample on the session's clock.
    n : int
        Samples.
    sfreq : float
        Samples per second.

    Returns
    -------
    Rendered
        Channels without gaps, and the patterns apart.
    """
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
    for layer in layers:
        eeg += layer.fields.T @ layer.waves
    tense = np.ones(n, dtype=np.float32)
    for layer in layers:
        if isinstance(layer.pattern, Seizure):
            tense += np.float32(layer.pattern.tense) * layer.on
    body, heart = render_artefacts(rng, patient, session.artefacts, tense, sfreq)
    eeg += body
    out = apply_recorder(rng, patient, session.recorder, eeg, heart, sfreq)
    return Rendered(np.ascontiguousarray(out[:, :wanted]), tuple(layers), t0_s, sfreq)
