"""The head as the simulator sees it: a sphere with 10-20 electrodes, dipoles below, fields on the scalp.

Potentials of dipoles in a layered sphere (brain, skull, scalp) follow from three dipoles in a homogeneous sphere
(Berg and Scherg); the homogeneous sphere has a Legendre series. That is enough for what matters here: neighbours
see nearly the same, a radial source makes one hill, a tangential one a hill and a valley, and the skull smears.

References
----------
Berg P, Scherg M. A fast method for forward computation of multiple-shell spherical head models.
Electroencephalogr Clin Neurophysiol 1994. doi:10.1016/0013-4694(94)90113-9
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

from hbac.synthetic.draws import Array, chance, uniform
from hbac.vocabulary import CHAINS, ELECTRODES, MIRROR, POSITIONS

N_ELECTRODES = len(ELECTRODES)
# Berg and Scherg's equivalent dipoles: depth factors and strengths.
_DEPTH = np.array([0.6342, 0.9364, 1.0362])
_STRENGTH = np.array([0.5979, 0.2037, 0.0237])
_CORTEX = 0.86  # eccentricity of the source shell
_ORDER = 48  # terms of the series; the skull has damped the rest

DERIVATIONS = tuple(pair for chain in (*CHAINS.values(), ("Fz", "Cz", "Pz")) for pair in pairwise(chain))
LEFT = tuple(i for i, (a, b) in enumerate(DERIVATIONS) if POSITIONS[a][0] < 0 and POSITIONS[b][0] < 0)
RIGHT = tuple(i for i, (a, b) in enumerate(DERIVATIONS) if POSITIONS[a][0] > 0 and POSITIONS[b][0] > 0)


def _bipolar() -> Array:
    matrix = np.zeros((len(DERIVATIONS), N_ELECTRODES), dtype=np.float32)
    for row, (a, b) in enumerate(DERIVATIONS):
        matrix[row, ELECTRODES.index(a)] = 1
        matrix[row, ELECTRODES.index(b)] = -1
    return matrix


BIPOLAR = _bipolar()  # (18 derivations, 19 electrodes)
MIRROR_INDEX = np.array([ELECTRODES.index(MIRROR[name]) for name in ELECTRODES])


def on_sphere(x: float, y: float) -> NDArray[np.float64]:
    """Return the unit vector (right, front, up) of a place of `hbac.vocabulary.POSITIONS`."""
    radius = float(np.hypot(x, y))
    angle = radius * np.pi / 2
    scale = np.sin(angle) / radius if radius > 0 else 0.0
    return np.array([x * scale, y * scale, np.cos(angle)])


ELECTRODE_XYZ = np.stack([on_sphere(*POSITIONS[name]) for name in ELECTRODES])  # (19, 3)


def lead_field(
    source_xyz: NDArray[np.float64], moment_xyz: NDArray[np.float64], depth: float = _CORTEX
) -> NDArray[np.float64]:
    """Return the potentials of dipoles at the electrodes, (19, sources), in an arbitrary unit.

    `source_xyz` (sources, 3) are unit vectors to the dipoles, `moment_xyz` (sources, 3) their moments, `depth` their
    distance from the centre in head radii, below 0.95.
    """
    cosine = np.clip(ELECTRODE_XYZ @ source_xyz.T, -1, 1)
    n = np.arange(1, _ORDER + 1)
    damped = sum(s * (d * depth) ** (n - 1) * 1.0 for s, d in zip(_STRENGTH, _DEPTH, strict=True))  # (orders,)
    weight = (2 * n + 1) / n * damped
    radial = legendre.legval(cosine, np.concatenate([[0], weight * n]))
    slope = legendre.legval(cosine, legendre.legder(np.concatenate([[0], weight])))
    outward = np.sum(moment_xyz * source_xyz, axis=1)
    along = moment_xyz - outward[:, None] * source_xyz
    return np.asarray(radial * outward + slope * (ELECTRODE_XYZ @ along.T))


@cache
def cortex(n_sources: int = 320) -> tuple[NDArray[np.float64], Array, Array]:
    """Return a sheet of sources over the head: places (S, 3), radial fields (19, S), tangential fields (19, 2 S)."""
    i = np.arange(n_sources) + 0.5
    z = 1 - i / n_sources * 1.35  # down to about 20 degrees below the electrodes' ring
    turn = np.pi * (1 + 5**0.5) * i
    flat = np.sqrt(1 - z**2)
    xyz = np.stack([flat * np.cos(turn), flat * np.sin(turn), z], axis=1)
    east = np.stack([-np.sin(turn), np.cos(turn), np.zeros_like(turn)], axis=1)
    north = np.cross(xyz, east)
    radial = lead_field(xyz, xyz).astype(np.float32)
    tangential = np.concatenate([lead_field(xyz, east), lead_field(xyz, north)], axis=1).astype(np.float32)
    scale = float(np.abs(radial).max())
    return xyz, radial / scale, tangential / scale


@cache
def _coherent(width_rad: float) -> tuple[Array, Array]:
    """Fields of patches of cortex that act together, one patch around each source."""
    xyz, radial, tangential = cortex()
    if width_rad <= 0:
        return radial, tangential
    angle = np.arccos(np.clip(xyz @ xyz.T, -1, 1))
    blur = np.exp(-0.5 * (angle / width_rad) ** 2)
    blur /= np.sqrt(np.sum(blur**2, axis=0))
    half = tangential.shape[1] // 2
    sides = [tangential[:, :half] @ blur, tangential[:, half:] @ blur]
    return (radial @ blur).astype(np.float32), np.concatenate(sides, axis=1).astype(np.float32)


def random_mix(rng: np.random.Generator, towards: NDArray[np.float64] | None, focus: float, patch: float) -> Array:
    """Draw how the many independent sources of a background rhythm reach the electrodes: a mixing matrix (19, 19).

    The activity leans to the direction `towards` (posterior for alpha; None for an even spread): not at all with a
    `focus` of 0, in a clear hill with 3. `patch`, 0 to 1, is how much of it comes from coherent patches rather than
    single sources. The median bipolar derivation has unit variance under white sources.
    """
    xyz, _, _ = cortex()
    field = np.zeros(len(xyz))
    for _ in range(4):  # a smooth random landscape of source strengths, different in each patient
        bump = rng.standard_normal(3)
        field += rng.standard_normal() * np.exp(1.5 * (xyz @ (bump / np.linalg.norm(bump)) - 1))
    if towards is not None:
        field += focus * (xyz @ towards)
    power = np.exp(field - field.max()).astype(np.float32)
    tilt = np.float32(rng.uniform(0.1, 0.7))
    covariance = np.zeros((N_ELECTRODES, N_ELECTRODES), dtype=np.float32)
    for width, share in ((0.0, 1 - patch), (0.4, patch * 0.5), (0.9, patch * 0.5)):
        radial, tangential = _coherent(width)
        part = (radial * power) @ radial.T + tilt * (tangential * np.tile(power, 2)) @ tangential.T
        covariance += np.float32(share) * part / np.median(np.diag(BIPOLAR @ part @ BIPOLAR.T))
    covariance /= np.median(np.diag(BIPOLAR @ covariance @ BIPOLAR.T))
    covariance += 2e-3 * np.eye(N_ELECTRODES, dtype=np.float32)
    return np.linalg.cholesky(covariance).astype(np.float32)


def normalise(field: NDArray[np.floating]) -> Array:
    """Scale a field so that its largest bipolar difference is 1."""
    top = float(np.abs(BIPOLAR @ field).max())
    return (np.asarray(field) / max(top, 1e-9)).astype(np.float32)


def lateral_place(rng: np.random.Generator, side: int) -> NDArray[np.float64]:
    """Draw a place over one hemisphere (side -1 left, +1 right), temporal more often than not."""
    from_vertex = uniform(rng, 0.45, 1.4)
    turn = uniform(rng, -1.35, 1.35) * (0.6 + 0.4 * from_vertex / 1.4)
    x = np.sin(from_vertex) * np.cos(turn)
    return np.array([side * x, np.sin(from_vertex) * np.sin(turn), np.cos(from_vertex)])


def midline_place(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw the centre of a generalised field: frontal in most, else diffuse, central or occipital."""
    tilt = uniform(rng, 0.3, 1.45) if chance(rng, 0.65) else uniform(rng, -1.4, 0.3)
    sway = 0.12 * rng.standard_normal()
    place = np.array([sway, np.sin(tilt), np.cos(tilt)])
    return np.asarray(place / np.linalg.norm(place))


def hill(rng: np.random.Generator, centre: NDArray[np.float64], width_rad: float) -> Array:
    """Draw a field (19,) around a place: a Gaussian hill, or that of a cortical patch with some tangential tilt.

    `centre` is a unit vector, `width_rad` a standard deviation on the scalp, 0.3 to 1.6; the largest bipolar difference
    is 1.
    """
    if chance(rng, 0.5):
        angle = np.arccos(np.clip(ELECTRODE_XYZ @ centre, -1, 1))
        field = np.exp(-0.5 * (angle / width_rad) ** 2)
    else:
        xyz, radial, tangential = cortex()
        angle = np.arccos(np.clip(xyz @ centre, -1, 1))
        weight = np.exp(-0.5 * (angle / max(width_rad - 0.3, 0.12)) ** 2)
        turn, tilt = uniform(rng, 0, 2 * np.pi), uniform(rng, 0, 0.8)
        half = tangential.shape[1] // 2
        aside = np.cos(turn) * (tangential[:, :half] @ weight) + np.sin(turn) * (tangential[:, half:] @ weight)
        field = radial @ weight
        field = field / np.abs(field).max() + tilt * aside / np.abs(aside).max()
    field = field * (1 + 0.08 * rng.standard_normal(N_ELECTRODES))
    return normalise(field)


def lateralisation(field: NDArray[np.floating]) -> float:
    """Return (right - left) / (right + left) of the energy over the hemispheres' bipolar derivations, -1 to 1."""
    energy = np.square(BIPOLAR @ np.asarray(field).T)
    energy = energy.reshape(len(DERIVATIONS), -1).sum(axis=1)
    left, right = float(energy[list(LEFT)].sum()), float(energy[list(RIGHT)].sum())
    return (right - left) / max(left + right, 1e-12)
