"""The one seam between configs and objects: each slot takes its kind, and nothing else of anybody's."""

from __future__ import annotations

import inspect
import pkgutil
import subprocess
import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import lightning
import pytest
import timm
import torch
from lightning.pytorch import callbacks
from torch import nn

import hbac
from hbac.common.errors import UserError
from hbac.common.instantiate import SLOTS, build, find, packages
from hbac.data import EEGDataModule, FusionDataModule, SpectrogramDataModule
from hbac.models import MODELS, Braindecode
from hbac.reading.labelled import Recordings
from hbac.recordings.datasets import HMS, Synthetic
from hbac.runs.naming import member_name
from hbac.signal import (
    EEGFrontEnd,
    FusionFrontEnd,
    ImageAugment,
    ImageFrontEnd,
    LogSTFT,
    MelImage,
    Mixup,
    MorletScalogram,
    Multitaper,
    RawAugment,
    RawImage,
    SignalAugment,
    ZoomInside,
)
from hbac.tracking.loggers import Loggers
from hbac.training import Classifier, schedules
from hbac.training import callbacks as our_callbacks

NETWORK = {"_target_": "hbac.models.ResNetGRU", "filters": 4, "width": 8, "depth": 1}


def exported(module: Any, kind: type) -> set[Any]:
    found = [value for name, value in vars(module).items() if not name.startswith("_") and inspect.isclass(value)]
    return {value for value in found if issubclass(value, kind) and value is not kind and not inspect.isabstract(value)}


WANTED = {
    "network": {*MODELS, Braindecode},
    "front_end": {EEGFrontEnd, ImageFrontEnd, FusionFrontEnd},
    "image": {LogSTFT, MelImage, MorletScalogram, Multitaper, RawImage, ZoomInside},
    "augment": {RawAugment, SignalAugment, ImageAugment, Mixup},
    "optimizer": exported(torch.optim, torch.optim.Optimizer),
    "schedule": {getattr(schedules, name) for name in (
        "constant", "cosine_restarts", "one_cycle", "reduce_on_plateau", "stepwise", "warmup_cosine")},
    "task": {Classifier},
    "trainer": {lightning.Trainer},
    "callback": exported(callbacks, callbacks.Callback) | exported(our_callbacks, callbacks.Callback),
    "logger": {Loggers},
    "dataset": {HMS, Synthetic, Recordings},
    "data": {EEGDataModule, SpectrogramDataModule, FusionDataModule},
}  # fmt: skip


def everything() -> list[str]:
    """All names of what hbac, torch, Lightning and timm have: each module that is loaded, private ones too."""
    roots = ("hbac", "torch", "lightning", "timm", "hydra", "omegaconf", "safetensors", "os", "builtins")
    for module in pkgutil.walk_packages(hbac.__path__, "hbac."):
        import_module(module.name)
    assert timm.__version__
    modules = [(name, m) for name, m in sys.modules.items() if name.split(".")[0] in roots and m is not None]
    return [f"{name}.{attribute}" for name, m in modules for attribute, v in list(vars(m).items()) if callable(v)]


@pytest.fixture(scope="module")
def names() -> list[str]:
    found = everything()
    assert len(found) > 10_000, len(found)
    dangerous = {"lightning.fabric.utilities.cloud_io._load", "timm.models._helpers.load_state_dict", "torch.load"}
    assert dangerous | {"os.system", "hbac.inference.kept.forget", "builtins.eval"} <= set(found)
    return found


@pytest.mark.parametrize("slot", SLOTS)
def test_of_all_there_is_a_slot_takes_its_kind_alone(slot: str, names: list[str]) -> None:
    loaded = set(sys.modules)
    taken = set()
    for name in names:
        try:
            taken.add(find(name, slot))
        except UserError:
            continue
    assert taken == WANTED[slot]
    assert set(sys.modules) == loaded  # nothing was imported on the way


def test_every_slot_is_looked_at() -> None:
    assert WANTED.keys() == SLOTS.keys()


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "hbac.cli.launch.os.system",
        "torch.nn.Linear",
        "torch.load",
        "lightning.fabric.utilities.cloud_io._load",
        "timm.models._helpers.load_state_dict",
        "timm.create_model",
        "hbac.inference.kept.forget",
        "hbac.models._hidden.Net",
        "hbac.models",
        "hbac.models.resnet_gru.nn.Linear",
        "hbac.models.resnet_gru.ResidualBlock",
        "hbac.models.efficientnet.GeM",
        "hbac.models.MODELS",
        "hbac..models.ResNetGRU",
        "hbac.models.ResNetGRU\n",
        "",
        None,
        3,
        ["hbac.models.ResNetGRU"],
    ],
)
def test_what_is_no_network_is_refused(target: object) -> None:
    with pytest.raises(UserError, match=r"_target_: .*(is not|cannot be)"):
        build({"_target_": target}, "network")


def test_a_class_is_found_under_the_name_of_its_module_too() -> None:
    assert find("hbac.signal.front_end.EEGFrontEnd", "front_end") is EEGFrontEnd


def test_gives_arguments_as_they_are() -> None:
    network = nn.Linear(1, 1)
    config = {"_target_": "hbac.training.Classifier"}
    task = build(config, "task", network=network, optimizer=partial(torch.optim.Adam, lr=1.0))
    assert task.network is network


def test_makes_partials() -> None:
    optimizer = build({"_target_": "torch.optim.AdamW", "_partial_": True, "lr": 0.25}, "optimizer")
    assert isinstance(optimizer, partial)
    assert optimizer([torch.zeros(1, requires_grad=True)]).param_groups[0]["lr"] == 0.25


def test_images_are_the_parts_of_a_front_end() -> None:
    mel = {"_target_": "hbac.signal.MelImage", "height": 32, "width": 64}
    size = {"sources": "eeg", "tile_height": 32, "tile_width": 64}
    made = build({"_target_": "hbac.signal.ImageFrontEnd", "image": {"mel": mel, "none": None}, **size}, "front_end")
    assert list(made.pictures) == ["mel"]
    for wrong in (NETWORK, {"_target_": "os.system"}, {"_target_": "hbac.signal.EEGFrontEnd"}):
        with pytest.raises(UserError, match=f"{wrong['_target_']} is not .*a picture of the EEG is one of hbac.signal"):
            build({"_target_": "hbac.signal.ImageFrontEnd", "image": {"mel": wrong}}, "front_end")


@pytest.mark.parametrize("value", [NETWORK, [NETWORK], {"deep": {"deeper": [NETWORK]}}])
def test_elsewhere_nothing_is_made_inside(value: object) -> None:
    with pytest.raises(UserError, match="callbacks is a plain value"):
        build({"_target_": "lightning.Trainer", "callbacks": value}, "trainer")


def test_says_which_target_is_not_there() -> None:
    with pytest.raises(UserError, match="hbac.models.NoSuchNet cannot be imported"):
        build({"_target_": "hbac.models.NoSuchNet"}, "network")


def test_says_which_argument_is_wrong() -> None:
    with pytest.raises(UserError, match="hbac.models.ResNetGRU cannot be made.*colour"):
        build(NETWORK | {"colour": "red"}, "network")


def test_passes_on_what_a_constructor_says_to_the_user() -> None:
    with pytest.raises(UserError, match="kernels"):
        build(NETWORK | {"kernels": []}, "network")


@pytest.mark.parametrize("config", [None, 3, [], {}, {"depth": 1}])
def test_what_is_no_config(config: Any) -> None:
    with pytest.raises(UserError, match="a network: this config names no _target_"):
        build(config, "network")


@pytest.mark.parametrize(
    ("slot", "config"),
    [
        ("network", NETWORK | {"width": 10**9}),
        ("network", NETWORK | {"depth": 65}),
        ("network", NETWORK | {"kernels": [3, 10**9]}),
        ("network", NETWORK | {"kernels": [3] * 1000}),
        ("network", NETWORK | {"filters": -(10**12)}),
        ("front_end", {"_target_": "hbac.signal.EEGFrontEnd", "n_times": 10**9}),
        ("front_end", {"_target_": "hbac.signal.EEGFrontEnd", "sfreq": 1e12}),
        ("front_end", {"_target_": "hbac.signal.EEGFrontEnd", "sfreq": float("nan")}),
        ("front_end", {"_target_": "hbac.signal.ImageFrontEnd", "tile_height": 10**6}),
        ("image", {"_target_": "hbac.signal.MelImage", "height": 10**6}),
        ("image", {"_target_": "hbac.signal.MelImage", "n_fft": 2**30}),
        ("image", {"_target_": "hbac.signal.Multitaper", "window_s": 1e6}),
        ("image", {"_target_": "hbac.signal.Multitaper", "n_tapers": 1000}),
    ],
)
def test_sizes_have_bounds(slot: str, config: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="(is too large: at most|entries; at most)"):
        build(config, slot)


OWN = """
from pathlib import Path

Path(__file__).with_name("imported").touch()
from torch import nn, optim
from hbac.signal import RawAugment

class Net(nn.Module):
    def __init__(self, n_chans=18, n_times=2000, sfreq=40.0, width=4):
        super().__init__()
        self.layer = nn.Linear(n_chans, 6)

    def forward(self, x):
        return self.layer(x.mean(-1))

class _Hidden(Net):
    pass

def function(**anything):
    raise AssertionError("was called")
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mynets").mkdir()
    (tmp_path / "mynets" / "__init__.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "mynets"]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path / "mynets"


@pytest.mark.parametrize(
    "call", [lambda config: build(config, "network"), lambda config: member_name({"model": config})]
)
def test_nothing_is_imported_that_was_not_allowed(own: Path, call: Any) -> None:
    with pytest.raises(UserError, match=r"mynets.Net is not allowed; a network is one of hbac.models \(or of your own"):
        call({"_target_": "mynets.Net", "band": "x"})
    assert not (own / "imported").exists()


@pytest.mark.parametrize("allow", ["mynets", ("other", "mynets"), ["mynets"]])
def test_a_network_of_the_user_s_own(own: Path, allow: Any) -> None:
    network = build({"_target_": "mynets.Net", "width": 50_000}, "network", allow)  # his own sizes are his own affair
    assert type(network).__name__ == "Net"
    config = {"model": {"_target_": "mynets.Net"}, "band": "1-12", "allow": list(packages(allow))}
    assert member_name(config).startswith("mynets-1-12-")
    assert (own / "imported").exists()


@pytest.mark.parametrize("name", ["function", "_Hidden", "nn.Linear", "nn", "RawAugment", "Path", "NoSuchNet"])
def test_of_an_allowed_package_too_only_the_kind_that_it_defines(own: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"_target_: '?mynets\.\S+ (is not|cannot be imported)"):
        build({"_target_": f"mynets.{name}"}, "network", "mynets")


def test_an_allowed_package_is_not_one_whose_name_begins_alike(own: Path) -> None:
    with pytest.raises(UserError, match="is not allowed"):
        build({"_target_": "mynets.Net"}, "network", "my")
    assert not (own / "imported").exists()


@pytest.mark.parametrize("allow", ["", "a b", "a/b", "_a", [3], ["a", None]])
def test_what_is_no_package(allow: Any) -> None:
    with pytest.raises(UserError, match="must be the name of a package"):
        packages(allow)


def test_the_seam_itself_is_light() -> None:
    code = "import sys, hbac.common.instantiate; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "lightning", "hydra", "timm", "pandas"} & set(result.stdout.split())
