"""One simulated window of a wanted class, with everything known about it: for tests, notebooks, pictures."""

from __future__ import annotations

from typing import Any

import numpy as np

from hbac.synthetic.draws import Array
from hbac.synthetic.head import lateralisation
from hbac.synthetic.labels import Evidence, vote_distribution
from hbac.synthetic.looks import Wish
from hbac.synthetic.patient import draw_patient
from hbac.synthetic.population import MOST_AMBIGUOUS
from hbac.synthetic.recording import draw_session, render
from hbac.vocabulary import CLASSES, SFREQ, WINDOW_SAMPLES


def simulate_window(
    label: str, seed: int = 0, second: str = "", ambiguity: float = 0.05, clarity: float = 0.0
) -> tuple[Array, dict[str, Any]]:
    """Simulate one 50 s window of a patient of its own.

    Parameters
    ----------
    label : str
        The class the window is to show, one of `hbac.vocabulary.CLASSES`.
    seed : int
        Seed; the window is a function of all arguments.
    second : str
        The class that it could also be taken for; "other" where not given, and a "grda" for "other".
    ambiguity : float
        How much of the evidence speaks for that, 0 to 0.6.
    clarity : float
        0 for EEG as it comes; towards 1 patterns are taller and steadier, and artefacts fewer.

    Returns
    -------
    eeg : numpy.ndarray
        (10000, 20) float32, microvolt, 200 Hz, columns as `hbac.vocabulary.CHANNELS`, no NaN.
    truth : dict
        ``label``; ``shares`` (6,) of the votes of the panel for many; ``patterns``, a list with ``kind``, ``side``
        (-1 left, 0 neither, +1 right), ``lateral`` (-1 to 1, of the energy), ``rate_hz``, ``roundness``,
        ``stretches_s`` (starts and stops on the window's clock), ``peak_uv`` and ``field`` (19,); and
        ``side``, that of the strongest pattern.

    Raises
    ------
    ValueError
        If `label` or `second` is no class, or both are the same.

    Examples
    --------
    >>> eeg, truth = simulate_window("lpd", seed=1)
    >>> eeg.shape, eeg.dtype.name, float(round(truth["shares"].sum(), 6))
    ((10000, 20), 'float32', 1.0)
    """
    second = second or ("grda" if label == "other" else "other")
    for name in (label, second):
        if name not in CLASSES:
            raise ValueError(f"label {name!r} is no class; valid are {', '.join(CLASSES)}")
    if label == second or not 0 <= ambiguity <= MOST_AMBIGUOUS:
        raise ValueError(
            f"second={second!r}, ambiguity={ambiguity}: another class than {label!r}, and 0 to {MOST_AMBIGUOUS}"
        )
    k, other = CLASSES.index(label), CLASSES.index(second)
    evidence = Evidence(k, other, ambiguity, 0.0, np.eye(len(CLASSES))[other])
    rng = np.random.default_rng([seed, k, other, round(1e6 * ambiguity), 0x51D])
    patient = draw_patient(rng)
    start_s = 275.0
    session = draw_session(rng, patient, [Wish(evidence, start_s + 20, start_s + 30)], 600.0, clarity)
    rendered = render(rng, session, start_s, WINDOW_SAMPLES, SFREQ)
    patterns = []
    for layer in rendered.layers:
        pattern = layer.pattern
        parts = layer.fields * pattern.gains[:, None]
        patterns.append(
            {
                "kind": type(pattern).__name__.lower(),
                "side": pattern.side,
                "lateral": lateralisation(parts),
                "rate_hz": pattern.rate_hz,
                "roundness": pattern.roundness,
                "stretches_s": [(e.start_s - start_s, e.stop_s - start_s) for e in layer.episodes],
                "peak_uv": float(np.abs(layer.waves).max()),
                "field": layer.fields[0] * pattern.gains[0],
            }
        )
    patterns.sort(key=lambda found: -float(found["peak_uv"]))
    truth = {
        "label": label,
        "shares": vote_distribution(evidence, 20, many=True)[0],
        "patterns": patterns,
        "side": patterns[0]["side"] if patterns else 0,
    }
    return np.ascontiguousarray(rendered.eeg.T), truth
