"""Learning curves as they were logged, resumed, or in stages."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from hbac.common.errors import UserError
from hbac.report.curves import curve, read_log


def write_log(run: Path, version: int, text: str) -> None:
    path = run / "logs" / f"version_{version}" / "metrics.csv"
    path.parent.mkdir(parents=True)
    path.write_text(text)


def test_a_resumed_training_goes_on_and_its_last_word_counts(tmp_path: Path) -> None:
    write_log(tmp_path, 10, "epoch,val/kl\n1,0.5\n2,0.4\n")
    write_log(tmp_path, 9, "epoch,train/kl,val/kl\n0,,0.9\n0,1.2,\n1,,0.7\n")
    log = read_log(tmp_path)
    assert curve(log, "val/kl").to_dict() == {1: 0.9, 2: 0.5, 3: 0.4}
    assert curve(log, "train/kl").to_dict() == {1: 1.2}


def test_stages_follow_one_another_in_the_order_of_their_rows(tmp_path: Path) -> None:
    columns = "epoch,all/epoch,all/val/kl,few/epoch,few/val/kl,val/kl"
    write_log(tmp_path, 0, f"{columns}\n,,,0,3.0,\n,,,1,2.5,\n,0,2.0,,,\n0,,,,,1.5\n1,,,,,1.4\n")
    assert curve(read_log(tmp_path), "val/kl").to_dict() == {1: 3.0, 2: 2.5, 3: 2.0, 4: 1.5, 5: 1.4}


def test_a_training_without_logs_has_no_curve(tmp_path: Path) -> None:
    assert read_log(tmp_path).empty
    write_log(tmp_path, 0, "")
    assert curve(read_log(tmp_path), "val/kl").empty
    assert curve(pd.DataFrame({"epoch": [0], "val/kl": [0.5]}), "val/kl_up_to_7").empty


def test_a_damaged_log_is_named(tmp_path: Path) -> None:
    write_log(tmp_path, 0, 'epoch,val/kl\n0,"0.9\n')
    with pytest.raises(UserError, match=r"metrics\.csv: not readable as csv"):
        read_log(tmp_path)
