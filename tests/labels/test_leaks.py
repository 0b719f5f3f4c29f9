"""Each leak, made on purpose, is counted and named."""

from __future__ import annotations

import pandas as pd
import pytest

from hbac.common.errors import UserError
from hbac.labels.leaks import Audit, Check, check_apart, check_folds, check_owners

ROWS = pd.DataFrame({"patient_id": [1, 1, 2, 2], "eeg_id": [5, 5, 6, 7], "spectrogram_id": [9, 9, 9, 8]})


def test_what_stands_in_two_folds_is_counted_and_named() -> None:
    checks = check_folds(ROWS, [0, 1, 1, 1])
    assert [str(check) for check in checks] == [
        "1 of 2 patients in more than one fold",
        "1 of 3 EEGs in more than one fold",
        "1 of 2 spectrograms in more than one fold",
    ]
    assert [check.offenders for check in checks] == [
        ("patient_id 1 in folds 0, 1",),
        ("eeg_id 5 in folds 0, 1",),
        ("spectrogram_id 9 in folds 0, 1",),
    ]
    report = Audit(tuple(checks))
    assert not report.ok
    with pytest.raises(UserError, match=r"data: leak: 1 of 2 patients .*: patient_id 1 in folds 0, 1\. 1 of 3 EEGs"):
        report.require_none("data")


def test_nothing_leaks_within_one_fold() -> None:
    report = Audit(tuple(check_folds(ROWS, [0, 0, 0, 0])))
    assert report.ok
    report.require_none("data")
    assert report.lines()[0] == "0 of 2 patients in more than one fold"


def test_a_spectrogram_of_patients_in_two_folds() -> None:
    (_, _, spectrograms) = check_folds(ROWS, [0, 0, 1, 1])
    assert spectrograms.offenders == ("spectrogram_id 9 in folds 0, 1",)
    eegs, spectrograms = check_owners(ROWS)
    assert (eegs.examined, eegs.offenders) == (3, ())
    assert spectrograms.offenders == ("spectrogram_id 9 belongs to 2 patients (1, 2)",)
    assert str(spectrograms) == "1 of 2 spectrograms of more than one patient"
    with pytest.raises(UserError, match="folds by patient cannot keep them apart; correct patient_id"):
        Audit((spectrograms,)).require_none("train.csv")


def test_ids_that_nobody_knows_are_left_out() -> None:
    rows = pd.DataFrame({"patient_id": [-1, -1, 3], "eeg_id": [5, 6, 7], "spectrogram_id": [-1, -1, -1]})
    patients, eegs, spectrograms = check_folds(rows, [0, 1, 2])
    assert (patients.examined, eegs.examined, spectrograms.examined) == (1, 3, 0)
    assert not patients.offenders + spectrograms.offenders
    assert all(not check.offenders for check in check_owners(rows))


def test_what_is_trained_and_validated_on() -> None:
    test_rows = pd.DataFrame({"eeg_id": [70, 71], "spectrogram_id": [80, 81], "patient_id": [4, 2]})
    held_out = ROWS.iloc[2:]
    patients, eegs, spectrograms = check_apart(pd.concat([ROWS.iloc[:1], test_rows]), held_out)
    assert str(patients) == "1 of 3 patients both trained and validated on"
    assert patients.offenders == ("patient_id 2",)
    assert not eegs.offenders
    assert spectrograms.offenders == ("spectrogram_id 9",)
    assert not any(check.offenders for check in check_apart(test_rows.iloc[:1], held_out))


def test_a_message_names_some_and_counts_all() -> None:
    check = Check("EEGs of a kind", 100, tuple(f"eeg_id {i}" for i in range(9)))
    with pytest.raises(UserError, match=r"x: leak: 9 of 100 EEGs of a kind: eeg_id 0; eeg_id 1; eeg_id 2; and 6 more$"):
        Audit((Check("others", 5), check)).require_none("x")


def test_rows_that_cannot_be_checked() -> None:
    with pytest.raises(UserError, match="folds of shape"):
        check_folds(ROWS, [0, 1])
    with pytest.raises(UserError, match="missing column eeg_id"):
        check_folds(ROWS.drop(columns="eeg_id"), [0, 0, 0, 0])


def test_what_found_nothing_is_told_in_one_line() -> None:
    nothing = [Check("patients in more than one fold", 12), Check("EEGs in more than one fold", 12)]
    skipped = Check("EEGs whose signal is in another fold", 0, remark="not compared")
    assert Audit(tuple(nothing)).told() == ["nothing leaks in 2 checks"]
    assert Audit((*nothing, skipped)).told() == ["nothing leaks in 2 checks", str(skipped)]
    leak = Check("patients in more than one fold", 12, ("patient 3",))
    assert Audit((leak,)).told() == ["1 of 12 patients in more than one fold"]
