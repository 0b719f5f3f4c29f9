"""Montages: known differences, mirror images, errors."""

from __future__ import annotations

import pytest
import torch

from hbac.common.errors import UserError
from hbac.signal.montage import (
    MONTAGES,
    REGION_MIRROR,
    REGIONS,
    Montage,
    channel_mirror,
    derivation_weights,
    get_montage,
    region_derivations,
)
from hbac.vocabulary import CHANNELS, POSITIONS


def _numbered() -> torch.Tensor:
    """Channel i holds 2**i, so that a difference tells which channels it is made of."""
    return torch.tensor([float(2**i) for i in range(len(CHANNELS))], dtype=torch.float64)


def test_longitudinal_bipolar_is_the_double_banana_in_reading_order() -> None:
    montage = get_montage("longitudinal_bipolar")
    assert montage.derivations == (
        "Fp1-F7", "F7-T3", "T3-T5", "T5-O1", "Fp1-F3", "F3-C3", "C3-P3", "P3-O1", "Fz-Cz", "Cz-Pz",
        "Fp2-F4", "F4-C4", "C4-P4", "P4-O2", "Fp2-F8", "F8-T4", "T4-T6", "T6-O2",
    )  # fmt: skip
    values = montage.matrix @ _numbered()
    for name, value in zip(montage.derivations, values, strict=True):
        front, back = name.split("-")
        assert value == 2.0 ** CHANNELS.index(front) - 2.0 ** CHANNELS.index(back)


def test_public_8_has_the_order_of_the_public_recipe() -> None:
    wanted = ("Fp1-T3", "T3-O1", "Fp1-C3", "C3-O1", "Fp2-C4", "C4-O2", "Fp2-T4", "T4-O2")
    assert get_montage("public_8").derivations == wanted
    assert get_montage("public_8").needed == tuple(
        sorted(CHANNELS.index(name) for name in ("Fp1", "T3", "C3", "O1", "Fp2", "T4", "C4", "O2"))
    )


def test_alternating_16_has_the_third_teams_order_partner_beside_partner() -> None:
    montage = get_montage("alternating_16")
    assert montage.derivations == (
        "Fp1-F7", "Fp2-F8", "F7-T3", "F8-T4", "T3-T5", "T4-T6", "T5-O1", "T6-O2",
        "Fp1-F3", "Fp2-F4", "F3-C3", "F4-C4", "C3-P3", "C4-P4", "P3-O1", "P4-O2",
    )  # fmt: skip
    assert montage.mirror == (tuple(i ^ 1 for i in range(16)), (1.0,) * 16)
    assert sorted(montage.derivations) == sorted(get_montage("chains_16").derivations)


def test_average_reference_removes_what_all_electrodes_share_and_ignores_the_ekg() -> None:
    matrix = get_montage("average_reference").matrix
    assert matrix.shape == (19, 20)
    assert matrix[:, :19].sum(1).abs().max() < 1e-12
    assert not matrix[:, 19].any()
    x = torch.randn(19, dtype=torch.float64)
    torch.testing.assert_close(matrix[:, :19] @ x, x - x.mean())


def test_referential_and_none_are_identities() -> None:
    assert torch.equal(get_montage("none").matrix, torch.eye(20, dtype=torch.float64))
    assert torch.equal(get_montage("referential").matrix, torch.eye(20, dtype=torch.float64)[:19])


@pytest.mark.parametrize("name", list(MONTAGES))
def test_mirrored_electrodes_give_mirrored_derivations(name: str) -> None:
    montage = get_montage(name)
    x = torch.randn(20, 7, dtype=torch.float64)
    permutation, signs = montage.mirror
    through_electrodes = montage.matrix @ x[channel_mirror()]
    through_derivations = torch.tensor(signs)[:, None] * (montage.matrix @ x)[list(permutation)]
    torch.testing.assert_close(through_electrodes, through_derivations)
    assert sorted(permutation) == list(range(len(montage.derivations)))


def test_transverse_differences_change_sign_in_the_mirror() -> None:
    montage = get_montage("transverse_bipolar")
    permutation, signs = montage.mirror
    i = montage.derivations.index("C3-Cz")
    assert (montage.derivations[permutation[i]], signs[i]) == ("Cz-C4", -1.0)


def test_a_one_sided_montage_has_no_mirror_image_and_says_so() -> None:
    with pytest.raises(UserError, match=r"'left'.*Fp1-F7 would become Fp2-F8"):
        _ = Montage("left", ("Fp1-F7", "F7-T3")).mirror


def test_regions_lie_where_their_names_say() -> None:
    assert list(REGIONS) == ["LL", "LP", "RP", "RL"]
    for name, chain in REGIONS.items():
        middle_x = POSITIONS[chain[2]][0]
        assert (middle_x < 0) == (name[0] == "L")
        assert (abs(middle_x) > 0.6) == (name[1] == "L")
        heights = [POSITIONS[electrode][1] for electrode in chain]
        assert heights == sorted(heights, reverse=True)
    assert REGION_MIRROR == {"LL": "RL", "LP": "RP", "RP": "LP", "RL": "LL"}
    assert region_derivations("RL") == ("Fp2-F8", "F8-T4", "T4-T6", "T6-O2")


def test_channel_mirror_twice_is_the_identity_and_keeps_the_midline() -> None:
    mirror = channel_mirror()
    assert torch.equal(mirror[mirror], torch.arange(20))
    assert [CHANNELS[i] for i in range(20) if mirror[i] == i] == ["Fz", "Cz", "Pz", "EKG"]


def test_unknown_names_list_the_valid_ones_and_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown montage 'longitudinal'.*public_8.*mean 'longitudinal_bipolar'"):
        get_montage("longitudinal")
    with pytest.raises(UserError, match="unknown region 'RR'; there are: LL, LP, RP, RL"):
        region_derivations("RR")
    with pytest.raises(UserError, match="unknown channel 'T7'"):
        derivation_weights("T7-T3")


def test_a_montage_of_ones_own() -> None:
    mine = get_montage(["Fp2-F8", "Fp1-F7", "Fz-F4", "F3-Fz"])
    assert mine.mirror == ((1, 0, 3, 2), (1.0, 1.0, -1.0, -1.0))
    assert mine.matrix[0, CHANNELS.index("Fp2")] == 1 and mine.matrix[0, CHANNELS.index("F8")] == -1
    for wrong, message in (
        (["Fp1-F7"], "no mirror image"),
        (["Fp1-F77"], "F77"),
        (["Cz", "Cz"], "each once"),
        ([], "one derivation or more"),
    ):
        with pytest.raises(UserError, match=message):
            get_montage(wrong)
