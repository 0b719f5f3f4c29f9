"""Recordings for the tests of this room: noise, real windows, and the public recipe in librosa's words."""

from __future__ import annotations

import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.signal

from hbac.vocabulary import CHANNELS

# As domain.md writes the chains, not as hbac.signal.montage derives them.
CHAINS = {
    "LL": ("Fp1", "F7", "T3", "T5", "O1"),
    "LP": ("Fp1", "F3", "C3", "P3", "O1"),
    "RP": ("Fp2", "F4", "C4", "P4", "O2"),
    "RL": ("Fp2", "F8", "T4", "T6", "O2"),
}


def noise(n_windows: int = 2, n_times: int = 10_000, seed: int = 0) -> np.ndarray:
    """1/f-like noise of some tens of microvolts on all channels: (n_windows, 20, n_times) float64."""
    white = np.random.default_rng(seed).normal(size=(n_windows, len(CHANNELS), n_times))
    return scipy.signal.lfilter([4.0], [1.0, -0.97], white)


def real(root: Path, n: int = 3) -> np.ndarray:
    """The first real windows: (n, 20, 10000) float32."""
    files = sorted((root / "train_eegs").glob("*.parquet"))[:n]
    return np.stack([pd.read_parquet(file)[list(CHANNELS)].to_numpy().T for file in files])


def public_mel_image(eeg_CT: np.ndarray) -> np.ndarray:
    """The public recipe with librosa: (20, 10000) to (4, 128, 256), in the precision of the input."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # librosa's own deprecations, and means of nothing
        import librosa

        image = np.zeros((4, 128, 256), dtype=eeg_CT.dtype)
        for region, chain in enumerate(CHAINS.values()):
            for front, back in pairwise(chain):
                x = eeg_CT[CHANNELS.index(front)] - eeg_CT[CHANNELS.index(back)]
                x = np.zeros_like(x) if np.isnan(x).all() else np.where(np.isnan(x), np.nanmean(x), x)
                power = librosa.feature.melspectrogram(
                    y=x, sr=200, hop_length=39, n_fft=1024, n_mels=128, fmin=0, fmax=20, win_length=128
                )
                image[region] += (librosa.power_to_db(power, ref=np.max)[:, :256] + 40) / 40
        return image / 4
