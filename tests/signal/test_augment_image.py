"""Augmentations of images and mixtures."""

from __future__ import annotations

import json

import pytest
import torch

from hbac.common.errors import UserError
from hbac.signal.augment_image import ImageAugment, Mixup
from hbac.signal.chance import row_keys


def _keys(n: int = 16, epoch: int = 0) -> torch.Tensor:
    return row_keys(0, epoch, torch.arange(n))


def _image(n: int = 16) -> torch.Tensor:
    return torch.rand(n, 4, 32, 64, generator=torch.Generator().manual_seed(0)) + 1


@pytest.mark.parametrize("name", ["reverse", "time_mask", "frequency_mask", "band", "zero"])
def test_a_row_is_changed_alike_in_any_batch_and_otherwise_in_another_epoch(name: str) -> None:
    augment = ImageAugment(**{f"{name}_p": 0.6})
    image, keys = _image(), _keys()
    torch.manual_seed(1)
    state = torch.get_rng_state()
    together = augment(image, keys)
    assert torch.equal(torch.get_rng_state(), state)  # the caller's generator is not touched
    torch.manual_seed(2)  # nor does it matter
    order = torch.tensor([5, 0, 13])
    assert torch.equal(augment(image[order], keys[order]), together[order])
    changed = (together != image).flatten(1).any(1)
    assert 0 < int(changed.sum()) < 16
    assert not torch.equal(augment(image, _keys(epoch=1)), together)


def test_reversal_flips_time_and_twice_is_the_identity() -> None:
    augment = ImageAugment(reverse_p=1.0)
    image = _image()
    assert torch.equal(augment(image, _keys()), image.flip(-1))
    assert torch.equal(augment(augment(image, _keys()), _keys()), image)
    assert ImageAugment()(image, _keys()) is image


def test_some_pictures_are_silenced_whole() -> None:
    silenced = (ImageAugment(zero_p=1.0, zero_max=2, mask_value=-1.0)(_image(64), _keys(64)) == -1).flatten(2)
    assert torch.equal(silenced.all(2), silenced.any(2))
    assert set(silenced.all(2).sum(1).tolist()) == {1, 2}


def test_a_narrower_band_takes_rows_from_both_ends_of_some_pictures() -> None:
    narrow = ImageAugment(band_p=1.0, zero_max=3, band_low_max=0.1, band_high_max=0.5, mask_value=-1.0)
    lost = narrow(_image(64), _keys(64)) == -1
    assert torch.equal(lost.all(3), lost.any(3))
    rows = lost.all(3)  # 64 windows, 4 pictures, 32 rows
    assert set(rows.any(2).sum(1).tolist()) <= {0, 1, 2, 3}
    low, high = rows[:, :, :16].sum(2), rows[:, :, 16:].sum(2)
    assert (int(low.max()), int(high.max())) <= (4, 16)
    assert len(set(high.flatten().tolist())) > 10
    assert (rows.int().diff(dim=2).abs().sum(2) <= 2).all()
    for window in rows:  # all pictures of a window lose the same band
        assert len({tuple(picture.tolist()) for picture in window if picture.any()}) <= 1


@pytest.mark.parametrize(("name", "axis"), [("time_mask", 3), ("frequency_mask", 2)])
def test_masks_cover_whole_lines_of_all_channels_within_their_share(name: str, axis: int) -> None:
    image = _image(64)
    masked = ImageAugment(**{f"{name}_p": 1.0, f"{name}_max": 0.25}, mask_value=-1.0)(image, _keys(64))
    hidden = masked == -1
    lines = hidden.flatten(2).any(1).view(64, 32, 64).any(1 if axis == 3 else 2)
    across = hidden.movedim(axis, 1).flatten(2)
    assert torch.equal(across.all(2), across.any(2))
    counts = lines.sum(1)
    limit = 16 if axis == 3 else 8
    assert counts.max() <= limit
    assert len(set(counts.tolist())) > 4
    assert (lines.int().diff(dim=1).abs().sum(1) <= 2).all()
    assert torch.equal(masked[~hidden], image[~hidden])


def test_widths_and_places_of_masks_are_even() -> None:
    n = 4000
    image = torch.ones(1, 1, 1, 40).expand(n, -1, -1, -1)
    hidden = ImageAugment(time_mask_p=1.0, time_mask_max=0.25)(image, _keys(n))[:, 0, 0] == 0
    widths = hidden.sum(1).bincount() / n
    assert len(widths) == 11  # from none to a quarter of 40 columns
    torch.testing.assert_close(widths, torch.full((11,), 1 / 11), atol=0.02, rtol=0)
    assert hidden.float().mean(0)[[0, -1]].max() < hidden.float().mean(0)[10:30].min()
    assert hidden.any(0).all()


def test_several_masks() -> None:
    masked = ImageAugment(time_mask_p=1.0, n_masks=3, mask_value=-1.0)(_image(64), _keys(64))
    edges = (masked[:, 0, 0] == -1).int().diff(dim=1).abs().sum(1)
    assert edges.max() > 2
    assert edges.max() <= 6


def test_mixtures_are_of_input_and_target_alike_and_keep_sums() -> None:
    n = 32
    target = torch.softmax(torch.randn(n, 6, generator=torch.Generator().manual_seed(0)), 1).double()
    x = torch.cat([target.float(), torch.zeros(n, 12)], 1)[:, None, :]  # the input tells its target
    mixed, mixed_target = Mixup(mix_p=1.0)(x, target, _keys(n), (x.flip(0), target.flip(0)))
    torch.testing.assert_close(mixed[:, 0, :6].double(), mixed_target, atol=1e-6, rtol=0)
    torch.testing.assert_close(mixed_target.sum(1), torch.ones(n, dtype=torch.float64))
    assert (mixed_target - target).abs().amax(1).median() > 0.01
    assert mixed_target.dtype == torch.float64


def test_a_row_stays_mostly_itself_and_shares_differ() -> None:
    n = 256
    x = torch.zeros(n, 1, 1)
    shares, _ = Mixup(mix_p=1.0, share_max=0.4)(x, torch.ones(n, 6), _keys(n), (torch.ones(n, 1, 1), torch.ones(n, 6)))
    assert shares.min() >= 0
    assert shares.max() <= 0.4
    assert shares.max() > 0.38
    half, _ = Mixup(mix_p=0.5)(x, torch.ones(n, 6), _keys(n), (torch.ones(n, 1, 1), torch.ones(n, 6)))
    assert float((half == 0).float().mean()) == pytest.approx(0.5, abs=0.12)


def test_given_partners_make_a_row_independent_of_its_batch() -> None:
    x, target, keys = torch.randn(16, 3, 5), torch.rand(16, 6), _keys()
    partners = (torch.randn(16, 3, 5), torch.rand(16, 6))
    together = Mixup(mix_p=1.0)(x, target, keys, partners)
    alone = Mixup(mix_p=1.0)(x[3:4], target[3:4], keys[3:4], (partners[0][3:4], partners[1][3:4]))
    torch.testing.assert_close(alone[0][0], together[0][3])
    assert Mixup()(x, target, keys, partners)[0] is x


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (ImageAugment, {"time_mask_max": 0}, "time_mask_max=0: a share"),
        (ImageAugment, {"n_masks": 0}, "n_masks=0"),
        (ImageAugment, {"reverse_p": 2}, "reverse_p=2: a probability"),
        (Mixup, {"share_max": 0.7}, "share_max=0.7"),
        (Mixup, {"mix_p": -1}, "mix_p=-1: a probability"),
    ],
)
def test_bad_settings(make: type, settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(**settings)


def test_settings_survive_json() -> None:
    for augment in (ImageAugment(time_mask_p=0.3), Mixup(mix_p=0.3)):
        assert type(augment)(**json.loads(json.dumps(augment.settings))).settings == augment.settings
