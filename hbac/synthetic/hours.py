"""A long recording of one patient with patterns at known times: for tests, and to try `hbac.infer recordings=` on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from hbac.synthetic.draws import Array, uniform
from hbac.synthetic.labels import Evidence
from hbac.synthetic.looks import Episode, Wish, bounds, draw_pattern
from hbac.synthetic.patient import draw_patient
from hbac.synthetic.patterns import Pattern
from hbac.synthetic.recording import Session, draw_session, render
from hbac.synthetic.seizures import draw_seizure
from hbac.vocabulary import CLASSES, SFREQ

BLOCK_S = 600.0  # one pattern in each, or none
_KINDS = ("seizure", "lpd", "other", "gpd", "grda", "lrda", "seizure", "other", "seizure", "gpd", "lpd", "seizure")
_SEIZURE_S, _OTHERS_S = (25.0, 150.0), (60.0, 330.0)  # how long they last
_AWAY_S = 60.0  # from the ends of a block
_CLARITY, _SEEN = 1.0, 0.95
_JOIN_S = 2.0  # over which one block becomes the next


def simulate_hours(n_blocks: int = 36, seed: int = 0) -> tuple[list[tuple[str, float, float]], Iterator[Array]]:
    """Simulate a recording of hours.

    Parameters
    ----------
    n_blocks : int
        Ten minutes each; 36 are six hours.
    seed : int
        Seed; patient, times and signals are a function of both.

    Returns
    -------
    truth : list of tuple of (str, float, float)
        Class, onset and duration in seconds of each pattern, in the order of time. In twelve blocks there are four
        seizures of 25 to 150 s, two stretches of LPD and of GPD and one of LRDA and of GRDA of 1 to 5.5 min, and two
        blocks of none. Patterns are as clear as in the data set of size ``small``: clearer than in life.
    blocks : iterator of numpy.ndarray
        (120000, 20) float32 each, microvolt at 200 Hz, columns as `hbac.vocabulary.CHANNELS`.

    Examples
    --------
    >>> truth, blocks = simulate_hours(2)
    >>> [name for name, _, _ in truth], next(blocks).shape
    (['seizure', 'lpd'], (120000, 20))
    """
    rng = np.random.default_rng([seed, n_blocks, 0x401])
    patient = draw_patient(rng)
    other, grda = CLASSES.index("other"), CLASSES.index("grda")
    nothing = Wish(Evidence(other, grda, 0.0, 0.0, np.eye(len(CLASSES))[grda]), 0.0, BLOCK_S)
    session = draw_session(rng, patient, [nothing], BLOCK_S * n_blocks, _CLARITY)
    truth, episodes = [], []
    for block in range(n_blocks):
        name = _KINDS[block % len(_KINDS)]
        if name == "other":
            continue
        duration_s = round(uniform(rng, *(_SEIZURE_S if name == "seizure" else _OTHERS_S)))
        onset_s = BLOCK_S * block + round(uniform(rng, _AWAY_S, BLOCK_S - _AWAY_S - duration_s))
        stop_s = onset_s + duration_s
        if name == "seizure":
            seizure = draw_seizure(rng, patient, onset_s, stop_s)
            while seizure.kind == "slow":  # in dispute, as a rule
                seizure = draw_seizure(rng, patient, onset_s, stop_s)
            pattern: Pattern = replace(seizure, height=seizure.height * (1 + _CLARITY))
        else:
            pattern = draw_pattern(rng, patient, CLASSES.index(name), _CLARITY)
        episodes.append(Episode(onset_s, stop_s, 1.0, pattern, 1.0, *bounds(rng, type(pattern), _SEEN, _CLARITY)))
        truth.append((name, float(onset_s), float(duration_s)))
    labelled = tuple((e.start_s, e.stop_s) for e in episodes)
    session = replace(session, episodes=tuple(episodes), labelled=labelled)
    return truth, _blocks(rng, session, n_blocks)


def _blocks(rng: np.random.Generator, session: Session, n_blocks: int) -> Iterator[Array]:
    """Render block by block, each fading into the next: what chance draws begins anew with a block."""
    size, join = round(BLOCK_S * SFREQ), round(_JOIN_S * SFREQ)
    fade = np.linspace(0, 1, join, dtype=np.float32)
    ending = None
    for block in range(n_blocks):
        eeg = render(rng, session, BLOCK_S * block, size + join, SFREQ).eeg
        if ending is not None:
            eeg[:, :join] = fade * eeg[:, :join] + (1 - fade) * ending
        ending = eeg[:, size:]
        yield np.ascontiguousarray(eeg[:, :size].T)
