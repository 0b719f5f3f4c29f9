"""How readers of EEG lay a montage out on a page: which derivations stand together, in what order, on which side.

Chains of one side stand over their mirror images: left temporal, right temporal, left parasagittal, right parasagittal,
the midline last. A focus is found by comparing a chain with the one of the other side, and the eye does that best when
they are neighbours. The regions of the competition's spectrograms come in the same order.
"""

from __future__ import annotations

from hbac.signal.montage import AVERAGE, REGIONS, get_montage

#: Regions of `hbac.signal.montage` from top to bottom.
CHAINS = ("LL", "RL", "LP", "RP")


def reading_order(montage: str) -> tuple[tuple[str, ...], ...]:
    """Group the derivations of a montage as they stand on a page, from top to bottom, with room between groups.

    A montage whose derivations follow no chain from front to back, as those across the head, keeps its own order, with
    a group for each row of electrodes.

    Examples
    --------
    >>> [group[0] for group in reading_order("longitudinal_bipolar")]
    ['Fp1-F7', 'Fp2-F8', 'Fp1-F3', 'Fp2-F4', 'Fz-Cz']
    >>> reading_order("transverse_bipolar")[0]
    ('F7-Fp1', 'Fp1-Fp2', 'Fp2-F8')
    """
    names = get_montage(montage).derivations
    places = [_chain_of(name) for name in names]
    if None in places:
        return _rows_across(names)
    groups = [
        tuple(name for name, place in zip(names, places, strict=True) if place == chain)
        for chain in (*CHAINS, "midline", "EKG")
    ]
    return tuple(group for group in groups if group)


def side_of(derivation: str) -> str:
    """Say over which side of the head a derivation, ``"Fp1-F7"`` or ``"O2"``, lies.

    ``left``, ``right`` or ``midline``, which is over neither side more than over the other, or not over the head.

    Examples
    --------
    >>> [side_of(name) for name in ("Fp1-F7", "Fz-F4", "Fp1-Fp2", "C3-AVG", "EKG")]
    ['left', 'right', 'midline', 'left', 'midline']
    """
    # Odd numbers are left and even ones right in the 10-20 system; z and the EKG have none.
    numbers = {int(name[-1]) % 2 for name in _electrodes(derivation) if name[-1].isdigit()}
    return "midline" if len(numbers) != 1 else ("right", "left")[numbers.pop()]


def _electrodes(derivation: str) -> tuple[str, ...]:
    return tuple(name for name in derivation.split("-") if name != AVERAGE)


def _chain_of(derivation: str) -> str | None:
    electrodes = _electrodes(derivation)
    if electrodes == ("EKG",):
        return "EKG"
    if all(name.endswith("z") for name in electrodes):
        return "midline"
    return next((chain for chain in CHAINS if set(electrodes) <= set(REGIONS[chain])), None)


def _rows_across(names: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Begin a group wherever a derivation does not start where the one before ended."""
    groups: list[list[str]] = []
    end = None
    for name in names:
        first, _, last = name.partition("-")
        if first != end:
            groups.append([])
        groups[-1].append(name)
        end = last
    return tuple(map(tuple, groups))
