"""The mel image: parity with librosa, known content in known places."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hbac.common.errors import UserError
from hbac.signal.mel import MelImage, mel_filters
from hbac.signal.montage import channel_mirror
from hbac.signal.tiles import ImageLayout
from hbac.vocabulary import CHANNELS
from tests.signal.mirrored import mirror_of
from tests.signal.recordings import noise, public_mel_image, real


def _assert_parity(eeg_BCT: np.ndarray, float32: float = 3e-3) -> None:
    wanted64 = np.stack([public_mel_image(eeg.astype(np.float64)) for eeg in eeg_BCT])
    image = MelImage()
    got64 = image(torch.tensor(eeg_BCT, dtype=torch.float64)).numpy()
    got32 = image(torch.tensor(eeg_BCT, dtype=torch.float32)).numpy()
    assert got64.shape == wanted64.shape == (len(eeg_BCT), 4, 128, 256)
    assert np.abs(got64 - wanted64).max() < 1e-6
    assert np.abs(got32 - wanted64).max() < float32


def test_noise_equals_librosa() -> None:
    _assert_parity(noise(2), float32=1e-3)


def _spoil(eeg_2CT: np.ndarray) -> np.ndarray:
    """Two windows with missing stretches, channels missing throughout, and flat differences."""
    eeg = eeg_2CT.copy()
    eeg[0, CHANNELS.index("C3"), 300:900] = np.nan
    eeg[0, CHANNELS.index("F3"), 700:1200] = np.nan
    eeg[0, CHANNELS.index("EKG")] = np.nan
    eeg[1, CHANNELS.index("T4")] = np.nan
    eeg[1, CHANNELS.index("F7")] = eeg[1, CHANNELS.index("Fp1")]
    eeg[1, CHANNELS.index("P3")] = 7.0
    eeg[1, CHANNELS.index("O1")] = -3.0
    return eeg


def test_real_windows_equal_librosa(iiic_root: Path) -> None:
    eeg = real(iiic_root, 3)
    _assert_parity(np.concatenate([eeg[:1], _spoil(eeg[1:])]))
    wanted32 = public_mel_image(eeg[0])
    assert np.abs(MelImage()(torch.tensor(eeg[:1]))[0].numpy() - wanted32).max() < 3e-3


def test_missing_and_flat_channels_equal_librosa() -> None:
    _assert_parity(_spoil(noise(2)))


def test_mains_offset_and_faint_signals_equal_librosa() -> None:
    t = np.arange(10_000) / 200
    eeg = noise(3)
    eeg[0] += 500 * np.sin(2 * np.pi * 60 * t + np.arange(20)[:, None])
    eeg[1] += 3000.0 * np.arange(20)[:, None]
    eeg[2] *= 1e-6
    _assert_parity(eeg)


def test_a_silent_recording_is_one_throughout_as_in_the_recipe() -> None:
    silent = np.zeros((1, 20, 10_000))
    assert (public_mel_image(silent[0]) == 1).all()
    assert (MelImage()(torch.from_numpy(silent)) == 1).all()
    assert (MelImage()(torch.full((1, 20, 10_000), float("nan"))) == 1).all()


def test_filters_equal_librosas() -> None:
    librosa = pytest.importorskip("librosa")
    for n_mels, low, high, rate in ((128, 0, 20, 200), (40, 0.5, 70, 200), (64, 0, 4000, 16000)):
        wanted = librosa.filters.mel(sr=rate, n_fft=1024, n_mels=n_mels, fmin=low, fmax=high, dtype=np.float64)
        got = mel_filters(n_mels, 1024, low, high, rate).numpy()
        np.testing.assert_allclose(got, wanted, atol=1e-12 * wanted.max())


def test_filters_agree_with_torchaudios_as_far_as_those_go() -> None:
    functional = pytest.importorskip("torchaudio.functional")
    wanted = functional.melscale_fbanks(513, 0.0, 20.0, 128, 200, norm="slaney", mel_scale="slaney").T
    torch.testing.assert_close(mel_filters(128, 1024, 0, 20, 200).float(), wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("electrode", "channels"),
    [("F3", [1]), ("T3", [0]), ("C4", [2]), ("T6", [3]), ("Fp1", [0, 1]), ("O2", [2, 3]), ("Cz", []), ("EKG", [])],
)
def test_what_happens_at_an_electrode_shows_in_its_regions(electrode: str, channels: list[int]) -> None:
    eeg = torch.zeros(1, 20, 10_000)
    eeg[0, CHANNELS.index(electrode)] = 50 * torch.sin(2 * torch.pi * 6 * torch.arange(10_000) / 200)
    image = MelImage()(eeg)[0]
    assert [i for i in range(4) if image[i].min() < 1] == channels


def test_rows_are_frequency_and_columns_time() -> None:
    eeg = torch.zeros(1, 20, 10_000)
    t = torch.arange(10_000) / 200
    eeg[0, CHANNELS.index("T3"), 5000:] = 50 * torch.sin(2 * torch.pi * 15 * t[5000:])
    image = MelImage()(eeg)[0, 0]
    row, column = divmod(int(image.argmax()), 256)
    assert row == pytest.approx(15 / 20 * 129 - 1, abs=3)
    assert column > 128
    assert image[:, :124].max() < image[:, 135:].max()


def test_a_swapped_head_gives_the_swapped_image() -> None:
    eeg = torch.from_numpy(noise(1))
    for montage in ("regions", "longitudinal_bipolar", "transverse_bipolar"):
        image = MelImage(montage)
        swapped = image(eeg[:, channel_mirror()])
        layout = ImageLayout("stack", ["eeg"], {"eeg": image.channels})
        torch.testing.assert_close(swapped, mirror_of(image(eeg), layout))
    assert MelImage().channels == ("LL", "LP", "RP", "RL")


def test_regions_are_the_mean_of_their_derivations_images() -> None:
    eeg = torch.from_numpy(noise(1))
    each = MelImage("chains_16")(eeg)
    assert each.shape == (1, 16, 128, 256)
    torch.testing.assert_close(MelImage()(eeg), each.view(1, 4, 4, 128, 256).mean(2))


def test_zoom_shows_the_central_seconds_only() -> None:
    eeg = torch.from_numpy(noise(1)).float()
    image = MelImage(zoom_s=10)
    outside = eeg.clone()
    outside[..., :3900] = 0
    outside[..., 6100:] = 0
    assert torch.equal(image(eeg), image(outside))
    t = torch.arange(10_000) / 200
    burst = torch.zeros(1, 20, 10_000)
    burst[0, CHANNELS.index("C3")] = 50 * torch.exp(-0.5 * ((t - 25) / 0.3) ** 2) * torch.sin(2 * torch.pi * 10 * t)
    column = int(image(burst)[0, 1].amax(0).argmax())
    assert column == pytest.approx(127.5, abs=4)


@pytest.mark.parametrize("settings", [{"height": 64, "width": 128}, {"height": 32, "band": "0.5-40", "n_times": 2000}])
def test_other_sizes_and_bands_equal_librosa(settings: dict) -> None:
    librosa = pytest.importorskip("librosa")
    image = MelImage("public_8", **settings)
    eeg = noise(1, image.n_times)
    got = image(torch.from_numpy(eeg)).numpy()[0]
    x = eeg[0, CHANNELS.index("Fp1")] - eeg[0, CHANNELS.index("T3")]
    power = librosa.feature.melspectrogram(
        y=x,
        sr=200,
        hop_length=image.n_times // image.width,
        n_fft=1024,
        win_length=128,
        n_mels=image.height,
        fmin=image.range.low_hz,
        fmax=image.range.high_hz,
    )
    wanted = (librosa.power_to_db(power, ref=np.max)[:, : image.width] + 40) / 40
    assert got.shape == (8, image.height, image.width)
    assert np.abs(got[0] - wanted).max() < 1e-6


def test_a_fixed_reference_keeps_the_gain() -> None:
    eeg = torch.from_numpy(noise(1))
    image = MelImage(reference="fixed", floor_db=-80, ceiling_db=120)
    # Ten times the voltage is 20 dB more, a fifth of the half range.
    torch.testing.assert_close(image(10 * eeg), image(eeg) + 0.2)
    assert torch.allclose(MelImage()(10 * eeg), MelImage()(eeg))


def test_a_window_does_not_depend_on_its_batch_and_settings_survive_json() -> None:
    eeg = torch.from_numpy(noise(3)).float()
    eeg[1, 4, 50:60] = float("nan")
    image = MelImage(height=64)
    together = image(eeg)
    again = MelImage(**json.loads(json.dumps(image.settings)))
    for i in range(3):
        assert torch.equal(again(eeg[i : i + 1])[0], together[i])
    assert image(eeg[:0]).shape == (0, 4, 64, 256)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(image(eeg), together)
    assert image(eeg.half()).dtype == torch.float32


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"montage": "double_banana"}, "unknown montage 'double_banana'; there are: regions, longitudinal"),
        ({"band": "5-1"}, "did you mean 1-5"),
        ({"height": 300}, "height=300: some mels of the band 0-20 fall between the bins of n_fft=1024"),
        ({"win_length": 2000}, "win_length=2000: from 2 to n_fft=1024"),
        ({"zoom_s": 60}, r"zoom_s=60: from 1.28 s .* to the window's 50 s"),
        ({"floor_db": 10}, "floor_db=10 must be below ceiling_db=0"),
        ({"reference": "mean"}, "unknown reference 'mean'; there are: fixed, max"),
        ({"n_times": 100}, "a sample a column"),
    ],
)
def test_bad_settings(settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        MelImage(**settings)


def test_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(1, 10000, 20\); expected \(batch, 20, 10000\)"):
        MelImage()(torch.zeros(1, 10_000, 20))
