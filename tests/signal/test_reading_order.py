"""A page shows every derivation once, chain by chain, left over right."""

from __future__ import annotations

import pytest

from hbac.signal.montage import MONTAGES, REGION_MIRROR, region_derivations
from hbac.signal.reading_order import reading_order, side_of


def test_the_double_banana_has_each_chain_over_its_mirror_image() -> None:
    groups = reading_order("longitudinal_bipolar")
    assert groups == (
        ("Fp1-F7", "F7-T3", "T3-T5", "T5-O1"),
        ("Fp2-F8", "F8-T4", "T4-T6", "T6-O2"),
        ("Fp1-F3", "F3-C3", "C3-P3", "P3-O1"),
        ("Fp2-F4", "F4-C4", "C4-P4", "P4-O2"),
        ("Fz-Cz", "Cz-Pz"),
    )
    assert [groups[i + 1] for i in (0, 2)] == [region_derivations(REGION_MIRROR[chain]) for chain in ("LL", "LP")]


@pytest.mark.parametrize("montage", MONTAGES)
def test_every_derivation_stands_once(montage: str) -> None:
    shown = [name for group in reading_order(montage) for name in group]
    assert sorted(shown) == sorted(MONTAGES[montage].derivations)


def test_electrodes_follow_the_same_chains() -> None:
    assert reading_order("none") == (
        ("Fp1", "F7", "T3", "T5", "O1"),
        ("Fp2", "F8", "T4", "T6", "O2"),
        ("F3", "C3", "P3"),
        ("F4", "C4", "P4"),
        ("Fz", "Cz", "Pz"),
        ("EKG",),
    )


def test_rows_across_the_head_keep_their_order() -> None:
    groups = reading_order("transverse_bipolar")
    assert tuple(name for group in groups for name in group) == MONTAGES["transverse_bipolar"].derivations
    assert [len(group) for group in groups] == [3, 4, 4, 4, 3]


@pytest.mark.parametrize("montage", MONTAGES)
def test_left_mirrors_into_right(montage: str) -> None:
    names = MONTAGES[montage].derivations
    permutation, _ = MONTAGES[montage].mirror
    other = {"left": "right", "right": "left", "midline": "midline"}
    for name, i in zip(names, permutation, strict=True):
        assert side_of(names[i]) == other[side_of(name)], name
