"""``python -m hbac.export`` as it is typed: what it writes, says and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

import hbac
from hbac.cli.launch import conf_dir
from hbac.common.errors import UserError
from hbac.common.files import hash_of_file
from hbac.export.__main__ import export
from hbac.export.one_file import TOLERANCES
from tests.ensembles import SMALL_NET, write_ensemble


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ensemble(tmp_path_factory.mktemp("made"), [["model=resnet_gru", *SMALL_NET]]).parent


def typed(*overrides: str) -> None:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("export", list(overrides))
    export(cfg)


def test_a_file_says_how_near_it_is(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a stand-in for PyTorch's recording, which takes its time: the file "predicts" what it was given."""
    model = hbac.load(source)
    monkeypatch.setattr("hbac.export.one_file.write_file", lambda model, path, *_: path.write_text("graph"))
    wrong = {"by": 3e-5}

    def read(path: Path, to: str):  # type: ignore[no-untyped-def]
        return lambda *windows: model(*windows).numpy() + wrong["by"] * np.array([1, -1, 0, 0, 0, 0], np.float32)

    monkeypatch.setattr("hbac.export.one_file.read_file", read)
    typed(f"ensemble={source}", "to=torch", f"out={tmp_path / 'out'}")
    printed = capsys.readouterr().out
    assert "on 6 windows: probabilities differ by up to 3.0e-05 (tolerance 0.0001)" in printed
    said = json.loads((tmp_path / "out" / "export.json").read_text())
    assert said["compared_with_hbac_load"]["largest_difference"] == pytest.approx(3e-5, rel=0.01)
    assert said["sha256"] == {"model.pt2": hash_of_file(tmp_path / "out" / "model.pt2")}
    wrong["by"] = 2e-4
    with pytest.raises(UserError, match=r"differs from hbac.load by up to 0\.0002"):
        typed(f"ensemble={source}", "to=torch", f"out={tmp_path / 'far'}")
    assert not (tmp_path / "far").exists()
    typed(f"ensemble={source}", "to=torch", f"out={tmp_path / 'far'}", "tolerance=1e-3")
    assert TOLERANCES["float32"] < 2e-4


def test_a_folder_for_the_hub(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):  # its own files are replaced
        typed(f"ensemble={source / 'ensemble.json'}", "to=hub", f"out={tmp_path / 'out'}")
    assert f"folder:     {tmp_path / 'out'}" in capsys.readouterr().out
    assert len(hbac.load(tmp_path / "out").networks.models) == 2  # type: ignore[union-attr]
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"'notes.txt': something else than hbac.export wrote"):
        typed(f"ensemble={source}", "to=hub", f"out={tmp_path / 'out'}")


def test_what_cannot_be_is_said(source: Path, tmp_path: Path) -> None:
    for overrides, message in {
        ("run=a", "ensemble=b"): "run=PATH or ensemble=PATH, not both",
        ("run=a", "to=keras"): "unknown to 'keras'; there are: onnx, torch, hub, kaggle",
        ("run=a", "weights=int4"): "unknown weights 'int4'",
        ("run=a", "takes=float64"): "unknown takes 'float64'",
        ("run=a", "push=me/it"): "push=me/it: only to=hub is uploaded",
        (f"run={tmp_path}",): "neither a finished run",
        (f"outputs={tmp_path}",): "no ensemble",
    }.items():
        with pytest.raises(UserError, match=message):
            typed(*overrides)
