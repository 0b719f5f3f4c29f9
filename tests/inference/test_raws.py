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
    epochs = mne.make_fixed_length_epochs(raw_of(brain(60, 200, 20), 200.0), 20.0, verbose="ERROR")
    table = hbac.load(folder).predict_raw(epochs)  # which MNE has not loaded: it knows no length of them
    assert len(table) == 3
    assert table["signal_share"].tolist() == pytest.approx([0.4] * 3)
    np.testing.assert_allclose(table[list(PROB_COLUMNS)].sum(axis=1), 1, atol=1e-5)


def test_epochs_without_an_epoch_are_refused(folder: Path) -> None:
    epochs = mne.make_fixed_length_epochs(raw_of(brain(60, 200, 20), 200.0), 20.0, preload=True, verbose="ERROR")
    with pytest.raises(UserError, match="these Epochs have no epoch"):
        hbac.load(folder).predict_raw(epochs[:0])


def test_channels_that_are_marked_as_bad_are_made_of_their_neighbours(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    eeg, model = brain(60, 200, 20), hbac.load(folder)
    without = model.predict_raw(raw_of(eeg, 200.0).drop_channels(["T3", "Cz"]), step_s=10)
    eeg[[CHANNELS.index("T3"), CHANNELS.index("Cz")]] *= 50
    raw = raw_of(eeg, 200.0)
    raw.info["bads"] = ["T3", "Cz"]
    np.testing.assert_array_equal(model.predict_raw(raw, step_s=10), without)
    assert "marked as bad, not read: T3, Cz" in caplog.text
    epochs = mne.make_fixed_length_epochs(raw, 20.0, verbose="ERROR")
    without = model.predict_raw(epochs.copy().load_data().drop_channels(["T3", "Cz"]))
    np.testing.assert_array_equal(model.predict_raw(epochs), without)
    raw.info["bads"] = list(CHANNELS)
    with pytest.raises(UserError, match="no EEG channel but 20 marked as bad"):
        model.predict_raw(raw)


def test_what_is_not_in_volts_is_named_and_may_be_declared(folder: Path) -> None:
    eeg, model = brain(60, 200, 20), hbac.load(folder)
    with pytest.raises(UserError, match="looks like microvolts, or like counts .* unit=uV says"):
        model.predict_raw(raw_of(eeg * 1e6, 200.0))
    said = model.predict_raw(raw_of(eeg * 1e6, 200.0), step_s=10, unit="uV")
    np.testing.assert_allclose(said, model.predict_raw(raw_of(eeg, 200.0), step_s=10), atol=1e-5)


def test_gaps_of_a_raw_without_a_date_lie_where_they_were(folder: Path) -> None:
    raw = raw_of(brain(90, 200, 20), 200.0)
    raw.set_annotations(mne.Annotations([50], [20], ["BAD_ACQ_SKIP"])).crop(30)
    assert raw.info["meas_date"] is None and raw.first_time == 30
    said = hbac.load(folder).predict_raw(raw, step_s=10)
    assert said["onset_s"][said["other_prob"].isna()].tolist() == [20, 30]
    raw.set_annotations(mne.Annotations([0], [60], ["BAD_ACQ_SKIP"]))
    with pytest.raises(UserError, match="nothing was recorded"):
        hbac.load(folder).predict_raw(raw)


def test_a_file_that_is_cut_short_is_named(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "a_raw.fif"
    raw_of(brain(60, 200, 20), 200.0).save(path, verbose="ERROR")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(UserError, match=f"{path}: MNE cannot read samples"):
        hbac.load(folder).predict_raw(mne.io.read_raw_fif(path, verbose="ERROR"))


@pytest.mark.parametrize("step_s", [0, -2, np.nan, np.inf, 0.001])
def test_a_step_that_is_none_is_refused(folder: Path, step_s: float) -> None:
    with pytest.raises(UserError, match="step_s=.*: must be a multiple of 0.005 s"):
        hbac.load(folder).predict_raw(raw_of(brain(15, 200, 20), 200.0), step_s=step_s)


def test_what_is_too_short_or_neither_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="5 s long; it must have 10 s"):
        hbac.load(folder).predict_raw(raw_of(brain(5, 200, 20), 200.0))
    with pytest.raises(UserError, match="not ndarray"):
        hbac.load(folder).predict_raw(np.zeros((20, 100)))
