"""The Morlet scalogram: known sines, direct convolution, places."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from hbac.common.errors import UserError
from hbac.signal.montage import channel_mirror
from hbac.signal.scalogram import MorletScalogram
from hbac.vocabulary import CHANNELS
from tests.signal.recordings import noise

WIDE = {"floor_db": -100.0, "ceiling_db": 100.0}


@pytest.mark.parametrize("hz", [1.0, 4.0, 15.0])
def test_a_sine_has_half_its_squared_amplitude_at_its_frequency(hz: float) -> None:
    eeg = torch.zeros(1, 20, 10_000, dtype=torch.float64)
    eeg[0, CHANNELS.index("Cz")] = 10 * torch.sin(2 * torch.pi * hz * torch.arange(10_000) / 200)
    image = MorletScalogram("none", height=256, **WIDE)
    power = 10 ** (image(eeg)[0, CHANNELS.index("Cz")] * 10)
    row = int(power.mean(1).argmax())
    assert float(image.frequency_hz[row]) == pytest.approx(hz, rel=0.02)
    assert power[row, 40:216].min() == pytest.approx(50, rel=0.02)
    assert power[row, 40:216].max() == pytest.approx(50, rel=0.02)


@pytest.mark.parametrize("zoom_s", [None, 10.0])
def test_equals_direct_convolution_in_time(zoom_s: float | None) -> None:
    eeg = noise(1)
    image = MorletScalogram("none", height=8, n_cycles=5.0, zoom_s=zoom_s, **WIDE)
    power = 10 ** (image(torch.from_numpy(eeg))[0, 3].numpy() * 10)
    hop, first = (39, 0) if zoom_s is None else (8, 3980)
    n_samples = image._samples
    step = hop // n_samples
    t = np.arange(-3000, 3001) / 200
    for row in (2, 5, 7):
        f = float(image.frequency_hz[row])
        sigma_s = 5.0 / (2 * np.pi * f)
        wavelet = np.exp(-0.5 * (t / sigma_s) ** 2 + 2j * np.pi * f * t) / (sigma_s * np.sqrt(2 * np.pi)) / 200
        whole = np.abs(np.convolve(eeg[0, 3], wavelet * np.sqrt(2), "full")[3000:13000]) ** 2
        for column in (100, 128, 140):
            centre = first + column * hop
            at = [centre + round((i - (n_samples - 1) / 2) * step) for i in range(n_samples)]
            assert power[row, column] == pytest.approx(whole[at].mean(), rel=1e-3)


def test_low_frequencies_are_long_and_high_ones_short() -> None:
    t = torch.arange(10_000) / 200
    eeg = torch.zeros(1, 20, 10_000)
    eeg[0, CHANNELS.index("C3"), 5000] = 1000
    image = MorletScalogram(**WIDE)(eeg)[0, 1]
    assert t[5000] == 25

    def lasting(row: int) -> int:
        return int((image[row] > image[row].max() - 0.03).sum())

    assert lasting(20) > 3 * lasting(110)
    assert int(image[110].argmax()) == pytest.approx(128, abs=1)


def test_contract_of_images() -> None:
    eeg = torch.from_numpy(noise(2)).float()
    eeg[1, CHANNELS.index("C3"), 40:80] = float("nan")
    image = MorletScalogram(height=32, width=64)
    got = image(eeg)
    assert got.shape == (2, 4, 32, 64)
    assert got.abs().max() <= 1
    again = MorletScalogram(**json.loads(json.dumps(image.settings)))
    assert torch.equal(again(eeg[1:])[0], got[1])
    torch.testing.assert_close(image(eeg[:, channel_mirror()]), got[:, [3, 2, 1, 0]])
    torch.testing.assert_close(image(eeg + 500), got, atol=2e-3, rtol=0)
    assert MorletScalogram(n_times=2000, width=100)(eeg[..., :2000]).shape == (2, 4, 128, 100)


@pytest.mark.parametrize(
    ("settings", "message"), [({"band": "0-20"}, "octaves never reach 0 Hz"), ({"n_cycles": 0}, "n_cycles=0")]
)
def test_bad_settings(settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        MorletScalogram(**settings)
