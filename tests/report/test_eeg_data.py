"""The page's numbers are those of hbac.signal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hbac.data.windows import source_of
from hbac.recordings.datasets import HMS
from hbac.report.eeg_data import HIGH_DB, LOW_DB, MAX_HZ, gaps, mains, spectrogram_levels, stored
from hbac.signal.montage import REGIONS
from hbac.signal.reading_order import CHAINS
from hbac.vocabulary import CHANNELS, SFREQ, WINDOW_SAMPLES
from tests.helpers import random_eeg


def test_the_page_s_filters_get_channels_without_mean_and_gaps() -> None:
    eeg_BTC = torch.from_numpy(random_eeg(WINDOW_SAMPLES, np.random.default_rng(0)))[None].half() + 500
    eeg_BTC[0, :, 3] = torch.nan
    x_CT = stored(eeg_BTC)[0]
    assert x_CT.isfinite().all()
    assert x_CT.mean(dim=1).abs().max() < 1e-2
    there = eeg_BTC[0, :, 0].isfinite()
    torch.testing.assert_close(x_CT[0, there].diff(), eeg_BTC[0, there, 0].float().diff(), atol=1e-3, rtol=0)
    assert (x_CT[3] == 0).all()


@pytest.mark.parametrize(
    ("parts", "found"),
    [
        ({}, None),
        ({60: 30.0}, {"hz": 60, "lines": [60]}),
        ({50: 30.0}, {"hz": 50, "lines": [50]}),
        ({60: 1000.0, 80: 20.0, 20: 20.0}, {"hz": 60, "lines": [60, 20, 80]}),
        ({10: 100.0}, None),
        ({60: 0.5}, None),
    ],
)
def test_mains_is_a_line_in_the_spectrum(parts: dict[int, float], found: dict[str, object] | None) -> None:
    rng = np.random.default_rng(1)
    x_CT = random_eeg(WINDOW_SAMPLES, rng, nan_share=0).T.copy()
    for hz, uv in parts.items():
        x_CT[7] += uv * np.sin(2 * np.pi * hz * np.arange(WINDOW_SAMPLES) / SFREQ)
    assert mains(x_CT) == found


def test_mains_of_real_windows(iiic_root: Path, tmp_path: Path) -> None:
    source = source_of(HMS(iiic_root, tmp_path).part("train"), "eeg")
    found = [mains(signal.numpy()) for signal in stored(source.copy(np.arange(12)))]
    # The first two have none; in the others it is from 4 to 5,000 microvolt in the electrode that has most.
    assert [line and line["hz"] for line in found] == [None, None, *[60] * 10]
    assert found[10]["lines"] == [60, 20, 40, 80]


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
