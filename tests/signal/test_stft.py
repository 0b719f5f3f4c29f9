"""Log-STFT and multitaper images: known densities, equality with scipy, places."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.signal
import torch

from hbac.common.errors import UserError
from hbac.signal.montage import channel_mirror
from hbac.signal.stft import LogSTFT, Multitaper
from hbac.vocabulary import CHANNELS
from tests.signal.recordings import noise

WIDE = {"floor_db": -100.0, "ceiling_db": 100.0}


def _density(image: torch.Tensor) -> np.ndarray:
    """From the picture's units under WIDE back to µV²/Hz."""
    return (10 ** (image.double() * 10)).numpy()


def test_stft_columns_are_scipys_periodograms() -> None:
    eeg = noise(1)
    # A row every half hertz: the bins of a frame of two seconds are at its centre with this band.
    image = LogSTFT("referential", band="0.25-20.25", height=40, window_s=2.0, **WIDE)
    got = _density(image(torch.from_numpy(eeg)))[0, 4]
    x = eeg[0, 4]
    for column in (30, 128, 200):
        frame = x[column * 39 - 200 : column * 39 + 200]
        hz, wanted = scipy.signal.periodogram(frame, 200, window="hann", detrend=False)
        np.testing.assert_allclose(hz[1:41], 0.5 * np.arange(1, 41))
        np.testing.assert_allclose(got[:, column], wanted[1:41], rtol=1e-6)


def test_multitaper_is_the_mean_of_scipys_tapers() -> None:
    eeg = noise(1)
    image = Multitaper("referential", band="0.25-20.25", height=40, window_s=2.0, half_bandwidth=2.5, **WIDE)
    got = _density(image(torch.from_numpy(eeg)))[0, 4, :, 100]
    frame = eeg[0, 4, 3900 - 200 : 3900 + 200]
    tapers = scipy.signal.windows.dpss(400, 2.5, 4)
    wanted = np.mean([scipy.signal.periodogram(frame, 200, window=t, detrend=False)[1] for t in tapers], axis=0)
    np.testing.assert_allclose(got, wanted[1:41], rtol=1e-6)


@pytest.mark.parametrize("make", [LogSTFT, Multitaper])
def test_white_noise_has_its_density_everywhere(make: type) -> None:
    x = 10 * torch.randn(2, 20, 10_000, generator=torch.Generator().manual_seed(0))
    density = _density(make("referential", band="2-20", **WIDE)(x))[..., 10:-10]
    assert density.mean() == pytest.approx(100 * 2 / 200, rel=0.02)


def test_multitaper_is_steadier_than_one_window() -> None:
    x = 10 * torch.randn(1, 20, 10_000, generator=torch.Generator().manual_seed(0))
    one = LogSTFT("referential", window_s=2.0)(x).std()
    several = Multitaper("referential", window_s=2.0, half_bandwidth=3.0)(x).std()
    assert several < 0.6 * one


@pytest.mark.parametrize("make", [LogSTFT, Multitaper])
def test_contract_of_images(make: type) -> None:
    eeg = torch.from_numpy(noise(2)).float()
    eeg[1, CHANNELS.index("C3"), 40:80] = float("nan")
    eeg[1, CHANNELS.index("O1")] = float("nan")
    image = make(height=32, width=64, zoom_s=10)
    got = image(eeg)
    assert got.shape == (2, 4, 32, 64)
    assert got.dtype == torch.float32
    assert got.abs().max() <= 1
    again = make(**json.loads(json.dumps(image.settings)))
    assert torch.equal(again(eeg[1:])[0], got[1])
    torch.testing.assert_close(image(eeg[:, channel_mirror()]), got[:, [3, 2, 1, 0]])
    # Without a reference of its own each window keeps its gain: 20 dB are half of the half range.
    whole = make("chains_16", height=32, width=64)
    inside = whole(eeg)[0].abs() < 0.45
    torch.testing.assert_close(whole(10 * eeg)[0][inside], whole(eeg)[0][inside] + 0.5, atol=1e-4, rtol=0)


def test_a_burst_is_where_it_was() -> None:
    t = torch.arange(10_000) / 200
    eeg = torch.zeros(1, 20, 10_000)
    eeg[0, CHANNELS.index("P4")] = 80 * torch.exp(-0.5 * ((t - 30) / 0.5) ** 2) * torch.sin(2 * torch.pi * 12 * t)
    for make in (LogSTFT, Multitaper):
        image = make()(eeg)[0, 2]
        row, column = divmod(int(image.argmax()), 256)
        assert row == pytest.approx(12 / 20 * 128, abs=4)
        assert column == pytest.approx(30 * 200 / 39, abs=6)


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (LogSTFT, {"window_s": 0.001}, "window_s=0.001: at least 0.02 s"),
        (Multitaper, {"half_bandwidth": 0}, "half_bandwidth=0"),
        (Multitaper, {"n_tapers": 0}, "n_tapers=0"),
        (LogSTFT, {"band": "0-300"}, "above the Nyquist"),
    ],
)
def test_bad_settings(make: type, settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(**settings)
