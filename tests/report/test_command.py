"""``python -m hbac.report`` as a user types it."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from hbac.cli.launch import conf_dir
from hbac.common.commands import override
from hbac.common.errors import UserError
from hbac.common.instantiate import build
from hbac.ensembling.build import build_ensemble
from hbac.ensembling.collect import collect
from hbac.ensembling.ensemble_file import Ensemble
from hbac.recordings.datasets import Part
from hbac.report.__main__ import recordings_of
from hbac.report.gather import gather
from hbac.report.index import write_report
from tests.helpers import write_hms_layout
from tests.reports import write_runs


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hbac.report", *arguments], capture_output=True, text=True, check=False
    )


def test_runs_and_ensembles_become_a_folder(reported: Path, tmp_path: Path) -> None:
    runs = ",".join(str(path) for path in sorted((reported / "runs").iterdir()))
    result = run(f"runs=[{runs},{reported}/ensembles/two]", f"outputs={tmp_path}", "windows=4")
    assert result.returncode == 0, result.stderr
    (out,) = (tmp_path / "reports").iterdir()
    assert {"index.html", "eeg.html", "plotly.min.js", "report.css"} <= {path.name for path in out.iterdir()}
    assert f"report:     {out}/index.html  (members: 3, ensembles: 1" in result.stdout
    index = (out / "index.html").read_text()
    assert "ensemble two" in index
    assert '<a href="eeg.html">Look at 4 windows</a>' in index
    assert len(list((out / "eeg").iterdir())) == 4


def test_recordings_that_were_moved_are_named(reported: Path, tmp_path: Path) -> None:
    shutil.copytree(reported / "runs", tmp_path / "runs")
    (reported / "data").rename(tmp_path / "moved")
    try:
        without = run(f"outputs={tmp_path}", f"out={tmp_path}/without", "windows=2")
        where = f"dataset.root={tmp_path}/moved"
        named = run(f"outputs={tmp_path}", f"out={tmp_path}/named", "windows=2", "dataset=hms", where)
    finally:
        (tmp_path / "moved").rename(reported / "data")
    assert (without.returncode, named.returncode) == (0, 0), without.stderr + named.stderr
    assert f"No EEG page: the recordings are not in {reported}/data" in without.stderr
    assert not (tmp_path / "without" / "eeg.html").exists()
    assert (tmp_path / "named" / "eeg.html").is_file()


def test_from_another_folder_it_has_its_eegs_and_a_command_that_works_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, elsewhere = tmp_path / "it's a (project)", tmp_path / "elsewhere"
    for folder in (project, elsewhere):
        folder.mkdir()
    monkeypatch.chdir(project)
    write_hms_layout(Path("data"), n_eegs=12, n_test=3)
    runs = write_runs(Path("outputs"), Path("data"), [["band=0.5-20"], ["band=1-12"]])
    build_ensemble(collect(runs), Path("outputs/ensembles/both"), n_resamples=5)
    monkeypatch.chdir(elsewhere)
    result = run(override("runs", project / "outputs" / "ensembles" / "both"), "out=made", "windows=2")
    assert result.returncode == 0, result.stderr
    assert (elsewhere / "made" / "eeg.html").is_file()
    assert not (elsewhere / "outputs" / "stores").exists()
    page = unescape((elsewhere / "made" / "index.html").read_text())
    command = re.search(r"Predict with it</p><pre>(.*?)</pre>", page)[1]
    python, *arguments = shlex.split(command)
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("infer", arguments[2:])
    assert (python, *arguments[:2]) == ("python", "-m", "hbac.infer")
    assert Ensemble.read(cfg.ensemble).method
    assert build(cfg.dataset, "dataset").part("test").rows["eeg_id"].size == 3
    assert cfg.dataset.root == str(project / "data")


def test_recordings_that_are_gone_are_asked_for_by_their_own_name(reported: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(reported / "runs", runs)
    for path in runs.glob("*/fold*/config.json"):
        config = json.loads(path.read_text())
        dataset = {"_target_": "hbac.recordings.datasets.Synthetic", "root": "gone", "stores": "s", "size": "tiny"}
        path.write_text(json.dumps(config | {"dataset": dataset}))
    result = run(f"outputs={tmp_path}", f"out={tmp_path}/made", "windows=2")
    assert result.returncode == 0
    assert "name them: dataset=synthetic dataset.root=PATH" in result.stderr
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize(
    ("name", "content", "shown"),
    [
        ("config.json", "{", "No EEG page"),
        ("config.json", "[1]", "No EEG page"),
        ("environment.json", '{"command": [1], "git": null}', ""),
        ("metrics.json", '{"kl": [1], "epochs": {"a": 1}}', ""),
        ("metrics.json", "\xff", ""),
        ("logs/version_0/metrics.csv", 'epoch,val/kl\n0,"0.9\n', "No curve: "),
        ("logs/version_0/metrics.csv", "step,val/kl\n0,0.9\n", "no column epoch"),
        ("logs/version_0/metrics.csv", "epoch,val/kl\n0,many\n", "text in column val/kl"),
        ("logs/version_0/metrics.csv", "epoch,val/kl\ninf,0.9\n", "an epoch that cannot be"),
    ],
)
def test_what_is_damaged_is_left_out_and_said(
    reported: Path, tmp_path: Path, name: str, content: str, shown: str, caplog: pytest.LogCaptureFixture
) -> None:
    one = sorted((reported / "runs").iterdir())[0]
    shutil.copytree(one, tmp_path / one.name)
    for fold in (tmp_path / one.name).iterdir():
        (fold / name).write_bytes(content.encode("latin-1"))
    found = gather([tmp_path / one.name], tmp_path)
    part, why = recordings_of(found, OmegaConf.create({"outputs": str(tmp_path), "allow": [], "dataset": None}))
    notes = () if part else (f"No EEG page: {why}",)
    page = write_report(found, tmp_path / "made", notes=notes).read_text()
    assert shown in page
    assert (part is None) == (name == "config.json")
    unreadable = name.endswith(".json") and content in ("{", "\xff")
    assert (f"{name}: not a JSON file" in caplog.text and "it is left out" in caplog.text) == unreadable


def test_other_recordings_are_refused(reported: Path, tiny_root: Path, tmp_path: Path) -> None:
    result = run(f"runs=[{reported}/runs]", f"outputs={tmp_path}", "dataset=hms", f"dataset.root={tiny_root}")
    assert result.returncode == 2
    assert "these are not the recordings that the predictions are of" in result.stderr
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["runs=[/not/there]"], "/not/there: there is no such run, sweep or ensemble folder"),
        (["windows=-1"], "windows=-1: must be a whole number, 0 or more"),
        ([], "there is neither an ensemble nor a run"),
        (["raters=no.csv"], "no.csv: no such table of raters"),
    ],
)
def test_bad_input_is_one_message(tmp_path: Path, arguments: list[str], message: str) -> None:
    result = run(*arguments, f"outputs={tmp_path}")
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "reports").exists()


def test_of_a_run_from_elsewhere_nothing_is_made_where_it_says(reported: Path, tmp_path: Path) -> None:
    """Neither a simulated data set, nor a store, nor anything that its config calls a data set."""
    shutil.copytree(reported / "runs", tmp_path / "runs")
    configs = list((tmp_path / "runs").rglob("config.json"))
    given = json.loads(configs[0].read_text())
    mine = tmp_path / "mine"
    mine.mkdir()
    cfg = OmegaConf.create({"outputs": str(tmp_path / "outputs"), "allow": [], "dataset": None})

    def recordings(dataset: object) -> tuple[Part | None, str]:
        for path in configs:
            path.write_text(json.dumps(given | {"dataset": dataset}))
        return recordings_of(gather([tmp_path / "runs"], tmp_path), cfg)

    target = {"_target_": "hbac.recordings.datasets.Synthetic", "size": "tiny"}
    part, why = recordings(target | {"root": str(mine), "stores": str(mine)})
    assert part is None
    assert why == f"the recordings are not in {mine}; name them: dataset=synthetic dataset.root=PATH"
    root = given["dataset"]["root"]
    for damaged in (None, 3, [], {}, {"root": root}, {"root": 3, "stores": str(mine), "_target_": "x"}):
        part, why = recordings(damaged)
        assert part is None
        assert "names no data set" in why
    with pytest.raises(UserError, match="os.makedirs is not allowed; a data set is one of hbac.recordings.datasets"):
        recordings(given["dataset"] | {"_target_": "os.makedirs"})
    part, why = recordings(given["dataset"] | {"stores": str(mine)})
    assert part is not None
    assert part.stores == tmp_path / "outputs" / "stores"
    assert list(mine.iterdir()) == []
