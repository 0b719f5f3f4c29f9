"""Whatever a setting is set to: it works, or there is one message; a seeded search for what does neither.

``HBAC_FUZZ_SECONDS`` is how long it searches, 5 by default, ``HBAC_FUZZ_SEED`` where it begins.
"""

from __future__ import annotations

import os
import random
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from hbac.common.errors import UserError
from hbac.experiment.job import make_job

VALUES: list[Any] = [
    None, True, False, -1, 0, 1, 2, 7, 1.5, 0.5, -0.5, 1e-30, 1e30, 10**12, float("nan"), float("inf"), float("-inf"),
    "", " ", "abc", "3", "nan", "a/b", "../..", "x" * 300, "µ–é", "${seed}", "${nothing}", [], [1], [0], [-1], [1.5],
    ["a"], [None], [[1]], [3, 5], {}, {"a": 1}, {"_target_": "torch.nn.Linear"}, "0.5-20", "auto", "none", "mean",
]  # fmt: skip
SMALL = {
    "resnet_gru": ["model.filters=4", "model.width=8", "model.depth=1", "model.gru_hidden=8"],
    "public_resnet_gru": ["model.filters=2", "model.depth=6", "model.gru_hidden=8"],
    "efficientnet": [
        "model.pretrained=false",
        "model.backbone=mobilenetv3_small_050",
        "front_end.tile_height=32",
        "front_end.tile_width=32",
    ],
}
BASES = [
    [],
    ["experiment=two_stage"],
    ["augment=strong", "schedule=one_cycle", "optimizer=sgd"],
    ["schedule=plateau"],
    ["schedule=stepwise"],
    ["model=efficientnet"],
    ["model=public_resnet_gru", "schedule=cosine_restarts", "augment=none"],
]


def leaves(node: Any, prefix: str = "") -> Iterator[str]:
    for key in node:
        name = f"{prefix}{key}"
        if key in ("pretrained", "_pretrained_"):  # would ask the network
            continue
        yield name
        value = OmegaConf.to_container(node).get(key) if isinstance(node, DictConfig) else None
        if isinstance(value, dict):
            yield from leaves(node[key], f"{name}.")


@pytest.fixture(scope="module")
def bases(conf: Path) -> list[DictConfig]:
    found = []
    with initialize_config_dir(str(conf), version_base="1.3"):
        for base in BASES:
            model = next((line[6:] for line in base if line.startswith("model=")), "resnet_gru")
            found.append(compose("train", [*base, *SMALL[model], "dataset=hms", "dataset.root=x", "logger=csv"]))
    return found


def test_every_value_works_or_is_refused(bases: list[DictConfig]) -> None:
    """Mutate one to three settings of a composed config, and do all that needs no data."""
    chance = random.Random(int(os.environ.get("HBAC_FUZZ_SEED", "0")))
    until = time.monotonic() + float(os.environ.get("HBAC_FUZZ_SECONDS", "5"))
    tried = refused = 0
    bad: dict[str, str] = {}
    while time.monotonic() < until:
        cfg = chance.choice(bases).copy()
        changes = {key: chance.choice(VALUES) for key in chance.sample(list(leaves(cfg)), chance.randint(1, 3))}
        tried += 1
        try:
            with warnings.catch_warnings(), open_dict(cfg):
                warnings.simplefilter("ignore")
                for key, value in changes.items():
                    with suppress(ValueError, TypeError):  # a setting of what the change before has made a list
                        OmegaConf.update(cfg, key, value, merge=False, force_add=True)
                make_job(cfg)
        except (UserError, OmegaConfBaseException, OSError) as error:  # the latter are `hbac.cli.ground.unusable`'s
            refused += 1
            assert str(error).strip(), changes
        except Exception as error:
            bad.setdefault(f"{type(error).__name__}: {error}"[:100], str(changes))
    assert not bad, "\n".join(f"{why}   {changes}" for why, changes in bad.items())
    assert tried >= refused > 0
