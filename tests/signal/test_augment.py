"""Augmentations of stored windows: what each keeps and changes, and each row by its own chance."""

from __future__ import annotations

import json

import pytest
import torch

from hbac.common.errors import UserError
from hbac.signal.augment import RawAugment
from hbac.signal.augment_signal import SignalAugment
from hbac.signal.chance import row_keys
from hbac.signal.front_end import EEGFrontEnd
from hbac.signal.mel import MelImage
from hbac.vocabulary import CHANNELS
from tests.signal.recordings import noise


def _eeg(n: int = 8, n_times: int = 1000) -> torch.Tensor:
    return torch.from_numpy(noise(n, n_times)).float().transpose(1, 2).contiguous()


def _keys(n: int = 8, epoch: int = 0) -> torch.Tensor:
    return row_keys(0, epoch, torch.arange(n))


EACH = [
    RawAugment(swap_p=0.5),
    RawAugment(gain_p=0.5),
    RawAugment(drop_p=0.5),
    RawAugment(spread_p=0.5),
    RawAugment(swap_p=0.4, gain_p=0.6, drop_p=0.5, spread_p=0.4),
]


@pytest.mark.parametrize("augment", EACH)
def test_a_row_is_changed_alike_in_any_batch_and_otherwise_in_another_epoch(augment: RawAugment) -> None:
    eeg, keys = _eeg(16), _keys(16)
    before = eeg.clone()
    together = augment(eeg, keys)
    assert torch.equal(eeg, before)
    order = torch.tensor([5, 0, 13])
    assert torch.equal(augment(eeg[order], keys[order]).nan_to_num(1e9), together[order].nan_to_num(1e9))
    changed = (together != eeg).flatten(1).any(1)
    assert 0 < int(changed.sum()) < 16
    assert not torch.equal((augment(eeg, _keys(16, 1)) != eeg).flatten(1).any(1), changed)


def test_with_all_at_zero_the_input_comes_back() -> None:
    eeg = _eeg()
    assert RawAugment()(eeg, _keys()) is eeg


def test_swap_exchanges_every_electrode_with_its_partner_and_twice_is_the_identity() -> None:
    augment = RawAugment(swap_p=1.0)
    eeg = _eeg()
    swapped = augment(eeg, _keys())
    for one, other in (("Fp1", "Fp2"), ("C4", "C3"), ("T5", "T6"), ("Cz", "Cz"), ("EKG", "EKG")):
        assert torch.equal(swapped[..., CHANNELS.index(one)], eeg[..., CHANNELS.index(other)])
    assert torch.equal(augment(swapped, _keys()), eeg)


def test_a_swapped_lateral_pattern_moves_to_the_other_side() -> None:
    t = torch.arange(10_000) / 200
    discharges = 100 * torch.exp(-0.5 * (((t % 1.0) - 0.5) / 0.04) ** 2)
    eeg = torch.zeros(1, 10_000, 20)
    for name in ("C3", "T3", "P3"):
        eeg[0, :, CHANNELS.index(name)] = discharges
    front_end = EEGFrontEnd()
    swapped_eeg = RawAugment(swap_p=1.0)(eeg, _keys(1))
    left = [i for i, name in enumerate(front_end.montage.derivations) if name[-1] in "13579"]
    right = [i for i, name in enumerate(front_end.montage.derivations) if name[-1] in "02468"]
    before, after = front_end(eeg)[0].square().mean(1), front_end(swapped_eeg)[0].square().mean(1)
    assert before[right].max() < 1e-6 < 0.01 < before[left].max()
    assert after[left].max() < 1e-6
    torch.testing.assert_close(after[right].sort().values, before[left].sort().values)
    mel = MelImage(reference="fixed", floor_db=-30, ceiling_db=50)
    regions = mel(swapped_eeg.transpose(1, 2))[0].mean((1, 2))
    assert (regions > -1).tolist() == [False, False, True, True]


def test_gain_is_one_factor_a_row_evenly_spread_in_its_logarithm() -> None:
    eeg = torch.ones(2000, 1, 20)
    factor = RawAugment(gain_p=1.0, gain_low=0.3, gain_high=3.0)(eeg, _keys(2000))
    assert (factor == factor[:, :1, :1]).all()
    logs = factor[:, 0, 0].log()
    assert logs.min() >= torch.tensor(0.3).log() - 1e-6
    assert logs.max() <= torch.tensor(3.0).log() + 1e-6
    middle = (torch.tensor(0.3).log() + torch.tensor(3.0).log()) / 2
    assert float(logs.mean()) == pytest.approx(float(middle), abs=0.06)


def test_gain_of_a_half_precision_window_stays_finite_and_keeps_missing_samples() -> None:
    eeg = torch.full((50, 4, 20), 60_000.0, dtype=torch.float16)
    eeg[:, 0] = float("nan")
    louder = RawAugment(gain_p=1.0)(eeg, _keys(50))
    assert louder.dtype == torch.float16
    assert louder[:, 1:].isfinite().all()
    assert louder[:, 0].isnan().all()


def test_what_all_electrodes_have_in_common_does_not_spread_and_what_one_has_spreads_to_its_neighbours() -> None:
    augment = RawAugment(spread_p=1.0, spread_max=0.5)
    common = torch.full((64, 3, 20), 70.0)
    common[..., -1] = 5.0  # EKG
    torch.testing.assert_close(augment(common, _keys(64)), common)
    one = torch.zeros(400, 1, 20)
    one[..., CHANNELS.index("C3")] = 1.0
    spread = augment(one, _keys(400))[:, 0]
    reach = spread.square().mean(0).sqrt()
    assert reach[CHANNELS.index("C3")] > 0.9
    assert reach[CHANNELS.index("T3")] > 3 * reach[CHANNELS.index("F8")]
    assert (spread[:, -1] == 0).all()
    assert spread[:, :19].fill_diagonal_(0).abs().max() <= 1.5


def test_missing_samples_stay_missing_and_do_not_spread() -> None:
    eeg = _eeg(20).half()
    eeg[:, 5:9, 3] = float("nan")
    eeg[:, :, 11] = float("nan")
    spread = RawAugment(spread_p=1.0)(eeg, _keys(20))
    assert spread.dtype == torch.float16
    assert torch.equal(spread.isnan(), eeg.isnan())


def test_dropped_channels_are_one_to_n_electrodes_missing_throughout() -> None:
    dropped = RawAugment(drop_p=1.0, drop_max=4)(_eeg(400, 10), _keys(400)).isnan()
    assert (dropped == dropped[:, :1]).all()
    counts = dropped[:, 0].sum(1)
    assert sorted(set(counts.tolist())) == [1, 2, 3, 4]
    assert not dropped[..., CHANNELS.index("EKG")].any()
    assert dropped[:, 0, :19].float().mean(0).min() > 0.05


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"swap_p": 1.5}, "swap_p=1.5: a probability, from 0 to 1"),
        ({"gain_low": 0}, "gain_low=0"),
        ({"gain_low": 3, "gain_high": 1}, "the lower one first"),
        ({"drop_max": 19}, "drop_max=19: from 1 to 18"),
        ({"spread_max": 0}, "spread_max=0: above 0"),
    ],
)
def test_bad_settings(settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        RawAugment(**settings)


def test_settings_survive_json() -> None:
    for augment in (RawAugment(swap_p=0.5, drop_max=2), SignalAugment(20.0, noise_p=0.3)):
        again = type(augment)(**json.loads(json.dumps(augment.settings)))
        assert again.settings == augment.settings


@pytest.mark.parametrize("montage", ["longitudinal_bipolar", "public_8", "average_reference", "none"])
def test_mixing_in_the_front_end_equals_changing_the_electrodes_before_it(montage: str) -> None:
    eeg = _eeg(12, 10_000).double()
    eeg[3, 100:140, 5] = float("nan")
    eeg[7, :, 2] = float("nan")
    augment = RawAugment(swap_p=0.5, drop_p=0.5, gain_p=0.5)
    front_end = EEGFrontEnd(montage)
    before, mixed = front_end(augment(eeg, _keys(12))), front_end(eeg, augment.mixing(_keys(12)))
    assert (before != front_end(eeg)).flatten(1).any(1).sum() > 6
    torch.testing.assert_close(mixed, before, atol=1e-9, rtol=0)
    spread = RawAugment(spread_p=0.7, swap_p=0.5, gain_p=0.5)
    complete = _eeg(12, 10_000).double()
    mixed = front_end.derive(front_end.filter(complete), spread.mixing(_keys(12)))
    torch.testing.assert_close(mixed, front_end(spread(complete, _keys(12))), atol=1e-5, rtol=0)
    assert torch.equal(front_end(eeg, RawAugment().mixing(_keys(12))), front_end(eeg))
