"""What each ingredient of the training recipe is worth: a plain recipe, and the same with one thing changed.

    python benchmarks/ingredients.py --outputs outputs/ingredients --jobs 2

Every fold of every recipe is trained on the simulated medium data set by the command that a user would type, in one
thread, `--jobs` of them at a time, on a GPU where there is one; what is there already is not trained again. Then
follows a table in Markdown: out-of-fold KL on the rows with 10 or more votes, with up to 7 votes and on all, each with
its 95 % interval over patients; the paired difference to the plain recipe (below 0: better); and the processor time.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

from hbac.ensembling.collect import collect
from hbac.evaluation.bootstrap import Interval, bootstrap_interval, paired_bootstrap
from hbac.evaluation.metric import kl_rows
from hbac.labels.targets import POPULATIONS
from hbac.predictions import PredictionTable

DATA = ("data.batch_size=64", "data.cache=true")
PLAIN = ("model=resnet_gru", *DATA, "trainer.max_epochs=8")
TWO_STAGES = (
    "experiment=two_stage",
    *DATA,
    "stages.all_rows.trainer.max_epochs=6",
    "trainer.max_epochs=3",
)
HEAD = "task.population_head=true"
# What a user types; the first is what the others are compared with.
RECIPES: dict[str, tuple[str, ...]] = {
    "plain: all rows alike, one stage of 8 epochs": PLAIN,
    "`task.population_head=true`": (*PLAIN, HEAD),
    "`labels.weight=log_votes`": (*PLAIN, "labels.weight=log_votes"),
    "`labels.min_votes=10`": (*PLAIN, "labels.min_votes=10"),
    "two stages: 6 epochs on all rows, 3 on those with 10 or more votes": TWO_STAGES,
    "two stages and `task.population_head=true`": (*TWO_STAGES, HEAD),
    "`experiment=strong`": ("experiment=strong", *DATA),
    "`experiment=public_resnet_gru`": ("experiment=public_resnet_gru",),
}


def train(recipe: str, fold: int, outputs: Path, size: tuple[str, ...]) -> None:
    """Train a fold of a recipe in one thread; note its run and the processor time that it took."""
    note = folder_of(recipe, outputs) / f"fold{fold}.json"
    if note.exists():
        return
    command = [sys.executable, "-m", "hbac.train", *RECIPES[recipe], *size, "logger=csv", f"outputs={outputs}",
               f"fold={fold}"]  # fmt: skip
    note.parent.mkdir(parents=True, exist_ok=True)
    output = note.with_suffix(".txt")
    with output.open("w") as file:
        process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=file, stderr=file)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{recipe}: training failed:\n{output.read_text()[-2000:]}")
    [run] = re.findall(r"^run: +(.*)$", output.read_text(), re.MULTILINE)
    note.write_text(json.dumps({"run": run, "seconds": usage.ru_utime + usage.ru_stime}))


def notes(recipe: str, outputs: Path, folds: list[int]) -> list[dict[str, Any]]:
    """Return what is known of these folds of a recipe."""
    files = [folder_of(recipe, outputs) / f"fold{fold}.json" for fold in folds]
    return [json.loads(file.read_text()) for file in files if file.exists()]


def folder_of(recipe: str, outputs: Path) -> Path:
    """Return the folder of what is known of a recipe."""
    return outputs / "ingredients" / f"{list(RECIPES).index(recipe):02d}"


def table(outputs: Path, recipes: list[str], folds: list[int]) -> str:
    """Compare the recipes that have been trained."""
    tables: dict[str, PredictionTable] = {
        r: next(iter(collect([note["run"] for note in notes(r, outputs, folds)]))) for r in recipes
    }
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
        seconds = sum(note["seconds"] for note in notes(recipe, outputs, folds))
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
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time, each in one thread")
    parser.add_argument("--folds", default="0,1,2,3,4")
    parser.add_argument("--only", nargs="*", help="numbers of the recipes; all where absent")
    parser.add_argument("--table", action="store_true", help="train nothing: the table of what has been trained")
    parser.add_argument("--smoke", action="store_true", help="two recipes, two folds, one epoch of the tiny data set")
    options = parser.parse_args()
    size: tuple[str, ...] = ("dataset.size=medium",)
    if options.smoke:
        size = ("dataset.size=tiny", "trainer.max_epochs=1")
        options.folds, options.only, options.outputs = "0,1", ["0", "5"], Path(tempfile.mkdtemp())
    recipes = [recipe for number, recipe in enumerate(RECIPES) if not options.only or str(number) in options.only]
    folds = [int(fold) for fold in options.folds.split(",")]
    if not options.table:
        prepare = [
            sys.executable,
            "-m",
            "hbac.prepare",
            f"outputs={options.outputs}",
            f"n_jobs={options.jobs}",
            size[0],
        ]
        subprocess.run(prepare, check=True, stdout=subprocess.DEVNULL)
        jobs = [(recipe, fold) for recipe in recipes for fold in folds]
        with ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(lambda job: train(*job, options.outputs, size), jobs))
    known = [recipe for recipe in recipes if len(notes(recipe, options.outputs, folds)) == len(folds)]
    print(table(options.outputs, known, folds))


if __name__ == "__main__":
    main()
