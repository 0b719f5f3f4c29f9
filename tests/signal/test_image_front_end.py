"""Images from windows: what they show, and where left and right are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hbac.common.errors import UserError
from hbac.signal import ImageFrontEnd, LogSTFT, MelImage, MorletScalogram, Multitaper, OfficialImage, RawAugment
from hbac.signal.chance import row_keys, uniforms
from hbac.signal.image_front_end import RegionSwap
from hbac.signal.montage import channel_mirror
from hbac.vocabulary import SPECTROGRAM_REGIONS, WINDOW_SAMPLES
from tests.signal.mirrored import mirror_of

SIZE = {"tile_height": 32, "tile_width": 64}
KINDS = {"mel": MelImage, "log_stft": LogSTFT, "multitaper": Multitaper, "morlet": MorletScalogram}


def windows(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise whose channels and regions all differ, with samples and rows missing."""
    rng = np.random.default_rng(seed)
    eeg = np.cumsum(rng.standard_normal((n, WINDOW_SAMPLES, 20)), axis=1) * rng.uniform(0.3, 3, (n, 1, 20))
    eeg[:, rng.integers(0, WINDOW_SAMPLES, 50)] = np.nan
    power = rng.lognormal(rng.uniform(-2, 2, (n, 1, 400)), 1.0, (n, 300, 400))
    power[:, rng.integers(300)] = np.nan
    return torch.from_numpy(eeg.astype(np.float32)), torch.from_numpy(power.astype(np.float32))


def mirrored_power(power: torch.Tensor) -> torch.Tensor:
    """Left and right exchanged, by the names of the regions alone."""
    blocks = dict(zip(SPECTROGRAM_REGIONS, power.split(100, dim=2), strict=True))
    partner = {"LL": "RL", "RL": "LL", "LP": "RP", "RP": "LP"}
    return torch.cat([blocks[partner[region]] for region in SPECTROGRAM_REGIONS], dim=2)


@pytest.mark.parametrize(
    ("sources", "layout", "shape"),
    [
        ("both", "stack", (8, 32, 64)),
        ("eeg", "stack", (4, 32, 64)),
        ("official", "stack", (4, 32, 64)),
        ("both", "tiles", (3, 128, 128)),
        ("eeg", "tiles", (3, 128, 64)),
    ],
)
def test_shapes(sources: str, layout: str, shape: tuple[int, ...]) -> None:
    front_end = ImageFrontEnd(sources, layout=layout, **SIZE)
    given = dict(zip(("eeg", "official"), windows(2, 0), strict=True))
    image = front_end(*(given[name] for name in front_end.sources))
    assert image.shape == (2, *shape)
    assert (front_end.in_chans, front_end.height, front_end.width) == shape
    assert front_end.network_arguments() == {"in_chans": shape[0]}
    assert image.isfinite().all()


def test_the_public_layout() -> None:
    eeg, power = windows(1, 1)
    image = ImageFrontEnd(layout="tiles")(eeg, power)
    assert image.shape == (1, 3, 512, 512)
    official, mel = OfficialImage()(power), MelImage()(eeg.transpose(1, 2))
    for i in range(4):
        torch.testing.assert_close(image[:, 0, 128 * i : 128 * (i + 1), :256], official[:, i])
        torch.testing.assert_close(image[:, 0, 128 * i : 128 * (i + 1), 256:], mel[:, i])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", ["stack", "tiles"])
@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 1000))
def test_a_flipped_recording_gives_the_flipped_image(kind: str, layout: str, seed: int) -> None:
    front_end = ImageFrontEnd("both", {kind: KINDS[kind](height=32, width=64)}, layout, **SIZE)
    eeg, power = windows(1, seed)
    image = front_end(eeg, power)
    flipped = front_end(eeg[:, :, channel_mirror()], mirrored_power(power))
    torch.testing.assert_close(flipped, mirror_of(image, front_end.layout))
    assert not torch.allclose(flipped, image)


def test_several_pictures_of_the_same_eeg() -> None:
    pictures = {"whole": MelImage(height=32, width=64), "centre": MelImage(height=32, width=64, zoom_s=10.0)}
    front_end = ImageFrontEnd("both", pictures, **SIZE)
    eeg, power = windows(1, 2)
    image = front_end(eeg, power)
    assert image.shape == (1, 12, 32, 64)
    torch.testing.assert_close(image[:, 8:], pictures["centre"](eeg.transpose(1, 2)))


def test_half_precision_and_batch_make_no_difference() -> None:
    front_end = ImageFrontEnd(**SIZE)
    eeg, power = (x.half() for x in windows(5, 3))
    together = front_end(eeg, power)
    alone = torch.cat([front_end(eeg[i : i + 1], power[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(together, alone)
    torch.testing.assert_close(together, front_end(eeg.float(), power.float()))


def test_a_missing_official_spectrogram_is_the_mean_throughout() -> None:
    eeg, power = windows(2, 4)
    power[1] = torch.nan
    front_end = ImageFrontEnd(**SIZE)
    image = front_end(eeg, power)
    assert not image[1, :4].any()
    assert image[0, :4].any()
    torch.testing.assert_close(image[:, 4:], ImageFrontEnd("eeg", **SIZE)(eeg))


def test_the_region_swap_goes_by_names_and_with_the_electrodes() -> None:
    eeg, power = windows(40, 5)
    eeg = eeg[:, :100]
    key = row_keys(3, 1, torch.arange(40))
    raw, swap = RawAugment(swap_p=0.5), RegionSwap(0.5)
    of_eeg = [not torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(raw(eeg, key), eeg, strict=True)]
    swapped = swap(power, key)
    for i, chosen in enumerate(of_eeg):
        expected = mirrored_power(power[i : i + 1]) if chosen else power[i : i + 1]
        torch.testing.assert_close(swapped[i : i + 1], expected, equal_nan=True)
    assert of_eeg == (uniforms(key, "swap?")[:, 0] < 0.5).tolist()
    assert 5 < sum(of_eeg) < 35


def test_wrong_settings() -> None:
    with pytest.raises(UserError, match="unknown sources 'all'; there are: eeg, official, both"):
        ImageFrontEnd("all")
    with pytest.raises(UserError, match="at least one picture, and none named official"):
        ImageFrontEnd("both", {})
    with pytest.raises(UserError, match="unknown layout"):
        ImageFrontEnd(layout="row")
    with pytest.raises(UserError, match="swap_p=2: a probability"):
        RegionSwap(2)
    with pytest.raises(ValueError, match="1 tensors of windows for the sources eeg, official"):
        ImageFrontEnd()(torch.zeros(1, WINDOW_SAMPLES, 20))
