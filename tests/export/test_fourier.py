"""Front-ends in real numbers make what they make with complex ones, and what scipy makes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from hbac.common.errors import UserError
from hbac.export.fourier import RealBandPass, Transform, in_real_numbers
from hbac.signal import BandPass, EEGFrontEnd, ImageFrontEnd, MorletScalogram, RawImage, ZoomInside
from tests.signal.recordings import noise


@pytest.mark.parametrize(("n", "n_out"), [(600, 301), (14_000, 1_401), (97, 49), (1, 1), (4096, 2049)])
def test_a_transform_is_numpys(n: int, n_out: int) -> None:
    x = np.random.default_rng(0).standard_normal((2, n))
    real, imag = Transform(n, n_out)(torch.from_numpy(x).float(), None)
    wanted = np.fft.rfft(x)[:, :n_out]
    assert np.abs(real.numpy() + 1j * imag.numpy() - wanted).max() < 1e-5 * np.sqrt(n) * 4
    both = Transform(n, n_out, sign=1)(torch.from_numpy(x).float(), torch.from_numpy(x[::-1].copy()).float())
    wanted = n * np.fft.ifft(x + 1j * x[::-1])[:, :n_out]
    assert np.abs(both[0].numpy() + 1j * both[1].numpy() - wanted).max() < 1e-5 * np.sqrt(n) * 4


def test_a_length_without_a_short_way_is_refused() -> None:
    with pytest.raises(UserError, match="a transform of 10007 samples"):
        Transform(10_007, 5)


FRONT_ENDS = {
    "0.5-20": lambda: EEGFrontEnd(),
    "odd lengths": lambda: EEGFrontEnd("public_8", "1-37"),
    "no decimation": lambda: EEGFrontEnd(band="0.5-100"),
    "low-pass": lambda: EEGFrontEnd(band="0-13"),
    "causal": lambda: EEGFrontEnd(causal=True),
    "mains of 50 Hz": lambda: EEGFrontEnd(band="0.5-70", notch=50),
    "mains, looked for": lambda: EEGFrontEnd(band="0.5-70", notch="auto"),
    "mains, causal": lambda: EEGFrontEnd(band="0.5-70", notch="auto", causal=True),
    "raw": lambda: ImageFrontEnd("eeg", {"raw": RawImage()}, "tiles", None, None),
    "morlet": lambda: ImageFrontEnd("eeg", {"m": MorletScalogram(height=32, width=64)}, "stack", 32, 64),
    "morlet, the centre": lambda: ImageFrontEnd("eeg", {"m": MorletScalogram(width=128, zoom_s=10)}, "stack", 64, 64),
    "morlet, drawn out": lambda: ImageFrontEnd(
        "eeg", {"z": drawn_out()}, "tiles", None, None, differences=["neighbours"]
    ),
}


def drawn_out() -> ZoomInside:
    whole, centre = (MorletScalogram("chains_16", height=8, width=64, n_times=n) for n in (10_000, 2000))
    return ZoomInside(whole, centre, "chains_16")


@pytest.mark.parametrize("name", list(FRONT_ENDS))
def test_a_front_end_in_real_numbers_makes_the_same(name: str) -> None:
    front_end: nn.Module = FRONT_ENDS[name]()
    eeg_BTC = torch.from_numpy(noise(3)).float().transpose(1, 2) + 300
    time_s = torch.arange(10_000) / 200
    eeg_BTC[0] += 40 * torch.sin(2 * torch.pi * 50 * time_s)[:, None]
    eeg_BTC[1] += 40 * torch.sin(2 * torch.pi * 60 * time_s)[:, None]
    eeg_BTC[1, 100:200, 4] = float("nan")
    real = in_real_numbers(front_end)
    wanted, found = front_end(eeg_BTC), real(eeg_BTC)
    assert found.shape == wanted.shape
    # In units of 32 µV, or of the picture's range: a thousandth of a microvolt.
    # Where there is hardly any power beside much, as for moments in a zoom, decibels enlarge what was rounded.
    assert float((found - wanted).abs().max()) < (2e-4 if "drawn out" in name else 5e-5)
    assert type(next(m for m in front_end.modules() if isinstance(m, BandPass | MorletScalogram))) in (
        BandPass,
        MorletScalogram,
    )  # the given one is not changed
    assert not any(m for m in real.modules() if type(m) in (BandPass, MorletScalogram))


def test_a_filter_in_real_numbers_holds_no_weights() -> None:
    assert RealBandPass(BandPass("0.5-20")).state_dict() == {}
