"""What each ingredient of the training recipe is worth: a plain recipe, and the same with one thing changed.

    python benchmarks/ingredients.py --outputs outputs/ingredients --jobs 2

Every recipe is trained on the folds of the simulated medium data set by the command that a user would type, each in one
thread, `--jobs` of them at a time; what is there already is not trained again. Then follows a table in Markdown:
out-of-fold KL on the rows with 10 or more votes, with up to 7 votes and on all, each with its 95 % interval over
patients; the paired difference to the plain recipe (below 0: better); and the processor time of training all folds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from hbac.ensembling.collect import collect
from hbac.evaluation.bootstrap import Interval, bootstrap_interval, paired_bootstrap
from hbac.evaluation.metric import kl_rows
from hbac.labels.targets import POPULATIONS
from hbac.predictions import PredictionTable

# Where no augmentation needs the electrodes, the front-end's output is kept: the same figures in half the time.
BASE = ("model=resnet_gru", "augment=none", "data.cache=true")
PLAIN = (*BASE, "trainer.max_epochs=5")
# What a user types; the first is what the others are compared with.
RECIPES: dict[str, tuple[str, ...]] = {
    "plain: all rows, their own votes, no augmentation, 5 epochs": PLAIN,
    "8 epochs": (*BASE, "trainer.max_epochs=8"),
    "8 epochs, `augment=seed`": ("model=resnet_gru", "augment=seed", "trainer.max_epochs=8"),
    "8 epochs, `augment=seed`, `augment.mixup.mix_p=0.5`": (
        "model=resnet_gru",
        "augment=seed",
        "augment.mixup.mix_p=0.5",
        "trainer.max_epochs=8",
    ),
    "`labels.weight=log_votes`": (*PLAIN, "labels.weight=log_votes"),
    "`labels.vote_smoothing=sqrt`": (*PLAIN, "labels.vote_smoothing=sqrt"),
    "`labels.target=eeg_mean`": (*PLAIN, "labels.target=eeg_mean"),
    "`labels.min_votes=10`": (*PLAIN, "labels.min_votes=10"),
    "`ema=0.99`": (*PLAIN, "ema=0.99"),
    "two stages: 4 epochs on all rows, 3 on those with 10 or more votes": (
        *BASE,
        "experiment=two_stage",
        "stages.all_rows.trainer.max_epochs=4",
        "trainer.max_epochs=3",
    ),
    "pseudo-labels for few votes: a teacher of 5 epochs on 10 or more votes, then 3 on all": (
        *BASE,
        "experiment=pseudo",
        "stages.teacher.trainer.max_epochs=5",
        "trainer.max_epochs=3",
    ),
    "`experiment=strong`": ("experiment=strong",),
    "`experiment=public_resnet_gru`": ("experiment=public_resnet_gru",),
}


def train(recipe: str, outputs: Path, folds: str, size: tuple[str, ...]) -> None:
    """Train a recipe's folds in one thread, and add the processor time that it took to what is known."""
    command = [
        sys.executable, "-m", "hbac.train", *RECIPES[recipe], *size, "logger=csv", "blend=mean",
        "allow_missing_folds=true", f"outputs={outputs}", f"hydra.sweep.dir={folder_of(recipe, outputs)}",
        "-m", f"fold={folds}",
    ]  # fmt: skip
    log = folder_of(recipe, outputs) / "log.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=file, stderr=file)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{recipe}: training failed, see {log}")
    spent = log.parent / "seconds.json"
    before = json.loads(spent.read_text()) if spent.exists() else 0.0
    spent.write_text(json.dumps(before + usage.ru_utime + usage.ru_stime))


def folder_of(recipe: str, outputs: Path) -> Path:
    """Return the sweep folder of a recipe."""
    return outputs / "sweeps" / f"{list(RECIPES).index(recipe):02d}"


def table(outputs: Path, recipes: list[str]) -> str:
    """Compare the recipes that have been trained."""
    tables: dict[str, PredictionTable] = {r: next(iter(collect([folder_of(r, outputs)]))) for r in recipes}
    populations = list(POPULATIONS.items())
    head = ["recipe", *(f"KL {p.title}" for _, p in populations), *(f"change, {p.title}" for _, p in populations[:2])]
    lines = [" | ".join([*head, "CPU min"]), " | ".join(["---"] * (len(head) + 1))]
    plain = by_label(tables[recipes[0]])
    for recipe, found in tables.items():
        own = by_label(found)
        cells = [recipe]
        for _, population in populations:
            inside = population.contains(own["n_votes"])
            cells.append(show(bootstrap_interval(own["kl"][inside], own["patient_id"][inside])))
        for _, population in populations[:2]:
            inside = population.contains(own["n_votes"])
            pair = paired_bootstrap(own["kl"][inside], plain["kl"][inside], own["patient_id"][inside])
            cells.append("" if recipe == recipes[0] else show(pair, sign="+"))
        seconds = json.loads((folder_of(recipe, outputs) / "seconds.json").read_text())
        lines.append(" | ".join([*cells, f"{seconds / 60:.0f}"]))
    return "\n".join(f"| {line} |" for line in lines)


def by_label(found: PredictionTable) -> pd.DataFrame:
    """Return a table's rows in the order of their ids, with the divergence of each."""
    frame = found.frame.assign(kl=kl_rows(found.targets, found.probs))
    return frame.sort_values("label_id", ignore_index=True)


def show(interval: Interval, sign: str = "") -> str:
    """Write an interval."""
    estimate, low, high = (f"{value:{sign}.3f}" for value in (interval.estimate, interval.low, interval.high))
    return f"{estimate} ({low} to {high})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--outputs", type=Path, default=Path("outputs/ingredients"))
    parser.add_argument("--jobs", type=int, default=2, help="recipes at a time, each in one thread")
    parser.add_argument("--folds", default="0,1,2,3,4")
    parser.add_argument("--only", nargs="*", help="numbers of the recipes; all where absent")
    parser.add_argument("--table", action="store_true", help="train nothing: the table of what has been trained")
    parser.add_argument("--smoke", action="store_true", help="two recipes, two folds, one epoch of the tiny data set")
    options = parser.parse_args()
    size: tuple[str, ...] = ("dataset.size=medium",)
    if options.smoke:
        size = ("dataset.size=tiny", "trainer.max_epochs=1")
        options.folds, options.only, options.outputs = "0,1", ["0", "2"], Path(tempfile.mkdtemp())
    recipes = [recipe for number, recipe in enumerate(RECIPES) if not options.only or str(number) in options.only]
    if not options.table:
        with ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(lambda recipe: train(recipe, options.outputs, options.folds, size), recipes))
    print(table(options.outputs, [r for r in recipes if (folder_of(r, options.outputs) / "seconds.json").exists()]))


if __name__ == "__main__":
    main()
