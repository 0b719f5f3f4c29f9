"""The Hub's layout: read as it is, from its cache without a network, and nothing outside of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard

import hbac
from hbac.common.errors import UserError
from hbac.export.hub_folder import push, write_hub_folder
from hbac.export.probe_windows import simulated_windows
from hbac.inference.hub import downloaded
from tests.ensembles import SMALL_NET, write_ensemble
from tests.export.hub_server import REVISION, TOKEN, hub


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


def test_a_flipped_bit_of_what_is_loaded_is_named(exported: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(exported, moved)
    files = [path for path in moved.rglob("*") if path.name in ("ensemble.json", "model.json", "weights.safetensors")]
    assert len(files) == 9
    for path in files:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        with pytest.raises(UserError, match=path.name):
            hbac.load(moved)
        content[len(content) // 2] ^= 1
        path.write_bytes(content)


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


def with_the_hub(address: str, folder: Path, token: str, code: str, *arguments: str) -> str:
    """Run Python beside a Hub of this machine, whose address its client reads as it is loaded; return what it says."""
    environment = {**os.environ, "HF_ENDPOINT": address, "HF_TOKEN": token, "HF_HOME": str(folder / "home")}
    line = [sys.executable, "-c", code, *arguments]
    return subprocess.run(line, capture_output=True, text=True, env=environment, check=True).stdout


THERE_AND_BACK = """
import sys
import numpy as np
import hbac
from pathlib import Path
from hbac.export.hub_folder import push
from hbac.export.probe_windows import simulated_windows
print(push(Path(sys.argv[1]), "me/eeg"))
(eeg,) = simulated_windows(("eeg",))
np.testing.assert_array_equal(hbac.load("hf://me/eeg")(eeg), hbac.load(sys.argv[1])(eeg))
"""
REFUSED = """
import sys
import hbac
from pathlib import Path
from hbac.common.errors import UserError
from hbac.export.hub_folder import push
for asked in (lambda: push(Path(sys.argv[1]), "me/eeg"), lambda: hbac.load("hf://me/other")):
    try:
        asked()
    except UserError as error:
        print(error)
"""


def test_a_folder_goes_to_the_hub_as_private_and_comes_back(exported: Path, tmp_path: Path) -> None:
    with hub(tmp_path / "hub") as server:
        assert with_the_hub(server.address, tmp_path, TOKEN, THERE_AND_BACK, str(exported)) == "hf://me/eeg\n"
        made = json.loads(dict(server.asked)["/api/repos/create"])
        assert (made["name"], made["organization"]) == ("eeg", "me")
        assert made.get("visibility", made.get("private")) in (
            "private",
            True,
        )  # today, or before
        refused = with_the_hub(server.address, tmp_path, "hf_of-somebody-else", REFUSED, str(exported)).splitlines()
    assert refused[0].startswith("push=me/eeg: ") and "log in once (`hf auth login`" in refused[0]
    assert refused[1].startswith("hf://me/other: ")
    unreachable = with_the_hub(server.address, tmp_path, TOKEN, REFUSED, str(exported)).splitlines()  # it has gone
    assert unreachable[0].startswith("push=me/eeg: ") and "is complete: `hf upload me/eeg" in unreachable[0]
    assert unreachable[1].endswith("the Hub cannot be reached, and the cache on this machine lacks it")
    repository = tmp_path / "hub" / "me" / "eeg"
    there = {path.relative_to(repository) for path in repository.rglob("*") if path.is_file()}
    ours = {path.relative_to(exported) for path in exported.rglob("*") if path.is_file()}
    assert there == {path for path in ours if path.name[0] != "."}


def test_a_name_that_is_none_is_refused(exported: Path) -> None:
    with pytest.raises(UserError, match="push=me/eeg/more: "):
        push(exported, "me/eeg/more")


def test_names_of_members_lead_nowhere_else(source: Path, tmp_path: Path) -> None:
    (eeg,) = simulated_windows(("eeg",))
    expected = hbac.load(source)(eeg)
    for name in ("../../evil", str(tmp_path / "evil"), "..", "a/b", "", "a\0b", "語" * 120):
        shutil.copytree(source, tmp_path / "given")
        content = json.loads((tmp_path / "given" / "ensemble.json").read_text())
        del content["sha256"]
        content["members"][0]["name"] = name
        # Two runs that are called alike stay two.
        run = Path(content["members"][0]["runs"][1])
        (tmp_path / "given" / run).rename(tmp_path / "given" / "fold0")
        content["members"][0]["runs"][1] = "fold0"
        (tmp_path / "given" / "ensemble.json").write_text(json.dumps(content))
        write_hub_folder(tmp_path / "given", tmp_path / "out")
        assert {path.name for path in tmp_path.iterdir()} == {"given", "out"}, name
        shutil.rmtree(tmp_path / "given")
        np.testing.assert_array_equal(hbac.load(tmp_path / "out")(eeg), expected)
        shutil.rmtree(tmp_path / "out")


def test_two_members_of_one_name_are_refused(source: Path, tmp_path: Path) -> None:
    content = json.loads((source / "ensemble.json").read_text())
    del content["sha256"]
    content["members"][0]["name"] = content["members"][1]["name"]
    (tmp_path / "ensemble.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="ensemble.json: two members are called resnet_gru-"):
        hbac.load(tmp_path)


def test_no_path_of_a_run_s_config_is_uploaded(source: Path, tmp_path: Path) -> None:
    run = next(source.glob("runs/*/fold0"))
    shutil.copytree(run, tmp_path / "run")
    paths = {
        "dataset": {"root": "/home/me", "stores": "/home/me", "labels": "/home/me/votes.csv", "outside": "reflected"},
        "model": {"pretrained_file": "/home/me/w.safetensors", "branches": {"a": {"pretrained_file": "/home/me"}}},
        "labels": {"pseudo": "/home/me", "rows": "all"},
        "stages": {"first": {"init_from": "/home/me", "labels": {"pseudo": "/home/me"}}},
        "init_from": "/home/me",
    }
    (tmp_path / "run" / "config.json").write_text(json.dumps(paths))
    (tmp_path / "run" / "MODEL_CARD.md").write_bytes(b"caf\xe9")
    write_hub_folder(tmp_path / "run", tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert "/home/me" not in str(config)
    assert config["dataset"] == {"outside": "reflected"} and config["labels"] == {"rows": "all"}
