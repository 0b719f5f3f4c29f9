"""What was swept, from the runs' configs."""

from __future__ import annotations

import copy
from pathlib import Path

import pandas as pd

from hbac.common.files import write_json
from hbac.ensembling.swept import swept_settings
from hbac.predictions.metadata import TableMetadata
from hbac.runs.folder import CONFIG_FILE

RAW = {"_target_": "hbac.signal.RawAugment", "swap_p": 0.5}
BASE = {
    "outputs": "outputs",
    "data": {"_target_": "hbac.data.EEGDataModule", "batch_size": 32, "num_workers": 0},
    "augment": {"raw": RAW},
    "front_end": {"_target_": "hbac.signal.EEGFrontEnd", "band": "0.5-20"},
    "optimizer": {"_target_": "torch.optim.AdamW", "_partial_": True, "lr": 0.004},
    "model": {"_target_": "hbac.models.ResNetGRU", "kernels": [3, 5], "depth": 2, "sfreq": 50, "n_times": 2500},
    "band": "0.5-20",
    "fold": 0,
    "seed": 0,
}


def member(folder: Path, number: int, **changes: object) -> TableMetadata:
    """One whose run has the base config, changed at ``group__key``."""
    config = copy.deepcopy(BASE)
    for name, value in changes.items():
        *path, key = name.split("__")
        node = config
        for part in path:
            node = node[part]
        node[key] = value
    run = folder / str(number) / "fold1"
    run.mkdir(parents=True)
    write_json(run / CONFIG_FILE, config)
    return TableMetadata(str(number), runs={1: run, 2: folder / "gone"})


def test_only_what_was_set_and_differs(tmp_path: Path) -> None:
    """A band changes the front-end's and the network's sampling rate; folds, workers and places don't count."""
    wide = {"band": "0.5-40", "front_end__band": "0.5-40", "model__sfreq": 100, "model__n_times": 5000}
    members = [
        member(tmp_path, 0),
        member(tmp_path, 1, **wide, fold=3, outputs="elsewhere", data__num_workers=4),
        member(tmp_path, 2, model__kernels=[3, 7, 15]),
        member(tmp_path, 3, **wide, model__kernels=[3, 7, 15]),
    ]
    expected = {"band": ["0.5-20", "0.5-40"] * 2, "model.kernels": ["[3,5]"] * 2 + ["[3,7,15]"] * 2}
    pd.testing.assert_frame_equal(swept_settings(members), pd.DataFrame(expected, dtype=str))
    assert swept_settings(members[:1]).shape == (1, 0)


def test_settings_that_all_differ_are_all_shown(tmp_path: Path) -> None:
    """As in a random search, where each alone would tell the members apart."""
    members = [member(tmp_path, i, optimizer__lr=0.001 * (i + 1), model__depth=3 - i) for i in range(3)]
    expected = {"optimizer.lr": ["0.001", "0.002", "0.003"], "model.depth": ["3", "2", "1"]}
    pd.testing.assert_frame_equal(swept_settings(members), pd.DataFrame(expected, dtype=str))


def test_what_comes_with_another_kind_of_model_is_not_listed(tmp_path: Path) -> None:
    image = {"model": {"_target_": "hbac.models.EfficientNet", "backbone": "b0", "in_chans": 1}, "augment__raw": None}
    members = [
        member(tmp_path, 0, **image, optimizer__lr=0.001),
        member(tmp_path, 1),
        member(tmp_path, 2, model__depth=4),
    ]
    expected = {"model": ["EfficientNet", "ResNetGRU", "ResNetGRU"], "model.depth": ["", "2", "4"]}
    pd.testing.assert_frame_equal(swept_settings(members), pd.DataFrame(expected, dtype=str))


def test_the_network_is_named_and_not_only_the_front_end_that_comes_with_it(tmp_path: Path) -> None:
    other = {
        "front_end": {"_target_": "hbac.signal.ImageFrontEnd"},
        "model": {"_target_": "hbac.models.EfficientNet", "backbone": "b0"},
    }
    members = [member(tmp_path, 0), member(tmp_path, 1, **other)]
    shown = swept_settings(members)
    assert list(shown) == ["model"]
    assert shown["model"].tolist() == ["ResNetGRU", "EfficientNet"]
    everything = swept_settings(members, everything=True)
    assert {"model", "front_end", "model.depth", "model.backbone"} <= set(everything)
    assert everything["model.backbone"].tolist() == ["", "b0"]


def test_a_part_that_some_do_without(tmp_path: Path) -> None:
    members = [member(tmp_path, 0), member(tmp_path, 1, augment={})]
    pd.testing.assert_frame_equal(swept_settings(members), pd.DataFrame({"augment": ["on", "off"]}, dtype=str))


def test_members_without_a_config_have_empty_cells(tmp_path: Path) -> None:
    members = [TableMetadata("other code"), member(tmp_path, 0), member(tmp_path, 1, seed=1)]
    pd.testing.assert_frame_equal(swept_settings(members), pd.DataFrame({"seed": ["", "0", "1"]}, dtype=str))
    assert swept_settings([TableMetadata("a"), TableMetadata("b")]).shape == (2, 0)


def test_what_a_terminal_would_obey_is_not_passed_on(tmp_path: Path) -> None:
    members = [member(tmp_path, i, **{"band": text, "model\x1b[2J": text}) for i, text in enumerate(("a\x1b[31m", "b"))]
    shown = swept_settings(members)
    assert shown["band"].tolist() == ["a\N{REPLACEMENT CHARACTER}[31m", "b"]
    assert all(column.isprintable() for column in shown)
