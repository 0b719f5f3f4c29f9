"""`mne.io.Raw` and `mne.Epochs`: a table, the same as of a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hbac
from hbac.common.errors import UserError
from hbac.inference.along import AlongChunks, Steps, predict_along
from hbac.inference.networks import Networks
from hbac.predictions.course import COURSE_DTYPES
from hbac.reading.opened import open_recording
from hbac.vocabulary import CHANNELS, PROB_COLUMNS
from tests.ensembles import SMALL_NET, write_ensemble
from tests.recorded import brain, write_brain

mne = pytest.importorskip("mne")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ensemble(tmp_path_factory.mktemp("ensemble"), [SMALL_NET], n_folds=1).parent


def raw_of(eeg: np.ndarray, sfreq: float) -> object:
    info = mne.create_info(list(CHANNELS), sfreq, ["eeg"] * 19 + ["ecg"])
    return mne.io.RawArray(eeg * 1e-6, info, verbose="ERROR")


def test_a_raw_is_told_what_its_file_is_told(folder: Path, tmp_path: Path) -> None:
    eeg = write_brain(tmp_path / "a.edf", 80.0, 256.0)
    (run,) = folder.glob("runs/*/fold0")
    table = hbac.load(run).predict_raw(raw_of(eeg, 256.0), step_s=4.0)
    assert dict(table.dtypes.astype(str)) == COURSE_DTYPES
    assert table["onset_s"].tolist() == list(range(0, 80, 4))
    recording = open_recording(tmp_path / "a.edf")
    model = hbac.load(run)
    wanted = predict_along(AlongChunks(Networks([model], [0], [""]), recording, Steps.of(recording, 4.0)))[0]
    np.testing.assert_allclose(table[list(PROB_COLUMNS)], wanted, atol=1e-3)
    np.testing.assert_allclose(hbac.load(folder).predict_raw(raw_of(eeg, 256.0), step_s=4.0), table, atol=1e-5)


def test_epochs_have_a_row_each(folder: Path) -> None:
    epochs = mne.make_fixed_length_epochs(raw_of(brain(60, 200, 20), 200.0), 20.0, preload=True, verbose="ERROR")
    table = hbac.load(folder).predict_raw(epochs)
    assert len(table) == 3
    assert table["signal_share"].tolist() == pytest.approx([0.4] * 3)
    np.testing.assert_allclose(table[list(PROB_COLUMNS)].sum(axis=1), 1, atol=1e-5)


def test_epochs_without_an_epoch_are_refused(folder: Path) -> None:
    epochs = mne.make_fixed_length_epochs(raw_of(brain(60, 200, 20), 200.0), 20.0, preload=True, verbose="ERROR")
    with pytest.raises(UserError, match="these Epochs have no epoch"):
        hbac.load(folder).predict_raw(epochs[:0])


def test_what_is_too_short_or_neither_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="5 s long; it must have 10 s"):
        hbac.load(folder).predict_raw(raw_of(brain(5, 200, 20), 200.0))
    with pytest.raises(UserError, match="not ndarray"):
        hbac.load(folder).predict_raw(np.zeros((20, 100)))
