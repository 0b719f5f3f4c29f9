"""What a run learns from: rows, folds, weights to begin with, pseudo-labels; none may know its validation patients."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hbac.cli.settings import blamed_on
from hbac.common.errors import UserError
from hbac.common.instantiate import build
from hbac.experiment.job import Job, weights_at_start
from hbac.experiment.stages import Stage, key_prefix
from hbac.labels.folds import fold_table
from hbac.labels.leaks import Audit, check_apart
from hbac.labels.lineage import check_unseen, lineage_of
from hbac.labels.targets import count_votes, population_of
from hbac.predictions.pseudo import read_pseudo
from hbac.predictions.rater_votes import read_opinions
from hbac.runs.folder import read_facts
from hbac.runs.model import load_weights

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from hbac.labels.folds import FoldTable
    from hbac.labels.lineage import TrainedOn
    from hbac.labels.recipe import PseudoLabels
    from hbac.recordings.datasets import Part

log = logging.getLogger("hbac.train")


def fold_table_of(part: Part, cfg: DictConfig) -> FoldTable:
    """Return the one fold table of a data set, made on first use and kept in ``outputs/folds`` by fingerprint."""
    name = f"{part.fingerprint[:12]}-{cfg.labels.n_folds}folds-seed{cfg.labels.seed}.csv"
    return fold_table(part.rows, Path(cfg.outputs) / "folds" / name, cfg.labels.n_folds, cfg.labels.seed)


def require_counted(part: Part, folds: FoldTable, fold: int, population: str) -> None:
    """Refuse a fold that has no rows of the population by which it would be scored and its epochs chosen.

    A `UserError` names the fold, how many rows it has, and what would do.
    """
    held_out = folds.fold_of(part.rows["patient_id"]) == fold
    group = population_of(population)
    if held_out.any() and not group.contains(count_votes(part.rows))[held_out].any():
        raise UserError(
            f"population={population}: of the {held_out.sum()} rows of fold {fold} none is among the {group.rows}, "
            "by which the run would be scored and its epochs chosen; set population=all"
        )


@dataclass(frozen=True)
class TrainingData:
    """Where a fold's rows come from."""

    part: Part
    folds: FoldTable
    pseudo: dict[str, PseudoLabels]  # by the stage that learns from them
    opinions: dict[str, np.ndarray]  # (n_rows, 6) votes, by the stage that learns from them
    lineage: list[TrainedOn]  # the runs that went into what this one begins with and learns from
    part_of: Callable[[str], Part]  # the data set's part of a name


def gather(cfg: DictConfig, job: Job, part: Part, folds: FoldTable) -> TrainingData:
    """Read what else a run learns from, and refuse what knows its validation patients.

    The job's network gets the weights that it begins with. A `UserError` for a leak, or for files that do not fit.
    """

    def part_of(name: str) -> Part:
        wanted: Part = (
            part
            if name == "train"
            else build(cfg.dataset, "dataset", cfg.allow).part(name, official="official" in job.front_end.sources)
        )
        return wanted

    lineage = []
    if job.start is not None:
        lineage = lineage_of(read_facts(job.start))
        check_unseen(f"init_from={job.start}", lineage, cfg.fold, folds.hash, job.dataset)
        load_weights(job.network, job.start)
        log.info("fold %d of %s starts from the weights of %s", cfg.fold, job.member, job.start)
    elif (start := weights_at_start(job.config["model"])) is not None:
        log.info("fold %d of %s starts from %s", cfg.fold, job.member, start)
    pseudo, opinions = {}, {}
    is_trained = folds.fold_of(part.rows["patient_id"]) != cfg.fold
    for stage in job.stages:
        if (said := stage.cfg.labels.opinions) is not None:
            opinions[stage.name] = read_opinions(Path(str(said)), part.rows)
            on_rows = opinions[stage.name].any(axis=1)
            log.info("labels.opinions=%s: on %d rows, %d of them to train on", said, on_rows.sum(),
                     (on_rows & is_trained).sum())  # fmt: skip
        if stage.cfg.labels.pseudo is not None and not stage.teacher:
            path = Path(str(stage.cfg.labels.pseudo))
            pseudo[stage.name], learned_from = read_pseudo(path, cfg.fold, folds.hash, job.dataset, part_of)
            lineage += learned_from
        elif stage.teacher and stage.cfg.labels.pseudo_split == "test":
            part_of("test")  # its problems are said now, not after the first stage
    if lineage:
        n_runs = len(set(lineage))
        log.info("leak audit: 0 of %d runs behind its weights and pseudo-labels that saw fold %d", n_runs, cfg.fold)
    return TrainingData(part, folds, pseudo, opinions, lineage, part_of)


def make_data(stage: Stage, job: Job, training_data: TrainingData) -> Any:
    """Make a stage's data module, with rows to train on and rows that are held out.

    A `UserError` when there are none, or one is learned from whose patient is validated on.
    """
    cfg, pseudo = stage.cfg, training_data.pseudo.get(stage.name)
    with blamed_on("data"):
        data = build(
            cfg.data,
            "data",
            cfg.allow,
            part=training_data.part,
            front_end=job.front_end,
            fold_of_row=training_data.folds.fold_of(training_data.part.rows["patient_id"]),
            fold=cfg.fold,
            labels=stage.labels,
            pseudo=pseudo,
            opinions=training_data.opinions.get(stage.name),
            augment={name: build(node, "augment", cfg.allow) for name, node in cfg.augment.items() if node is not None},
            seed=stage.seed,
            cache=Path(cfg.outputs) / "cache" if cfg.data.cache else None,
        )
    if len(data.train_set) < job.n_devices or not len(data.held_out_set):
        prefix = key_prefix(stage.name)
        raise UserError(
            f"fold {cfg.fold}: {len(data.train_set)} rows to train on and {len(data.held_out_set)} to validate on; "
            f"widen {prefix}labels.min_votes={cfg.labels.min_votes} and {prefix}labels.max_votes={cfg.labels.max_votes}"
        )
    learned_from, where = [data.rows_trained], f"fold {cfg.fold}"
    if pseudo is not None and pseudo.part is not training_data.part:
        learned_from.append(pseudo.part.rows)
        where += f", labels.pseudo of the {pseudo.part.recordings.part} part"
    Audit(tuple(check_apart(pd.concat(learned_from), data.rows_held_out))).require_none(where)
    return data
