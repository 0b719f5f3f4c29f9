"""A run's data set is found from any folder, and named so that the command line reads it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from hbac.common.commands import override
from hbac.common.errors import UserError
from hbac.runs.data_of_run import dataset_of_run, dataset_overrides


def write_run(outputs: Path, typed_outputs: str, root: str, environment: dict[str, str] | None = None) -> Path:
    run = outputs / "runs" / "member-1" / "fold0"
    run.mkdir(parents=True)
    dataset = {"_target_": "hbac.recordings.datasets.HMS", "root": root, "stores": f"{typed_outputs}/stores"}
    (run / "config.json").write_text(json.dumps({"dataset": dataset, "outputs": typed_outputs}))
    (run / "environment.json").write_text(json.dumps(environment or {}))
    return run


@pytest.mark.parametrize("typed", ["outputs", "./outputs", "deep/outputs", "."])
def test_relative_paths_begin_where_the_command_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    (project / "data").mkdir(parents=True)
    elsewhere.mkdir()
    run = write_run(project / typed, typed, "data")
    monkeypatch.chdir(elsewhere)
    assert dataset_of_run(run)["root"] == str(project / "data")
    assert dataset_of_run(run)["stores"] == str(project / typed / "stores")
    shutil.move(project, tmp_path / "moved")
    moved = tmp_path / "moved" / run.relative_to(project)
    assert dataset_of_run(moved)["root"] == str(tmp_path / "moved" / "data")


def test_outputs_elsewhere_go_by_the_recorded_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "project" / "data").mkdir(parents=True)
    outputs = tmp_path / "disk"
    run = write_run(outputs, str(outputs), "data", {"folder": str(tmp_path / "project")})
    monkeypatch.chdir(tmp_path)
    assert dataset_of_run(run)["root"] == str(tmp_path / "project" / "data")


@pytest.mark.parametrize("content", ["[]", "{}", '{"dataset": 3, "outputs": "x"}', '{"dataset": {"root": 1}}', "{"])
def test_a_damaged_config_is_named(tmp_path: Path, content: str) -> None:
    run = write_run(tmp_path, str(tmp_path), "data")
    (run / "config.json").write_text(content)
    with pytest.raises(UserError, match=r"config\.json"):
        dataset_of_run(run)


def test_the_data_set_is_named_with_all_that_makes_it_this_one() -> None:
    settings = {"size": "tiny", "seed": 3, "root": "/a b", "stores": "/s", "n_jobs": 2, "_pretrained_": False}
    wanted = ["dataset=synthetic", "dataset.size=tiny", "dataset.seed=3", 'dataset.root="/a b"']
    assert dataset_overrides({"_target_": "hbac.recordings.datasets.Synthetic", **settings}) == wanted


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_hydra_reads_what_was_written(text: str) -> None:
    path = f"/{text}"
    (read,) = OverridesParser.create().parse_overrides([override("ensemble", path)])
    assert str(read.value()) == path
