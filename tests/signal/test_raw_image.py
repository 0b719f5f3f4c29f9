"""The EEG folded into rows: the recipe in NumPy's words, left and right, time backwards, sizes that fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hbac.common.errors import UserError
from hbac.signal import EEGFrontEnd, ImageAugment, ImageFrontEnd, MelImage, RawImage
from hbac.signal.chance import row_keys
from hbac.signal.montage import channel_mirror
from tests.signal.mirrored import mirror_of
from tests.signal.recordings import noise, real


def folded(x_DT: np.ndarray, rows: int, centres: tuple[int, ...] = ()) -> np.ndarray:
    """The recipe, sample by sample: row ``rows * d + k`` holds samples k, k + rows, …; centres (samples) beneath."""
    columns = x_DT.shape[1] // rows
    lines = []
    for x_T in x_DT:
        lines += [x_T[k::rows] for k in range(rows)]
        for n in centres:
            centre = x_T[(len(x_T) - n) // 2 :][:n]
            lines += [centre[k :: n // columns] for k in range(n // columns)]
    return np.stack(lines)


def raw_front_end(**settings: object) -> ImageFrontEnd:
    picture = RawImage(**settings)  # type: ignore[arg-type]
    return ImageFrontEnd("eeg", {"raw": picture}, "tiles", tile_height=None, tile_width=None)


def test_it_is_the_recipe_on_real_windows(iiic_root: Path) -> None:
    eeg = torch.from_numpy(real(iiic_root, 2)).transpose(1, 2)
    signal = EEGFrontEnd("alternating_16", sfreq_out=200.0)(eeg).numpy()
    image = raw_front_end()(eeg)
    assert image.shape == (2, 3, 160, 1000)
    for plane in range(3):
        for i in range(2):
            assert np.array_equal(image[i, plane].numpy(), folded(signal[i], 10))


def test_the_centre_lies_beneath_each_derivation() -> None:
    eeg = torch.from_numpy(noise(1)).transpose(1, 2)
    signal = EEGFrontEnd("longitudinal_bipolar", sfreq_out=200.0)(eeg).numpy()
    front_end = raw_front_end(montage="longitudinal_bipolar", rows_per_derivation=20, centres_s=[30, 10])
    image = front_end(eeg)
    assert (front_end.in_chans, front_end.height, front_end.width) == (3, 18 * 36, 500)
    assert np.array_equal(image[0, 0].numpy(), folded(signal[0], 20, (6000, 2000)))


def test_one_centre_needs_no_brackets() -> None:
    assert RawImage(centres_s=10).settings == RawImage(centres_s=[10.0]).settings


def test_the_rate_that_the_band_needs() -> None:
    eeg = torch.from_numpy(noise(1)).transpose(1, 2)
    slow = RawImage(sfreq_out=None, rows_per_derivation=2)(eeg.transpose(1, 2))
    assert slow.shape == (1, 16, 2, 1000)  # 40 Hz
    signal = EEGFrontEnd("alternating_16")(eeg).numpy()
    assert np.array_equal(slow[0].flatten(0, 1).numpy(), folded(signal[0], 2))


@pytest.mark.parametrize("montage", ["alternating_16", "transverse_bipolar", ["Fz-F4", "F3-Fz", "Cz-Pz"]])
def test_a_mirrored_recording_gives_the_mirrored_picture(montage: str | list[str]) -> None:
    front_end = raw_front_end(montage=montage, centres_s=[10])
    eeg = torch.from_numpy(noise(1)).transpose(1, 2)
    image, mirrored = front_end(eeg), front_end(eeg[:, :, channel_mirror()])
    torch.testing.assert_close(mirrored, mirror_of(image, front_end.layout, ["raw"]))
    assert not torch.allclose(mirrored, image)


def test_a_reversed_recording_gives_the_reversed_picture() -> None:
    front_end = raw_front_end(band="0-20", centres_s=[10])
    eeg = torch.from_numpy(noise(2)).transpose(1, 2)
    picture, backwards = front_end.images(eeg)["raw"], front_end.images(eeg.flip(1))["raw"]
    rows = front_end.pictures["raw"].reversed_rows
    augmented = ImageAugment(reverse_p=1.0)(picture, row_keys(0, 0, torch.arange(2)), rows)
    torch.testing.assert_close(augmented, backwards, atol=0.01, rtol=0)  # but for the filter's ends
    assert not torch.allclose(
        ImageAugment(reverse_p=1.0)(picture, row_keys(0, 0, torch.arange(2))), backwards, atol=0.1
    )


def test_settings_survive_json_and_half_precision_is_read() -> None:
    picture = RawImage(centres_s=(10,), montage="public_8")
    again = RawImage(**json.loads(json.dumps(picture.settings)))
    eeg = torch.from_numpy(noise(3)).half()
    eeg[1, 4, 100:200] = torch.nan
    together = picture(eeg)
    assert together.dtype == torch.float32
    assert together.isfinite().all()
    for i in range(3):
        torch.testing.assert_close(again(eeg[i : i + 1])[0], together[i])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"rows_per_derivation": 7},
            r"rows_per_derivation=7: must divide the 10000 samples .* there are 1, 2, 4, 5, 8",
        ),
        ({"rows_per_derivation": 0}, "rows_per_derivation=0: must divide"),
        ({"centres_s": [1]}, r"centres_s=1: must be at least one row of 1000 samples .* from 5 to 45 s"),
        ({"centres_s": [50]}, "centres_s=50"),
        ({"sfreq_out": 30.0}, "sfreq_out=30: the band 0.5-20 needs"),
        ({"montage": "double_banana"}, "unknown montage 'double_banana'"),
    ],
)
def test_bad_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        RawImage(**settings)  # type: ignore[arg-type]


def test_pixels_are_samples_and_are_not_interpolated() -> None:
    with pytest.raises(UserError, match=r"tile_width=256: the width of raw is 1000, a pixel a sample.*null"):
        ImageFrontEnd("eeg", {"raw": RawImage()}, "tiles", tile_height=10, tile_width=256)
    with pytest.raises(UserError, match=r"tile_height=null: needs pictures of one height, found mel 64, raw 10"):
        ImageFrontEnd("eeg", {"mel": MelImage(height=64), "raw": RawImage()}, tile_height=None)
    with pytest.raises(UserError, match="tile_height=null: needs pictures of one height, found no picture of the EEG"):
        ImageFrontEnd("official", tile_height=None)
    beside = ImageFrontEnd("eeg", {"mel": MelImage(height=10), "raw": RawImage()}, tile_height=None, tile_width=1000)
    assert (beside.in_chans, beside.height, beside.width) == (20, 10, 1000)
    with pytest.raises(UserError, match="height=None"):
        MelImage(height=None)  # type: ignore[arg-type]
