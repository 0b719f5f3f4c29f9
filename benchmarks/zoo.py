"""What networks of the zoo's families cost, what they score, and what each adds to their blend; on simulated data.

    python benchmarks/zoo.py --outputs outputs/zoo --picture docs/images/zoo.png

`experiment=zoo` is sized for a GPU. These are small relatives of its networks, trained in one thread for a few epochs
by the commands that a user would type; what is trained already is not trained again. Then follows a table in Markdown:
input, parameters, multiply-adds and speed of each network; its out-of-fold KL on the rows with 10 or more votes with
its 95 % interval over patients, what the nested convex blend loses without it, and the processor time; and whether the
blends of the best four beat the best one, fitted in the same way. The picture shows cost against score.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from ingredients import by_label, show
from PIL import Image, ImageDraw, ImageFont
from torch import nn

from hbac.cli.costs import Cost, cost, network_with_input
from hbac.cli.launch import composed
from hbac.ensembling.collect import collect
from hbac.ensembling.comparisons import leave_one_out
from hbac.ensembling.methods import SINGLE
from hbac.ensembling.nested import BlendData, nest
from hbac.evaluation.bootstrap import Interval, bootstrap_interval, paired_bootstrap
from hbac.evaluation.metric import kl_rows
from hbac.labels.targets import population_of
from hbac.predictions.join import JoinedTables, join_tables

PICTURES = ("data.sources=eeg", "model.backbone=mobilenetv3_small_050", "optimizer.lr=0.003", "data.cache=true",
            "augment.raw=null", "augment.mixup=null", "trainer.max_epochs=4")  # fmt: skip
# What a user types. Backbones, widths and pictures are small, pictures are made once, and nothing is mixed.
FAMILIES: dict[str, tuple[str, ...]] = {
    "resnet_gru": ("model=resnet_gru", "trainer.max_epochs=8"),
    "zoom_inside": ("model=efficientnet", "front_end/image=zoom_inside", *PICTURES, "front_end.tile_height=16",
                    "front_end.image.zoom_inside.whole.width=100", "front_end.image.zoom_inside.centre.width=100"),
    "raw_image": ("model=efficientnet", "front_end/image=raw", *PICTURES, "front_end.image.raw.sfreq_out=null",
                  "front_end.image.raw.rows_per_derivation=4"),
    "volume": ("model=volume", *PICTURES, "front_end.image.mel.montage=chains_16", "front_end.tile_height=32",
               "front_end.tile_width=64", "model.width=32", "model.head_width=64"),
    "efficientnet_1d": ("model=efficientnet_1d", "montage=chains_16", "model.stem_width=16", "model.expansion=2",
                        "model.widths=[16,16,24,24,32]", "model.depth=1", "optimizer.lr=0.004", "augment.mixup=null",
                        "trainer.max_epochs=4"),
}  # fmt: skip


class Trained(NamedTuple):
    """A family's runs, and the processor time that they took."""

    runs: list[str]
    seconds: float


def train(family: str, outputs: Path, typed: tuple[str, ...]) -> Trained:
    """Train all folds of a family in one thread, unless that was done."""
    note = outputs / "zoo" / f"{family}.json"
    if not note.exists():
        note.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "hbac.train", *FAMILIES[family], *typed, "logger=csv", f"outputs={outputs}"]
        with note.with_suffix(".txt").open("w") as file:
            process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=file, stderr=file)
            _, status, usage = os.wait4(process.pid, 0)
        said = note.with_suffix(".txt").read_text()
        if status:
            raise SystemExit(f"{family}: training failed:\n{said[-2000:]}")
        runs = re.findall(r"^fold \d+ of .*, in (.*)$", said, re.MULTILINE)
        note.write_text(json.dumps(Trained(runs, usage.ru_utime + usage.ru_stime)))
    return Trained(*json.loads(note.read_text()))


def speeds(network: nn.Module, x: torch.Tensor, least_s: float) -> tuple[float, float]:
    """Return windows a second of a network in inference and in training (forward and backward), in one thread."""
    batch = x.expand(16, *x.shape[1:]).contiguous()

    def rate(step: Any) -> float:
        step()
        start, n = time.process_time(), 0
        while n == 0 or time.process_time() - start < least_s:
            step()
            n += len(batch)
        return n / (time.process_time() - start)

    with torch.inference_mode():
        network.eval()
        inference = rate(lambda: network(batch))
    return inference, rate(lambda: network.train()(batch).sum().backward())


def blended(joined: JoinedTables, names: list[str], method: str = "convex") -> tuple[np.ndarray, BlendData]:
    """Return the KL of a nested blend of some members on the rows that count, and what it was fitted on."""
    counts = population_of("many_votes").contains(joined.n_votes)
    at = [joined.members.index(name) for name in names]
    data = BlendData(joined.probs[at], joined.targets, joined.fold, counts=counts).counted
    return kl_rows(data.targets, nest(data, SINGLE[method], quiet=True).nested), data


def draw(points: dict[str, tuple[Cost, Interval]], blend: float, path: Path) -> None:
    """Draw cost against score, a point with its interval for each family, and the score of their blend."""
    width, height, left, right, top, bottom = 760, 440, 70, 150, 30, 60
    picture = Image.new("RGB", (width, height), "white")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(size=13)
    logs = [math.log10(found.multiply_adds / 1e6) for found, _ in points.values()]
    x_low, x_high = math.floor(min(logs)), max(math.ceil(max(logs)), math.floor(min(logs)) + 1)
    values = [blend, *(value for _, score in points.values() for value in (score.low, score.high))]
    step = next(s for s in (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0) if (max(values) - min(values)) / s < 8)
    y_low, y_high = math.floor(min(values) / step) * step, math.ceil(max(values) / step) * step

    def at(log10: float, kl: float) -> tuple[float, float]:
        across, up = (log10 - x_low) / (x_high - x_low), (kl - y_low) / (y_high - y_low)
        return left + across * (width - left - right), height - bottom - up * (height - top - bottom)

    for n in range(round((y_high - y_low) / step) + 1):
        y = at(x_low, y_low + n * step)[1]
        pen.line((left, y, width - right, y), fill=(225, 225, 225))
        pen.text((left - 8, y), f"{y_low + n * step:.2f}", fill="black", font=font, anchor="rm")
    for decade in range(x_low, x_high + 1):
        x, y = at(decade, y_low)
        pen.line((x, y, x, y + 5), fill="black")
        pen.text((x, y + 8), f"{10**decade:g}", fill="black", font=font, anchor="ma")
    pen.text(
        ((left + width - right) / 2, height - 22),
        "million multiply-adds a window",
        fill="black",
        font=font,
        anchor="mm",
    )
    pen.text((8, 6), "KL on rows with 10 or more votes (lower is better), 95 % interval", fill="black", font=font)
    y = at(x_low, blend)[1]
    pen.line((left, y, width - right, y), fill=(178, 42, 42), width=2)
    pen.text((width - right + 8, y), "blend of all", fill=(178, 42, 42), font=font, anchor="lm")
    for name, (found, score) in points.items():
        x, y = at(math.log10(found.multiply_adds / 1e6), score.estimate)
        pen.line((x, at(x_low, score.low)[1], x, at(x_low, score.high)[1]), fill=(120, 150, 190), width=2)
        pen.ellipse((x - 5, y - 5, x + 5, y + 5), fill=(26, 82, 160))
        pen.text((x + 9, y), name, fill="black", font=font, anchor="lm")
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--outputs", type=Path, default=Path("outputs/zoo"))
    parser.add_argument("--size", default="small", help="of the simulated data set")
    parser.add_argument("--folds", default="0,1,2,3,4")
    parser.add_argument("--only", nargs="*", default=list(FAMILIES), help="families; all where absent")
    parser.add_argument("--epochs", type=int, help="of all but resnet_gru; those of their settings where absent")
    parser.add_argument("--picture", type=Path, help="where to draw cost against score; outputs/zoo.png where absent")
    parser.add_argument("--costs", action="store_true", help="train nothing: only what the networks cost")
    parser.add_argument("--smoke", action="store_true", help="two families, two folds, one epoch of the tiny data set")
    options = parser.parse_args()
    typed: tuple[str, ...] = (
        f"dataset.size={options.size}",
        "allow_missing_folds=true",
        "-m",
        f"fold={options.folds}",
    )
    if options.smoke:
        options.outputs, options.only = Path(tempfile.mkdtemp()), ["resnet_gru", "raw_image"]
        typed = ("dataset.size=tiny", "trainer.max_epochs=1", "allow_missing_folds=true", "-m", "fold=0,1")
    torch.set_num_threads(1)
    costs, rates = {}, {}
    for name in options.only:
        network, x = network_with_input(composed(FAMILIES[name]))
        costs[name], rates[name] = cost(network, x), speeds(network, x, 0.1 if options.smoke else 2.0)
        if options.costs:
            said = "{:.0f} windows/s in inference, {:.0f} in training"
            print(f"{name}: {said.format(*rates[name])}; {costs[name]}", flush=True)
    if options.costs:
        return
    fewer = () if options.epochs is None else (f"trainer.max_epochs={options.epochs}",)
    trained = {
        name: train(name, options.outputs, (*(fewer if name != "resnet_gru" else ()), *typed)) for name in options.only
    }
    tables = [next(iter(collect(trained[name].runs))) for name in options.only]
    frames = {name: by_label(table) for name, table in zip(options.only, tables, strict=True)}
    joined = join_tables(tables)
    names = dict(zip(joined.members, options.only, strict=True))
    counts = population_of("many_votes").contains(joined.n_votes)
    patient = joined.patient_id[counts]
    kl_N, data = blended(joined, list(joined.members))
    adds = leave_one_out(data, joined.members, patient).set_index("name")
    scores: dict[str, Interval] = {}
    head = "family | input | parameters | multiply-adds | windows/s | in training | KL | adds | CPU min"
    print(f"| {head} |")
    print("| --- " * 9 + "|")
    for member, name in names.items():
        inside = population_of("many_votes").contains(frames[name]["n_votes"])
        scores[name] = bootstrap_interval(frames[name]["kl"][inside], frames[name]["patient_id"][inside])
        gain = Interval(*(float(adds.loc[member, key]) for key in ("gain", "low", "high")))
        found = costs[name]
        sizes = [
            " x ".join(map(str, found.shape)),
            f"{found.parameters / 1e6:.2f} M",
            f"{found.multiply_adds / 1e6:.0f} M",
        ]
        worth = [show(scores[name]), show(gain, sign="+"), f"{trained[name].seconds / 60:.1f}"]
        cells = [f"`{name}`", *sizes, *(f"{rate:.0f}" for rate in rates[name]), *worth]
        print(f"| {' | '.join(cells)} |")
    whole = bootstrap_interval(kl_N, patient)
    best = sorted(joined.members, key=lambda member: scores[names[member]].estimate)
    print(f"\nblend of all: {show(whole)} on {len(kl_N):,} rows")
    print(f"blends of the best {len(best[:4])} ({', '.join(names[member] for member in best[:4])}):")
    for method in ("convex", "log_linear", "log_linear_class"):  # the first leaves a single member as it is
        four_N, alone_N = (blended(joined, some, method)[0] for some in (best[:4], best[:1]))
        four, alone = (bootstrap_interval(found_N, patient) for found_N in (four_N, alone_N))
        pair = paired_bootstrap(four_N, alone_N, patient)
        print(f"{method}: {show(four)}, the best one {show(alone)}; paired: {show(pair, sign='+')}")
    path = options.picture or options.outputs / "zoo.png"
    draw({name: (costs[name], scores[name]) for name in options.only}, whole.estimate, path)
    print(f"picture: {path}")


if __name__ == "__main__":
    main()
