"""Electrodes that a file lacks, from their neighbours, by spherical splines.

References
----------
Perrin et al. (1989), Spherical splines for scalp potential and current density mapping,
doi:10.1016/0013-4694(89)90180-6. Stiffness, terms and smoothing are MNE-Python's, with which it is compared in tests.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hbac.vocabulary import POSITIONS

_STIFFNESS, _TERMS, _SMOOTHING = 4, 50, 1e-5


def places(names: Sequence[str]) -> NDArray[np.float64]:
    """Return where electrodes lie on the unit sphere, (electrodes, 3): x to the right ear, y to the nose, z to Cz."""
    x_y = np.array([POSITIONS[name] for name in names])
    radius = np.hypot(*x_y.T)
    angle = radius * np.pi / 2
    out = x_y * np.divide(np.sin(angle), radius, out=np.zeros_like(radius), where=radius > 0)[:, None]
    return np.column_stack([out, np.cos(angle)])


def spline_weights(there: Sequence[str], missing: Sequence[str]) -> NDArray[np.float64]:
    """Return by which weights electrodes that are missing follow from others, (missing, there).

    Each row sums to 1: what is common to all electrodes, as a reference, stays common.
    """
    here, lost = places(there), places(missing)
    n = len(there)
    system = np.ones((n + 1, n + 1))
    system[:n, :n] = _spline(here @ here.T) + _SMOOTHING * np.eye(n)
    system[n, n] = 0.0
    wanted = np.column_stack([_spline(lost @ here.T), np.ones(len(missing))])
    weights: NDArray[np.float64] = (wanted @ np.linalg.pinv(system))[:, :n]
    return weights


def _spline(cosine: NDArray[np.float64]) -> NDArray[np.float64]:
    n = np.arange(1, _TERMS + 1)
    factors = (2 * n + 1) / (n**_STIFFNESS * (n + 1) ** _STIFFNESS * 4 * np.pi)
    values: NDArray[np.float64] = np.polynomial.legendre.legval(cosine, np.concatenate([[0.0], factors]))
    return values
