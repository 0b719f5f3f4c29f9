"""Kaggle's folder: complete, and used in a new environment without network, from a read-only input."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import hbac
from hbac.cli.launch import conf_dir
from hbac.common.errors import UserError
from hbac.export.kaggle import ASSUMED, LACKING, write_kaggle_folder, write_wheel
from hbac.vocabulary import VOTE_COLUMNS
from tests.ensembles import SMALL_NET, write_ensemble
from tests.helpers import write_hms_layout
from tests.test_commands import command


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    members = [["model=resnet_gru", *SMALL_NET], ["model=resnet_gru", "band=1-12", *SMALL_NET]]
    return write_ensemble(tmp_path_factory.mktemp("made"), members).parent


@pytest.fixture(scope="module")
def folder(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("kaggle") / "out"
    write_kaggle_folder(source, out)
    return out


def cells(folder: Path) -> list[str]:
    content = json.loads((folder / "submission.ipynb").read_text())
    assert (content["nbformat"], {cell["cell_type"] for cell in content["cells"]}) == (4, {"code"})
    return ["".join(cell["source"]) for cell in content["cells"]]


def test_it_is_complete(folder: Path) -> None:
    wheels = {path.name.partition("-")[0] for path in folder.glob("wheels/*.whl")}
    assert wheels == {name.replace("-", "_") for name in ("hbac", *LACKING)}
    assert len(cells(folder)) == 5
    for number, cell in enumerate(cells(folder), start=1):
        assert cell.startswith(f"# {number}. ")
        compile(cell, f"cell {number}", "exec")
    assert json.loads((folder / "dataset-metadata.json").read_text())["id"] == "YOUR_NAME/hbac-model"
    assert len(hbac.load(folder / "model").networks.models) == 4  # type: ignore[union-attr]
    assert all(name in (folder / "README.md").read_text() for name in ASSUMED)


def test_our_wheel_has_all_that_is_ours(folder: Path) -> None:
    (path,) = folder.glob("wheels/hbac-*.whl")
    with zipfile.ZipFile(path) as wheel:
        assert wheel.testzip() is None
        names = set(wheel.namelist())
        record = wheel.read(f"hbac-{hbac.__version__}.dist-info/RECORD").decode()
    package = Path(hbac.__file__).parent
    ours = [path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {f"hbac/{path.relative_to(package).as_posix()}" for path in ours} <= names
    assert {f"hbac/conf/{path.relative_to(conf_dir()).as_posix()}" for path in conf_dir().rglob("*.yaml")} <= names
    assert sorted(line.partition(",")[0] for line in record.splitlines()) == sorted(names)


def test_the_same_files_make_the_same_wheel(folder: Path, tmp_path: Path) -> None:
    again = write_wheel("hydra-core", tmp_path)
    assert again.read_bytes() == (folder / "wheels" / again.name).read_bytes()


def test_compiled_code_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="safetensors holds compiled code"):
        write_wheel("safetensors", tmp_path)
    with pytest.raises(UserError, match="no-such-package is not installed here"):
        write_wheel("no-such-package", tmp_path)


def image_of(names: tuple[str, ...], folder: Path) -> Path:
    """Link what some packages, and what they need, have installed here: a machine with these and nothing else."""
    folder.mkdir()
    waiting, seen = list(names), set()
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in seen or name in (*LACKING, "hbac"):
            continue
        seen.add(name)
        try:
            found = distribution(name)
        except ModuleNotFoundError:
            continue  # of another platform
        for entry in {file.parts[0] for file in found.files or () if file.parts[0] != ".."}:
            here, there = Path(str(found.locate_file(entry))), folder / entry
            if not there.exists():
                there.symlink_to(here)
        needed = [line for line in found.requires or () if "extra ==" not in line]
        waiting += [re.split(r"[ ;<>=!~\[(]", line)[0] for line in needed]
    return folder


@pytest.mark.slow
def test_a_new_environment_without_network_writes_the_submission(folder: Path, source: Path, tmp_path: Path) -> None:
    alone = ["unshare", "-rnm"]
    if subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("no namespaces without network here")
    data = write_hms_layout(tmp_path / "input" / "hms", n_eegs=6, n_test=5)
    shutil.copytree(folder, tmp_path / "input" / "my-model")
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (site / "image.pth").write_text(str(image_of(ASSUMED, tmp_path / "image")))
    working = tmp_path / "working"
    working.mkdir()
    script = tmp_path / "notebook.py"
    script.write_text("\n\n".join(cells(folder)) + "\nprint(submission.shape)\n")
    # A bind mount of its own, that even root cannot write to.
    read_only = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && ! touch "$1/x" 2> /dev/null && "$2" "$3"'
    given, python = tmp_path / "input", tmp_path / "venv" / "bin" / "python"
    line = [*alone, "sh", "-c", read_only, "sh", str(given), str(python), str(script)]
    environment = {"HBAC_INPUT": str(given), "PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": str(tmp_path)}
    done = subprocess.run(line, capture_output=True, text=True, cwd=working, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"about \d+ minutes for 2,640 windows; the limit is 9 hours", done.stdout)
    assert "(5, 7)" in done.stdout
    assert [path.name for path in working.iterdir() if path.suffix == ".csv"] == ["submission.csv"]
    # The same as here, with the network and all packages.
    command(
        tmp_path,
        "hbac.infer",
        f"ensemble={source}",
        "dataset=hms",
        f"dataset.root={data}",
        "out=here.csv",
        "logger=csv",
    )
    found, here = pd.read_csv(working / "submission.csv"), pd.read_csv(tmp_path / "here.csv")
    assert (found["eeg_id"] == here["eeg_id"]).all()
    np.testing.assert_allclose(found[list(VOTE_COLUMNS)], here[list(VOTE_COLUMNS)], atol=1e-6)
