"""Simulated EEG has the properties that real EEG has: measured, not looked up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import butter, sosfiltfilt, welch

from hbac.synthetic import simulate_window
from hbac.synthetic.background import draw_background, render_background
from hbac.synthetic.draws import frequencies, pulses, renewal, spectrum_noise, to_signal, wander
from hbac.synthetic.electrodes import add_gaps
from hbac.synthetic.head import (
    BIPOLAR,
    ELECTRODE_XYZ,
    LEFT,
    MIRROR_INDEX,
    RIGHT,
    hill,
    lateralisation,
    lead_field,
    on_sphere,
)
from hbac.synthetic.looks import draw_pattern
from hbac.synthetic.patient import Patient, draw_patient
from hbac.synthetic.patterns import Periodic, Rhythmic
from hbac.synthetic.seizures import draw_seizure
from hbac.synthetic.spectrogram_file import COLUMNS, FREQUENCIES_HZ, decimate, multitaper
from hbac.vocabulary import CLASSES, ELECTRODES

SFREQ = 200.0


def patients(count: int, seed: int = 0) -> list[Patient]:
    return [draw_patient(np.random.default_rng([seed, i])) for i in range(count)]


def quiet_background(patient: Patient, seed: int, n: int = 10000) -> np.ndarray:
    rng = np.random.default_rng(seed)
    background = replace(draw_background(rng, patient), continuity="continuous")
    return render_background(rng, patient, background, 0.0, n, SFREQ)


def test_windows_are_a_function_of_label_and_seed() -> None:
    first, truth = simulate_window("grda", 4)
    again, _ = simulate_window("grda", 4)
    other, _ = simulate_window("grda", 5)
    assert first.shape == (10000, 20)
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert truth["shares"].argmax() == CLASSES.index("grda")
    with pytest.raises(ValueError, match="'gdp' is no class"):
        simulate_window("gdp")
    with pytest.raises(ValueError, match="another class than 'lpd', and 0 to 0.6"):
        simulate_window("lpd", second="other", ambiguity=0.7)


def test_potential_of_a_radial_dipole_falls_with_the_angle() -> None:
    xyz = on_sphere(0.4, 0.0)[None]
    field = lead_field(xyz, xyz)[:, 0]
    angle = np.arccos(np.clip(ELECTRODE_XYZ @ xyz[0], -1, 1))
    assert ELECTRODES[int(field.argmax())] == "C4"
    order = np.argsort(angle)
    assert (np.diff(field[order][:6]) <= 1e-9).all()
    mirrored = lead_field(xyz * [-1, 1, 1], xyz * [-1, 1, 1])[:, 0]
    np.testing.assert_allclose(mirrored[MIRROR_INDEX], field, atol=2e-2 * field.max())


def test_tangential_dipole_is_odd_across_its_plane() -> None:
    field = lead_field(np.array([[0.0, 0.0, 1.0]]), np.array([[1.0, 0.0, 0.0]]))[:, 0]
    np.testing.assert_allclose(field[MIRROR_INDEX], -field, atol=1e-9)
    assert field[ELECTRODES.index("C4")] > 0


def test_lateralisation_knows_left_from_right() -> None:
    rng = np.random.default_rng(0)
    left = hill(rng, on_sphere(-0.7, 0.0), 0.4)
    assert lateralisation(left) < -0.8
    assert lateralisation(left[MIRROR_INDEX]) > 0.8
    assert abs(lateralisation(left + left[MIRROR_INDEX])) < 0.05
    assert len(LEFT) == len(RIGHT) == 8


def test_background_levels_are_those_of_critically_ill_patients() -> None:
    found = []
    for i, patient in enumerate(patients(40)):
        band = sosfiltfilt(butter(2, [0.5, 30], "band", fs=SFREQ, output="sos"), BIPOLAR @ quiet_background(patient, i))
        found.append(np.median(band.std(axis=1)))
    assert 7 < np.median(found) < 16
    assert 1 < np.min(found) < 6
    assert 20 < np.max(found) < 100


def test_background_spectrum_falls_as_a_power_of_frequency() -> None:
    slopes = []
    for i, patient in enumerate(patients(30)):
        alone = replace(patient, rhythms=(), knee_hz=0.6)
        f, power = welch(BIPOLAR @ quiet_background(alone, i), SFREQ, nperseg=800)
        use = (f > 3) & (f < 25)
        slopes.append(-np.polyfit(np.log(f[use]), np.log(np.median(power, axis=0)[use]), 1)[0])
    assert 1.7 < np.median(slopes) < 3.2
    assert min(slopes) > 0.6
    assert max(slopes) < 4.8
    assert np.std(slopes) > 0.3


def test_neighbours_are_more_alike_than_distant_electrodes() -> None:
    near, far, bipolar = [], [], []
    for i, patient in enumerate(patients(15)):
        eeg = quiet_background(patient, i)
        r = np.corrcoef(eeg)
        near += [r[ELECTRODES.index(a), ELECTRODES.index(b)] for a, b in (("F3", "C3"), ("T4", "T6"), ("Cz", "Pz"))]
        far += [r[ELECTRODES.index(a), ELECTRODES.index(b)] for a, b in (("Fp1", "O2"), ("T3", "T4"), ("F7", "T6"))]
        bipolar.append(np.abs(np.corrcoef(BIPOLAR @ eeg)[np.triu_indices(18, 1)]).mean())
    assert np.mean(near) > np.mean(far) + 0.2
    assert 0.2 < np.median(bipolar) < 0.65


def test_alpha_is_posterior() -> None:
    found = 0
    for i, patient in enumerate(patients(40, seed=1)):
        alpha = [rhythm for rhythm in patient.rhythms if rhythm.name == "alpha"]
        if not alpha:
            continue
        found += 1
        only = replace(patient, rhythms=(replace(alpha[0], ratio=3.0),), gains=np.ones(19, dtype=np.float32))
        f, power = welch(quiet_background(only, i), SFREQ, nperseg=800)
        peak = power[:, np.abs(f - alpha[0].peak_hz).argmin()]
        back = peak[[ELECTRODES.index(name) for name in ("O1", "O2", "P3", "P4")]].mean()
        front = peak[[ELECTRODES.index(name) for name in ("Fp1", "Fp2", "F3", "F4")]].mean()
        assert back > front
    assert 8 <= found <= 28


@pytest.mark.parametrize("label", ["lpd", "lrda"])
def test_lateral_patterns_lie_on_the_side_the_truth_names(label: str) -> None:
    agree = []
    for seed in range(12):
        _, truth = simulate_window(label, seed)
        pattern = truth["patterns"][0]
        if pattern["side"] == 0:
            continue
        energy = np.square(BIPOLAR @ pattern["field"])
        agree.append(np.sign(energy[list(RIGHT)].sum() - energy[list(LEFT)].sum()) == pattern["side"])
    assert len(agree) >= 9
    assert np.mean(agree) > 0.95


def test_both_sides_occur() -> None:
    sides = [simulate_window("lpd", seed)[1]["side"] for seed in range(16)]
    assert sides.count(-1) >= 3
    assert sides.count(1) >= 3


def test_periodic_discharges_repeat_at_their_rate() -> None:
    close = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        pattern = draw_pattern(rng, draw_patient(rng), CLASSES.index("gpd"))
        assert isinstance(pattern, Periodic)
        assert 0.4 <= pattern.rate_hz <= 2.8
        clock = replace(pattern, variation=0.03, missing=0.0, restless=0.1, rhythmic=0.0, fast=0.0)
        wave = clock.waves(rng, 0.0, 10000, SFREQ, np.ones(10000, dtype=np.float32))[0]
        envelope = np.convolve(np.abs(wave), np.ones(40) / 40, "same")
        envelope -= envelope.mean()
        r = np.correlate(envelope, envelope, "full")[9999:]
        first = int(0.6 / pattern.rate_hz * SFREQ)
        lag = first + int(r[first : int(1.5 / pattern.rate_hz * SFREQ)].argmax())
        close.append(abs(lag / SFREQ * pattern.rate_hz - 1) < 0.12)
    assert np.mean(close) >= 0.8


@pytest.mark.parametrize("label", ["lrda", "grda"])
def test_rhythmic_delta_peaks_below_two_point_six_hertz(label: str) -> None:
    for seed in range(8):
        rng = np.random.default_rng(seed)
        pattern = draw_pattern(rng, draw_patient(rng), CLASSES.index(label))
        assert isinstance(pattern, Rhythmic)
        wave = pattern.waves(rng, 0.0, 20000, SFREQ, np.ones(20000, dtype=np.float32))[0]
        f, power = welch(wave, SFREQ, nperseg=2000)
        peak = f[power.argmax()]
        assert 0.5 < peak < 4.2
        assert peak == pytest.approx(pattern.rate_hz, rel=0.35)
        assert 0.7 <= pattern.rate_hz <= 2.6


def test_evolving_seizures_slow_down_and_grow() -> None:
    found = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        seizure = draw_seizure(rng, draw_patient(rng), 0.0, 60.0)
        if seizure.kind != "evolving":
            continue
        found += 1
        rhythm = seizure.shape[:2]  # without the spikes, which keep their width
        even = replace(seizure, onset_fast=0.0, unrest=0.02, waxing=0.0, build_up=0.4, shape=rhythm)
        wave = even.waves(rng, 0.0, 12000, SFREQ, np.ones(12000, dtype=np.float32))[0]
        f, early = welch(wave[:2000], SFREQ, nperseg=1000)
        _, late = welch(wave[-2000:], SFREQ, nperseg=1000)
        assert (f * late).sum() / late.sum() < (f * early).sum() / early.sum()
        assert wave[-4000:].std() > wave[:2000].std()
        assert 2.5 <= seizure.rate_hz <= 16
    assert found >= 10


def test_spike_wave_has_spikes_and_in_most_more_dome_than_spike() -> None:
    sharp, slow = [], []
    for seed in range(80):
        rng = np.random.default_rng(seed)
        seizure = draw_seizure(rng, draw_patient(rng), 0.0, 60.0)
        if seizure.kind != "spike-wave":
            continue
        even = replace(seizure, restless=0.02, unrest=0.01, waxing=0.0)
        wave = even.waves(rng, 0.0, 12000, SFREQ, np.ones(12000, dtype=np.float32))[0][4000:8000]
        f, power = welch(wave, SFREQ, nperseg=1000)
        sharp.append(power[f > 2.5 * seizure.rate_hz].sum() / power.sum())
        slow.append(power[f < 1.5 * seizure.rate_hz].sum() / power.sum())
    assert len(sharp) >= 10
    assert np.mean(np.array(sharp) > 0.02) > 0.6
    assert 0.5 < np.mean(np.array(slow) > 0.5) < 1


def test_sharp_waves_ride_on_slow_delta_only() -> None:
    found = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        pattern = draw_pattern(rng, draw_patient(rng), CLASSES.index("grda"))
        assert isinstance(pattern, Rhythmic)
        found.append((pattern.rate_hz, pattern.sharp))
    assert max(rate for rate, sharp in found if sharp > 0) < 2.3 < max(rate for rate, _ in found)


def test_mains_and_reference_noise_vanish_in_bipolar_or_above_the_band() -> None:
    inside, alone = [], []
    for i in range(30):
        eeg, _ = simulate_window(CLASSES[i % 6], 100 + i)
        f, power = welch(eeg[:, :19].T, SFREQ, nperseg=800)
        _, differences = welch(BIPOLAR @ eeg[:, :19].T, SFREQ, nperseg=800)
        slow = (f > 0.5) & (f < 4)
        alone.append(np.median(power[:, slow].mean(axis=1)))
        inside.append(np.median(differences[:, slow].mean(axis=1)))
    assert np.median(np.array(alone) / np.array(inside)) > 1


def test_gaps_are_about_one_point_two_per_mille() -> None:
    share = []
    for seed in range(4000):
        eeg = np.zeros((20, 500), dtype=np.float32)
        add_gaps(np.random.default_rng(seed), eeg, 10.0)
        share.append(np.isnan(eeg).mean())
    assert np.mean(share) == pytest.approx(0.0012, abs=0.0005)
    assert 0.03 < np.mean(np.array(share) > 0) < 0.07


def test_coloured_noise_has_the_density_it_was_asked_for() -> None:
    f = frequencies(20000, SFREQ)
    density = np.where((f > 5) & (f < 10), 4.0, 0.0)
    wave = to_signal(
        spectrum_noise(np.random.default_rng(0), np.eye(8, dtype=np.float32), density, 20000, SFREQ), 20000
    )
    assert wave.var() == pytest.approx(20.0, rel=0.03)


def test_wander_has_unit_variance_and_its_correlation_time() -> None:
    x = wander(np.random.default_rng(0), 40000, 20.0, 2.0, 20)
    assert x.shape == (20, 40000)
    assert x.dtype == np.float32
    assert 0.7 < x.var() < 1.1
    after = np.mean(x[:, :-40] * x[:, 40:]) / x.var()
    assert after == pytest.approx(np.exp(-1), abs=0.12)


def test_pulses_equal_gaussians() -> None:
    centre, sigma, height = np.array([1.0, 2.5, 3.9]), np.array([0.02, 0.1, 0.3]), np.array([1.0, -2.0, 0.5])
    t = np.arange(800) / SFREQ
    want = sum(h * np.exp(-0.5 * ((t - c) / s) ** 2) for c, s, h in zip(centre, sigma, height, strict=True))
    np.testing.assert_allclose(pulses(800, SFREQ, centre, sigma, height), want, atol=6e-3)


def test_renewal_has_rate_and_variation() -> None:
    at = renewal(np.random.default_rng(0), 10, 4010, 1.5, 0.2)
    steps = np.diff(at)
    assert at.min() >= 10
    assert at.max() < 4010
    assert 1 / steps.mean() == pytest.approx(1.5, rel=0.03)
    assert steps.std() / steps.mean() == pytest.approx(0.2, rel=0.06)


def test_spectrogram_finds_a_sine_in_its_region_with_its_power() -> None:
    t = np.arange(3000) / 50.0
    eeg = np.zeros((19, 3000), dtype=np.float32)
    eeg[ELECTRODES.index("T3")] = 10 * np.sin(2 * np.pi * 6 * t)
    power = multitaper(eeg)
    assert power.shape == (30, 400)
    regions = power.reshape(30, 4, 100)
    assert FREQUENCIES_HZ[regions[15, 0].argmax()] == pytest.approx(6, abs=0.5)
    assert regions[:, 1:].max() < 1e-3
    # Two of four differences carry the sine of 50 µV²; integrated over the region's frequencies: half of it.
    assert regions[15, 0].sum() * (FREQUENCIES_HZ[1] - FREQUENCIES_HZ[0]) == pytest.approx(25, rel=0.05)
    assert len(COLUMNS) == 400


def test_decimation_keeps_what_is_below_twenty_five_hertz() -> None:
    t = np.arange(10000) / SFREQ
    low = np.sin(2 * np.pi * 7 * t)[None].astype(np.float32)
    found = decimate(low + np.sin(2 * np.pi * 60 * t)[None].astype(np.float32), SFREQ)
    np.testing.assert_allclose(found, low[:, ::4], atol=1e-4)
