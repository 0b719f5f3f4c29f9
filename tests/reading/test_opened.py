"""From signals to electrodes in microvolt: units, missing electrodes, amplitudes, other formats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hbac.common.errors import UserError
from hbac.reading.arrays import ArraySource
from hbac.reading.opened import open_recording, recording_of
from hbac.reading.source import Signal
from hbac.vocabulary import CHANNELS, ELECTRODES
from tests.recorded import brain, write_brain, write_brainvision, write_edf


@pytest.mark.parametrize(("unit", "factor"), [("uV", 1.0), ("mV", 1e-3), ("V", 1e-6), ("µV", 1.0), ("", 1.0)])
def test_units_are_what_the_file_says(tmp_path: Path, unit: str, factor: float) -> None:
    eeg = brain(15, 200)
    path = write_edf(
        tmp_path / "a.edf", dict(zip(ELECTRODES, factor * eeg, strict=True)), 200.0, unit.replace("µ", "u")
    )
    if unit == "µV":  # as older systems write it
        content = path.read_bytes()
        path.write_bytes(content.replace(b"uV", b"\xb5V"))
    recording = open_recording(path)
    recording.check_amplitudes()
    np.testing.assert_allclose(recording.read(0, 3000)[:19], eeg, atol=0.1)
    said = [note for note in recording.notes if "no unit is said of 19 channels, read as microvolt" in note]
    assert bool(said) == (not unit)
    assert not any("no unit" in note for note in open_recording(path, unit="uV").notes)


@pytest.mark.parametrize(
    ("factor", "message"),
    [(1e-6, "looks like volts"), (1e-3, "looks like millivolts, or like nothing but"), (1e3, "looks like nanovolts")],
)
def test_values_that_cannot_be_microvolt_are_refused(tmp_path: Path, factor: float, message: str) -> None:
    eeg = brain(60, 200)
    path = write_edf(tmp_path / "a.edf", dict(zip(ELECTRODES, factor * eeg, strict=True)), 200.0)
    with pytest.raises(UserError, match=message):
        open_recording(path).check_amplitudes()
    if factor < 1:
        named = open_recording(path, unit="V" if factor == 1e-6 else "mV")
        named.check_amplitudes()
        np.testing.assert_allclose(named.read(0, 3000)[:19], eeg[:, :3000], atol=0.1)


def test_flat_recordings_are_refused_and_those_that_begin_flat_are_not(tmp_path: Path) -> None:
    eeg = np.zeros((19, 100 * 200))
    path = write_edf(tmp_path / "flat.edf", dict(zip(ELECTRODES, eeg, strict=True)), 200.0)
    with pytest.raises(UserError, match="its EEG is flat throughout"):
        open_recording(path).check_amplitudes()
    eeg[:, 15_000:] = brain(25, 200)
    open_recording(write_edf(tmp_path / "a.edf", dict(zip(ELECTRODES, eeg, strict=True)), 200.0)).check_amplitudes()


def test_what_has_no_value_is_refused() -> None:
    signals = [Signal(name, "uV", 200.0) for name in ELECTRODES]
    recording = recording_of(ArraySource(signals, np.full((19, 4000), np.nan)), "it")
    with pytest.raises(UserError, match="it: its EEG has no value at all"):
        recording.check_amplitudes()


def test_the_electrode_that_others_were_recorded_against_is_there() -> None:
    eeg = brain(20, 200)
    against = ELECTRODES.index("Cz")
    signals = [Signal(f"{name}-Cz", "uV", 200.0) for name in ELECTRODES if name != "Cz"]
    source = ArraySource(signals, np.delete(eeg - eeg[against], against, axis=0))
    np.testing.assert_allclose(recording_of(source, "it").read(0, 4000)[:19], eeg - eeg[against], atol=1e-3)


def test_missing_electrodes_are_interpolated_up_to_a_number(tmp_path: Path) -> None:
    # A smooth field over the head, which neighbours know.
    from hbac.vocabulary import POSITIONS

    wave = 50 * np.sin(2 * np.pi * 3 * np.arange(4000) / 200)
    field = np.array([1 + 0.5 * POSITIONS[name][0] + 0.3 * POSITIONS[name][1] for name in ELECTRODES])
    signals = {name: f * wave for name, f in zip(ELECTRODES, field, strict=True) if name not in ("C3", "Fz")}
    recording = open_recording(write_edf(tmp_path / "a.edf", signals, 200.0))
    assert recording.interpolated == ("C3", "Fz")
    assert "made of their neighbours: C3, Fz" in " ".join(recording.notes)
    found = recording.read(0, 4000)
    for name in ("C3", "Fz"):
        np.testing.assert_allclose(found[CHANNELS.index(name)], field[ELECTRODES.index(name)] * wave, atol=5)
    without = open_recording(tmp_path / "a.edf", interpolate=1)
    assert without.interpolated == ()
    assert without.electrodes.what_is_against({"C3": 1.0, "P3": -1.0}) == "C3 missing"
    assert np.isnan(without.read(0, 100)[CHANNELS.index("C3")]).all()


@pytest.mark.parametrize(
    ("labels", "sfreq", "message"),
    [
        (["SPO2", "HR"], 200.0, "no EEG channel; its channels: SPO2, HR"),
        (ELECTRODES, 64.0, "'Fp1' has 64 Hz; .* 80 Hz"),
    ],
)
def test_what_is_no_eeg_is_refused(tmp_path: Path, labels: list[str], sfreq: float, message: str) -> None:
    path = write_edf(tmp_path / "a.edf", dict(zip(labels, brain(12, sfreq, len(labels)), strict=True)), sfreq)
    with pytest.raises(UserError, match=message):
        open_recording(path)


def test_what_mne_reads_is_the_same(tmp_path: Path) -> None:
    mne = pytest.importorskip("mne")
    eeg = write_brain(tmp_path / "a.edf", 20.0, 256.0)
    wanted = open_recording(tmp_path / "a.edf").read(0, 4000)
    info = mne.create_info(list(CHANNELS), 256.0, ["eeg"] * 19 + ["ecg"])
    raw = mne.io.RawArray(eeg * 1e-6, info, verbose="ERROR")
    raw.set_annotations(mne.Annotations([2.0, 3.0], [0.5, 0], ["seen", "spike"], ch_names=[[], ["Cz", "Pz"]]))
    raw.save(tmp_path / "a_raw.fif", verbose="ERROR")
    recording = open_recording(tmp_path / "a_raw.fif")
    np.testing.assert_allclose(recording.read(0, 4000), wanted, atol=0.1)
    assert [(a.onset_s, a.text, a.channel) for a in recording.annotations] == [
        (2.0, "seen", None), (3.0, "spike", "Cz"), (3.0, "spike", "Pz")
    ]  # fmt: skip
    raw.set_annotations(mne.Annotations([5.0], [3.0], ["BAD_ACQ_SKIP"]))
    raw.save(tmp_path / "b_raw.fif", verbose="ERROR")
    assert open_recording(tmp_path / "b_raw.fif").gaps == ((5.0, 3.0),)


def test_of_channels_that_say_the_same_the_first_is_read(tmp_path: Path) -> None:
    eeg = brain(12, 200, 21)
    labels = [*ELECTRODES, "T7", "Sph1"]  # T7 is T3
    recording = open_recording(write_edf(tmp_path / "a.edf", list(zip(labels, eeg, strict=True)), 200.0))
    assert "there twice, the first is read: T7" in recording.notes
    assert recording.ignored == ("T7", "Sph1")
    np.testing.assert_allclose(recording.read(0, 2400)[:19], eeg[:19], atol=0.1)


def test_brainvision_is_read_by_what_its_header_says(tmp_path: Path) -> None:
    pytest.importorskip("mne")
    eeg_CT = brain(20, 250, 20)
    write_brainvision(tmp_path / "a.vhdr", eeg_CT, 250.0)
    recording = open_recording(tmp_path / "a.vhdr")
    recording.check_amplitudes()
    assert (recording.sfreq, recording.duration_s) == (250, 20)
    assert [(a.onset_s, a.text) for a in recording.annotations] == [(5.0, "Comment/seizure?")]
    signals = [Signal(name, "uV", 250.0) for name in CHANNELS]
    wanted = recording_of(ArraySource(signals, eeg_CT.astype(np.float32)), "it").read(0, 4000)
    np.testing.assert_allclose(recording.read(0, 4000), wanted, atol=0.01)


def test_what_nobody_reads_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.vhdr").write_text("nonsense")
    with pytest.raises(UserError, match="a.vhdr: MNE cannot read it"):
        open_recording(tmp_path / "a.vhdr")
    with pytest.raises(UserError, match="there is no such file"):
        open_recording(tmp_path / "b.edf")
