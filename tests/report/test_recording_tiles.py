"""Trends are what known sines say; tiles are cut without a seam."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hbac.report.recording_tiles import BANDS, MISSING, Trends, write_tiles
from hbac.signal.reading_order import CHAINS
from hbac.vocabulary import CHANNELS, SFREQ


def sines(seconds: float, hz: float, left_uv: float, right_uv: float) -> np.ndarray:
    """F7, F3 on the left and F8, F4 on the right carry a sine; all else is flat."""
    t = np.arange(round(seconds * SFREQ)) / SFREQ
    eeg = np.zeros((len(t), len(CHANNELS)), np.float32)
    for name, uv in (("F7", left_uv), ("F3", left_uv), ("F8", right_uv), ("F4", right_uv)):
        eeg[:, CHANNELS.index(name)] = uv * np.sin(2 * np.pi * hz * t)
    return eeg


def test_the_density_of_a_sine_is_its_power_where_it_is() -> None:
    trends = Trends(120.0)
    trends.add(sines(60, 6.0, 20.0, 10.0), 0.0)
    trends.add(sines(60, 11.0, 20.0, 10.0), 60.0)
    density_WIF = trends.density()
    assert (trends.column_s, density_WIF.shape) == (2.0, (60, 4, 40))
    for i, region in enumerate(CHAINS):  # two of the four derivations of each region have the sine
        uv = 20.0 if region[0] == "L" else 10.0
        power = density_WIF[:, i].sum(axis=-1) * 0.5
        np.testing.assert_allclose(power, uv**2 / 2 * 2 / 4, rtol=1e-3)
    assert (density_WIF[:30].argmax(axis=-1) == 11).all() and (density_WIF[30:].argmax(axis=-1) == 21).all()
    asymmetry = trends.asymmetry()
    np.testing.assert_allclose(asymmetry["theta"][:30], (100 - 400) / 500, rtol=1e-3)
    np.testing.assert_allclose(asymmetry["alpha"][30:], (100 - 400) / 500, rtol=1e-3)
    assert list(asymmetry) == list(BANDS)


def test_what_was_not_recorded_is_missing_where_it_was_not() -> None:
    eeg = sines(60, 6.0, 20.0, 10.0)
    eeg[: round(10 * SFREQ)] = np.nan
    eeg[:, CHANNELS.index("T4")] = np.nan  # in two of the four derivations of the right temporal chain
    eeg[round(30 * SFREQ)] = np.nan  # one sample is no gap
    trends = Trends(60.0)
    trends.add(eeg, 0.0)
    level_IFW = trends.levels()
    np.testing.assert_array_equal((level_IFW == MISSING).all(axis=1), np.tile(np.arange(30) < 5, (4, 1)))
    assert np.isnan(trends.asymmetry()["theta"][:5]).all() and np.isfinite(trends.asymmetry()["theta"][5:]).all()


def test_a_day_has_no_more_columns_than_minutes() -> None:
    assert (Trends(86_400.0).n_columns, Trends(86_400.0).column_s) == (1440, 60.0)
    assert (Trends(1.0).n_columns, Trends(3000.0).column_s) == (1, 4.0)


@pytest.mark.parametrize("cuts", [[], [1], [7_000, 7_001, 30_000]])
def test_tiles_do_not_depend_on_the_blocks_that_they_are_made_of(cuts: list[int], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    eeg = np.cumsum(rng.standard_normal((round(150 * SFREQ), len(CHANNELS))), axis=0).astype(np.float32)
    trends = [Trends(150.0), Trends(150.0)]
    assert write_tiles(tmp_path / "a", [eeg], trends[0]) == 3
    assert write_tiles(tmp_path / "b", np.split(eeg, cuts), trends[1]) == 3
    for number in range(3):
        name = f"{number}.js"
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    np.testing.assert_array_equal(trends[0].density(), trends[1].density())


def test_of_nothing_there_is_no_tile(tmp_path: Path) -> None:
    assert write_tiles(tmp_path, [], Trends(1.0)) == 0
