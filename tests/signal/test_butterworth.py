"""The Butterworth response: equality with scipy, properties."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from hbac.signal.butterworth import butterworth_response, slowest_decay_s

FS = 200.0


def _sos(low: float, high: float, order: int = 2) -> np.ndarray:
    if low == 0:
        return scipy.signal.butter(order, high, "lowpass", fs=FS, output="sos")
    if high == FS / 2:
        return scipy.signal.butter(order, low, "highpass", fs=FS, output="sos")
    return scipy.signal.butter(order, [low, high], "bandpass", fs=FS, output="sos")


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("edges", [(0.5, 20), (0.1, 70), (8, 13), (0, 30), (1, 100), (0.05, 0.4)])
def test_response_is_scipys(edges: tuple[float, float], order: int) -> None:
    frequency = np.linspace(0, 100, 2001)
    _, wanted = scipy.signal.freqz_sos(_sos(*edges, order), frequency, fs=FS)
    got = butterworth_response(frequency, *edges, FS, order)
    # Sections of high order near 0 Hz are where scipy itself loses digits; at order 2 both agree to 1e-11.
    np.testing.assert_allclose(got, wanted, atol=1e-11 if order <= 2 and edges[0] >= 0.5 else 1e-5)


@settings(max_examples=40, deadline=None)
@given(st.floats(0.05, 40), st.floats(1.0, 50), st.integers(1, 6))
def test_edges_are_half_power_and_nothing_is_amplified(low: float, width: float, order: int) -> None:
    edges = np.abs(butterworth_response(np.array([low, low + width]), low, low + width, FS, order))
    np.testing.assert_allclose(edges, np.sqrt(0.5), rtol=1e-6)
    response = np.abs(butterworth_response(np.linspace(0, 100, 501), low, low + width, FS, order))
    assert response.max() <= 1 + 1e-9
    assert response[0] == response[-1] == 0


@pytest.mark.parametrize("edges", [(0.5, 20), (8, 13), (0, 30), (1, 100)])
def test_slowest_decay_is_that_of_scipys_poles(edges: tuple[float, float]) -> None:
    poles = scipy.signal.sos2zpk(_sos(*edges))[1]
    slowest = -1 / (FS * np.log(np.abs(poles).max()))
    assert slowest_decay_s(*edges) == pytest.approx(slowest, rel=1e-6)
