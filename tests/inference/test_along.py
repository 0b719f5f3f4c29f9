"""Along a recording: the same as window by window, ends and gaps, resuming, and what is written."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from hbac.common.errors import UserError
from hbac.experiment.infer_recordings import DONE_FILE, predict_recordings
from hbac.experiment.predictor import Predictor
from hbac.inference.along import AlongChunks, Steps, check_montages, predict_along
from hbac.inference.loading import ensemble_of
from hbac.inference.networks import Networks
from hbac.inference.recordings import Wish, find_recordings
from hbac.predictions.course import COURSE_FILE, RECORDING_FILE, Course, RecordingFacts
from hbac.reading.edf import EdfSource
from hbac.reading.opened import Recording, open_recording
from hbac.recordings.outside import fill_gaps, fill_outside
from hbac.report.recording_folder import blocks_of
from hbac.vocabulary import ELECTRODES, PROB_COLUMNS
from tests.ensembles import SMALL_NET, write_ensemble
from tests.recorded import brain, cut_gaps, write_brain, write_edf

BANDS = ("0.5-20", "1-12")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    members = [[*SMALL_NET, f"band={band}"] for band in BANDS]
    return write_ensemble(tmp_path_factory.mktemp("ensemble"), members, n_folds=1).parent


@pytest.fixture(scope="module")
def networks(folder: Path) -> Networks:
    return Networks.of(ensemble_of(folder), "cpu", "32-true")


@pytest.fixture(scope="module")
def long_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five minutes at 256 Hz."""
    path = tmp_path_factory.mktemp("long") / "long.edf"
    write_brain(path, 300.0, 256.0)
    return path


def windows_of(recording: Recording, steps: Steps, outside: str) -> torch.Tensor:
    """The window of each row, made one by one."""
    cut = [recording.read(int(m) - 5000, int(m) + 5000) for m in steps.middle]
    return torch.from_numpy(np.stack([fill_outside(window, outside).T for window in cut]))


def one_by_one(networks: Networks, recording: Recording, steps: Steps, outside: str = "reflected") -> np.ndarray:
    windows = windows_of(recording, steps, outside)
    return networks.predict({"eeg": windows, "row": torch.arange(len(windows))}).numpy()


def test_the_long_signal_tells_what_its_windows_tell(networks: Networks, long_file: Path) -> None:
    recording = open_recording(long_file)
    steps = Steps.of(recording, 2.0)
    assert len(steps.middle) == 150
    assert steps.share[0] == pytest.approx(26 / 50)
    assert (steps.share[12:-12] == 1).all()
    found = predict_along(AlongChunks(networks, recording, steps))
    wanted = one_by_one(networks, recording, steps)
    inside = np.arange(12, 138)
    # The ends of a window are filtered with what lies beside them, in place of the window's mirror image.
    assert np.abs(found - wanted)[:, inside].max() < 0.01
    assert np.allclose(np.delete(found, inside, 1), np.delete(wanted, inside, 1), atol=1e-6)


def test_the_result_does_not_depend_on_chunks(
    networks: Networks, long_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = open_recording(long_file)
    steps = Steps.of(recording, 2.0)
    whole = predict_along(AlongChunks(networks, recording, steps))
    monkeypatch.setattr("hbac.inference.along._CHUNK_S", 62.0)
    assert np.abs(predict_along(AlongChunks(networks, recording, steps, batch_size=7)) - whole).max() < 1e-3


def test_nothing_is_said_in_gaps_and_the_rest_is_as_before(networks: Networks, tmp_path: Path) -> None:
    write_brain(tmp_path / "a.edf", 200.0, annotations=[])
    plain = open_recording(tmp_path / "a.edf")
    before = predict_along(AlongChunks(networks, plain, Steps.of(plain, 2.0)))
    gapped = open_recording(cut_gaps(tmp_path / "a.edf", {100: 60.0}))
    assert gapped.gaps == ((100.0, 60.0),)
    assert gapped.duration_s == 260
    steps = Steps.of(gapped, 2.0)
    found = predict_along(AlongChunks(networks, gapped, steps))
    silent = np.isnan(found[0, :, 0])
    # The row's centre of ten seconds: half of it lies before 100 s up to the row about 98 to 100 s.
    assert np.flatnonzero(silent).tolist() == list(range(50, 80))
    whole = steps.share == 1
    assert np.abs(found[:, :50][:, whole[:50]] - before[:, :50][:, whole[:50]]).max() < 5e-3
    assert np.abs(found[:, 80:][:, whole[80:]] - before[:, 50:][:, whole[80:]]).max() < 5e-3
    wanted = one_by_one(networks, gapped, steps)
    partial = ~whole & ~silent
    assert np.allclose(found[:, partial], wanted[:, partial], atol=1e-6)


def test_a_montage_that_cannot_be_made_names_what_is_missing(networks: Networks, tmp_path: Path) -> None:
    eeg = dict(zip(ELECTRODES, brain(12, 200), strict=True))
    lost = ("F7", "T3", "T5", "F8", "T4", "T6")
    path = write_edf(tmp_path / "a.edf", {name: x for name, x in eeg.items() if name not in lost}, 200.0)
    with pytest.raises(UserError, match=r"8 of the 18 derivations of .* cannot be made: Fp1-F7: F7 missing; .*no F7, "):
        check_montages(networks, open_recording(path))


def test_a_montage_that_sees_the_reference_is_warned_of(networks: Networks, tmp_path: Path) -> None:
    write_brain(tmp_path / "a.edf", 12.0)
    recording = open_recording(tmp_path / "a.edf")
    assert check_montages(networks, recording) == []  # differences, in which it cancels
    path = write_ensemble(tmp_path / "seen", [[*SMALL_NET, "montage=referential"]], n_folds=1)
    (note,) = check_montages(Networks.of(ensemble_of(path.parent), "cpu", "32-true"), recording)
    assert note.endswith(" sees electrodes against the file's own reference")


def test_no_more_than_a_chunk_is_read_at_a_time(
    networks: Networks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the length: else memory would grow with it."""
    write_brain(tmp_path / "a.edf", 3000.0, 100.0)
    read, spans_s = EdfSource.read, []

    def noted(self: EdfSource, stretch: int, chosen: Sequence[int], first: int, stop: int) -> np.ndarray:
        spans_s.append((stop - first) / 100)
        return read(self, stretch, chosen, first, stop)

    monkeypatch.setattr(EdfSource, "read", noted)
    recording = open_recording(tmp_path / "a.edf")
    recording.check_amplitudes()
    predict_along(AlongChunks(networks, recording, Steps.of(recording, 50.0)))
    assert sum(len(block) for block in blocks_of(recording)) == recording.n_times
    assert max(spans_s) < 1400  # a chunk, and a window and what filters need beside it, in whole steps


@pytest.mark.parametrize("outside", ["reflected", "repeated", "missing"])
def test_short_recordings_lie_in_the_centre(networks: Networks, tmp_path: Path, outside: str) -> None:
    write_brain(tmp_path / "a.edf", 10.0)
    recording = open_recording(tmp_path / "a.edf")
    steps = Steps.of(recording, 10.0)
    assert steps.middle.tolist() == [1000]
    assert steps.share[0] == pytest.approx(0.2)
    found = predict_along(AlongChunks(networks, recording, steps, outside))
    assert np.allclose(found, one_by_one(networks, recording, steps, outside), atol=1e-6)


def test_the_outside() -> None:
    x = np.array([[np.nan, np.nan, np.nan, 1, 2, np.nan, 4, np.nan]], np.float32)
    assert np.array_equal(fill_outside(x, "missing"), x, equal_nan=True)
    assert np.array_equal(fill_outside(x, "reflected"), [[4, np.nan, 2, 1, 2, np.nan, 4, np.nan]], equal_nan=True)
    assert np.array_equal(fill_outside(x, "repeated"), [[2, np.nan, 4, 1, 2, np.nan, 4, 1]], equal_nan=True)


def test_gaps_are_filled_from_both_sides() -> None:
    x = np.array([[np.nan, 1, 2, 3, np.nan, np.nan, np.nan, 7, 8, 9, np.nan]], np.float32)
    assert fill_gaps(x)[0].tolist() == [1, 1, 2, 3, 3, (2 + 8) / 2, 7, 7, 8, 9, 9]


def infer(folder: Path, files: list[Path], out: Path, **wish: object) -> list[Path]:
    ensemble = ensemble_of(folder)
    predictor = Predictor(Path("mine"), ensemble, Networks.of(ensemble, "cpu", "32-true"), None)
    return [*predict_recordings(find_recordings(files), predictor, out, out / "cache", Wish(**wish))]  # type: ignore[arg-type]


def test_a_folder_for_each_recording(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        write_brain(tmp_path / "in" / f"{name}.edf", 60.0)
    folders = infer(folder, [tmp_path / "in"], tmp_path / "out")
    assert [found.name for found in folders] == ["one", "two"]
    course, facts = Course.read(folders[0]), RecordingFacts.read(folders[0])
    assert len(course.frame) == 30
    assert not course.frame[list(PROB_COLUMNS)].isna().any(axis=None)
    assert [model["band"] for model in course.models] == list(BANDS)
    assert (facts.duration_s, facts.sfreq, len(facts.channels)) == (60.0, 200.0, 20)
    assert not (tmp_path / "out" / "cache" / "cache").exists() or not any((tmp_path / "out/cache/cache").iterdir())

    def never(*args: object) -> None:
        raise AssertionError("predicted again")

    monkeypatch.setattr("hbac.experiment.infer_recordings._predict_one", never)
    assert infer(folder, [tmp_path / "in"], tmp_path / "out") == folders
    with pytest.raises(AssertionError, match="predicted again"):
        infer(folder, [tmp_path / "in"], tmp_path / "out", step_s=4.0)


def test_an_interrupted_prediction_goes_on(
    folder: Path, tmp_path: Path, long_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hbac.inference.along._CHUNK_S", 100.0)
    wanted = Course.read(infer(folder, [long_file], tmp_path / "whole")[0]).frame
    read, calls = Recording.read, []

    def failing(self: Recording, start: int, stop: int, *rest: object) -> np.ndarray:
        if stop - start > 12_000:  # a chunk, and no window of the look at amplitudes
            calls.append(start)
            if len(calls) == 3:
                raise KeyboardInterrupt
        return read(self, start, stop, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Recording, "read", failing)
    with pytest.raises(KeyboardInterrupt):
        infer(folder, [long_file], tmp_path / "out")
    assert not (tmp_path / "out" / "long" / COURSE_FILE).exists()
    found = Course.read(infer(folder, [long_file], tmp_path / "out")[0]).frame
    assert len(calls) == 4  # two chunks were kept
    assert found.equals(wanted)


def test_a_damaged_chunk_is_computed_again_and_a_damaged_result_named(
    folder: Path, tmp_path: Path, long_file: Path, networks: Networks, caplog: pytest.LogCaptureFixture
) -> None:
    recording = open_recording(long_file)
    chunks = AlongChunks(networks, recording, Steps.of(recording, 10.0))
    wanted = predict_along(chunks, tmp_path / "kept")
    (chunk,) = (tmp_path / "kept").glob("*.npy")
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)
    assert np.array_equal(predict_along(chunks, tmp_path / "kept"), wanted, equal_nan=True)
    assert "0.npy is damaged: computed again" in caplog.text

    (made,) = infer(folder, [long_file], tmp_path / "out", step_s=10.0)
    for name in (COURSE_FILE, RECORDING_FILE, DONE_FILE):
        content = bytearray((made / name).read_bytes())
        for place in (len(content) // 3, len(content) // 2):
            content[place] ^= 1
            (made / name).write_bytes(content)
            with pytest.raises(UserError, match=f"{name}.*something else than hbac.infer recordings wrote, or changed"):
                infer(folder, [long_file], tmp_path / "out", step_s=10.0)
            content[place] ^= 1
        (made / name).write_bytes(content)
    assert infer(folder, [long_file], tmp_path / "out", step_s=10.0) == [made]


def test_nothing_of_a_patient_is_written_unless_asked_for(folder: Path, tmp_path: Path) -> None:
    import datetime

    import edfio

    about: Mapping[str, object] = {
        "patient": edfio.Patient(code="MCH-0234567", sex="F", name="Haagse_Harry"),
        "recording": edfio.Recording(startdate=datetime.date(2019, 5, 17), hospital_administration_code="PSG-1234"),
        "starttime": datetime.time(13, 14, 15),
        "annotations": [edfio.EdfAnnotation(5.0, 2.0, "seen by Dr Harry@@Cz")],
    }
    write_brain(tmp_path / "a.edf", 30.0, **about)
    (found,) = infer(folder, [tmp_path / "a.edf"], tmp_path / "out")
    for path in found.rglob("*"):
        content = path.read_bytes()
        for word in (b"Harry", b"0234567", b"PSG-1234", b"2019", b"13:14"):
            assert word not in content, path
    (found,) = infer(folder, [tmp_path / "a.edf"], tmp_path / "asked", keep=("start", "patient", "annotations"))
    facts = RecordingFacts.read(found)
    assert facts.start == datetime.datetime(2019, 5, 17, 13, 14, 15)
    assert facts.patient == "MCH-0234567 F X Haagse_Harry"
    noted = {"onset_s": 5.0, "duration_s": 2.0, "text": "seen by Dr Harry", "channel": "Cz"}
    assert facts.annotations == (noted,)


def test_which_recordings_are_meant(tmp_path: Path) -> None:
    for path in ("a/x.edf", "b/x.EDF", "b/y.bdf", "b/notes.txt"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(b"")
    assert list(find_recordings([tmp_path])) == ["a-x", "b-x", "y"]
    for name in ("..edf", "...edf"):  # whose folders are not this one and the one above
        (tmp_path / name).touch()
        assert list(find_recordings([tmp_path / name])) == [name]
        (tmp_path / name).unlink()
    (tmp_path / "empty").mkdir()
    (tmp_path / "c").mkdir()
    for name in ("A\u0308", "\u00e4"):  # a file system may know neither capitals nor how accents are written
        (tmp_path / "c" / f"{name}.edf").touch()
    (tmp_path / "latin").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/latin/M\xfcller.edf")).touch()
    for given, message in (
        ([tmp_path / "empty"], "empty: no recording in this folder"),
        ([tmp_path / "c"], "would both be written to"),
        ([tmp_path / "latin"], "M.xfcller.edf': this name is no UTF-8; rename the file"),
        ([tmp_path / "none.edf"], "none.edf: there is no such file or folder"),
        (["/dev/null"], "/dev/null: is a pipe or a device"),
        ([""], "name files or folders"),
        ([tmp_path / "a", tmp_path / "a" / "x.edf"], "x.edf is there twice"),
        ([], "name files or folders"),
    ):
        with pytest.raises(UserError, match=message):
            find_recordings(given)


def test_recordings_are_found_through_links(tmp_path: Path) -> None:
    for path in ("archive/2024/x.edf", "archive/2024/._x.edf", "elsewhere/y.edf"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    archive = tmp_path / "archive"
    for name, target in (("2025", "../elsewhere"), ("latest", "2024"), ("2024/up", ".."), ("z.edf", "2024/gone.edf")):
        (archive / name).symlink_to(target)
    with pytest.raises(UserError, match=r"z.edf: a link to a file that is not there"):
        find_recordings([archive])
    (archive / "z.edf").unlink()
    assert find_recordings([archive]) == {"x": archive / "2024/x.edf", "y": archive / "2025/y.edf"}
