"""Interpolation against MNE's."""

from __future__ import annotations

import numpy as np
import pytest

from hbac.reading.interpolation import places, spline_weights
from hbac.vocabulary import ELECTRODES
from tests.recorded import brain


def test_interpolation_is_that_of_mne() -> None:
    mne = pytest.importorskip("mne")
    missing, eeg = ["F7", "Cz"], brain(5, 200) * 1e-6
    info = mne.create_info(list(ELECTRODES), 200.0, "eeg")
    raw = mne.io.RawArray(eeg, info, verbose="ERROR")
    sphere = dict(zip(ELECTRODES, 0.095 * places(ELECTRODES), strict=True))
    raw.set_montage(mne.channels.make_dig_montage(sphere, coord_frame="head"))
    raw.info["bads"] = missing
    wanted = raw.interpolate_bads(origin=(0.0, 0.0, 0.0), verbose="ERROR").get_data(missing)
    there = [name for name in ELECTRODES if name not in missing]
    weights = spline_weights(there, missing)
    found = weights @ eeg[[ELECTRODES.index(name) for name in there]]
    assert np.allclose(weights.sum(axis=1), 1)  # a reference that is common to all stays common
    assert np.abs(found - wanted).max() < 1e-3 * wanted.std()
