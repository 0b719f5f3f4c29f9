"""What the commands print: progress while they work, one table at the end, the next command to type."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Column, Table

from hbac.common.outputs import is_as_written
from hbac.ensembling.build import OOF_FILE, SUMMARY_FILE
from hbac.ensembling.collect import find_tables
from hbac.ensembling.ensemble_file import ENSEMBLE_FILE, Ensemble
from hbac.ensembling.summary import settings_of
from hbac.evaluation.metric import kl_by_population
from hbac.labels.targets import counted_first, population_of
from hbac.predictions import PredictionTable
from hbac.runs.folder import TABLE_FILE
from hbac.vocabulary import CLASSES, CONSENSUS_NAMES, N_CLASSES

if TYPE_CHECKING:
    from hbac.labels.folds import FoldTable
    from hbac.recordings.datasets import Part
    from hbac.report.recording_folder import Summary

log = logging.getLogger("hbac")

UNIFORM = "uniform prediction"
_MAX_SETTINGS = 4  # columns of what was swept; the table has to fit a terminal


def show(table: Table) -> None:
    """Print a table on standard output, as wide as it needs where nobody's terminal limits it."""
    Console(width=None if sys.stdout.isatty() else 140, markup=False, emoji=False).print(table)


def next_command(line: str) -> None:
    """Print what may be typed next, as the last line of the output."""
    sys.stdout.write(f"next:       {line}\n")


def run_table(folder: Path, population: str, floor: Mapping[str, float]) -> None:
    """Print the scores of one fold, the population's first, between the uniform prediction and the known floor."""
    held_out = PredictionTable.read(folder / TABLE_FILE)
    n_votes = held_out.frame["n_votes"]
    rows = {
        UNIFORM: kl_by_population(held_out.targets, np.full(held_out.targets.shape, 1 / N_CLASSES), n_votes),
        held_out.metadata.member: kl_by_population(held_out.targets, held_out.probs, n_votes),
    }
    if floor:
        rows["Bayes floor (perfect predictor, all folds)"] = dict(floor)
    title = f"Fold {held_out.folds[0]}: {len(held_out.frame):,} rows held out"
    shown = counted_first(population)
    table = Table(_name("run"), *(f"KL {group.title}" for group in shown.values()), title=title)
    table.title_justify, table.title_style = "left", "bold"
    for name, kl in rows.items():
        style = "bold" if name == held_out.metadata.member else None
        table.add_row(name, *(_number(float(kl[group])) for group in shown), style=style)
    counted = next(iter(shown))
    own = {held_out.metadata.member: float(rows[held_out.metadata.member][counted])}
    _say_what_has_not_learnt(table, own, float(rows[UNIFORM][counted]))
    show(table)
    sys.stdout.write(f"run:        {folder}\n")


def part_table(parts: Mapping[str, Part], folds: FoldTable | None) -> None:
    """Print what ``hbac.prepare`` found: parts by name, and the folds of the training part."""
    table = Table("part", "label rows", "EEGs", "patients", "store", "fingerprint")
    for name, part in parts.items():
        counts = [len(part.rows), part.rows["eeg_id"].nunique(), part.rows["patient_id"].nunique()]
        table.add_row(name, *(f"{n:,}" for n in counts), str(part.eeg.folder), part.fingerprint[:12])
    show(table)
    if folds is not None:
        sys.stdout.write(f"{folds.n_folds} folds by patient, hash {folds.hash[:12]}\n")


def recordings_table(summaries: Sequence[Summary]) -> None:
    """Print how long each class lasts in recordings, and how many events of it there are."""
    names = dict(zip(CLASSES, CONSENSUS_NAMES, strict=True))
    title = "Hours of each class, and its events"
    table = Table("recording", "hours", *(Column(name, justify="right") for name in names.values()), title=title)
    table.title_justify, table.title_style = "left", "bold"
    for one in summaries:
        counts = one.events["class"].value_counts()
        lasting = dict(zip(CLASSES, one.hours["likeliest"].tolist(), strict=True))
        cells = [f"{lasting[key]:.2f}" + (f"  {counts.get(key, 0)}" if key != "other" else "") for key in names]
        table.add_row(one.name, f"{one.duration_s / 3600:.2f}", *cells)
    show(table)


def ensemble_table(folder: Path) -> None:
    """Print an ensemble's out-of-fold scores between the uniform prediction and the floor."""
    ensemble = Ensemble.read(folder)
    oof = PredictionTable.read(folder / OOF_FILE)
    if not is_as_written(folder / SUMMARY_FILE):
        log.warning("%s: damaged, or edited: its scores are not shown", folder / SUMMARY_FILE)
        return
    summary = pd.read_csv(folder / SUMMARY_FILE).sort_values("kind", ascending=False, kind="stable")
    known = PredictionTable.read(find_tables(folder / ENSEMBLE_FILE)[0]).metadata.extras
    counted, groups = population_of(ensemble.population), counted_first(ensemble.population)
    after = summary["kl_calibrated"].notna().any() if "kl_calibrated" in summary else False
    chance = kl_by_population(oof.targets, np.full(oof.targets.shape, 1 / N_CLASSES), oof.frame["n_votes"])

    swept = settings_of(summary)
    shown = swept[:_MAX_SETTINGS]
    columns: list[Column | str] = [
        _name("member"),
        *shown,
        "folds",
        f"KL {counted.title}",
        "95 % interval",
        *(["calibrated"] if after else []),
        *(f"KL {group.title}" for group in groups.values() if group is not counted),
    ]
    title = f"Out-of-fold scores; ranked, fitted and calibrated on {counted.rows}"
    table = Table(*columns, title=title, title_justify="left", title_style="bold")
    blank = [""] * (1 + len(shown))

    def scores(kl: Mapping[str, float], interval: str = "", calibrated: float = math.nan) -> list[str]:
        first, *others = (_number(float(kl[name])) for name in groups)
        return [first, interval, *([_number(calibrated)] if after else []), *others]

    table.add_row(UNIFORM, *blank, *scores(chance))
    for row in summary.to_dict("records"):
        low, high = (row[f"kl_{counted.name}_{end}"] for end in ("low", "high"))
        found = scores(
            {name: row[f"kl_{name}"] for name in groups}, f"{low:.4f} to {high:.4f}", row.get("kl_calibrated", math.nan)
        )
        bold = "bold" if row["kind"] == "ensemble" else None
        table.add_row(str(row["name"]), *(_text(row[name]) for name in shown), str(row["folds"]), *found, style=bold)
    own = dict(zip(summary["name"].astype(str), summary[f"kl_{counted.name}"], strict=True))
    _say_what_has_not_learnt(table, own, float(chance[counted.name]))
    if "floor_all" in known:
        floor = {name: float(known[f"floor_{name}"]) for name in groups}
        table.add_row("Bayes floor (perfect predictor)", *blank, *scores(floor))
    show(table)
    if len(swept) > len(shown):
        sys.stdout.write(f"members also differ in {', '.join(swept[len(shown) :])}: see {folder / SUMMARY_FILE}\n")
    gap = ensemble.nested.estimate - ensemble.in_sample.estimate
    sys.stdout.write(f"ensemble:   {folder / ENSEMBLE_FILE}  ({ensemble.method}, nested by fold, over-fit {gap:.4f})\n")


def _name(title: str) -> Column:
    """Return a column of names, which are folded where the terminal is narrow: one cut short cannot be found again."""
    return Column(title, overflow="fold")


def _say_what_has_not_learnt(table: Table, scores: Mapping[str, float], uniform: float) -> None:
    """Say below a table whose score is worse than no knowledge at all, or the program would be taken for broken."""
    worse = [name for name, kl in scores.items() if kl > uniform]
    if worse:
        which = "this run has" if len(scores) == 1 else f"{len(worse)} of {len(scores)} have"
        table.caption = f"KL above the uniform prediction's: {which} learnt nothing yet; it takes more epochs or rows"
        table.caption_justify = "left"


def _text(value: object) -> str:
    """Show a setting as ``summary.csv`` has it; the ensemble has none."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}"
    return str(value)


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4f}"
