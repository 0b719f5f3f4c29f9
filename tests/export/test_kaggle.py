"""Kaggle's folder: complete, and used in a new environment without network, from a read-only input."""

from __future__ import annotations

import json
import re
import subprocess
import zipfile
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
from tests.exported import ALONE, cells, run_notebook
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


@pytest.mark.slow
def test_a_new_environment_without_network_writes_the_submission(folder: Path, source: Path, tmp_path: Path) -> None:
    if subprocess.run([*ALONE, "true"], capture_output=True).returncode:
        pytest.skip("no namespaces without network here")
    data = write_hms_layout(tmp_path / "hms", n_eegs=6, n_test=5)
    submission, printed = run_notebook(folder, data, tmp_path / "there")
    assert re.search(r"about \d+ minutes for 2,640 windows; the limit is 9 hours", printed)
    assert "(5, 7)" in printed
    assert [path.name for path in submission.parent.iterdir() if path.suffix == ".csv"] == ["submission.csv"]
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
    found, here = pd.read_csv(submission), pd.read_csv(tmp_path / "here.csv")
    assert (found["eeg_id"] == here["eeg_id"]).all()
    np.testing.assert_allclose(found[list(VOTE_COLUMNS)], here[list(VOTE_COLUMNS)], atol=1e-6)
