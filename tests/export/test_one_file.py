"""One file: the same probabilities as `hbac.load`, for any number of windows, in a process without hbac."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import hbac
from hbac.common.errors import UserError
from hbac.common.files import hash_of_file
from hbac.ensembling.blends import Arithmetic, Blend, LogLinear
from hbac.ensembling.ensemble_file import Ensemble
from hbac.export.graph import Graph
from hbac.export.one_file import Difference, check, compare, read_file, require, write_file
from hbac.export.probe_windows import simulated_windows, windows_of_part
from hbac.inference.loading import EnsembleModel
from hbac.recordings.datasets import HMS
from hbac.vocabulary import CLASSES
from tests.ensembles import SMALL_NET, write_ensemble
from tests.exported import image_of

PICTURES = ["model=efficientnet", "model.backbone=test_efficientnet", "model.pretrained=false"]
PICTURES += ["front_end.tile_height=32", "front_end.tile_width=64"]
MEMBERS = [["model=resnet_gru", *SMALL_NET], [*PICTURES, "front_end.sources=eeg"]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ensemble of two kinds of network, two folds each, whose blend weighs classes."""
    path = write_ensemble(tmp_path_factory.mktemp("ensemble"), MEMBERS)
    return path.parent


@pytest.fixture(scope="module")
def windows() -> dict[str, Tensor]:
    return dict(zip(("eeg", "official"), simulated_windows(("eeg", "official")), strict=True))


def with_blend(model: EnsembleModel, blend: Blend) -> EnsembleModel:
    old = model.ensemble
    changed = Ensemble(old.members, old.method, old.population, blend, old.nested, old.in_sample)
    return EnsembleModel(changed, model.networks)


@pytest.mark.parametrize(
    "blend",
    [
        Arithmetic(np.array([0.3, 0.7])),
        LogLinear(np.random.default_rng(0).normal(0.7, 0.4, (2, 6)), np.linspace(-1, 1, 6)),
    ],
    ids=["arithmetic", "log_linear"],
)
def test_the_graph_is_the_ensemble(folder: Path, windows: dict[str, Tensor], blend: Blend) -> None:
    model = hbac.load(folder)
    assert isinstance(model, EnsembleModel)
    model = with_blend(model, blend)
    given = [windows[name] for name in model.sources]
    with torch.inference_mode():
        for exact in (True, False):
            found = Graph(model, complex_numbers=exact)(*given)
            torch.testing.assert_close(found, model(*given), atol=3e-6 if exact else 2e-5, rtol=0)


def test_fewer_bits_lose_little(folder: Path, windows: dict[str, Tensor]) -> None:
    model = hbac.load(folder)
    given = [windows[name] for name in model.sources]
    with torch.inference_mode():
        lost = {
            stored: float((Graph(model, True, stored)(*given) - model(*given)).abs().max())
            for stored in ("float16", "int8")
        }
    assert 0 < lost["float16"] < 1e-3
    assert lost["float16"] < lost["int8"] < 0.05
    with pytest.raises(UserError, match="unknown weights 'int4'"):
        Graph(model, stored="int4")


ALONE = """
import runpy
import sys
from importlib.util import find_spec
sys.path.append(sys.argv[1])
assert find_spec("onnxruntime") and not find_spec("hbac")
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def alone(tmp_path: Path, *arguments: str, status: int = 0) -> str:
    """What a script prints in another folder and an environment of NumPy, ONNX Runtime and PyTorch alone."""
    if not (image := tmp_path / "image").exists():
        image_of(("numpy", "onnxruntime", "torch"), image)
    line = [sys.executable, "-I", "-S", "-c", ALONE, str(image), *arguments]
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == status, done.stderr
    return done.stderr if status else done.stdout


EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "without_hbac.py"


@pytest.mark.slow
@pytest.mark.parametrize("to", ["onnx", "torch"])
def test_a_full_disk_is_no_fault_of_the_model(to: str, folder: Path, small_disk: Callable[[str], Path]) -> None:
    with pytest.raises(OSError, match="No space left on device"):
        write_file(
            hbac.load(next(folder.glob("runs/resnet_gru-*/fold0"))), small_disk("8k") / "m", to, *["float32"] * 2
        )


@pytest.mark.parametrize("to", ["onnx", pytest.param("torch", marks=pytest.mark.slow)])
def test_a_run_as_one_file(to: str, folder: Path, windows: dict[str, Tensor], tmp_path: Path) -> None:
    run = next(folder.glob("runs/resnet_gru-*/fold0"))
    model, path = hbac.load(run), tmp_path / {"onnx": "model.onnx", "torch": "model.pt2"}[to]
    write_file(model, path, to, "float32", "float32")
    predict = read_file(path, to)
    found = compare(model, predict, (windows["eeg"],), "float32")
    assert found.windows == 6 and found.largest < 2e-6 and found.kl < 1e-6
    np.save(tmp_path / "eeg.npy", windows["eeg"][:2].numpy())
    printed = alone(tmp_path, str(EXAMPLE), str(path), "eeg.npy")
    rows = [[float(part) for part in line.split()[-6:]] for line in printed.splitlines()[1:]]
    assert printed.split()[:6] == list(CLASSES) and len(rows) == 2
    np.testing.assert_allclose(rows, model(windows["eeg"][:2]).numpy(), atol=1e-3)

    (tmp_path / "export.json").write_text(json.dumps({"sha256": {path.name: hash_of_file(path)}}))
    assert alone(tmp_path, str(EXAMPLE), str(path), "eeg.npy") == printed
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    refused = alone(tmp_path, str(EXAMPLE), str(path), "eeg.npy", status=1)
    assert refused == f"{path}: not the file that was exported (SHA-256): damaged\n"


@pytest.mark.slow
@pytest.mark.parametrize("to", ["onnx", "torch"])
@pytest.mark.parametrize(("takes", "stored"), [("float32", "float32"), ("float16", "float16"), ("float32", "int8")])
def test_an_ensemble_as_one_file(
    to: str, takes: str, stored: str, folder: Path, windows: dict[str, Tensor], tmp_path: Path, iiic_root: Path
) -> None:
    model = hbac.load(folder)
    assert isinstance(model, EnsembleModel)
    model = with_blend(model, LogLinear(np.full((2, 6), 0.6), np.linspace(-1, 1, 6)))
    write_file(model, tmp_path / "file", to, takes, stored)
    predict = read_file(tmp_path / "file", to)
    largest = {"float32": 2e-5, "float16": 1e-3, "int8": 0.05}[stored]
    real = windows_of_part(HMS(iiic_root, tmp_path / "stores").part("train"), ("eeg",))
    for given in (tuple(windows[name] for name in model.sources), real):
        found = compare(model, predict, given, takes)
        assert found.largest < largest


def test_what_says_something_else_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"up to 0\.2 in a probability, more than tolerance=0\.0001; nothing was written"
    ):
        check(Difference(6, 0.2, 0.1), 1e-4, "model.onnx")
    with pytest.raises(UserError, match="up to nan"):
        check(Difference(6, float("nan"), 0.1), 1e-4, "model.onnx")


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hbac.export.one_file.find_spec", lambda name: None if name == "onnxruntime" else name)
    with pytest.raises(UserError, match="to=onnx needs onnxruntime: pip install onnxruntime"):
        require("onnx")
    require("torch")
