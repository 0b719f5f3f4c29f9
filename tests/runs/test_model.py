"""Run folders: names, hashes, and a model that comes back the same."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import hbac
from hbac.common.errors import UserError
from hbac.common.files import read_json, write_json
from hbac.common.instantiate import build
from hbac.runs.model import save_model
from hbac.runs.naming import config_hash, member_name

NETWORK = {"_target_": "hbac.models.ResNetGRU", "n_chans": 8, "n_times": 2000, "sfreq": 40.0, "filters": 8, "width": 16}
FRONT_END = {"_target_": "hbac.signal.front_end.EEGFrontEnd", "montage": "public_8", "band": "0.5-20"}
CONFIG = {
    "model": NETWORK,
    "band": "0.5-20",
    "fold": 0,
    "seed": 0,
    "outputs": "outputs",
    "logger": {"mode": "offline"},
    "dataset": {"root": "data", "stores": "outputs/stores", "n_jobs": 2},
    "data": {"batch_size": 32, "num_workers": 0},
    "stages": {"first": {"labels": {"pseudo": "here"}, "data": {"num_workers": 0}}},
    "content": {"data": "0"},
}


def changed(**changes: object) -> dict[str, object]:
    config = copy.deepcopy(CONFIG)
    for key, value in changes.items():
        outer, _, inner = key.partition("__")
        if inner:
            config[outer][inner] = value  # type: ignore[index]
        else:
            config[outer] = value  # type: ignore[assignment]
    return config


@pytest.mark.parametrize(
    "change",
    [
        {"fold": 3},
        {"outputs": "x"},
        {"logger": {}},
        {"dataset__stores": "x"},
        {"dataset__root": "x"},
        {"dataset__sfreq": 256, "dataset__unit": "V"},  # what they make of the files is in content.data
        {"model__pretrained_file": "/there"},
        {"stages": {"first": {"labels": {"pseudo": "there", "opinions": "a.csv"}, "data": {"num_workers": 2}}}},
        {"dataset__n_jobs": 8},
        {"data__num_workers": 4},
        {"population": "all"},
    ],
)
def test_the_hash_does_not_see_what_cannot_change_a_prediction(change: dict[str, object]) -> None:
    assert config_hash(changed(**change)) == config_hash(CONFIG)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"band": "1-12"},
        {"band": "0.5000001-20"},
        {"front_end": {"image": {"a": {"band": "1-12"}}}},
        {"model__filters": 9},
        {"content": {"data": "1"}},
        {"data__batch_size": 16},
        {"stages": {"first": {"labels": {"min_votes": 3}}}},
    ],
)
def test_the_hash_sees_everything_else(change: dict[str, object]) -> None:
    assert config_hash(changed(**change)) != config_hash(CONFIG)


@pytest.mark.parametrize(
    "setting",
    [
        {"export": "best"},
        {"task": {"population_head": True}},
        {"patience": 3},
        {"schedule": {"_target_": "hbac.training.schedules.reduce_on_plateau"}},
        {"stages": {"first": {"patience": 3}}},
        {"stages": {"first": {"schedule": {"_target_": "hbac.training.schedules.reduce_on_plateau"}}, "second": None}},
    ],
)
def test_the_hash_sees_the_population_where_it_chooses_an_epoch(setting: dict[str, object]) -> None:
    found = {config_hash(changed(population=name, **setting)) for name in ("many_votes", "few_votes", "all")}
    assert len(found) == 3
    plain = {"export": "last", "patience": None, "schedule": {"_target_": "hbac.training.schedules.constant"}}
    assert len({config_hash(changed(population=name, **plain)) for name in ("many_votes", "all")}) == 1


def test_a_member_is_named_after_model_band_and_hash() -> None:
    assert member_name(CONFIG) == f"resnet_gru-0.5-20-{config_hash(CONFIG)[:8]}"


def test_a_model_comes_back_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, front_end = build(NETWORK, "network").eval(), build(FRONT_END, "front_end").eval()
    save_model(tmp_path, network, NETWORK, FRONT_END, {"fold": 2})
    model = hbac.load(tmp_path)
    eeg_BTC = 30 * torch.randn(3, 10000, 20)
    with torch.no_grad():
        expected = network(front_end(eeg_BTC)).softmax(1)
    torch.testing.assert_close(model(eeg_BTC), expected, rtol=0, atol=0)
    torch.testing.assert_close(model(eeg_BTC).sum(1), torch.ones(3))
    assert model.facts["fold"] == 2


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither a finished run"):
        hbac.load(tmp_path)


def test_weights_of_another_network(tmp_path: Path) -> None:
    save_model(tmp_path, build(NETWORK, "network"), NETWORK | {"width": 24}, FRONT_END, {})
    with pytest.raises(UserError, match=r"weights\.safetensors: cannot be loaded"):
        hbac.load(tmp_path)


def test_truncated_weights(tmp_path: Path) -> None:
    save_model(tmp_path, build(NETWORK, "network"), NETWORK, FRONT_END, {})
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"weights\.safetensors: (not the weights that were|cannot be)"):
        hbac.load(tmp_path)


@pytest.mark.parametrize("name", ["weights.safetensors", "model.json"])
def test_a_flipped_bit_is_named(tmp_path: Path, name: str) -> None:
    save_model(tmp_path, build(NETWORK, "network"), NETWORK, FRONT_END, {"fold": 2, "lineage": []})
    path = tmp_path / name
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    silent = 0
    for place in rng.integers(0, 8 * len(content), 40).tolist():
        spoiled = bytearray(content)
        spoiled[place // 8] ^= 1 << place % 8
        path.write_bytes(spoiled)
        try:
            facts = hbac.load(tmp_path).facts
        except UserError as error:
            assert str(path) in str(error)
            continue
        # Only the name of the hash itself may be hit without a word: all else is as it was.
        assert name == "model.json"
        silent += 1
        path.write_bytes(content)
        assert {key: facts[key] for key in hbac.load(tmp_path).facts if key in facts}.items() <= facts.items()
    assert silent <= 1


def test_weights_of_an_earlier_version_are_read_as_they_are(tmp_path: Path) -> None:
    save_model(tmp_path, build(NETWORK, "network"), NETWORK, FRONT_END, {"fold": 2})
    facts = read_json(tmp_path / "model.json")
    del facts["weights_sha256"]
    write_json(tmp_path / "model.json", facts)
    assert hbac.load(tmp_path).facts == facts


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (1e-3, "3 of 3 windows stay below 1 µV"),
        (1e3, "3 of 3 windows are above 20 mV"),
        (0, "3 of 3 windows are flat"),
        (np.nan, "3 of 3 windows have no value at all"),
    ],
)
def test_what_cannot_be_microvolt_is_warned_of(tmp_path: Path, factor: float, words: str) -> None:
    save_model(tmp_path, build(NETWORK, "network"), NETWORK, FRONT_END, {"fold": 2})
    model = hbac.load(tmp_path)
    eeg_BTC = 30 * torch.randn(3, 10000, 20)
    model(eeg_BTC)
    with pytest.warns(UserWarning, match=f"EEG in microvolt is expected: {words}"):
        model(eeg_BTC * factor)


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_volts_are_refused(tmp_path: Path, kind: Callable[[np.ndarray], object]) -> None:
    save_model(tmp_path, build(NETWORK, "network"), NETWORK, FRONT_END, {"fold": 2})
    eeg_BTC = 3e-5 * np.random.default_rng(0).standard_normal((2, 10000, 20))
    eeg_BTC[0] = np.nan
    with pytest.raises(UserError, match="MNE works in volts: multiply by 1e6"):
        hbac.load(tmp_path)(kind(eeg_BTC))


def test_a_config_that_names_something_else(tmp_path: Path) -> None:
    save_model(tmp_path, build(NETWORK, "network"), NETWORK, FRONT_END, {})
    facts = read_json(tmp_path / "model.json")
    write_json(tmp_path / "model.json", facts | {"network": {"_target_": "os.system", "command": "true"}})
    with pytest.raises(UserError, match="os.system is not allowed"):
        hbac.load(tmp_path)
