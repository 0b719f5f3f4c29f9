"""The 10-minute spectrogram files: multitaper power of four chains, 100 frequencies, a row every 2 seconds.

References
----------
Prerau MJ et al. Sleep neurophysiological dynamics through the lens of multitaper spectral analysis. Physiology 2017.
doi:10.1152/physiol.00062.2015
"""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.signal.windows import dpss

from hbac.synthetic.draws import Array, chance, uniform
from hbac.synthetic.head import BIPOLAR
from hbac.vocabulary import ELECTRODES, SPECTROGRAM_REGIONS, SPECTROGRAM_ROW_S

SFREQ_LOW = 50.0  # enough for 20 Hz
N_FFT = 256  # bins of 0.1953 Hz at 50 Hz
_FIRST, _LAST = 3, 103  # 0.59 to 19.92 Hz
FREQUENCIES_HZ = np.arange(_FIRST, _LAST) * SFREQ_LOW / N_FFT
_WINDOW_S = 4.0
_TAPERS = 3
COLUMNS = tuple(f"{region}_{f:.2f}" for region in SPECTROGRAM_REGIONS for f in FREQUENCIES_HZ)
_DIFFERENCES = BIPOLAR[: 4 * len(SPECTROGRAM_REGIONS)]  # four per region, without the midline


def multitaper(eeg_uv: Array) -> Array:
    """Return the power of the four regions, (n seconds // 2, 400) float32 in µV²/Hz, columns as `COLUMNS`.

    `eeg_uv` (19 or more, n) are electrodes in the order of `hbac.vocabulary.ELECTRODES`, at `SFREQ_LOW`, no NaN.
    """
    window, step = round(_WINDOW_S * SFREQ_LOW), round(SPECTROGRAM_ROW_S * SFREQ_LOW)
    signal = _DIFFERENCES @ eeg_uv[: len(ELECTRODES)]
    rows = signal.shape[1] // step
    margin = (window - step) // 2
    signal = np.pad(signal, ((0, 0), (margin, margin)), mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(signal, window, axis=1)[:, ::step][:, :rows]
    frames = frames - frames.mean(axis=2, keepdims=True)
    tapers = dpss(window, (_TAPERS + 1) / 2, _TAPERS).astype(np.float32)
    power = np.zeros((len(signal), rows, _LAST - _FIRST), dtype=np.float32)
    for taper in tapers:
        part = scipy.fft.rfft(frames * taper, N_FFT, axis=2)[:, :, _FIRST:_LAST]
        power += part.real**2 + part.imag**2
    power *= np.float32(2 / (SFREQ_LOW * _TAPERS))
    regions = power.reshape(len(SPECTROGRAM_REGIONS), -1, rows, _LAST - _FIRST).mean(axis=1)
    return np.asarray(regions.transpose(1, 0, 2).reshape(rows, -1), dtype=np.float32)


def decimate(eeg_uv: Array, sfreq: float) -> Array:
    """Return a signal at `SFREQ_LOW` by cutting its Fourier transform (NaN count as 0)."""
    n = eeg_uv.shape[1]
    m = round(n * SFREQ_LOW / sfreq)
    spectrum = scipy.fft.rfft(np.nan_to_num(eeg_uv), axis=1)[:, : m // 2 + 1]
    return np.asarray(scipy.fft.irfft(spectrum, m, axis=1) * (m / n), dtype=np.float32)


def splice(long_uv: Array, eeg_uv: Array, start: int) -> None:
    """Put an EEG at `SFREQ_LOW` into the long signal in place, with ramps outside of it instead of steps."""
    stop = start + eeg_uv.shape[1]
    ramp = round(2 * SFREQ_LOW)
    before, after = min(ramp, start), min(ramp, long_uv.shape[1] - stop)
    if before:
        rise = np.linspace(0, 1, before, dtype=np.float32)
        long_uv[:, start - before : start] += (eeg_uv[:, :1] - long_uv[:, start - 1 : start]) * rise
    if after:
        fall = np.linspace(1, 0, after, dtype=np.float32)
        long_uv[:, stop : stop + after] += (eeg_uv[:, -1:] - long_uv[:, stop : stop + 1]) * fall
    long_uv[:, start:stop] = eeg_uv


def add_missing(rng: np.random.Generator, power: Array, lost_rows: NDArray[np.bool_]) -> None:
    """Put NaN where the EEG has gaps, and in stretches of whole rows of some files (2.4 % over all), in place."""
    power[lost_rows] = np.nan
    if not chance(rng, 0.12):
        return
    rows = len(power)
    length = int(np.clip(rng.exponential(0.2 * rows), 1, rows))
    start = int(uniform(rng, 0, rows - length + 1))
    if chance(rng, 0.85):
        power[start : start + length] = np.nan
    else:
        width = len(FREQUENCIES_HZ)
        region = int(rng.integers(len(SPECTROGRAM_REGIONS)))
        power[start : start + length, region * width : (region + 1) * width] = np.nan
