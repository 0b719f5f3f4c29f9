"""The digital Butterworth filter as a closed formula of its prototype's poles.

Substituting the frequency transforms into the prototype's response gives the exact response of what scipy designs
as second-order sections, at any frequency, without a polynomial whose rounding would matter at 0.5 Hz.

References
----------
Butterworth design and the bilinear transform: Oppenheim & Schafer, "Discrete-Time Signal Processing", chapter 7.
"""

from __future__ import annotations

import numpy as np

from hbac.vocabulary import SFREQ


def _prototype_poles(order: int) -> np.ndarray:
    """Poles of the analog Butterworth low-pass of 1 rad/s."""
    k = np.arange(1, order + 1)
    poles: np.ndarray = np.exp(1j * np.pi * (2 * k + order - 1) / (2 * order))
    return poles


def _warp(frequency_hz: np.ndarray | float, sfreq: float) -> np.ndarray:
    """Analog frequency that the bilinear transform maps onto a digital one (unit: 2 * sfreq rad/s)."""
    warped: np.ndarray = np.tan(np.pi * np.asarray(frequency_hz, dtype=np.float64) / sfreq)
    return warped


def butterworth_response(
    frequency_hz: np.ndarray, low_hz: float, high_hz: float, sfreq: float = SFREQ, order: int = 2
) -> np.ndarray:
    """Complex frequency response of the digital Butterworth filter of a band.

    Parameters
    ----------
    frequency_hz : ndarray
        Where to evaluate it, from 0 to Nyquist.
    low_hz, high_hz : float
        Half-power edges; a lower edge of 0 gives a low-pass, an upper edge at Nyquist a high-pass, both give 1.
    sfreq : float
        Sampling rate in hertz.
    order : int
        Order of the prototype, as `scipy.signal.butter` counts it: a band-pass has twice as many poles.

    Returns
    -------
    ndarray
        Complex128, as `frequency_hz`: the response of
        ``scipy.signal.butter(order, [low, high], "bandpass", fs=sfreq, output="sos")``.

    Examples
    --------
    >>> edges = np.array([0.5, 20.0])
    >>> np.abs(butterworth_response(edges, 0.5, 20)).round(6)
    array([0.707107, 0.707107])
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        omega = _warp(frequency_hz, sfreq)
        low, high = _warp(low_hz, sfreq), _warp(high_hz, sfreq)
        if low_hz <= 0 and high_hz >= sfreq / 2:
            return np.ones_like(omega, dtype=np.complex128)
        if low_hz <= 0:
            lowpass_frequency = omega / high
        elif high_hz >= sfreq / 2:
            lowpass_frequency = -low / omega
        else:
            lowpass_frequency = (omega**2 - low * high) / (omega * (high - low))
        response = np.ones_like(omega, dtype=np.complex128)
        for pole in _prototype_poles(order):
            response = response / (1j * lowpass_frequency - pole)
    blocked = ~np.isfinite(lowpass_frequency)
    if high_hz < sfreq / 2:
        blocked = blocked | (np.asarray(frequency_hz) >= sfreq / 2)  # tan(pi/2) is huge but finite in floating point
    return np.where(blocked, 0.0, response)


def slowest_decay_s(low_hz: float, high_hz: float, sfreq: float = SFREQ, order: int = 2) -> float:
    """Return the time constant of the filter's slowest mode, by which its transients fade.

    Parameters
    ----------
    low_hz, high_hz : float
        Half-power edges, as in `butterworth_response`.
    sfreq : float
        Sampling rate in hertz.
    order : int
        Order of the prototype.

    Returns
    -------
    float
        Seconds; 0 for a band from 0 to Nyquist.

    Examples
    --------
    >>> round(slowest_decay_s(0.5, 20), 2)
    0.45
    """
    poles = _prototype_poles(order)
    low = 2 * sfreq * float(_warp(low_hz, sfreq))
    if high_hz >= sfreq / 2:
        if low_hz <= 0:
            return 0.0
        modes = low / poles
    else:
        high = 2 * sfreq * float(_warp(high_hz, sfreq))
        half = poles * (high - low) / 2
        root = np.sqrt(half**2 - low * high)
        modes = np.concatenate([half + root, half - root])
        modes = modes[np.abs(modes) > 1e-9]
    digital = np.abs((2 * sfreq + modes) / (2 * sfreq - modes)).max()
    return float(-1 / (sfreq * np.log(max(digital, 1e-12))))
