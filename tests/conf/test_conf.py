"""The configs: every target imports, defaults live in one place, the contract's settings keep their names."""

from __future__ import annotations

import inspect
import re
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import get_object
from omegaconf import OmegaConf

import hbac.models
from hbac.cli.help import first_comment, groups_of, help_text
from hbac.cli.launch import conf_dir
from hbac.cli.spelling import check_overrides
from hbac.common.instantiate import build
from hbac.models import MODELS
from hbac.signal import Mixup, RawAugment, SignalAugment

FILES = sorted(conf_dir().rglob("*.yaml"))
TARGETS = [path for path in FILES if "_target_:" in path.read_text()]


def composed(name: str, *overrides: str) -> dict[str, Any]:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = OmegaConf.to_container(compose(name, list(overrides)), resolve=True)
    assert isinstance(config, dict)
    return config


@pytest.mark.parametrize("path", TARGETS, ids=lambda path: str(path.relative_to(conf_dir())))
def test_every_target_takes_the_keys_of_its_config(path: Path) -> None:
    node = yaml.safe_load(path.read_text())
    for config in [node, *node.get("hydra", {}).get("callbacks", {}).values()]:
        if "_target_" not in config:
            continue
        target = get_object(config["_target_"])
        keys = {key for key in config if not key.startswith("_") and key != "defaults"}
        parameters = {**inspect.signature(target).parameters}
        assert any(p.kind is p.VAR_KEYWORD for p in parameters.values()) or keys <= set(parameters)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(conf_dir())))
def test_every_file_says_what_it_is_for(path: Path) -> None:
    assert path.read_text().startswith("# ")


def examples() -> list[tuple[str, str, list[str]]]:
    """The command lines in the configs' first comments: (config, command, arguments)."""
    found = []
    for path in FILES:
        for line in first_comment(path):
            if line.startswith("python -m hbac."):
                name, *arguments = shlex.split(re.split(r"\s{3,}", line)[0])[2:]
                found.append((str(path.relative_to(conf_dir())), name.removeprefix("hbac."), arguments))
    return found


@pytest.mark.parametrize(("config", "command", "arguments"), examples(), ids=lambda value: str(value))
def test_every_example_composes(config: str, command: str, arguments: list[str]) -> None:
    if config == "experiment/optuna.yaml" and find_spec("optuna") is None:
        pytest.skip("Optuna's plugin is an extra")
    flags = {argument for argument in arguments if argument.startswith("-")}
    overrides = [argument for argument in arguments if argument not in flags]
    check_overrides(overrides, conf_dir(), command)
    assert flags <= {"-m"}
    choices = [
        [f"{override.key_or_group}={value}" for value in override.sweep_string_iterator()]
        if override.is_sweep_override()
        else [str(override.input_line)]
        for override in OverridesParser.create().parse_overrides(overrides)
    ]
    assert ("-m" in flags) == any(len(values) > 1 for values in choices)
    for number in range(max(map(len, choices), default=1)):  # each value once
        job = [values[number % len(values)] for values in choices]
        node = composed(command, *job)
        for override in job:  # it says what was asked for
            key, _, value = override.partition("=")
            if key in node and not isinstance(node[key], dict | list):
                assert node[key] == yaml.safe_load(value)


def test_every_option_has_an_example() -> None:
    groups = {str(path.relative_to(conf_dir())) for path in FILES if path.parent != conf_dir()}
    assert {config for config, _, _ in examples()} >= {name for name in groups if not name.startswith("hydra/")}


def test_every_group_is_explained_in_the_help() -> None:
    text = help_text(conf_dir(), "train")
    for group, _ in groups_of(conf_dir(), "train"):
        if group is not None:
            assert re.search(rf"^  {group} +[a-z]", text, re.MULTILINE), group
    assert re.search(r"^  front_end/image +where front_end=image is chosen$", text, re.MULTILINE)


def test_every_model_has_a_config() -> None:
    named = {
        yaml.safe_load(path.read_text())["_target_"].rpartition(".")[2] for path in conf_dir().glob("model/*.yaml")
    }
    assert named == {*hbac.models.__all__} - {"MODELS"}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_a_model_s_config_shows_the_constructor_s_defaults(model: type) -> None:
    (config,) = [
        node
        for path in conf_dir().glob("model/*.yaml")
        if (node := yaml.safe_load(path.read_text()))["_target_"].endswith(f".{model.__name__}")
    ]
    parameters = inspect.signature(model).parameters
    for key, value in config.items():
        if not key.startswith("_") and key not in (
            "defaults",
            "branches",
            "pretrained",
        ):  # the data set decides the last
            default = parameters[key].default
            assert value == (list(default) if isinstance(default, tuple) else default), key


@pytest.mark.parametrize("name", ["mel", "log_stft", "multitaper", "morlet", "raw"])
def test_an_image_s_config_shows_all_its_settings_at_the_constructor_s_defaults(name: str) -> None:
    node = yaml.safe_load((conf_dir() / "front_end" / "image" / f"{name}.yaml").read_text())
    config = node["front_end"]["image"][name] if "front_end" in node else node
    defaults = {
        parameter.name: parameter.default
        for parameter in inspect.signature(get_object(config.pop("_target_"))).parameters.values()
        if parameter.name not in ("n_times", "sfreq")  # those of the recordings
    }
    assert config.keys() == defaults.keys()
    set_elsewhere = {"band", "height", "width"}
    for key in defaults.keys() - set_elsewhere:
        default = defaults[key]
        assert config[key] == (list(default) if isinstance(default, tuple) else default), key


def test_raw_pictures_come_at_their_own_size_by_config_alone() -> None:
    config = composed("train", "model=efficientnet", "data.sources=eeg", "front_end/image=raw")
    front_end = build(config["front_end"], "front_end")
    assert (front_end.in_chans, front_end.height, front_end.width) == (3, 160, 1000)
    config = composed(
        "train", "model=efficientnet", "data.sources=eeg", "front_end/image=raw", "front_end.image.raw.centres_s=[10]",
        "front_end.image.raw.rows_per_derivation=20", "front_end.layout=stack",
    )  # fmt: skip
    front_end = build(config["front_end"], "front_end")
    assert (front_end.in_chans, front_end.height, front_end.width) == (16, 24, 500)


@pytest.mark.parametrize("kind", ["mel", "log_stft", "multitaper", "morlet"])
def test_any_spectrogram_may_be_stacked_and_drawn_out_by_config_alone(kind: str) -> None:
    config = composed(
        "train", "model=efficientnet", "data.sources=eeg", "front_end/image=zoom_inside",
        f"front_end/image@front_end.image.zoom_inside.whole={kind}",
        f"front_end/image@front_end.image.zoom_inside.centre={kind}",
    )  # fmt: skip
    front_end = build(config["front_end"], "front_end")
    assert (front_end.in_chans, front_end.height, front_end.width) == (3, 1024, 850)
    assert front_end.pictures["zoom_inside"].whole.channels[:2] == ("Fp1-F7", "Fp2-F8")
    assert front_end(torch.zeros(1, 10000, 20)).shape == (1, 3, 1024, 850)


def test_the_recipe_of_the_stacked_picture() -> None:
    config = composed("train", "experiment=zoom_inside", "model.pretrained=false")
    front_end = build(config["front_end"], "front_end")
    picture = front_end.pictures["zoom_inside"]
    assert (front_end.in_chans, front_end.height, front_end.width) == (3, 1024, 850)
    assert (picture.whole.settings["n_fft"], picture.centre.settings["n_fft"]) == (512, 2048)
    assert (config["labels"]["jitter_s"], config["model"]["backbone"]) == (16.6, "mixnet_xl.ra_in1k")
    assert build(config["augment"]["image"], "augment").settings["zero_p"] == 0.5


def test_the_contract_s_settings() -> None:
    config = composed("train")
    assert config["dataset"]["size"] == "small"
    assert (config["band"], config["fold"], config["seed"]) == ("0.5-20", 0, 0)
    assert {"labels", "augment", "trainer", "logger", "model"} <= set(config)
    assert config["trainer"]["precision"] == "auto"
    assert config["front_end"]["band"] == "0.5-20"


@pytest.mark.parametrize("logger", ["csv", "wandb", "tensorboard"])
def test_loggers(logger: str) -> None:
    assert composed("train", f"logger={logger}")["logger"]["_target_"].startswith("hbac.tracking.loggers.")


def augmentation(name: str) -> dict[str, dict[str, object]]:
    node = composed("train", f"augment={name}")["augment"]
    assert isinstance(node, dict)
    return node


def test_strong_augmentation_has_every_piece_and_none_has_nothing() -> None:
    strong, stages = augmentation("strong"), {"raw": RawAugment, "signal": SignalAugment, "mixup": Mixup}
    assert strong.keys() == stages.keys()
    for stage, module in stages.items():
        pieces = [name for name in inspect.signature(module).parameters if name.endswith("_p")]
        assert all(0 < float(str(strong[stage][name])) < 1 for name in pieces), stage
    assert augmentation("none") == {}


def test_strong_augmentation_takes_no_more_than_two_things_from_a_window_on_average() -> None:
    strong = augmentation("strong")
    lossy = {"raw": ("drop",), "signal": ("zero", "band", "stop", "cut", "noise")}
    mean = sum(float(str(strong[stage][f"{name}_p"])) for stage, names in lossy.items() for name in names)
    assert 1 <= mean <= 2


def test_a_band_reaches_the_front_end_whatever_its_form() -> None:
    assert composed("train", "band=1-12")["front_end"]["band"] == "1-12"
    assert composed("train", "band=delta")["front_end"]["band"] == "delta"


def test_nothing_goes_to_a_network_by_default() -> None:
    assert composed("train")["logger"]["mode"] == "offline"


def test_the_public_efficientnet_is_the_public_recipe() -> None:
    config = composed("train", "experiment=public_efficientnet", "dataset=hms", "dataset.root=somewhere")
    assert (config["band"], config["augment"], config["data"]["batch_size"]) == ("0-20", {}, 32)
    assert config["data"]["sources"] == "both"
    front_end = config["front_end"]
    assert (front_end["layout"], front_end["in_chans"]) == ("tiles", 3)
    assert (front_end["tile_height"], front_end["tile_width"]) == (128, 256)
    assert front_end["image"]["mel"]["band"] == "0-20"
    model = config["model"]
    assert (model["backbone"], model["pooling"], model["pretrained"]) == ("efficientnet_b0", "average", True)
    assert (config["labels"]["rows"], config["labels"]["target"]) == ("middle_of_eeg", "eeg_sum")
    assert config["optimizer"] == {"_target_": "torch.optim.Adam", "_partial_": True, "lr": 0.001}
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=0.001)
    schedule = build(config["schedule"], "schedule")(optimizer, total_steps=400)
    rates = []
    for _ in range(400):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[::100] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-5])
    assert config["trainer"]["max_epochs"] == 4


@pytest.mark.parametrize("name", ["bands", "kernels", "optuna"])
def test_an_experiment_s_sweep_is_over_settings_that_there_are(name: str) -> None:
    """Optuna's plugin is an extra: read here, not composed."""
    node = yaml.safe_load((conf_dir() / "experiment" / f"{name}.yaml").read_text())
    groups = dict(next(iter(entry.items())) for entry in node["defaults"])
    assert node["hydra"]["mode"] == "MULTIRUN"
    config = OmegaConf.create(composed("train", f"model={groups['override /model']}"))
    for key in node["hydra"]["sweeper"]["params"]:
        assert OmegaConf.select(config, key) is not None, key


def test_recipes_of_the_networks_along_time_and_of_the_raw_picture() -> None:
    config = composed("train", "experiment=raw_image", "model.pretrained=false")
    front_end = build(config["front_end"], "front_end")
    assert (front_end.sources, front_end.in_chans, front_end.height, front_end.width) == (("eeg",), 3, 160, 1000)
    assert list(config["augment"]) == ["raw"]
    for name, n_chans, sfreq in (("efficientnet_1d", 16, 40), ("conv_squeezeformer", 16, 200), ("sparcnet", 16, 200)):
        config = composed("train", f"experiment={name}")
        front_end = build(config["front_end"], "front_end")
        assert (front_end.n_chans, front_end.sfreq) == (n_chans, sfreq)
        network = build(config["model"] | front_end.network_arguments(), "network")
        with torch.no_grad():
            assert network.eval()(torch.zeros(1, front_end.n_chans, front_end.n_times)).shape == (1, 6)


def _leaves(node: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(node, dict) or not node:
        return {prefix: node}
    return {name: leaf for key, value in node.items() for name, leaf in _leaves(value, f"{prefix}.{key}").items()}


@pytest.mark.parametrize("path", [*(conf_dir() / "debug").iterdir(), conf_dir() / "callbacks/early_stopping.yaml"])
def test_settings_of_an_option_are_in_force(path: Path) -> None:
    """Those of train.yaml itself do not stand above them."""
    own = {key: value for key, value in yaml.safe_load(path.read_text()).items() if key not in ("defaults", "hydra")}
    inside = _leaves(composed("train", f"{path.parent.name}={path.stem}"))
    assert {name: inside.get(name) for name in _leaves(own)} == _leaves(own)
