"""Resampling against scipy's polyphase filter and the exact spectrum."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from scipy.signal import resample_poly

from hbac.recordings.declared import Declared
from hbac.recordings.resample import Resampler
from tests.recorded import brain


@pytest.mark.parametrize("sfreq", [200.0, 250.0, 256.0, 512.0, 128.0, 500.0, 199.5, 1000.0])
def test_rates_are_as_scipy_resamples_them(sfreq: float) -> None:
    x_CT = brain(20, sfreq, 3).astype(np.float32)
    if sfreq < 150:  # nothing above 50 Hz
        spectrum = np.fft.rfft(x_CT)
        spectrum[:, np.fft.rfftfreq(x_CT.shape[1], 1 / sfreq) > 50] = 0
        x_CT = np.fft.irfft(spectrum, x_CT.shape[1]).astype(np.float32)
    resampler = Resampler(Declared(sfreq).ratio)
    start, stop = 800, 3200
    first, last = resampler.needs(start, stop)
    found = resampler(x_CT[:, first:last], start, stop)
    ratio = Fraction(200) / Fraction(sfreq).limit_denominator(1000)
    wanted = resample_poly(x_CT, ratio.numerator, ratio.denominator, axis=1, window=("kaiser", 12.0))[:, start:stop]
    # scipy's own filter loses some at 70 Hz; the spectrum's inverse transform loses nothing.
    spectrum = np.fft.rfft(x_CT.astype(np.float64))
    n = round(x_CT.shape[1] * float(ratio))
    exact = np.fft.irfft(spectrum[:, : n // 2 + 1], n)[:, start:stop] * float(ratio)
    assert np.abs(found - wanted).max() < 0.02 * wanted.std()
    assert np.abs(found - exact).max() < 0.002 * exact.std()


def test_what_lies_above_the_new_nyquist_frequency_is_gone() -> None:
    t = np.arange(20 * 1000) / 1000
    x_CT = np.sin(2 * np.pi * 130 * t)[None].astype(np.float32)
    resampler = Resampler(Declared(1000).ratio)
    first, last = resampler.needs(800, 3200)
    assert np.abs(resampler(x_CT[:, first:last], 800, 3200)).max() < 1e-3


def test_missing_samples_stay_missing() -> None:
    x_CT = brain(20, 256, 2).astype(np.float32)
    x_CT[0, 2560:2816] = np.nan  # second 10 to 11
    resampler = Resampler(Declared(256).ratio)
    first, last = resampler.needs(1600, 2600)
    missing = np.isnan(resampler(x_CT[:, first:last], 1600, 2600))
    assert not missing[1].any()
    assert missing[0, 400:600].mean() > 0.99
    assert missing[0].sum() <= 202
