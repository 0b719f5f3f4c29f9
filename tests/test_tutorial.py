"""The tutorial's commands, typed in their order in an empty folder; its networks made small, its epochs one."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.ensembles import SMALL_NET
from tests.test_commands import ROOT, command
from tests.test_docs import lines


@pytest.mark.slow
def test_the_tutorial_ends_with_a_submission(tmp_path: Path) -> None:
    typed = [words[2:] for words in lines(ROOT / "docs" / "tutorial.md")]
    names = [words[0].removeprefix("hbac.") for words in typed]
    assert names == ["prepare", "prepare", "train", "train", "report", "infer", "infer"]
    for words in typed:
        small = [*SMALL_NET, "trainer.max_epochs=1", "logger=csv"] if words[0] == "hbac.train" else []
        done = command(tmp_path, *words, *small)
        if "dry_run=true" in words:
            assert "windows/s" in done.stdout
    submission = pd.read_csv(tmp_path / "submission.csv")
    assert len(submission) and (submission.iloc[:, 1:].sum(axis=1) - 1).abs().max() < 1e-6
    assert len(list(tmp_path.glob("outputs/runs/*/fold*/metrics.json"))) == 10  # the first five were kept
    assert list(tmp_path.glob("outputs/reports/*/index.html"))
