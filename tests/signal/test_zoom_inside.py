"""Stacked pictures whose middle is drawn out: the recipe in NumPy's words, left and right, windows that were moved."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import torch

from hbac.common.errors import UserError
from hbac.signal import EEGFrontEnd, ImageFrontEnd, LogSTFT, MelImage, MorletScalogram, Multitaper, RawImage, ZoomInside
from hbac.signal.front_end import around_label
from hbac.signal.mel import mel_filters
from hbac.signal.montage import channel_mirror
from tests.signal.mirrored import mirror_of
from tests.signal.recordings import noise, real

MEL = {"montage": "alternating_16", "band": "0.53-30", "height": 64, "reference": "fixed", "floor_db": -30.0}
WHOLE = {**MEL, "ceiling_db": 70.0, "width": 312, "n_fft": 512, "win_length": 128}
CENTRE = {**MEL, "ceiling_db": 70.0, "width": 600, "n_fft": 2048, "win_length": 16, "n_times": 2400}


def recipe() -> ZoomInside:
    return ZoomInside(MelImage(**WHOLE), MelImage(**CENTRE))  # type: ignore[arg-type]


def front_end(picture: ZoomInside, differences: tuple[str, ...] = ("others", "neighbours")) -> ImageFrontEnd:
    return ImageFrontEnd("eeg", {"p": picture}, "tiles", tile_height=None, tile_width=None, differences=differences)


def small(kind: type, **settings: object) -> ZoomInside:
    common = {"montage": "chains_16", "band": "0.5-20", "height": 16, **settings}
    return ZoomInside(kind(width=100, **common), kind(width=60, n_times=2000, **common), "chains_16")


def mel_db(x_T: np.ndarray, n_fft: int, win_length: int, hop: int, width: int) -> np.ndarray:
    """Mel power in decibels with scipy's transform, from -30 to 70 dB brought to -1 … 1."""
    padded = np.pad(x_T, n_fft // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop][:width]
    window = np.zeros(n_fft)
    start = (n_fft - win_length) // 2
    window[start : start + win_length] = scipy.signal.get_window("hann", win_length)
    power = mel_filters(64, n_fft, 0.53, 30, 200).numpy() @ np.abs(np.fft.rfft(frames * window)).T ** 2
    return (10 * np.log10(np.clip(power, 1e-3, 1e7)) - 20) / 50


# Beside each derivation of the left those that share an electrode with it, written down by hand.
NEIGHBOURS = {
    "Fp1-F7": ("F7-T3", "Fp1-F3"),
    "F7-T3": ("Fp1-F7", "T3-T5"),
    "T3-T5": ("F7-T3", "T5-O1"),
    "T5-O1": ("T3-T5", "P3-O1"),
    "Fp1-F3": ("Fp1-F7", "F3-C3"),
    "F3-C3": ("Fp1-F3", "C3-P3"),
    "C3-P3": ("F3-C3", "P3-O1"),
    "P3-O1": ("C3-P3", "T5-O1"),
}
SIDES = {"Fp1": "Fp2", "F7": "F8", "T3": "T4", "T5": "T6", "O1": "O2", "F3": "F4", "C3": "C4", "P3": "P4"}


def right_of(name: str) -> str:
    return "-".join(SIDES[part] for part in name.split("-"))


ALL = NEIGHBOURS | {right_of(name): tuple(map(right_of, beside)) for name, beside in NEIGHBOURS.items()}


def stated(x_DT: np.ndarray, names: tuple[str, ...], label: int) -> np.ndarray:
    """The recipe for one window whose label speaks of the sample `label`: (3, 16 * 64, 850)."""
    pictures = []
    for x_T in x_DT:
        whole = mel_db(x_T, 512, 128, 32, 312)
        centre = mel_db(x_T[label - 1200 : label + 1200], 2048, 16, 4, 600)
        first = 312 // 2 - 31 + round((label - 5000) / 32)
        pictures.append(np.concatenate([whole[:, :first], centre, whole[:, first + 62 :]], axis=1))
    planes = [np.concatenate(pictures)]
    planes.append(np.concatenate([p - np.mean([q for q in pictures if q is not p], axis=0) for p in pictures]))
    of = dict(zip(names, pictures, strict=True))
    planes.append(np.concatenate([of[name] - np.mean([of[k] for k in ALL[name]], axis=0) for name in names]))
    return np.stack(planes)


def test_it_is_the_recipe_on_real_windows(iiic_root: Path) -> None:
    eeg = torch.from_numpy(real(iiic_root, 2)).double().transpose(1, 2)
    made = front_end(recipe())
    signal = EEGFrontEnd("alternating_16", sfreq_out=200.0, scale_uv=1.0)(eeg).numpy()
    names = made.layout.channels["p"]
    image = made(eeg).numpy()
    assert image.shape == (2, 3, 1024, 850)
    moved = made(eeg, shift_B=torch.tensor([1280, -3000])).numpy()
    for i, label in enumerate((5000 - 1280, 5000 + 3000)):
        np.testing.assert_allclose(image[i], stated(signal[i], names, 5000), atol=1e-6)
        np.testing.assert_allclose(moved[i], stated(signal[i], names, label), atol=1e-6)
    assert np.abs(moved - image).max() > 0.5


@pytest.mark.parametrize("kind", [MelImage, LogSTFT, Multitaper, MorletScalogram])
def test_any_spectrogram_s_middle_is_that_of_the_centre_s_samples(kind: type) -> None:
    picture = small(kind)
    eeg = torch.from_numpy(noise(2))
    signal = EEGFrontEnd("chains_16", sfreq_out=200.0, scale_uv=1.0)(eeg.transpose(1, 2))
    image = picture(eeg)
    assert image.shape == (2, 16, 16, 140)
    torch.testing.assert_close(image[..., 40:100], picture.centre.of_derivations(signal[..., 4000:6000]))
    whole = picture.whole.of_derivations(signal)
    torch.testing.assert_close(image[..., :40], whole[..., :40])
    torch.testing.assert_close(image[..., 100:], whole[..., 60:])


@pytest.mark.parametrize("kind", [MelImage, LogSTFT, Multitaper, MorletScalogram])
def test_a_mirrored_recording_gives_the_mirrored_picture(kind: type) -> None:
    made = front_end(small(kind))
    eeg = torch.from_numpy(noise(2)).transpose(1, 2)
    shift = torch.tensor([700, -1500])
    image, mirrored = made(eeg, shift_B=shift), made(eeg[:, :, channel_mirror()], shift_B=shift)
    torch.testing.assert_close(mirrored, mirror_of(image, made.layout))
    assert not torch.allclose(mirrored, image)


def test_windows_moved_beside_one_place_show_the_same_centre() -> None:
    recording = torch.from_numpy(noise(1, 14_000))
    made = front_end(small(LogSTFT, montage="chains_16"), ())
    shift = torch.tensor([0, 600, -1700])
    eeg = torch.cat([recording[:, :, 2000 + int(s) :][..., :10_000] for s in shift]).transpose(1, 2)
    images = made(eeg, shift_B=shift)[:, 0]
    starts = [40, 34, 57]  # a column is 100 samples
    centres = torch.stack([image[:, start : start + 60] for image, start in zip(images, starts, strict=True)])
    torch.testing.assert_close(
        centres[1:], centres[:1].expand(2, -1, -1), atol=0.02, rtol=0
    )  # but for the filter's ends
    torch.testing.assert_close(made(eeg, shift_B=torch.zeros(3, dtype=torch.int64)), made(eeg))


@pytest.mark.parametrize("picture", [RawImage(centres_s=[10]), LogSTFT(zoom_s=10, width=100)])
def test_other_centres_follow_the_label_too(picture: RawImage | LogSTFT) -> None:
    recording = torch.from_numpy(noise(1, 14_000))
    here, later = recording[..., 2000:12_000], recording[..., 3000:13_000]
    rows = slice(10, None) if isinstance(picture, RawImage) else slice(None)
    expected, found = picture(here)[:, :, rows], picture(later, torch.tensor([1000]))[:, :, rows]
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)
    assert not torch.allclose(picture(later)[:, :, rows], expected, atol=0.2)


def test_around_the_label_the_ends_are_repeated() -> None:
    x = torch.arange(10.0).expand(3, 1, 10)
    assert around_label(x, 4)[0, 0].tolist() == [3, 4, 5, 6]
    moved = around_label(x, 4, torch.tensor([0, 2, -5]))
    assert moved[:, 0].tolist() == [[3, 4, 5, 6], [1, 2, 3, 4], [8, 9, 9, 9]]


def test_regions_and_missing_samples() -> None:
    common = {"montage": "regions", "height": 16}
    picture = ZoomInside(LogSTFT(width=100, **common), LogSTFT(width=60, n_times=2000, **common), "regions")  # type: ignore[arg-type]
    eeg = torch.from_numpy(noise(1)).half()
    eeg[0, 3, 4900:5100] = torch.nan
    image = front_end(picture)(eeg.transpose(1, 2))
    assert image.shape == (1, 3, 64, 140)
    assert image.isfinite().all()
    ll, lp = image[0, 0, :16], image[0, 0, 16:32]
    torch.testing.assert_close(image[0, 2, :16], ll - lp)  # they begin and end at the same electrodes
    assert json.loads(json.dumps(picture.settings))["montage"] == "regions"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"centre": LogSTFT(height=8, montage="chains_16", n_times=2000)}, "centre.height=8: .*the whole, 16"),
        ({"centre": LogSTFT(height=16, montage="chains_16")}, "centre.n_times=10000.*: fewer samples than"),
        ({"centre": LogSTFT(height=16, n_times=2000)}, "centre.montage=regions: must be montage=chains_16"),
        ({"whole": LogSTFT(height=16, montage="chains_16", zoom_s=10)}, "whole: a spectrogram with zoom_s=null"),
        ({"centre": RawImage()}, "centre: a spectrogram"),
        ({"replaced": 0.0}, "replaced=0: a share of the 100 columns"),
        ({"replaced": 1.0}, "replaced=1"),
    ],
)
def test_bad_settings(settings: dict[str, object], message: str) -> None:
    parts = {
        "whole": LogSTFT(montage="chains_16", height=16, width=100),
        "centre": LogSTFT(montage="chains_16", height=16, n_times=2000),
    }
    with pytest.raises(UserError, match=message):
        ZoomInside(**{**parts, "montage": "chains_16", **settings})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"differences": ["mean"]}, "unknown front_end.differences 'mean'"),
        ({"differences": ["others"], "layout": "stack"}, r"differences=\[others\]: only with .*layout=tiles"),
        ({"image": {"raw": RawImage()}, "tile_height": None, "tile_width": None}, "only of spectrograms"),
        (
            {"image": {"m": LogSTFT(montage="average_reference")}},
            "m shows Fp1-AVG and nothing that shares an electrode",
        ),
    ],
)
def test_differences_that_cannot_be(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ImageFrontEnd(**{"sources": "eeg", "layout": "tiles", "differences": ["neighbours"], **settings})  # type: ignore[arg-type]
