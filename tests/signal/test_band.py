"""Bands and the one-FFT filter: equality with scipy, known sines, errors."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hbac.common.errors import UserError
from hbac.signal.band import CLINICAL_BANDS, Band, BandPass, parse_band

FS = 200.0


def _sos(low: float, high: float, order: int = 2) -> np.ndarray:
    if low == 0:
        return scipy.signal.butter(order, high, "lowpass", fs=FS, output="sos")
    if high == FS / 2:
        return scipy.signal.butter(order, low, "highpass", fs=FS, output="sos")
    return scipy.signal.butter(order, [low, high], "bandpass", fs=FS, output="sos")


def _brown(n: int, seed: int = 0, rows: int = 3) -> np.ndarray:
    """1/f-like noise of some tens of microvolts, as EEG has it."""
    white = np.random.default_rng(seed).normal(size=(rows, n))
    return scipy.signal.lfilter([4.0], [1.0, -0.97], white)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [("0.5-20", 0.5, 20), ("1-12", 1, 12), (" .5 – 40 Hz", 0.5, 40), ("0-30", 0, 30), ("20-100", 20, 100)],
)
def test_any_range_in_hertz(text: str, low: float, high: float) -> None:
    band = parse_band(text)
    assert (band.low_hz, band.high_hz) == (low, high)


@pytest.mark.parametrize("name", list(CLINICAL_BANDS))
def test_clinical_names_in_any_case(name: str) -> None:
    assert (parse_band(name.upper()).low_hz, parse_band(name).high_hz) == CLINICAL_BANDS[name]


@given(st.floats(0, 99), st.floats(0.01, 99))
def test_what_a_band_prints_can_be_read_again(low: float, width: float) -> None:
    high = low + width
    if high > 100:
        return
    text = f"{low:.6f}-{high:.6f}"
    band = parse_band(text)
    assert band.low_hz == pytest.approx(low, abs=1e-6)
    assert band.high_hz == pytest.approx(high, abs=1e-6)
    assert parse_band(band) == band


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("20-5", r"band=20-5: the lower edge must be below.*found 20 and 5; did you mean 5-20\?"),
        ("5-5", r"must be below the upper one, found 5 and 5$"),
        ("0.5-200", r"band=0.5-200: 200 Hz is above the Nyquist frequency of the recordings, 100 Hz"),
        ("20", r"band=20: not a band; write low-high in hertz, as 0.5-20"),
        ("-1-20", "not a band"),
        ("0.5-20-40", "not a band"),
        ("nan-20", "not a band"),
        ("", "not a band"),
        ("dleta", r"did you mean 'delta'.*low-high in hertz|Did you mean 'delta'\? Or write low-high in hertz"),
    ],
)
def test_bad_bands_say_what_would_be_right(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_band(text)


def test_numbers_and_none_from_a_config_are_refused_in_the_same_words() -> None:
    for value in (20, 0.5, None, [1, 2]):
        with pytest.raises(UserError, match="rite low-high in hertz, as"):
            parse_band(value)


@pytest.mark.parametrize(
    ("band", "n_times", "rate"),
    [("0.5-20", 2000, 40), ("0.5-40", 4000, 80), ("1-12", 1200, 24), ("delta", 400, 8), ("0-100", 10000, 200)],
)
def test_output_rate_is_twice_the_upper_edge(band: str, n_times: int, rate: float) -> None:
    bandpass = BandPass(band)
    assert (bandpass.n_times_out, bandpass.sfreq_out) == (n_times, rate)
    assert bandpass(torch.zeros(2, 3, 10000)).shape == (2, 3, n_times)


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 30), st.floats(0.5, 60), st.integers(50, 12000))
def test_any_band_and_any_length_give_what_they_promise(low: float, width: float, n_times: int) -> None:
    bandpass = BandPass(Band(low, min(low + width, 100.0), "x"), n_times=n_times)
    assert bandpass.sfreq_out >= 2 * bandpass.band.high_hz - 1e-3
    assert bandpass.n_times_out == int(np.ceil(n_times * bandpass.sfreq_out / FS - 1e-9))
    y = bandpass(torch.randn(1, n_times))
    assert y.shape == (1, bandpass.n_times_out)
    assert y.isfinite().all()


@pytest.mark.parametrize(("low", "high"), [(0.5, 20), (0.5, 40), (1, 12), (8, 13), (0, 20)])
def test_zero_phase_equals_sosfiltfilt_then_resample(low: float, high: float) -> None:
    x = _brown(10_000)
    bandpass = BandPass(f"{low}-{high}")
    filtered = scipy.signal.sosfiltfilt(_sos(low, high), x, padlen=2000)
    wanted = scipy.signal.resample(filtered, bandpass.n_times_out, axis=-1)
    inside = slice(int(4 * bandpass.sfreq_out), -int(4 * bandpass.sfreq_out))
    got64 = bandpass(torch.from_numpy(x)).numpy()
    got32 = bandpass(torch.from_numpy(x).float()).numpy()
    # What is left is scipy's: resample wraps the window round, and the jump rings on at the band's edge.
    assert np.abs(got64 - wanted)[:, inside].max() < 2e-2 * wanted.std()
    assert np.abs(got64 - wanted)[:, inside].std() < 4e-3 * wanted.std()
    assert np.abs(got32 - got64).max() < 2e-6 * np.abs(x).max()


def _burst_and_scipy(causal: bool) -> tuple[np.ndarray, np.ndarray]:
    """A burst in silence, so that no edge matters, and scipy's answer on the length that our transform has."""
    bandpass = BandPass("0.5-20", causal=causal)
    t = np.arange(10_000) / FS
    x = np.exp(-0.5 * ((t - 25) / 1.5) ** 2) * np.random.default_rng(1).normal(size=(2, 10_000))
    start = bandpass.middle.start
    longer = np.zeros((2, bandpass.n_fft))
    longer[:, bandpass.middle] = x
    sos = _sos(0.5, 20)
    filtered = scipy.signal.sosfilt(sos, longer) if causal else scipy.signal.sosfiltfilt(sos, longer)
    return x, scipy.signal.resample(filtered, bandpass.n_fft // 5, axis=-1)[:, start // 5 : start // 5 + 2000]


@pytest.mark.parametrize("causal", [False, True])
def test_equals_scipy_to_rounding_where_nothing_reaches_the_edges(causal: bool) -> None:
    x, wanted = _burst_and_scipy(causal)
    bandpass = BandPass("0.5-20", causal=causal)
    assert np.abs(bandpass(torch.from_numpy(x)).numpy() - wanted).max() < 1e-10
    assert np.abs(bandpass(torch.from_numpy(x).float()).numpy() - wanted).max() < 1e-6


def test_causal_equals_sosfilt_from_the_first_sample_to_the_last() -> None:
    full = BandPass("0.5-20", causal=True, sfreq_out=200.0)
    brown = _brown(10_000)
    sos = _sos(0.5, 20)
    settled = scipy.signal.sosfilt_zi(sos)[:, None] * brown[:, :1].T[None].swapaxes(1, 2)
    steady, _ = scipy.signal.sosfilt(sos, brown, zi=settled)
    assert np.abs(full(torch.from_numpy(brown)).numpy() - steady).max() < 1e-3 * steady.std()


def test_a_causal_filter_does_not_see_the_future() -> None:
    x = torch.from_numpy(_brown(10_000))
    changed = x.clone()
    changed[:, 6000:] += 50
    bandpass = BandPass("0.5-20", causal=True, sfreq_out=200.0)
    difference = (bandpass(x) - bandpass(changed)).abs()
    # Not exactly 0: what leaves a circular transform at its end has decayed when it comes back, not vanished.
    assert difference[:, :5990].max() < 1e-3
    assert difference[:, 6000:6050].max() > 10


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sines_keep_their_phase_and_get_the_known_gain(dtype: torch.dtype) -> None:
    bandpass = BandPass("0.5-20")
    t_in = torch.arange(10_000, dtype=torch.float64) / FS
    t_out = torch.arange(2000, dtype=torch.float64) / 40
    for hz in (0.3, 1.0, 3.0, 10.0, 17.0):
        gain = float(np.abs(scipy.signal.freqz_sos(_sos(0.5, 20), [hz], fs=FS)[1][0]) ** 2)
        got = bandpass(torch.sin(2 * torch.pi * hz * t_in + 0.4)[None].to(dtype))[0]
        wanted = gain * torch.sin(2 * torch.pi * hz * t_out + 0.4)
        assert (got - wanted)[200:-200].abs().max() < 2e-3


@pytest.mark.parametrize("hz", [50.0, 60.0, 70.0, 99.0])
def test_mains_and_muscle_are_gone_before_decimation(hz: float) -> None:
    # At 40 Hz these would alias to 10, 20, 10 and 19 Hz. The millivolt has less than a microvolt left.
    t = torch.arange(10_000, dtype=torch.float64) / FS
    got = BandPass("0.5-20")(1000 * torch.sin(2 * torch.pi * hz * t + 1)[None])[0]
    assert got[200:-200].abs().max() < 0.5


def test_at_the_edges_it_is_nearer_to_a_longer_recording_than_sosfiltfilt_is() -> None:
    t = np.arange(10_000) / FS
    x = _brown(10_000, rows=8) + 30 * np.sin(2 * np.pi * 60 * t + 0.7)
    sos = _sos(0.5, 20)
    truth = scipy.signal.sosfiltfilt(sos, x)[:, 2500:7500]
    inner = x[:, 2500:7500]
    ours = BandPass("0.5-20", n_times=5000, sfreq_out=200.0)(torch.from_numpy(inner).contiguous()).numpy()
    theirs = scipy.signal.sosfiltfilt(sos, inner, padlen=1000)
    first_second = slice(0, 200)
    assert (ours - truth)[:, first_second].std() < 0.5 * (theirs - truth)[:, first_second].std()


def test_a_constant_and_a_slow_drift_disappear() -> None:
    t = torch.linspace(-1, 1, 10_000, dtype=torch.float64)
    got = BandPass("0.5-20")((300 + 200 * t)[None])[0]
    assert got.abs().max() < 3
    assert got[80:-80].abs().max() < 0.1
    torch.testing.assert_close(BandPass("0-20")(torch.full((1, 10_000), 7.0))[0], torch.full((2000,), 7.0))


def test_time_reversed_in_is_time_reversed_out() -> None:
    x = torch.from_numpy(_brown(10_000))
    bandpass = BandPass("0.5-20", sfreq_out=200.0)
    torch.testing.assert_close(bandpass(x.flip(-1)), bandpass(x).flip(-1), atol=0.1, rtol=0)


def test_the_filter_is_linear_and_rows_do_not_mix() -> None:
    x = torch.from_numpy(_brown(10_000, rows=4))
    bandpass = BandPass("0.5-20")
    torch.testing.assert_close(bandpass(2 * x[:2] - x[2:]), 2 * bandpass(x[:2]) - bandpass(x[2:]))
    torch.testing.assert_close(bandpass(x.view(2, 2, -1))[1, 0], bandpass(x[2]))


def test_given_output_rate_and_its_limits() -> None:
    assert BandPass("0.5-20", sfreq_out=50).n_times_out == 2500
    assert BandPass("0.5-20", n_times=2001, sfreq_out=50).n_times_out == 501
    with pytest.raises(UserError, match=r"sfreq_out=30: the band 0.5-20 needs an output rate from 40 Hz.*to 200 Hz"):
        BandPass("0.5-20", sfreq_out=30)
    with pytest.raises(UserError, match="sfreq_out=400"):
        BandPass("0.5-20", sfreq_out=400)
    with pytest.raises(UserError, match="order=0"):
        BandPass("0.5-20", order=0)


def test_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="9999 samples; this BandPass was made for 10000"):
        BandPass("0.5-20")(torch.zeros(1, 9999))


def test_under_autocast_and_half_input_the_result_is_float32() -> None:
    x = torch.from_numpy(_brown(10_000)).half()
    bandpass = BandPass("0.5-20")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = bandpass(x)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, bandpass(x.float()))


def _sine(hz: float, n: int = 10_000) -> torch.Tensor:
    return torch.sin(2 * torch.pi * hz * torch.arange(n, dtype=torch.float64) / FS + 1)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mains", [50, 60])
def test_a_notch_takes_out_mains_and_keeps_the_rest(mains: int, causal: bool) -> None:
    plain = BandPass("0.5-100", causal=causal)
    notched = BandPass("0.5-100", causal=causal, notch=mains)
    inside = slice(1600, -1600)  # where the transients of the edges have faded
    assert notched(_sine(mains)[None])[0, inside].abs().max() < 1e-3
    for hz in (1.0, 10.0, 30.0, 40.0, 75.0):
        x = _sine(hz)[None]
        assert notched(x)[0, inside].std() == pytest.approx(float(plain(x)[0, inside].std()), rel=0.01)
    sos = scipy.signal.tf2sos(*scipy.signal.iirnotch(mains, mains / 2, FS))
    gain = float(np.abs(scipy.signal.freqz_sos(sos, [mains + 1.0], fs=FS)[1][0]) ** (1 if causal else 2))
    beside = _sine(mains + 1.0)[None]
    assert notched(beside)[0, inside].std() == pytest.approx(gain * float(plain(beside)[0, inside].std()), rel=1e-3)


def test_harmonics_go_with_mains() -> None:
    t = torch.arange(20_000, dtype=torch.float64) / 400
    x = sum(torch.sin(2 * torch.pi * hz * t) for hz in (50, 100, 150))
    assert BandPass("0.5-200", n_times=20_000, sfreq=400, notch=50)(x[None])[0, 800:-800].abs().max() < 1e-3  # type: ignore[index]


def test_auto_takes_out_what_is_found_in_each_window() -> None:
    x = torch.from_numpy(np.stack([_brown(10_000, seed) for seed in range(3)]))
    x[1] += 5 * _sine(50)
    x[2, 0] += 5 * _sine(60)  # in one channel of three
    got = BandPass("0.5-70", notch="auto")(x)
    for window, notch in enumerate((None, 50, 60)):
        wanted = BandPass("0.5-70", notch=notch)(x[window])
        torch.testing.assert_close(got[window, :, 200:-200], wanted[:, 200:-200], atol=1e-3, rtol=0)
    silence = BandPass("0.5-70", notch="auto")(torch.zeros(2, 3, 10_000))
    assert not silence.any()


def test_notches_that_cannot_be() -> None:
    with pytest.raises(UserError, match="notch=55: null, 50, 60 or auto"):
        BandPass("0.5-70", notch=55)
    with pytest.raises(UserError, match="notch=auto: .* at least 2 s, sampled at 128 Hz"):
        BandPass("0.5-40", sfreq=100, notch="auto")
