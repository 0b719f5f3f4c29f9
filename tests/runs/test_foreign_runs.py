"""Run folders and ensembles from anywhere: nothing in them decides what code is run, what is read, or how much."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import hbac
from hbac.common.errors import UserError
from hbac.common.files import read_json, write_json
from hbac.models import backbone
from hbac.runs.model import load_run
from hbac.vocabulary import VOTE_COLUMNS
from tests.ensembles import SMALL_NET, write_ensemble
from tests.helpers import write_hms_layout
from tests.test_commands import command

IMAGES = ["model=efficientnet", "model.backbone=test_efficientnet", "model.pretrained=false"]
IMAGES += ["front_end.tile_height=32", "front_end.tile_width=64", "data.sources=eeg"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ensemble(tmp_path_factory.mktemp("made"), [SMALL_NET, IMAGES], n_folds=1).parent


@pytest.fixture
def runs(made: Path, tmp_path: Path) -> dict[str, Path]:
    shutil.copytree(made / "runs", tmp_path / "runs")
    return {path.parent.name.partition("-")[0]: path for path in (tmp_path / "runs").glob("*/fold0")}


def change(run: Path, part: str, **values: Any) -> None:
    content = read_json(run / "model.json")
    content[part] |= values
    write_json(run / "model.json", content)


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_nothing_is_unpickled(runs: dict[str, Path], tmp_path: Path) -> None:
    bomb, went_off = tmp_path / "bomb.ckpt", tmp_path / "went off"
    bomb.write_bytes(pickle.dumps(Bomb(went_off)))
    for target, arguments in (
        ("lightning.fabric.utilities.cloud_io._load", {"path_or_url": str(bomb), "weights_only": False}),
        ("lightning.fabric.utilities.cloud_io._load", {"path_or_url": bomb.as_uri(), "weights_only": False}),
        ("timm.models._helpers.load_state_dict", {"checkpoint_path": str(bomb), "weights_only": False}),
        ("torch.load", {"f": str(bomb), "weights_only": False}),
    ):
        for part in ("network", "front_end"):
            facts = read_json(runs["resnet_gru"] / "model.json")
            write_json(tmp_path / "hostile" / "model.json", facts | {part: {"_target_": target, **arguments}})
            with pytest.raises(UserError, match=f"{target}'? is not allowed"):
                hbac.load(tmp_path / "hostile")
    assert not went_off.exists()


def test_nothing_is_deleted(runs: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "0.npy").touch()
    write_json(
        runs["resnet_gru"] / "model.json", {"network": {"_target_": "hbac.inference.networks.forget", "kept": "mine"}}
    )
    with pytest.raises(UserError, match="is not allowed"):
        hbac.load(runs["resnet_gru"])
    assert (tmp_path / "mine" / "0.npy").exists()


@pytest.mark.parametrize(
    "name",
    ["hf-hub:timm/efficientnet_b0.ra_in1k", "local-dir:/tmp", "hf_hub:x/y", "../x", "efficientnet_b0.x.y", 3, []],
)
def test_a_backbone_is_a_name(runs: dict[str, Path], name: object) -> None:
    change(runs["efficientnet"], "network", backbone=name)
    with pytest.raises(UserError, match=r"model.json: model.backbone=.*must be the name of one of timm's models"):
        hbac.load(runs["efficientnet"])


def test_weights_to_begin_with_are_not_asked_for(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*arguments: object) -> None:
        raise AssertionError(arguments)

    monkeypatch.setattr(backbone, "_load_from_timm", asked)
    monkeypatch.setattr(backbone, "_load_file", asked)
    for values in ({"pretrained": True}, {"pretrained_file": str(tmp_path / "x.safetensors")}):
        change(runs["efficientnet"], "network", **values)
        assert hbac.load(runs["efficientnet"])(30 * torch.randn(1, 10000, 20)).shape == (1, 6)


@pytest.mark.parametrize(
    ("model", "values"),
    [
        ("resnet_gru", {"width": 10**9}),
        ("resnet_gru", {"width": 9_999, "depth": 64}),  # 150 GB, all of it within the bounds of each value
        ("resnet_gru", {"gru_hidden": 9_999, "gru_layers": 16}),
        ("efficientnet", {"backbone": "convnext_xxlarge"}),
        ("efficientnet", {"in_chans": 9_999}),
        ("efficientnet", {"n_outputs": 10**8}),
    ],
)
def test_no_memory_is_taken_before_the_sizes_are_known_to_be_right(
    runs: dict[str, Path], model: str, values: dict[str, Any]
) -> None:
    change(runs[model], "network", **values)
    made = []
    handle = torch.nn.modules.module.register_module_parameter_registration_hook(
        lambda module, name, parameter: made.append(parameter) if parameter is not None else None
    )
    try:
        with pytest.raises(UserError, match=r"model.json: .*(is too large|cannot be loaded into the network)"):
            hbac.load(runs[model])
    finally:
        handle.remove()
    assert all(parameter.is_meta for parameter in made)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("network", None),
        ("network", "x"),
        ("network", []),
        ("network", {}),
        ("front_end", None),
        ("front_end", {"_target_": "hbac.signal.EEGFrontEnd", "order": "x"}),
        ("front_end", {"_target_": "hbac.signal.EEGFrontEnd", "clip_uv": [1]}),
        ("front_end", {"_target_": "hbac.signal.ImageFrontEnd", "image": 3}),
        (
            "front_end",
            {"_target_": "hbac.signal.ImageFrontEnd", "image": {"a.b": {"_target_": "hbac.signal.MelImage"}}},
        ),
    ],
)
def test_what_is_damaged_is_named(runs: dict[str, Path], part: str, value: object) -> None:
    path = runs["resnet_gru"] / "model.json"
    write_json(path, read_json(path) | {part: value})
    with pytest.raises(UserError, match=f"^{path}: "):
        hbac.load(runs["resnet_gru"])


@pytest.mark.parametrize(
    "values", [{"kernels": 3}, {"kernels": None}, {"kernels": "abc"}, {"width": 1.5}, {"width": "x"}, {"sfreq": []}]
)
def test_a_network_s_damaged_arguments_are_named(runs: dict[str, Path], values: dict[str, Any]) -> None:
    change(runs["resnet_gru"], "network", **values)
    with pytest.raises(UserError, match=f"^{runs['resnet_gru'] / 'model.json'}: "):
        hbac.load(runs["resnet_gru"])


def test_a_file_that_is_no_object(runs: dict[str, Path]) -> None:
    for text in ("[]", "3", "null", '"x"', "{}"):
        (runs["resnet_gru"] / "model.json").write_text(text)
        with pytest.raises(UserError, match="model.json: (no model can be made from it|its content is)"):
            load_run(runs["resnet_gru"])


OWN = """
from torch import nn

class Net(nn.Module):
    def __init__(self, n_chans, n_times, sfreq, n_outputs=6):
        super().__init__()
        self.final_layer = nn.Linear(n_chans, n_outputs)

    def forward(self, x):
        return self.final_layer(x.abs().mean(-1))
"""


@pytest.mark.slow
def test_a_network_of_one_s_own_from_training_to_submission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mynets.py").write_text(OWN)
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "mine.yaml").write_text("_target_: mynets.Net\n")
    root = write_hms_layout(tmp_path / "data", n_eegs=12, seed=1)
    data = ["dataset=hms", f"dataset.root={root}", "logger=csv"]
    line = ["hbac.train", "--config-dir", "conf", "model=mine", *data, "labels.n_folds=2", "trainer.max_epochs=1"]
    refused = command(tmp_path, *line, ok=False)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: _target_: mynets.Net is not allowed; a network is one of hbac.models")
    command(tmp_path, *line, "allow=[mynets]", "-m", "fold=0,1")
    (run,) = tmp_path.glob("outputs/runs/mynets-0.5-20-*/fold0")
    assert json.loads((run / "config.json").read_text())["allow"] == ["mynets"]
    refused = command(tmp_path, "hbac.infer", *data, ok=False)
    assert refused.returncode == 2
    assert "model.json: _target_: mynets.Net is not allowed" in refused.stderr
    command(tmp_path, "hbac.infer", *data, "allow=[mynets]", "out=s.csv")
    assert pd.read_csv(tmp_path / "s.csv")[list(VOTE_COLUMNS)].notna().all(axis=None)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"mynets.Net is not allowed.*hbac.load\(…, allow=\['mynets'\]\)"):
        hbac.load(run)
    (sweep,) = tmp_path.glob("outputs/sweeps/*")
    for folder in (run, sweep):
        assert hbac.load(folder, allow="mynets")(20 * torch.randn(2, 10000, 20)).shape == (2, 6)
