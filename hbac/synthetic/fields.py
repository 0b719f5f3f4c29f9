"""Where patterns are: the fields of lateral and of generalised ones.

A pattern's fields come with gains and lags: the first is the main one, the second that of the slow part, further ones
are mirror images, delayed fields at the other end of the head, or an asymmetry.
"""

from __future__ import annotations

import numpy as np

from hbac.synthetic.draws import Array, chance, uniform
from hbac.synthetic.head import MIRROR_INDEX, hill, lateral_place, lateralisation, midline_place, normalise
from hbac.synthetic.patient import Patient


def lateral_fields(rng: np.random.Generator, patient: Patient) -> tuple[list[Array], list[float], list[float]]:
    """Draw fields, gains and lags of a lateral pattern: focus, its slow part, and in half a weak mirror image."""
    side = patient.side if chance(rng, 0.85) else -patient.side
    near = patient.lesion * np.array([side * patient.side, 1.0, 1.0])
    place = near + 0.25 * rng.standard_normal(3) if chance(rng, 0.7) else lateral_place(rng, side)
    place /= np.linalg.norm(place)
    width = uniform(rng, 0.35, 1.05)
    main = hill(rng, place, width)
    beside = place + 0.2 * rng.standard_normal(3)
    slow = hill(rng, beside / np.linalg.norm(beside), width * uniform(rng, 0.9, 1.4))
    fields, gains, lags = [main, slow], [1.0, 1.0], [0.0, uniform(rng, 0, 0.02)]
    if chance(rng, 0.6):  # the other side takes part; it is lateral as long as one side is clearly the stronger
        fields.append(normalise(main[MIRROR_INDEX]))
        gains.append(uniform(rng, 0.1, 0.68))
        lags.append(uniform(rng, 0.0, 0.04))
    return fields, gains, lags


def with_mirror(fields: list[Array], gains: list[float], lateral: float) -> tuple[Array, Array, Array]:
    """Let the other side take part so much that a pattern is as lateral as wanted.

    `fields` and `gains` are of the main part and the slow one; `lateral` is the absolute lateralisation, 0 to 1
    (`head.lateralisation`), and becomes less where the field itself is less. Returns fields (4, 19), gains and lags
    (4,).
    """
    stack = np.stack([*fields[:2], fields[0][MIRROR_INDEX], fields[1][MIRROR_INDEX]])
    low, high = 0.0, 1.0
    for _ in range(12):
        gain = (low + high) / 2
        all_gains = np.array([*gains[:2], gain * gains[0], gain * gains[1]], dtype=np.float32)
        low, high = (gain, high) if abs(lateralisation(stack * all_gains[:, None])) > lateral else (low, gain)
    return stack, all_gains, np.zeros(4, dtype=np.float32)


def general_fields(rng: np.random.Generator, lag_s: float) -> tuple[list[Array], list[float], list[float]]:
    """Draw fields, gains and lags of a generalised pattern, with a delay from front to back or back to front."""
    if chance(rng, 0.7):
        place, width = midline_place(rng), uniform(rng, 0.6, 1.5)
        main = hill(rng, place, width)
    else:  # two hemispheres together, not a hill on the midline
        place, width = lateral_place(rng, 1), uniform(rng, 0.5, 1.1)
        one = hill(rng, place, width)
        main = normalise(one + one[MIRROR_INDEX])
    tilt = normalise(np.abs(main) * (1 + 0.25 * rng.standard_normal() * np.sign(np.arange(19) - MIRROR_INDEX)))
    main = normalise(main + 0.35 * np.sign(main.sum()) * tilt) if chance(rng, 0.4) else main
    slow = hill(rng, place if place[0] ** 2 < 0.1 else np.array([0.0, 0.5, 0.87]), max(0.7, width))
    fields, gains, lags = [main, slow], [1.0, 1.0], [0.0, uniform(rng, 0, 0.03)]
    if lag_s != 0:
        back = hill(rng, np.array([0.0, -0.5, 0.87]), uniform(rng, 0.5, 1.0))
        fields.append(back)
        gains.append(uniform(rng, 0.25, 0.9))
        lags.append(lag_s)
    if chance(rng, 0.35):  # some asymmetry, up to where experts differ
        off = hill(rng, lateral_place(rng, -1 if chance(rng, 0.5) else 1), uniform(rng, 0.4, 0.9))
        fields.append(off)
        gains.append(uniform(rng, 0.1, 0.6))
        lags.append(0.0)
    return fields, gains, lags
