"""Recordings with a table of labelled moments are a data set like any other."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from hbac.common.errors import UserError
from hbac.labels.folds import make_folds
from hbac.reading.labelled import Recordings
from hbac.reading.names import parse_label
from hbac.reading.opened import open_recording
from hbac.vocabulary import CHANNELS, VOTE_COLUMNS
from tests.recorded import CHB_MIT, brain, write_brain, write_brainvision, write_edf

VOTES = ",".join(VOTE_COLUMNS)


def data_set(root: Path, text: str, name: str = "events.csv") -> Recordings:
    (root / name).write_text(text)
    return Recordings(root, root / "stores", name)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    write_brain(folder / "a.edf", 120.0, 256.0)
    write_brain(folder / "sub" / "b.edf", 10.0)
    return folder


def test_windows_lie_around_what_was_judged(root: Path) -> None:
    rows = "a.edf,40,P1,1,0,0,0,0,2\na.edf,46,P1,0,5,0,0,0,6\na.edf,100,P1,3,0,0,0,0,0\nsub/b.edf,0,P2,0,0,1,0,0,0\n"
    part = data_set(root, f"file,onset,patient,{VOTES}\n{rows}").part("train")
    assert part.rows["eeg_id"].tolist() == [0, 0, 2, 3]
    assert part.rows["eeg_label_offset_seconds"].tolist() == [0, 6, 0, 0]
    assert part.rows["patient_id"].nunique() == 2
    assert part.rows[list(VOTE_COLUMNS)].to_numpy()[1].tolist() == [0, 5, 0, 0, 0, 6]
    recording = open_recording(root / "a.edf")
    wanted = recording.read(46 * 200 + 1000 - 5000, 46 * 200 + 1000 + 5000)
    found = part.eeg.window(0, 6 * 200, 10_000)
    np.testing.assert_allclose(found.T, wanted, atol=0.1)
    short = part.eeg.window(3, 0, 10_000).T  # ten seconds in the centre, mirrored
    np.testing.assert_allclose(short[:, 4000:6000], open_recording(root / "sub/b.edf").read(0, 2000), atol=0.1)
    np.testing.assert_array_equal(short[:, 3999], short[:, 4001])
    assert make_folds(part.rows, 2) is not None


def test_a_class_is_one_vote(root: Path) -> None:
    text = "file,onset_s,duration_s,class,patient\na.edf,30,20,LPD,x\nsub/b.edf,0,10,other,y\n"
    rows = data_set(root, text, "classes.csv").part("train").rows
    assert rows[list(VOTE_COLUMNS)].to_numpy().tolist() == [[0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1]]


def test_samples_beside_a_header_that_changed_are_copied_anew(tmp_path: Path) -> None:
    pytest.importorskip("mne")
    eeg_CT = brain(60, 250, 20)
    found = []
    for factor in (1.0, 0.5):
        write_brainvision(tmp_path / "a.vhdr", factor * eeg_CT, 250.0)
        for name in ("a.vhdr", "a.vmrk"):
            os.utime(tmp_path / name, (0, 0))  # as they were
        given = data_set(tmp_path, "file,onset,class,patient\na.vhdr,25,lpd,x\n")
        found.append(given.part("train").eeg.window(0, 0, 10_000))
    np.testing.assert_allclose(found[1], 0.5 * found[0], atol=0.1)


def test_a_table_that_was_damaged_is_made_again(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = "file,onset_s,duration_s,class,patient\na.edf,30,20,GPD,x\nsub/b.edf,0,10,other,y\n"
    given = data_set(root, text, "again.csv")
    part, windows = given.part("train"), given.root
    for name in ("train.csv", "made.json"):
        content = (windows / name).read_bytes()
        (windows / name).write_bytes(content.replace(b"1", b"0", 1) if name == "train.csv" else content[:-9])
        again = data_set(root, text, "again.csv").part("train")
        assert (windows / name).read_bytes() == content
        assert again.rows.equals(part.rows) and again.fingerprint == part.fingerprint
    assert caplog.text.count("made again") == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,onset\na.edf,1\n", "no column patient, seizure_vote"),
        ("file,onset,class,patient\nc.edf,1,lpd,x\n", "line 2: file 'c.edf' is not in"),
        ("file,onset,class,patient\na.edf,soon,lpd,x\n", "line 2: onset is 'soon'; must be a number"),
        ("file,onset,class,patient\na.edf,1,spike,x\n", "line 2: class is 'spike'; must be one of seizure, lpd"),
        ("file,onset,class,patient\na.edf,1,lpd,\n", "line 2: no patient"),
        ("file,onset,class,patient\na.edf,1,lpd,x\na.edf,9,lpd,y\n", "line 3: a.edf is of patient y here, and of x"),
        (
            "file,onset,class,patient\na.edf,1,lpd,x\n./a.edf,9,lpd,y\n",
            "line 3: ./a.edf is of patient y here, and of x",
        ),
        ("file,onset,class,patient\nb,a.edf,1,lpd,x\n", "Expected 4 fields in line 2, saw 5"),
        ("file,onset,class,class,patient\na.edf,1,lpd,gpd,x\n", "more than one column class"),
        ("file,onset,class,patient\na.edf,1_0,lpd,x\n", "line 2: onset is '1_0'"),
        ("file,onset,class,patient\n.,1,lpd,x\n", "line 2: file '.' is not in"),
        ("file,onset,class,patient\n", "has no rows"),
        ("file,onset,class,patient\na.edf,900,lpd,x\n", "a.edf: nothing was recorded around 905 s; it is 120 s long"),
        (f"file,onset,patient,{VOTES}\na.edf,1,x,0,0,0,0,0,0\n", "line 2: votes must be whole numbers, one or more"),
    ],
)
def test_what_is_wrong_with_a_table_is_said_by_line(root: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        data_set(root, text, "wrong.csv").part("train")


def test_derivations_alone_are_warned_of_and_their_differences_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    x = dict(zip(CHANNELS, write_brain(tmp_path / "whole.edf", 60.0), strict=True))
    leads = [(label, lead) for label in CHB_MIT if (lead := parse_label(label)) and {lead.name, lead.reference} <= {*x}]
    write_edf(tmp_path / "a.edf", [(label, x[lead.name] - x[lead.reference]) for label, lead in leads], 200.0)
    part = data_set(tmp_path, "file,onset,class,patient\na.edf,25,lpd,x\n").part("train")
    assert "Fz, Cz, Pz, Fp2, F4, C4, P4, F8, T4, T6, O2 share no reference with Fp1: choose" in caplog.text
    window = dict(zip(CHANNELS, part.eeg.window(0, 0, 10_000).T.astype(float), strict=True))
    for a, b in (("C3", "P3"), ("T4", "T6"), ("Fz", "Cz")):
        np.testing.assert_allclose(window[a] - window[b], (x[a] - x[b])[1000:11_000], atol=0.5)


def test_too_few_electrodes_are_refused(tmp_path: Path) -> None:
    eeg = dict(zip(CHANNELS, write_brain(tmp_path / "whole.edf", 60.0), strict=True))
    lost = ("F7", "T3", "T5", "F8", "T4")
    write_edf(tmp_path / "a.edf", {name: x for name, x in eeg.items() if name not in lost}, 200.0)
    with pytest.raises(UserError, match=r"a.edf: F7, T3, T5, F8, T4 missing; a data set needs all of 19"):
        data_set(tmp_path, "file,onset,class,patient\na.edf,25,lpd,x\n").part("train")
