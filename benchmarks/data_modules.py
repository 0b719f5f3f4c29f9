"""How many windows each data module alone feeds, against how many its model consumes in training.

    python benchmarks/data_modules.py

Two ratios for each model. ``loader`` is what the processor does beside the model whatever the model's device: cutting
batches from the store. It has to be at least 10. ``loader and front-end`` adds augmentation, band-pass or spectrograms,
which belong to the model's device; here that is the same processor, so that it is the share of a step that training on
this machine spends before the network. The data set is noise in the HMS layout, the timings are processor seconds of
one thread (medians), so that other processes disturb them little.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from hydra import compose, initialize_config_dir

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hbac.cli.launch import conf_dir
from hbac.common.instantiate import build
from hbac.data.epoch import EpochShuffle
from hbac.recordings.datasets import HMS, Part
from tests.helpers import write_hms_layout

JOBS = {
    "resnet_gru": ["model=resnet_gru"],
    "data.cache=true": ["model=resnet_gru", "data.cache=true"],
    "augment=none": ["model=resnet_gru", "augment=none"],
    "augment=strong": ["model=resnet_gru", "augment=strong"],
    "efficientnet": ["model=efficientnet"],
    "demo_efficientnet": ["experiment=demo_efficientnet"],
}


def windows_per_second(call: Callable[[int], Any], batch: int, rounds: int) -> float:
    """Batch over the median of the processor time."""
    seconds = []
    for i in range(rounds + 1):
        start = time.process_time()
        call(i)
        seconds.append(time.process_time() - start)
    return batch / statistics.median(seconds[1:])


def speeds(part: Part, overrides: list[str], batch: int, rounds: int) -> tuple[float, float, float]:
    """Windows per second of the loader, of loader and front-end, and of the network's training steps."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", [*overrides, f"data.batch_size={batch}"])
    front_end = build(cfg.front_end, "front_end")
    augment = {name: build(node, "augment") for name, node in cfg.augment.items() if node is not None}
    folds = np.zeros(len(part.rows), int)
    cache = part.stores.parent / "cache" if cfg.data.cache else None
    data = build(
        cfg.data, "data", part=part, front_end=front_end, fold_of_row=folds, fold=1, augment=augment, cache=cache
    )
    data.trainer = SimpleNamespace(training=True, current_epoch=0)
    network = build(cfg.model, "network", **front_end.network_arguments())
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4)
    shuffle, rows = EpochShuffle(len(part.rows), seed=0), []
    for epoch in range(rounds + 1):  # with the partners of mixup, as in training
        shuffle.set_epoch(epoch)
        rows.append(list(shuffle)[:batch])
    ready = data.on_after_batch_transfer(data.train_set.__getitems__(rows[0]), 0)

    def step(_: int) -> None:
        loss = F.kl_div(network(ready["x"]).log_softmax(dim=1), ready["target"], reduction="batchmean")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    calls = (
        lambda i: data.train_set.__getitems__(rows[i]),
        lambda i: data.on_after_batch_transfer(data.train_set.__getitems__(rows[i]), 0),
        step,
    )
    loader, fed, consumed = (windows_per_second(call, batch, rounds) for call in calls)
    return loader, fed, consumed


def main() -> None:
    """Time, print, and exit with 1 where the promise isn't kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS))
    parser.add_argument("--smoke", action="store_true", help="smallest sizes, in seconds; promises are not checked")
    options = parser.parse_args()
    if options.smoke:
        options.batch, options.rounds, options.jobs = 2, 1, options.jobs[:1]
    torch.set_num_threads(1)
    kept = True
    with tempfile.TemporaryDirectory() as folder:
        root = write_hms_layout(
            Path(folder) / "data", n_eegs=8 if options.smoke else 60, n_test=0, with_spectrograms=True
        )
        part = HMS(root, Path(folder) / "stores").part("train")
        print("windows per second of processor time, one thread")
        print(f"{'':20s}{'model':>8s}{'loader':>10s}{'ratio':>8s}{'loader and front-end':>24s}{'ratio':>8s}")
        for name in options.jobs:
            loader, fed, consumed = speeds(part, JOBS[name], options.batch, options.rounds)
            kept &= loader >= 10 * consumed
            print(f"{name:20s}{consumed:8.0f}{loader:10.0f}{loader / consumed:8.1f}{fed:24.0f}{fed / consumed:8.1f}")
    sys.exit(0 if kept or options.smoke else 1)


if __name__ == "__main__":
    main()
