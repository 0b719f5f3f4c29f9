"""What is packed comes out as it was, to the step."""

from __future__ import annotations

import base64
import gzip

import numpy as np
import pytest

from hbac.report.eeg_packing import (
    N_NEIGHBOUR,
    N_OWN,
    SHIFT,
    neighbours,
    pack_bytes,
    pack_signal,
    quantise,
)
from hbac.vocabulary import CHANNELS
from tests.helpers import random_eeg


def unpacked(text: str) -> np.ndarray:
    """The slow way round, sample by sample, as the page does it."""
    content = gzip.decompress(base64.b64decode(text))
    head = 4 * len(CHANNELS) * (N_OWN + N_NEIGHBOUR)
    weights = np.frombuffer(content[:head], "<i4").reshape(len(CHANNELS), -1).astype(object)
    low, high = np.frombuffer(content[head:], np.uint8).reshape(2, len(CHANNELS), -1).astype(int)
    zigzag = low | high << 8
    remainder = (zigzag >> 1) ^ -(zigzag & 1)
    x = np.zeros((len(CHANNELS) + 1, N_OWN + zigzag.shape[1]), dtype=object)  # zeros before the first; and no neighbour
    for c, beside in enumerate(neighbours()):
        for t in range(N_OWN, x.shape[1]):
            before = [x[c, t - lag] for lag in range(1, N_OWN + 1)] + [x[beside, t - lag] for lag in range(N_NEIGHBOUR)]
            predicted = (sum(weights[c] * before) + 2 ** (SHIFT - 1)) >> SHIFT
            x[c, t] = (predicted + remainder[c, t - N_OWN] + 2**15) % 2**16 - 2**15
    return x[:-1, N_OWN:].astype(np.int16)


def steps(kind: str, n_times: int = 120) -> np.ndarray:
    rng = np.random.default_rng(0)
    if kind == "EEG":
        return quantise(random_eeg(n_times, rng, nan_share=0).T)[0]
    if kind == "flat":
        return np.full((len(CHANNELS), n_times), 7, np.int16)
    return rng.integers(-(2**15) + 1, 2**15, (len(CHANNELS), n_times)).astype(np.int16)


@pytest.mark.parametrize("kind", ["EEG", "flat", "as wild as can be"])
def test_nothing_is_lost(kind: str) -> None:
    step_CT = steps(kind)
    np.testing.assert_array_equal(unpacked(pack_signal(step_CT)), step_CT)


def test_prediction_halves_what_has_to_be_sent() -> None:
    step_CT = steps("EEG", 10_000)
    assert len(pack_signal(step_CT)) < 0.6 * len(pack_bytes(step_CT.tobytes()))


def test_a_step_is_half_a_microvolt_eight_times_that_for_the_ekg_and_more_where_it_must_be() -> None:
    uv = np.zeros((len(CHANNELS), 3))
    uv[0], uv[1], uv[-1] = [0.2, -0.3, 100], [1.0, -65_534, 3.0], [1.9, 2.1, -1e3]
    step_CT, uv_C = quantise(uv)
    assert step_CT[0].tolist() == [0, -1, 200]
    assert step_CT[1].tolist() == [0, -32767, 2]
    assert step_CT[-1].tolist() == [0, 1, -250]
    assert (uv_C[0], uv_C[1], uv_C[-1]) == (0.5, 2.0, 4.0)


def test_neighbours_come_before_and_lie_near() -> None:
    found = {name: CHANNELS[i] if i >= 0 else None for name, i in zip(CHANNELS, neighbours(), strict=True)}
    assert found["Fp1"] is None
    assert found["EKG"] is None
    assert (found["C3"], found["P3"], found["F4"]) == ("F3", "C3", "Fz")
    assert all(i < c for c, i in enumerate(neighbours()))


def test_the_same_content_is_the_same_text() -> None:
    assert pack_bytes(b"hbac") == pack_bytes(b"hbac")
    assert gzip.decompress(base64.b64decode(pack_bytes(b"hbac"))) == b"hbac"
