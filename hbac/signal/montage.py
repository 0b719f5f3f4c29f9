"""Montages: which differences of electrodes the model sees, each as one matrix product.

A derivation is named as clinicians write it, and its name *is* its definition: ``Fp1-F7`` is the difference of
two electrodes, ``C3-AVG`` an electrode minus the mean of all nineteen, ``Cz`` the electrode as recorded.
Matrices, the electrodes a montage needs and its left/right mirror image all follow from the names, so there is
one table to get right and one place to add a montage to (`MONTAGES`).

References
----------
Montages: ACNS Guideline 3, "A Proposal for Standard Montages to Be Used in Clinical EEG" (2016),
doi:10.1097/WNP.0000000000000317.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from hbac.common.choices import check_choice
from hbac.common.errors import UserError
from hbac.vocabulary import CHAINS, CHANNELS, ELECTRODES, MIRROR

# Legend of tensor names: B window, C channel as stored (20), D derivation, T sample.

AVERAGE = "AVG"

_LEFT_PUBLIC = (("Fp1", "T3"), ("T3", "O1"), ("Fp1", "C3"), ("C3", "O1"))

#: Region name to its chain of five electrodes, in the order of the images: left to right over the head.
REGIONS: dict[str, tuple[str, ...]] = {region: CHAINS[region] for region in ("LL", "LP", "RP", "RL")}

#: Region name to the region on the other side.
REGION_MIRROR: dict[str, str] = {"LL": "RL", "LP": "RP", "RP": "LP", "RL": "LL"}


def region_derivations(region: str) -> tuple[str, ...]:
    """Name the four consecutive differences of a region's chain, front to back; ``LL``, ``LP``, ``RP`` or ``RL``.

    Examples
    --------
    >>> region_derivations("RP")
    ('Fp2-F4', 'F4-C4', 'C4-P4', 'P4-O2')
    """
    chain = REGIONS[check_choice("region", region, REGIONS)]
    return tuple(f"{front}-{back}" for front, back in pairwise(chain))


def derivation_weights(derivation: str) -> dict[str, float]:
    """Return the weight of every channel in a derivation's name; a `UserError` where a part is no channel of ours.

    Examples
    --------
    >>> derivation_weights("Fp1-F7")
    {'Fp1': 1.0, 'F7': -1.0}
    """
    active, _, reference = derivation.partition("-")
    weights = {check_choice("channel", active, CHANNELS): 1.0}
    if reference == AVERAGE:
        for name in ELECTRODES:
            weights[name] = weights.get(name, 0.0) - 1.0 / len(ELECTRODES)
    elif reference:
        weights[check_choice("channel", reference, CHANNELS)] = -1.0
    return weights


@dataclass(frozen=True)
class Montage:
    """A named list of derivations, and what follows from it."""

    name: str  # how config and error messages call it
    derivations: tuple[str, ...]  # in the order in which the model sees them
    purpose: str = ""  # what it shows, in a line

    @cached_property
    def matrix(self) -> Tensor:
        """Float64 matrix (D, 20): ``matrix @ eeg_CT`` are the derivations of channels in the stored order."""
        matrix_DC = torch.zeros(len(self.derivations), len(CHANNELS), dtype=torch.float64)
        for row, derivation in enumerate(self.derivations):
            for channel, weight in derivation_weights(derivation).items():
                matrix_DC[row, CHANNELS.index(channel)] = weight
        return matrix_DC

    @cached_property
    def needed(self) -> tuple[int, ...]:
        """Indices into the stored channels that have a weight other than 0 somewhere, rising."""
        return tuple(torch.nonzero(self.matrix.abs().sum(0)).flatten().tolist())

    @cached_property
    def mirror(self) -> tuple[tuple[int, ...], tuple[float, ...]]:
        """Permutation and signs that turn the derivations of a head into those of its mirror image.

        ``mirrored_DT = sign_D[:, None] * x_DT[permutation]``. A sign is −1 where the mirrored difference is in
        the montage the other way round, as across the midline: ``Fz-F4`` mirrors into minus ``F3-Fz``.
        """
        permutation, signs = [], []
        for derivation in self.derivations:
            active, _, reference = derivation.partition("-")
            active = MIRROR[check_choice("channel", active, CHANNELS)]
            reference = MIRROR.get(reference, reference)
            forward = f"{active}-{reference}" if reference else active
            if forward in self.derivations:
                permutation.append(self.derivations.index(forward))
                signs.append(1.0)
            elif f"{reference}-{active}" in self.derivations:
                permutation.append(self.derivations.index(f"{reference}-{active}"))
                signs.append(-1.0)
            else:
                raise UserError(
                    f"montage {self.name!r} has no mirror image: {derivation} would become {forward}, "
                    f"which is not among its derivations ({', '.join(self.derivations)})"
                )
        return tuple(permutation), tuple(signs)


def _double_banana() -> tuple[str, ...]:
    left = region_derivations("LL") + region_derivations("LP")
    right = region_derivations("RP") + region_derivations("RL")
    return (*left, "Fz-Cz", "Cz-Pz", *right)


def _alternating_16() -> tuple[str, ...]:
    pairs = [
        zip(region_derivations(left), region_derivations(REGION_MIRROR[left]), strict=True) for left in ("LL", "LP")
    ]
    return tuple(name for chain in pairs for pair in chain for name in pair)


def _public_8() -> tuple[str, ...]:
    left = [f"{a}-{b}" for a, b in _LEFT_PUBLIC]
    # The public recipe has the parasagittal pair first on the right: Fp2-C4, C4-O2, Fp2-T4, T4-O2.
    right = [f"{MIRROR[a]}-{MIRROR[b]}" for a, b in (*_LEFT_PUBLIC[2:], *_LEFT_PUBLIC[:2])]
    return (*left, *right)


_TRANSVERSE_ROWS = (
    ("F7", "Fp1", "Fp2", "F8"),
    ("F7", "F3", "Fz", "F4", "F8"),
    ("T3", "C3", "Cz", "C4", "T4"),
    ("T5", "P3", "Pz", "P4", "T6"),
    ("T5", "O1", "O2", "T6"),
)

#: Name to montage. The order of derivations counts where a network convolves across them: chain after chain, as
#: readers have it, keeps the neighbours of a side together; ``alternating_16`` puts each derivation of the left beside
#: its partner of the right, so that both sides of the brain meet in every kernel, which was worth .02 KL to the third
#: team of the HMS competition (Kaggle write-up 492471).
MONTAGES: dict[str, Montage] = {
    montage.name: montage
    for montage in (
        Montage(
            "longitudinal_bipolar",
            _double_banana(),
            "the double banana, chains from front to back, from the left ear over the midline to the right",
        ),
        Montage(
            "transverse_bipolar",
            tuple(f"{a}-{b}" for row in _TRANSVERSE_ROWS for a, b in pairwise(row)),
            "differences across the head, from front to back",
        ),
        Montage(
            "chains_16",
            tuple(name for region in REGIONS for name in region_derivations(region)),
            "the double banana without the midline",
        ),
        Montage(
            "alternating_16",
            _alternating_16(),
            "the same, each left derivation beside its right partner, so that kernels across them see both sides",
        ),
        Montage("public_8", _public_8(), "the long differences of the public ResNet1D-GRU"),
        Montage(
            "average_reference",
            tuple(f"{name}-{AVERAGE}" for name in ELECTRODES),
            "each electrode minus the mean of all",
        ),
        Montage("referential", ELECTRODES, "electrodes as recorded"),
        Montage("none", CHANNELS, "all channels as recorded, the EKG too"),
    )
}


def get_montage(name: str | Sequence[str]) -> Montage:
    """Look a montage up by name, or make one of derivations.

    Parameters
    ----------
    name : str or sequence of str
        A key of `MONTAGES`; or the names of derivations, in the order in which the model is to see them.

    Returns
    -------
    Montage
        Its derivations, matrix and mirror image.

    Raises
    ------
    UserError
        If there is no such montage, channel or mirror image.

    Examples
    --------
    >>> get_montage("public_8").derivations[:3]
    ('Fp1-T3', 'T3-O1', 'Fp1-C3')
    >>> get_montage(["Fp1-C3", "Fp2-C4"]).mirror
    ((1, 0), (1.0, 1.0))
    """
    if isinstance(name, str):
        return MONTAGES[check_choice("montage", name, MONTAGES)]
    derivations = tuple(name)
    for derivation in derivations:
        derivation_weights(derivation)
    if not derivations or len(set(derivations)) < len(derivations):
        raise UserError(f"montage=[{','.join(derivations)}]: must name one derivation or more, each once")
    made = Montage(f"[{','.join(derivations)}]", derivations, "of the user")
    _ = made.mirror
    return made


def channel_mirror() -> Tensor:
    """Return the permutation of the 20 stored channels that swaps left and right."""
    return torch.tensor([CHANNELS.index(MIRROR[name]) for name in CHANNELS])
