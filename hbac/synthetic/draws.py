"""Random draws the simulator is made of: ranges, slow wandering, coloured noise, pulses on a time grid.

Every function takes the generator it draws from; nothing here keeps state.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import ArrayLike, NDArray
from scipy.signal import lfilter

Array = NDArray[np.float32]


def chance(rng: np.random.Generator, probability: float) -> bool:
    """Return True with the given probability."""
    return bool(rng.random() < probability)


def uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw one number evenly between two bounds."""
    return float(rng.uniform(low, high))


def loguniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw one positive number whose logarithm is even between two bounds."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def lognormal(rng: np.random.Generator, median: float, sigma: float, low: float = 0.0, high: float = np.inf) -> float:
    """Draw one lognormal number, held within ``[low, high]``."""
    return float(np.clip(median * np.exp(sigma * rng.standard_normal()), low, high))


def pick(rng: np.random.Generator, weights: dict[str, float]) -> str:
    """Draw one key with probability proportional to its value."""
    names = list(weights)
    share = np.array(list(weights.values()), dtype=float)
    return names[int(np.searchsorted(np.cumsum(share / share.sum()), rng.random(), side="right"))]


def wander(rng: np.random.Generator, n: int, sfreq: float, tau_s: float, k: int = 1) -> Array:
    """Draw `k` slow random processes of unit variance and correlation time `tau_s`, float32 of shape (k, n).

    They are autoregressions on a coarse grid, joined by lines.
    """
    step_s = max(tau_s / 2.5, 1 / sfreq)
    m = int(np.ceil(n / sfreq / step_s)) + 2
    decay = np.exp(-step_s / tau_s)
    noise = rng.standard_normal((k, m), dtype=np.float32) * np.float32(np.sqrt(1 - decay**2))
    noise[:, 0] /= np.float32(np.sqrt(1 - decay**2))
    coarse = lfilter([1.0], [1.0, -decay], noise, axis=1).astype(np.float32)
    at = np.arange(n) / (sfreq * step_s) + uniform(rng, 0, 1)
    left = np.minimum(at.astype(np.int32), m - 2)
    part = (at - left).astype(np.float32)
    slope = np.diff(coarse, axis=1)
    return np.asarray(np.take(coarse, left, axis=1) + np.take(slope, left, axis=1) * part)


def gate(n: int, sfreq: float, t0_s: float, start_s: float, stop_s: float, ramp_s: float) -> Array:
    """Return a 0-to-1 envelope that opens at `start_s` and closes at `stop_s` with cosine ramps."""
    t = t0_s + np.arange(n, dtype=np.float32) / np.float32(sfreq)
    up = np.clip((t - start_s) / ramp_s + 0.5, 0, 1)
    down = np.clip((stop_s - t) / ramp_s + 0.5, 0, 1)
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * np.minimum(up, down)), dtype=np.float32)


def frequencies(n: int, sfreq: float) -> NDArray[np.float64]:
    """Return the bins of the real Fourier transform of `n` samples in hertz."""
    return np.asarray(np.arange(n // 2 + 1) * (sfreq / n), dtype=np.float64)


def spectrum_noise(
    rng: np.random.Generator, mix: Array, density: ArrayLike, n: int, sfreq: float
) -> NDArray[np.complex64]:
    """Draw the Fourier coefficients of Gaussian noise, complex64 of shape (channels, n // 2 + 1).

    Coefficients (not samples) are returned so that several components can be added before one inverse transform. `mix`
    is (channels, sources); `density` the one-sided power density of the sources at `frequencies(n, sfreq)`, in squared
    units per hertz.
    """
    amplitude = np.sqrt(np.asarray(density) * (sfreq * n / 4)).astype(np.float32)
    amplitude[0] = 0
    used = np.flatnonzero(amplitude > amplitude.max(initial=0.0) * 1e-4)
    out = np.zeros((mix.shape[0], amplitude.size), dtype=np.complex64)
    if used.size:
        first, last = int(used[0]), int(used[-1]) + 1
        z = rng.standard_normal((mix.shape[1], 2 * (last - first)), dtype=np.float32)
        out[:, first:last] = (mix @ z).view(np.complex64) * amplitude[first:last]
    return out


def to_signal(coefficients: NDArray[np.complex64], n: int) -> Array:
    """Return the float32 signal of `n` samples that has these Fourier coefficients."""
    return np.asarray(scipy.fft.irfft(coefficients, n, axis=-1), dtype=np.float32)


def irregular(rng: np.random.Generator, peak_hz: float, k: int, n: int, sfreq: float) -> Array:
    """Draw `k` irregular waves of unit variance around a frequency, float32 of shape (k, n)."""
    f = frequencies(n, sfreq)
    shape = np.exp(-0.5 * (np.log(np.maximum(f, 1e-3) / max(peak_hz, 0.7)) / 0.5) ** 2)
    shape[(shape < 1e-3) | (f < 0.3)] = 0
    shape /= shape.sum() * f[1]
    return to_signal(spectrum_noise(rng, np.eye(k, dtype=np.float32), shape, n, sfreq), n)


def pulses(
    n: int,
    sfreq: float,
    centre_s: NDArray[np.floating],
    sigma_s: NDArray[np.floating],
    height: NDArray[np.floating],
) -> Array:
    """Add Gaussian pulses on a time grid, float32 of shape (n,).

    Each has a place, a width (standard deviation) and a signed height.
    """
    out = np.zeros(n)
    centre, sigma, tall = (np.ravel(a).astype(np.float32) for a in (centre_s, sigma_s, height))
    order = np.argsort(sigma, kind="stable")
    for part in np.array_split(order, 3):  # narrow, middle, wide: each with its own reach
        if not part.size:
            continue
        reach = int(np.ceil(3.5 * float(sigma[part].max()) * sfreq)) + 1
        at = np.floor(centre[part] * sfreq).astype(np.int64)
        keep = (at > -reach) & (at < n + reach)
        part, at = part[keep], at[keep]
        index = at[:, None] + np.arange(-reach, reach + 1)
        x = (index / np.float32(sfreq) - centre[part, None]) / sigma[part, None]
        value = tall[part, None] * np.exp(-0.5 * np.square(x, dtype=np.float32))
        ok = (index >= 0) & (index < n)
        out += np.bincount(index[ok], weights=value[ok], minlength=n)
    return out.astype(np.float32)


def renewal(
    rng: np.random.Generator, start_s: float, stop_s: float, rate_hz: float, variation: float
) -> NDArray[np.float64]:
    """Draw rising times of events in a stretch, with gamma-distributed intervals.

    `variation` is the coefficient of variation of the intervals: 1 is a Poisson process, 0.05 nearly a clock.
    """
    expected = max(stop_s - start_s, 0.0) * rate_hz
    count = int(expected + 6 * np.sqrt(expected) * max(variation, 0.1) + 8)
    shape = 1 / max(variation, 1e-3) ** 2
    steps = rng.gamma(shape, 1 / (shape * rate_hz), count)
    times = start_s - uniform(rng, 0, 1) / rate_hz + np.cumsum(steps)
    return np.asarray(times[(times >= start_s) & (times < stop_s)], dtype=np.float64)
