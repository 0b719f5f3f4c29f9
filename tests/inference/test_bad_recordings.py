"""Bad recordings, typed: one message with file, channel or byte and exit status 2, or read with a warning."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hbac.vocabulary import ELECTRODES
from tests.ensembles import SMALL_NET, write_ensemble
from tests.reading.test_edf import spoil
from tests.recorded import brain, cut_gaps, write_brain, write_edf
from tests.test_commands import command

LOST = ("F7", "T3", "T5", "F8", "T4", "T6")


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ensemble(tmp_path_factory.mktemp("ens"), [SMALL_NET], n_folds=1).parent


def spoilt(how: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        write_brain(folder / "a.edf", 12.0)
        spoil(folder / "a.edf", how)

    return write


def made_of(eeg: np.ndarray, labels: tuple[str, ...] = ELECTRODES, sfreq: float = 200.0) -> Callable[[Path], None]:
    return lambda folder: write_edf(folder / "a.edf", dict(zip(labels, eeg, strict=True)), sfreq) and None


def without_lateral_electrodes(folder: Path) -> None:
    eeg = dict(zip(ELECTRODES, brain(12, 200), strict=True))
    write_edf(folder / "a.edf", {name: x for name, x in eeg.items() if name not in LOST}, 200.0)


def all_nan(folder: Path) -> None:
    mne = pytest.importorskip("mne")
    info = mne.create_info(list(ELECTRODES), 200.0, "eeg")
    mne.io.RawArray(np.full((19, 4000), np.nan), info, verbose="ERROR").save(folder / "a_raw.fif", verbose="ERROR")


def backwards(folder: Path) -> None:
    write_brain(folder / "a.edf", 12.0, annotations=[])
    cut_gaps(folder / "a.edf", {6: -3.0})


BAD: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "shorter than any header": (spoilt("shorter than any header"), "in", "in/a.edf: 100 bytes; the header of an EDF"),
    "ends within its header": (spoilt("within the header"), "in", "in/a.edf: ends at byte 1000, within its header: 20"),
    "ends behind its header": (spoilt("header only"), "in", "in/a.edf: ends at byte 5376, before its first record"),
    "header of another length": (spoilt("header bytes"), "in", "in/a.edf: byte 184: says that its header has 9999"),
    "umlaut in a number": (spoilt("umlaut in a number"), "in", "in/a.edf: byte 236: number of records is '1ü'"),
    "no range": (spoilt("physical"), "in", "in/a.edf: channel 'Fp1' (byte 2336): physical minimum and maximum"),
    "no EEG": (made_of(brain(12, 200, 2), ("SPO2", "HR")), "in", "in/a.edf: no EEG channel; its channels: SPO2, HR"),
    "no montage": (without_lateral_electrodes, "in", "(the file has no F7, T3, T5, F8, T4, T6)"),
    "slow": (made_of(brain(12, 64), sfreq=64.0), "in", "in/a.edf: channel 'Fp1' has 64 Hz; EEG needs 80 Hz or more"),
    "short": (made_of(brain(9, 200)), "in", "in/a.edf: 9 s long; it must have 10 s or more"),
    "flat": (made_of(np.zeros((19, 4000))), "in", "in/a.edf: its EEG is flat throughout"),
    "NaN": (all_nan, "in", "in/a_raw.fif: its EEG has no value at all"),
    "volts": (made_of(1e-6 * brain(12, 200)), "in", "this looks like volts; unit=V, unit=mV or unit=uV says what"),
    "backwards": (backwards, "in", "record 6 begins at 3 s, before the one before it has ended"),
    "empty": (lambda folder: None, "in", "recordings=in: no recording in this folder"),
    "twice": (spoilt("umlaut"), "[in,in/a.edf]", "recordings: in/a.edf is there twice"),
}  # fmt: skip


# The messages of all are tested beside the reader, too; whole commands take longer.
QUICK = ("header of another length", "flat", "twice")


@pytest.mark.parametrize("what", [pytest.param(k, marks=() if k in QUICK else pytest.mark.slow) for k in BAD])
def test_one_message_and_status_2(ensemble: Path, tmp_path: Path, what: str) -> None:
    write, recordings, message = BAD[what]
    (tmp_path / "in").mkdir()
    write(tmp_path / "in")
    result = command(tmp_path, "hbac.infer", f"recordings={recordings}", f"ensemble={ensemble}", "out=out", ok=False)
    assert result.returncode == 2, result.stderr
    (error,) = [line for line in result.stderr.splitlines() if not line.startswith("warning")]
    assert error.startswith("error: ") and message in error
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "message", "seconds"),
    [
        ("records -1", "byte 236: −1 records, as while it is recorded; 12 are there", 12),
        ("records 99", "byte 236: says 99 records, 12 are there", 12),
        ("half a record", "byte 93376: 5000 bytes behind the last complete record are left aside", 11),
        ("padding", "byte 101376: 500 bytes behind the last complete record are left aside", 12),
        ("umlaut", "byte 9: not ASCII; read as Latin-1", 12),
    ],
)
def test_what_readers_forgive_is_predicted_with_a_warning(
    ensemble: Path, tmp_path: Path, how: str, message: str, seconds: int
) -> None:
    (tmp_path / "in").mkdir()
    spoilt(how)(tmp_path / "in")
    result = command(tmp_path, "hbac.infer", "recordings=in", f"ensemble={ensemble}", "dry_run=true")
    assert f"a: {seconds} s, {seconds // 2} windows, in/a.edf" in result.stdout
    assert f"in/a.edf: {message}" in result.stderr
