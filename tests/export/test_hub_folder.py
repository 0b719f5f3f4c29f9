"""The Hub's layout: read as it is, from its cache without a network, and nothing outside of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import ModelCard

import hbac
from hbac.common.errors import UserError
from hbac.export.hub_folder import push, write_hub_folder
from hbac.export.probe_windows import simulated_windows
from hbac.inference.hub import downloaded
from tests.ensembles import SMALL_NET, write_ensemble

REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    members = [["model=resnet_gru", *SMALL_NET], ["model=resnet_gru", "band=1-12", *SMALL_NET]]
    return write_ensemble(tmp_path_factory.mktemp("made"), members).parent


@pytest.fixture(scope="module")
def exported(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("hub") / "out"
    write_hub_folder(source, out)
    return out


def in_cache(cache: Path, folder: Path) -> Path:
    """Put a folder where huggingface_hub keeps what it downloaded: files as links into a folder of blobs."""
    repository = cache / "models--me--eeg"
    snapshot = repository / "snapshots" / REVISION
    for i, file in enumerate(path for path in sorted(folder.rglob("*")) if path.is_file()):
        blob, link = repository / "blobs" / str(i), snapshot / file.relative_to(folder)
        blob.parent.mkdir(parents=True, exist_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, blob)
        link.symlink_to(os.path.relpath(blob, link.parent))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(REVISION)
    return snapshot


def test_a_folder_that_moved_predicts_the_same(source: Path, exported: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(exported, moved)
    (eeg,) = simulated_windows(("eeg",))
    np.testing.assert_array_equal(hbac.load(moved)(eeg), hbac.load(source)(eeg))
    run = next(source.glob("runs/*/fold1"))
    write_hub_folder(run, tmp_path / "run")
    np.testing.assert_array_equal(hbac.load(tmp_path / "run")(eeg), hbac.load(run)(eeg))


def test_it_holds_what_the_hub_wants_and_nothing_of_the_machine(exported: Path, source: Path) -> None:
    names = {path.relative_to(exported).as_posix() for path in exported.rglob("*") if path.is_file()}
    assert {"README.md", "config.json", "ensemble.json"} <= names
    assert {Path(name).suffix for name in names} <= {".json", ".md", ".safetensors"}
    assert ModelCard.load(exported / "README.md").data.library_name == "hbac"
    config = json.loads((exported / "config.json").read_text())
    assert config["library_name"] == "hbac" and config["kind"] == "ensemble" and len(config["members"]) == 2
    texts = [
        path.read_text() for path in exported.rglob("*") if path.suffix in (".json", ".md") and path.name[0] != "."
    ]
    assert not any(str(source.parent) in text or str(Path.home()) in text for text in texts)


def test_the_hubs_cache_is_enough_without_a_network(exported: Path, tmp_path: Path) -> None:
    in_cache(tmp_path, exported)
    code = "import hbac; print(len(hbac.load('hf://me/eeg').networks.models), hbac.load('hf://me/eeg@main').sources)"
    without = (
        ["unshare", "-rn"] if subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode == 0 else []
    )
    line = [*without, sys.executable, "-c", code]
    quiet = {**os.environ, "HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(line, capture_output=True, text=True, env=quiet)
    assert done.stdout == "4 ('eeg',)\n", done.stderr


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path


def test_runs_outside_of_the_folder_are_refused(exported: Path, source: Path, cache: Path, tmp_path: Path) -> None:
    hostile = tmp_path / "hostile"
    shutil.copytree(exported, hostile)
    content = json.loads((hostile / "ensemble.json").read_text())
    content["members"][1]["runs"][0] = "../../../../../../../../" + str(next(source.glob("runs/*/fold0")))
    content.pop("sha256")
    (hostile / "ensemble.json").write_text(json.dumps(content))
    in_cache(cache, hostile)
    with pytest.raises(UserError, match="names a run outside of its folder"):
        hbac.load("hf://me/eeg")


def test_what_is_not_there_is_said(cache: Path) -> None:
    with pytest.raises(
        UserError, match="hf://me/other: the Hub cannot be reached, and the cache on this machine lacks it"
    ):
        downloaded("hf://me/other")
    with pytest.raises(UserError, match="hf://eeg: not hf://OWNER/NAME"):
        hbac.load("hf://eeg")


def test_a_folder_is_uploaded_as_a_private_repository(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[str, dict[str, Any]]] = []

    class Api:
        def create_repo(self, name: str, **settings: Any) -> None:
            called.append((name, settings))

        def upload_folder(self, **settings: Any) -> None:
            called.append((settings["repo_id"], settings))

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    assert push(exported, "me/eeg") == "hf://me/eeg"
    assert called[0] == ("me/eeg", {"private": True, "exist_ok": True})
    assert called[1][1]["folder_path"] == exported and called[1][1]["ignore_patterns"] == [".*"]


def test_a_name_that_is_none_is_refused(exported: Path) -> None:
    with pytest.raises(UserError, match="push=me/eeg/more: "):
        push(exported, "me/eeg/more")
