"""The page's numbers are those of hbac.signal."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import butter, sosfiltfilt

from hbac.report.eeg_data import BANDS, HIGH_DB, LOW_DB, MAX_HZ, electrodes, gaps, spectrogram_levels
from hbac.signal import EEGFrontEnd, get_montage
from hbac.signal.montage import REGIONS
from hbac.tracking.reading_order import CHAINS
from hbac.vocabulary import CHANNELS, SFREQ, WINDOW_SAMPLES
from tests.helpers import random_eeg


@pytest.fixture(scope="module")
def eeg_BTC() -> torch.Tensor:
    windows = [random_eeg(WINDOW_SAMPLES, np.random.default_rng(seed), seed) for seed in range(2)]
    return torch.from_numpy(np.stack(windows)).half()


@pytest.mark.parametrize("band", BANDS)
@pytest.mark.parametrize("montage", ["longitudinal_bipolar", "average_reference", "public_8"])
def test_a_montage_of_the_filtered_electrodes_is_what_a_network_sees(
    eeg_BTC: torch.Tensor, band: str, montage: str
) -> None:
    front_end = EEGFrontEnd(montage, band, sfreq_out=BANDS[band], clip_uv=1e6, scale_uv=1.0)
    derived = get_montage(montage).matrix.float() @ electrodes(eeg_BTC, band)
    torch.testing.assert_close(derived, front_end(eeg_BTC), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("band", BANDS)
def test_the_filter_is_scipy_s(band: str) -> None:
    low, high = (float(edge) for edge in band.split("-"))
    time_s = np.arange(WINDOW_SAMPLES) / SFREQ
    x_T = 30 * np.sin(2 * np.pi * 6 * time_s) + 10 * np.sin(2 * np.pi * 0.2 * time_s)
    x_BTC = torch.from_numpy(np.tile(x_T[:, None], (1, len(CHANNELS))))[None]
    sos = butter(2, [low, high], "bandpass", fs=SFREQ, output="sos")
    wanted = sosfiltfilt(sos, x_T)[:: round(SFREQ / BANDS[band])]
    inside = slice(len(wanted) // 10, -len(wanted) // 10)
    found = electrodes(x_BTC, band)[0, 0].numpy()
    np.testing.assert_allclose(found[inside], wanted[inside], atol=0.05)


def test_gaps_are_the_runs_of_missing_samples() -> None:
    eeg_TC = np.zeros((100, len(CHANNELS)), np.float16)
    eeg_TC[[0, 1, 2, 50], CHANNELS.index("C3")] = np.nan
    eeg_TC[:, CHANNELS.index("O2")] = np.nan
    eeg_TC[99, CHANNELS.index("EKG")] = np.inf
    assert gaps(eeg_TC) == {"C3": [[0, 3], [50, 51]], "O2": [[0, 100]], "EKG": [[99, 100]]}


def test_a_spectrogram_shows_where_which_frequency_is() -> None:
    time_s = torch.arange(WINDOW_SAMPLES) / SFREQ
    eeg_BTC = torch.zeros(1, WINDOW_SAMPLES, len(CHANNELS))
    eeg_BTC[0, :, CHANNELS.index("T3")] = 30 * torch.sin(2 * torch.pi * 8 * time_s) * (time_s >= 25)
    level_IHW = spectrogram_levels(eeg_BTC)[0]
    left = level_IHW[CHAINS.index("LL")]
    hz = (np.arange(len(left)) + 0.5) * MAX_HZ / len(left)
    late = left[:, 150:240].mean(axis=1)
    assert abs(hz[late.argmax()] - 8) < 1.0
    assert (late.max() > 3 * left[:, 10:110].mean(axis=1)).all()
    # Two of the region's four derivations see T3; the others have no power at all, and count with the floor.
    density = 30**2 / 2 / 2.0  # spread over the 2 Hz of the tapers
    wanted_db = (10 * np.log10(density) + LOW_DB) / 2
    found_db = LOW_DB + late.max() / 254 * (HIGH_DB - LOW_DB)
    assert abs(found_db - wanted_db) < 1.5
    for region in ("RP", "RL"):
        assert level_IHW[CHAINS.index(region)].max() == 0


def test_a_region_without_a_recording_has_no_spectrogram() -> None:
    eeg_BTC = torch.randn(1, WINDOW_SAMPLES, len(CHANNELS)) * 20
    for name in REGIONS["RL"]:
        eeg_BTC[0, 4000:6000, CHANNELS.index(name)] = torch.nan
    missing_IW = (spectrogram_levels(eeg_BTC)[0] == 255).all(axis=1)
    right = missing_IW[CHAINS.index("RL")]
    assert np.flatnonzero(right).tolist() == list(range(100, 150))
    assert missing_IW.sum() == right.sum()
