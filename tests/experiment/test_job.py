"""A run's name: of what is in its data and settings, not of where they lie."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir

from hbac.cli.launch import conf_dir
from hbac.common.errors import UserError
from hbac.experiment.job import _content
from hbac.experiment.stages import stages_of
from hbac.vocabulary import VOTE_COLUMNS
from tests.helpers import write_hms_layout
from tests.test_commands import SMALL_NET, command


def test_a_run_follows_its_data_and_not_their_path(tmp_path: Path, read_only: Callable[[Path], None]) -> None:
    root = write_hms_layout(tmp_path / "data", n_eegs=12, seed=1, n_test=0)
    line = ("hbac.train", "dataset=hms", "labels.n_folds=2", "logger=csv", "trainer.max_epochs=1", *SMALL_NET)
    command(tmp_path, *line, "dataset.root=data")
    shutil.move(root, tmp_path / "moved")
    (tmp_path / "link").symlink_to("moved")
    for path in ("./link/", str(tmp_path / "moved")):
        assert "is there already" in command(tmp_path, *line, f"dataset.root={path}", "band=.50-20.0").stderr
    [run] = tmp_path.glob("outputs/runs/*/fold0")

    labels = tmp_path / "moved" / "train.csv"
    rows = pd.read_csv(labels)
    rows.loc[0, list(VOTE_COLUMNS)] = rows.loc[0, list(VOTE_COLUMNS)].to_numpy()[::-1]
    rows.to_csv(labels, index=False)
    assert "is there already" not in command(tmp_path, *line, "dataset.root=link").stderr
    assert len(list(tmp_path.glob("outputs/runs/*/fold0"))) == 2 and run.is_dir()
    read_only(tmp_path / "outputs")
    assert "is there already" in command(tmp_path, *line, "dataset.root=link").stderr


def test_weights_to_begin_with_count_by_what_is_in_them(tmp_path: Path) -> None:
    """Those of a branch, too."""
    for name, text in {"a": "one", "b": "one", "c": "two"}.items():
        (tmp_path / name).write_text(text)

    def content(name: str, branch: str) -> dict[str, str]:
        branches = {"one": {"pretrained_file": str(tmp_path / branch)}, "two": {}}
        return _content({"model": {"pretrained_file": str(tmp_path / name), "branches": branches}}, {}, None)

    assert content("a", "b") == content("b", "a") != content("c", "a")
    assert content("a", "c") not in (content("a", "a"), content("c", "a"))


@pytest.mark.parametrize("name", ["..", "../x", "/x", "a/b", ".x", "a b", "", "-x"])
def test_a_stage_is_no_path(name: str) -> None:
    """Its weights and checkpoints are written to a folder of that name, and removed with resume=false."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train")
    cfg.stages = {name: {"labels": {"min_votes": 1}}}
    with pytest.raises(UserError, match=r"a stage's name has letters, digits and"):
        stages_of(cfg)
