"""EDF and BDF files: the samples that edfio and MNE read, gaps, and what is wrong with a file, byte by byte."""

from __future__ import annotations

import logging
from pathlib import Path

import edfio
import numpy as np
import pytest

from hbac.common.errors import UserError
from hbac.reading.edf import EdfSource
from hbac.reading.opened import open_recording
from hbac.signal.montage import MONTAGES, derivation_weights
from hbac.vocabulary import CHANNELS, ELECTRODES
from tests.recorded import brain, cut_gaps, patch, write_brain, write_edf

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "edf"


@pytest.mark.parametrize("bdf", [False, True])
def test_samples_are_those_of_edfio_and_mne(tmp_path: Path, bdf: bool) -> None:
    mne = pytest.importorskip("mne")
    path = tmp_path / ("a.bdf" if bdf else "a.edf")
    write_brain(path, 12.0, 256.0, bdf=bdf)
    source = EdfSource(path)
    found = source.read(0, range(20), 300, 2000)
    theirs = (edfio.read_bdf if bdf else edfio.read_edf)(path)
    np.testing.assert_allclose(found, [s.data[300:2000] for s in theirs.signals], atol=1e-3)
    reader = mne.io.read_raw_bdf if bdf else mne.io.read_raw_edf
    np.testing.assert_allclose(found, 1e6 * reader(path, verbose="ERROR").get_data()[:, 300:2000], atol=1e-3)


def test_gaps_and_annotations_lie_where_the_clock_says(tmp_path: Path) -> None:
    notes = [edfio.EdfAnnotation(3.25, 1.5, "spike@@T7"), edfio.EdfAnnotation(8.0, None, "Öhrchen")]
    eeg = write_brain(tmp_path / "a.edf", 20.0, annotations=notes)
    plain = open_recording(tmp_path / "a.edf")
    assert [(a.onset_s, a.duration_s, a.text, a.channel) for a in plain.annotations] == [
        (3.25, 1.5, "spike", "T7"), (8.0, 0.0, "Öhrchen", None)
    ]  # fmt: skip
    recording = open_recording(cut_gaps(tmp_path / "a.edf", {5: 2.5, 12: 100.0}))
    assert recording.gaps == ((5.0, 2.5), (14.5, 100.0))
    assert recording.duration_s == 122.5
    x_CT = recording.read(0, recording.n_times)
    assert np.isnan(x_CT[0]).sum() == round(102.5 * 200)
    np.testing.assert_allclose(x_CT[:, :1000], eeg[:, :1000], atol=0.1)
    np.testing.assert_allclose(x_CT[:, 1500:2900], eeg[:, 1000:2400], atol=0.1)
    np.testing.assert_allclose(x_CT[:, 22900:], eeg[:, 2400:], atol=0.1)
    np.testing.assert_array_equal(recording.read(-100, 50)[:, 100:], x_CT[:, :50])
    assert np.isnan(recording.read(-100, 50)[:, :100]).all()


def test_gaps_are_never_resampled_across(tmp_path: Path) -> None:
    eeg = np.tile(np.linspace(-100, 100, 20 * 256), (19, 1))  # a ramp, which jumps where it is joined
    write_edf(tmp_path / "a.edf", dict(zip(ELECTRODES, eeg, strict=True)), 256.0, annotations=[])
    x_CT = open_recording(cut_gaps(tmp_path / "a.edf", {10: 30.0})).read(0, 10_000)
    wanted = -100 + 200 * np.arange(2000) / (20 * 200)
    np.testing.assert_allclose(x_CT[0, 100:1950], wanted[100:1950], atol=0.05)
    np.testing.assert_allclose(x_CT[0, 1950:2000], wanted[1950:2000], atol=1.0)  # the last value held, and filtered
    assert np.isnan(x_CT[0, 2000:8000]).all()


def test_signals_of_several_rates(tmp_path: Path) -> None:
    eeg = brain(20, 256)
    signals = dict(zip(ELECTRODES, eeg, strict=True))
    rates = dict.fromkeys(ELECTRODES, 256.0)
    slow = {"Cz": brain(20, 128, 1)[0], "SPO2": np.linspace(90, 99, 20)}
    path = write_edf(tmp_path / "a.edf", signals | slow, rates | {"Cz": 128.0, "SPO2": 1.0})
    recording = open_recording(path)
    assert recording.ignored == ("SPO2",)
    x_CT = recording.read(0, 4000)
    assert x_CT.shape == (20, 4000)
    assert np.isfinite(x_CT[:19]).all()
    assert np.isnan(x_CT[19]).all()  # no EKG
    assert np.corrcoef(x_CT[CHANNELS.index("Cz")][200:3800:25], slow["Cz"][128:-128:16])[0, 1] > 0.98


@pytest.mark.parametrize(
    ("name", "n_electrodes", "ignored"),
    [
        ("chbmit_header", 19, "P7-T7"), ("siena_header", 19, "SPO2"), ("seizeit_header", 19, "OorLiTop"),
        ("tuh_ref_header", 19, "PHOTIC PH"), ("tuh_le_header", 19, "EEG 26-LE"), ("szcore_unipolar", 19, None),
        ("szcore_bipolar", 19, None), ("edfio_mne_test", 6, "B1"), ("edfio_subsecond", 1, None),
    ],
)  # fmt: skip
def test_real_headers(name: str, n_electrodes: int, ignored: str | None) -> None:
    path = REAL / f"{name}.edf"
    if not path.is_file():
        pytest.skip(f"no {path}")
    recording = open_recording(path)
    x_CT = recording.read(0, recording.n_times)
    assert np.isfinite(x_CT[:19]).all(axis=1).sum() == n_electrodes
    assert ignored is None or ignored in recording.ignored
    assert recording.source.start is not None
    if n_electrodes == 19:
        for derivation in MONTAGES["longitudinal_bipolar"].derivations:
            assert recording.electrodes.what_is_against(derivation_weights(derivation)) == ""


def test_a_file_of_annotations_alone_is_no_recording() -> None:
    path = REAL / "edfio_annotations_only.edf"
    if not path.is_file():
        pytest.skip(f"no {path}")
    with pytest.raises(UserError, match="no EEG channel; its channels: none"):
        open_recording(path)
    assert len(EdfSource(path).annotations) == len(edfio.read_edf(path).annotations) > 0


def test_a_start_within_a_second() -> None:
    path = REAL / "edfio_subsecond.edf"
    if not path.is_file():
        pytest.skip(f"no {path}")
    recording = open_recording(path)
    assert str(recording.source.start) == str(edfio.read_edf(path).startdatetime)
    wanted = edfio.read_edf(path).annotations
    assert [a.onset_s for a in recording.annotations] == pytest.approx([a.onset for a in wanted])
    assert [a.text for a in recording.annotations] == [a.text for a in wanted]


def spoil(path: Path, how: str) -> Path:
    """Make one thing wrong with a recording of 20 signals and 12 records of one second."""
    size = path.stat().st_size
    content = path.read_bytes()
    header = 256 * 21
    if how == "header only":
        path.write_bytes(content[:header])
    elif how == "within the header":
        path.write_bytes(content[:1000])
    elif how == "shorter than any header":
        path.write_bytes(content[:100])
    elif how == "half a record":
        path.write_bytes(content[: size - 3000])
    elif how == "padding":
        path.write_bytes(content + b"\x00" * 500)
    else:
        at, text = {
            "records -1": (236, b"-1      "), "records 99": (236, b"99      "), "no number": (244, b"one     "),
            "header bytes": (184, b"9999    "), "no time": (168, b"xx.yy.zz"), "umlaut": (8, b"J\xfcrgen"),
            "umlaut in a number": (236, b"1\xfc      "), "physical": (256 + 20 * 104, b"5       "),
            "magic": (0, b"PK\x03\x04    "), "record of nothing": (244, b"0       "),
        }[how]  # fmt: skip
        patch(path, at, text)
        if how == "physical":
            patch(path, 256 + 20 * 112, b"5       ")
    return path


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("header only", "ends at byte 5376, before its first record"),
        ("within the header", "ends at byte 1000, within its header: 20 signals need 5376 bytes"),
        ("shorter than any header", "100 bytes; the header of an EDF file alone has 256"),
        ("no number", "byte 244: duration of a record is 'one'; must be a number"),
        ("header bytes", "byte 184: says that its header has 9999 bytes; 20 signals need 5376"),
        ("umlaut in a number", "byte 236: number of records is '1ü'; must be a number"),
        ("physical", "channel 'Fp1' \\(byte 2336\\): physical minimum and maximum are both 5"),
        ("magic", "byte 0: .* an EDF file begins with 0"),
        ("record of nothing", "byte 244: a record lasts 0 s"),
    ],
)
def test_what_is_wrong_is_named_by_its_byte(tmp_path: Path, how: str, message: str) -> None:
    write_brain(tmp_path / "a.edf", 12.0)
    with pytest.raises(UserError, match=message) as error:
        open_recording(spoil(tmp_path / "a.edf", how))
    assert str(error.value).startswith(str(tmp_path / "a.edf"))


@pytest.mark.parametrize(
    ("how", "duration_s", "message"),
    [
        ("records -1", 12, "byte 236: −1 records, as while it is recorded; 12 are there"),
        ("records 99", 12, "byte 236: says 99 records, 12 are there"),
        ("half a record", 11, "5000 bytes behind the last complete record are left aside"),
        ("padding", 12, "500 bytes behind the last complete record are left aside"),
        ("umlaut", 12, "byte 9: not ASCII; read as Latin-1"),
        ("no time", 12, "byte 168: no date and time"),
    ],
)
def test_what_readers_forgive_is_read_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str, duration_s: float, message: str
) -> None:
    write_brain(tmp_path / "a.edf", 12.0)
    with caplog.at_level(logging.WARNING, "hbac.reading"):
        recording = open_recording(spoil(tmp_path / "a.edf", how))
    assert recording.duration_s == duration_s
    assert message in " ".join(recording.notes)
    assert message in caplog.text
    assert np.isfinite(recording.read(0, 2000)).all()
