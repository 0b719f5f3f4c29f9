"""Augmentations of the front-end's output: what each keeps and changes, and each row by its own chance."""

from __future__ import annotations

import pytest
import torch

from hbac.common.errors import UserError
from hbac.signal.augment_signal import SignalAugment
from hbac.signal.chance import row_keys

NAMES = ("reverse", "polarity", "zero", "band", "stop", "spectrum", "stretch", "shift", "cut", "noise", "centre")


def _x(n: int = 16, n_times: int = 800) -> torch.Tensor:
    return torch.randn(n, 18, n_times, generator=torch.Generator().manual_seed(0))


def _keys(n: int = 16, epoch: int = 0) -> torch.Tensor:
    return row_keys(0, epoch, torch.arange(n))


@pytest.mark.parametrize("name", NAMES)
def test_a_row_is_changed_alike_in_any_batch_and_otherwise_in_another_epoch(name: str) -> None:
    augment = SignalAugment(**{f"{name}_p": 0.5})
    x, keys = _x(), _keys()
    before = x.clone()
    together = augment(x, keys)
    assert torch.equal(x, before)
    order = torch.tensor([5, 0, 13])
    torch.testing.assert_close(augment(x[order], keys[order]), together[order])
    changed = (together != x).flatten(1).any(1)
    assert 0 < int(changed.sum()) < 16
    assert not torch.equal((augment(x, _keys(epoch=1)) != x).flatten(1).any(1), changed)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("reverse", "polarity", "centre")])
def test_rows_are_not_all_changed_in_the_same_way(name: str) -> None:
    x = _x()[:1].expand(16, -1, -1)
    changed = SignalAugment(**{f"{name}_p": 1.0})(x, _keys())
    assert len({tuple(row.flatten()[::97].tolist()) for row in changed}) > 12


def test_with_all_at_zero_the_input_comes_back() -> None:
    x = _x()
    assert SignalAugment()(x, _keys()) is x


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", NAMES)
def test_the_precision_of_the_input_is_kept(name: str, dtype: torch.dtype) -> None:
    augment = SignalAugment(**{f"{name}_p": 0.5})
    x = _x().to(dtype)
    changed = augment(x, _keys())
    assert changed.dtype == dtype
    torch.testing.assert_close(changed.float(), augment(x.float(), _keys()), rtol=0.02, atol=0.02)


def test_reversal_and_polarity_twice_are_the_identity() -> None:
    x = _x()
    for name in ("reverse", "polarity"):
        augment = SignalAugment(**{f"{name}_p": 1.0})
        assert torch.equal(augment(augment(x, _keys()), _keys()), x)
    assert torch.equal(SignalAugment(reverse_p=1.0)(x, _keys()), x.flip(-1))
    assert torch.equal(SignalAugment(polarity_p=1.0)(x, _keys()), -x)


def test_one_to_n_derivations_are_silenced_and_the_others_kept() -> None:
    x = _x(300, 20)
    silenced = SignalAugment(zero_p=1.0, zero_max=3)(x, _keys(300))
    silent = (silenced == 0).all(2)
    assert sorted(set(silent.sum(1).tolist())) == [1, 2, 3]
    assert torch.equal(silenced[~silent], x[~silent])
    assert silent.float().mean(0).min() > 0.04
    few = SignalAugment(zero_p=1.0, zero_max=8)(x[:, :2], _keys(300))
    assert (few == 0).all(2).sum(1).max() == 2


def test_a_narrower_band_keeps_its_middle_and_takes_its_edges() -> None:
    t = torch.arange(2000) / 40
    x = torch.stack([torch.sin(2 * torch.pi * hz * t) for hz in (0.2, 4.0, 19.0)])[None].expand(64, -1, -1)
    narrowed = SignalAugment(40.0, band_p=1.0, band_low_hz=2.0, band_high_hz=8.0)(x, _keys(64))
    power = narrowed[..., 400:-400].square().mean(2) * 2
    assert power[:, 1].min() > 0.7
    assert power[:, 0].min() < 0.001 < 0.3 < power[:, 0].max()
    assert power[:, 2].min() < 0.01 < 0.1 < power[:, 2].max()
    assert power.max() <= 1.01


def test_the_band_stop_takes_one_narrow_band_out() -> None:
    hz = torch.arange(1, 20)
    t = torch.arange(4000) / 40
    x = torch.sin(2 * torch.pi * hz[:, None] * t)[None].expand(32, -1, -1)
    stopped = SignalAugment(40.0, stop_p=1.0, stop_width_hz=1.5)(x, _keys(32))
    gain = (stopped[..., 800:-800].square().mean(2) * 2).sqrt()
    lost = (gain < 0.9).sum(1)
    assert lost.max() <= 3
    assert (lost > 0).float().mean() > 0.8
    assert gain.median() > 0.99
    assert len(set(gain.argmin(1).tolist())) > 8


def test_a_shift_moves_everything_by_the_same_time_and_no_more_than_allowed() -> None:
    x = torch.arange(1000.0).expand(64, 3, 1000).contiguous()
    shifted = SignalAugment(40.0, shift_p=1.0, shift_max_s=2.0)(x, _keys(64))
    moved = 500 - shifted[:, :, 500]
    assert (moved == moved[:, :1]).all()
    assert moved.abs().max() <= 80
    assert moved.min() < -40
    assert moved.max() > 40
    assert torch.equal(shifted[:, :, 100:900], x[:, :, 100:900] - moved[:, :1, None])
    assert shifted.min() >= 0
    assert shifted.max() <= 999


def test_time_runs_faster_or_slower_around_the_middle() -> None:
    seconds = (torch.arange(2001.0) - 1000) / 40
    x = torch.sin(2 * torch.pi * 1.0 * seconds).expand(64, 2, -1).contiguous()
    stretched = SignalAugment(40.0, stretch_p=1.0, stretch_max=0.25)(x, _keys(64))
    assert torch.equal(stretched[:, 0], stretched[:, 1])
    assert stretched[:, :, 1000].abs().max() < 1e-4
    hz = torch.fft.rfft(stretched[:, 0, 400:-401]).abs().argmax(1) * 40 / 1200
    assert hz.min() >= 0.79
    assert hz.max() <= 1.26
    assert hz.min() < 0.9 < 1.1 < hz.max()


def test_a_spectrum_is_changed_smoothly_alike_in_all_derivations_and_by_no_more_than_allowed() -> None:
    hz = torch.arange(1, 20)
    x = torch.sin(2 * torch.pi * hz[:, None] * torch.arange(4000) / 40)[None].expand(64, -1, -1)
    augment = SignalAugment(40.0, spectrum_p=1.0, spectrum_max_db=6.0)
    coloured = augment(x, _keys(64))
    db = 10 * (2 * coloured[..., 800:-800].square().mean(2)).log10()
    assert db.abs().max() <= 6 * 3.1 + 0.1
    assert db.std(0).min() > 2
    assert db.diff(dim=1)[:, 4:].abs().max() < 6
    assert torch.equal(augment(x[:, [3, 3]], _keys(64))[:, 0], augment(x[:, [3, 3]], _keys(64))[:, 1])


def test_around_the_centre_is_nothing_its_mirror_image_or_its_repetition() -> None:
    x = torch.arange(1.0, 101.0).expand(64, 2, 100)
    found = SignalAugment(2.0, centre_p=1.0, centre_s=10.0)(x, _keys(64))
    centre = x[0, 0, 40:60]
    wanted = {
        "nothing": torch.cat([torch.zeros(40), centre, torch.zeros(40)]),
        "mirror": torch.cat([centre, centre.flip(0), centre, centre.flip(0), centre]),
        "repetition": centre.repeat(5),
    }
    kinds = [next(name for name, row in wanted.items() if torch.equal(window[1], row)) for window in found]
    assert set(kinds) == set(wanted)
    assert torch.equal(SignalAugment(2.0, centre_p=1.0, centre_s=50.0)(x, _keys(64)), x)


def test_a_cut_silences_one_stretch_in_all_derivations() -> None:
    x = torch.ones(64, 3, 1000)
    cut = SignalAugment(40.0, cut_p=1.0, cut_max_s=5.0)(x, _keys(64))
    assert torch.equal(cut[:, 0], cut[:, 2])
    lengths = (cut[:, 0] == 0).sum(1)
    assert lengths.max() <= 201
    assert lengths.max() > 150
    assert ((cut[:, 0].diff(dim=1) != 0).sum(1) <= 2).all()
    centres = (cut[:, 0] == 0).float().mul(torch.arange(1000)).sum(1) / lengths.clamp(min=1)
    assert centres.max() > 700


def test_noise_is_white_independent_and_of_the_drawn_size() -> None:
    x = torch.zeros(64, 18, 2000)
    noise = SignalAugment(noise_p=1.0, noise_max=0.5)(x, _keys(64))
    size = noise.std((1, 2))
    assert size.max() <= 0.55
    assert size.min() < 0.1
    assert size.max() > 0.4
    loud = noise[int(size.argmax())]
    correlation = torch.corrcoef(loud) - torch.eye(18)
    assert correlation.abs().max() < 0.15
    assert (loud[:, 1:] * loud[:, :-1]).mean() / loud.square().mean() < 0.03
    assert abs(float(loud.mean() / loud.std())) < 0.03


@pytest.mark.parametrize("name", ["band", "stop", "spectrum"])
def test_what_is_filtered_has_no_edges_of_its_own(name: str) -> None:
    steady = torch.full((32, 2, 2000), 5.0) + torch.sin(torch.arange(2000.0))
    changed = SignalAugment(**{f"{name}_p": 1.0}, spectrum_max_db=2.0)(steady, _keys(32))
    # A filter that wrapped around, or met zeros beyond the ends, would ring there by as much as the signal jumps.
    assert changed.diff(dim=2)[..., :40].abs().max() < 2.0
    assert changed.diff(dim=2)[..., -40:].abs().max() < 2.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cut_p": -0.1}, "cut_p=-0.1: a probability"),
        ({"zero_max": 0}, "zero_max=0: at least 1"),
        ({"band_low_hz": 9.0}, "band_low_hz=9 must be from 0 to below band_high_hz=8"),
        ({"stretch_max": 0.0}, "stretch_max=0.0: above 0"),
        ({"stretch_max": 1.5}, "stretch_max=1.5: at most 1"),
        ({"shift_max_s": 0.0}, "shift_max_s=0.0: above 0"),
    ],
)
def test_bad_settings(settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        SignalAugment(**settings)
