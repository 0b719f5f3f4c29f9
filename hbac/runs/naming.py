"""The name of a run, and the hash in it: of all that decides its predictions except the fold."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from hbac.common.instantiate import find

# What never changes a prediction: where things lie, who watches, how fast it goes. What is in the files that are
# learned from does, and stands in ``content`` (`hbac.experiment.job.Job.of`).
_NOT_HASHED = ("fold", "logger", "outputs", "n_jobs", "resume", "requeue", "blend", "comparisons",
               "allow_missing_folds", "init_from", "allow", "compile", "launch_wait_s")  # fmt: skip
# The underscore marks what is not the data set's own affair: it reaches the model's config, which is hashed.
_NOT_HASHED_INSIDE = {
    "dataset": ("root", "stores", "n_jobs", "size", "seed", "sfreq", "unit", "labels", "outside", "interpolate",
                "_pretrained_"),
    "model": ("pretrained_file",),
    "data": ("num_workers", "resident"),
    "trainer": ("strategy",),
    "labels": ("pseudo", "opinions"),
    "callbacks": ("device_stats", "throughput"),
}  # fmt: skip


def deciding(config: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what decides predictions in a resolved config: not the fold, where things lie, who watches, how fast it is.

    Examples
    --------
    >>> deciding({"band": "1-12", "fold": 3, "outputs": "/here", "data": {"num_workers": 4, "batch_size": 32}})
    {'band': '1-12', 'data': {'batch_size': 32}}
    """
    ignored = _NOT_HASHED if _population_decides(config) else (*_NOT_HASHED, "population")
    kept: dict[str, Any] = {}
    for key, value in config.items():
        if key == "stages" and value:
            kept[key] = {name: deciding(stage or {}) for name, stage in value.items()}
        elif isinstance(value, Mapping):
            kept[key] = {k: v for k, v in value.items() if k not in _NOT_HASHED_INSIDE.get(key, ())}
        elif key not in ignored:
            kept[key] = value
    return {key: value for key, value in kept.items() if key not in ignored}


def _population_decides(config: Mapping[str, Any]) -> bool:
    """Say whether predictions depend on the rows that count.

    They do where an epoch is chosen, or stopped or slowed down at, and where the population has a map of its own.
    """
    stages = [config, *((stage or {}) for stage in (config.get("stages") or {}).values())]
    chosen = config.get("export") == "best" or (config.get("task") or {}).get("population_head")
    return bool(chosen) or any(
        stage.get("patience") is not None
        or str((stage.get("schedule") or {}).get("_target_", "")).endswith("reduce_on_plateau")
        for stage in stages
    )


def config_hash(config: Mapping[str, Any]) -> str:
    """Hash everything in a resolved config that decides the predictions, except the fold, in 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(deciding(config), sort_keys=True).encode()).hexdigest()


def member_name(config: Mapping[str, Any]) -> str:
    """Name the member that a config describes, all its folds alike, and its folder: ``<model>-<band>-<hash>``.

    Examples
    --------
    >>> member_name({"model": {"_target_": "hbac.models.ResNetGRU"}, "band": "0.5-20", "fold": 3})[:17]
    'resnet_gru-0.5-20'
    """
    network = find(config["model"]["_target_"], "network", config.get("allow", ()))
    architecture = network.__module__.rpartition(".")[2]  # one architecture a file
    band = re.sub(r"[/\\\x00-\x1f\x7f]", "_", str(config["band"]))
    return f"{architecture}-{band}-{config_hash(config)[:8]}"
