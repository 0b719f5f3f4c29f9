"""Train the stages of a job, one after another, and write what a run's folder holds."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from hbac.common.errors import UserError
from hbac.common.files import hash_of_file, write_json
from hbac.common.instantiate import build
from hbac.evaluation.scores import scores
from hbac.experiment.devices import is_first
from hbac.experiment.job import Job, make_task
from hbac.experiment.launched import command_of_job, place_in_sweep
from hbac.experiment.stages import Stage
from hbac.experiment.training_data import TrainingData, gather, make_data
from hbac.labels.lineage import TrainedOn, as_plain
from hbac.labels.recipe import PseudoLabels
from hbac.labels.targets import population_of, rows_of_split
from hbac.models.population_head import PopulationHead
from hbac.predictions import PredictionTable, TableMetadata
from hbac.runs.folder import (
    CONFIG_FILE,
    DONE_FILE,
    ENVIRONMENT_FILE,
    LOG_FILES,
    STAGE_FILE,
    TABLE_FILE,
    WEIGHTS_FILE,
    WEIGHTS_HASH,
    environment,
)
from hbac.runs.model import load_weights, save_model, save_weights
from hbac.runs.naming import config_hash
from hbac.tracking.loggers import RunFacts, find_run, git_state, never_fatal, run_id
from hbac.tracking.model_card import write_model_card
from hbac.tracking.results import log_model, log_results
from hbac.tracking.staged import staged
from hbac.training.callbacks import Predictions, PredictionTableWriter, make_callbacks
from hbac.training.checkpoints import CHECKPOINTS, WholeCheckpoints, last_checkpoint, restore
from hbac.training.slurm import slurm_plugins
from hbac.vocabulary import N_CLASSES

if TYPE_CHECKING:
    import lightning as L
    from omegaconf import DictConfig

    from hbac.labels.folds import FoldTable
    from hbac.recordings.datasets import Part
    from hbac.training import Classifier

log = logging.getLogger("hbac.train")


def fit(cfg: DictConfig, job: Job, part: Part, folds: FoldTable) -> float:
    """Train, keep the weights, write the out-of-fold table and metrics; return the KL of held-out rows that count."""
    folder = job.folder
    training_data = gather(cfg, job, part, folds)
    metadata = TableMetadata(
        member=job.member,
        config_hash=config_hash(job.config),
        fold_hash=folds.hash,
        data_fingerprint=part.fingerprint,
        n_folds=folds.n_folds,
        runs={cfg.fold: folder},
        extras={f"floor_{population}": str(kl) for population, kl in part.floor.items()},
    )
    hashes = {key: getattr(metadata, key) for key in ("member", "config_hash", "fold_hash", "data_fingerprint")}
    lineage = as_plain([TrainedOn(job.member, cfg.fold, folds.hash, job.dataset), *training_data.lineage])
    facts = RunFacts(
        f"{job.member.rpartition('-')[0]}-f{cfg.fold}",
        job.member,
        job.config | hashes,
        folder,
        run_id=run_id(hashes["config_hash"], cfg.fold) if cfg.resume else None,
    )

    first = is_first()
    if first:
        (folder / DONE_FILE).unlink(missing_ok=True)
        write_json(folder / CONFIG_FILE, job.config, sealed=True)
        write_json(folder / ENVIRONMENT_FILE, environment() | {"command": command_of_job(), **git_state()}, sealed=True)
    rows_trained = []
    with build(cfg.logger, "logger", cfg.allow).training(facts) as loggers:
        *earlier, last = job.stages
        for stage in earlier:
            rows_trained.append(train_before(stage, job, training_data, loggers))
            for pupil in job.stages:
                if pupil.teacher == stage.name:
                    training_data.pseudo[pupil.name] = predict_for(pupil, stage, job, training_data)
        task, data = make_task(last, job), make_data(last, job, training_data)
        table_writer = PredictionTableWriter(folder / TABLE_FILE, data.rows_held_out, cfg.fold, metadata)
        trainer = train_stage(last, job, task, data, loggers, table_writer)
        head = job.network if isinstance(job.network, PopulationHead) else None
        if first:
            save_model(
                folder,
                job.network,
                job.config["model"],
                job.config["front_end"],
                {"fold": cfg.fold, **hashes, "lineage": lineage, "population_head": head.population if head else None},
            )
        with interrupts():
            trainer.predict(task, data, return_predictions=False)
        if not first:
            return float("nan")
        rows_trained.append(data.rows_trained)
        write_model_card(folder, pd.concat(rows_trained).drop_duplicates(ignore_index=True))
        table = PredictionTable.read(folder / TABLE_FILE)
        found = scores(table.targets, table.probs, table.frame["n_votes"])
        score = {population: float(values.get("kl", "nan")) for population, values in found.items()}
        if (run := find_run(loggers)) is not None:
            with never_fatal():
                log_results(run, table, part, cfg.population, cfg.logger.worst_windows)
                if cfg.logger.models:
                    log_model(run, folder)
        # Before the loggers end, which may wait for a network: nothing of the run is missing any more.
        logs = {path.relative_to(folder).as_posix(): hash_of_file(path) for path in folder.glob(LOG_FILES)}
        content = {"kl": score, "scores": found, "epochs": trainer.current_epoch, "logs": logs}
        write_json(folder / DONE_FILE, content, sealed=True)
    counted = population_of(cfg.population)
    log.info("fold %d of %s: KL %.4f on %s, in %s", cfg.fold, job.member, score[counted.name], counted.rows, folder)
    return score[counted.name]


def train_stage(stage: Stage, job: Job, task: Classifier, data: Any, loggers: list[Any], *callbacks: Any) -> L.Trainer:
    """Train one stage, from its last checkpoint where there is one, and put the weights that it keeps into the network.

    `task` is around the run's network. The Trainer is returned as it is after the last epoch.
    """
    cfg = stage.cfg
    if not cfg.resume and is_first():
        shutil.rmtree(stage.folder / CHECKPOINTS, ignore_errors=True)
    start = last_checkpoint(stage.folder, cfg.export) if cfg.resume else None
    asked_for = [build(node, "callback", cfg.allow) for node in (cfg.get("callbacks") or {}).values()]
    trainer = make_trainer(
        stage,
        job,
        logger=loggers,
        callbacks=[
            *make_callbacks(
                stage.folder, stage.seed, task.monitor, cfg.ema, cfg.patience, place_in_sweep(), task.train_loss
            ),
            *asked_for,
            *callbacks,
        ],
        enable_progress_bar=False,  # `hbac.training.epoch_lines` has its own
        num_sanity_val_steps=0,
    )
    with interrupts():
        trainer.fit(task, data, ckpt_path=start, weights_only=True)
    if profile := trainer.profiler.summary():  # type: ignore[attr-defined]
        log.info("%s", profile)
    restore(task, stage.folder, cfg.export)
    return trainer


def make_trainer(stage: Stage, job: Job, **settings: Any) -> L.Trainer:
    """Make a stage's Trainer: one that writes whole checkpoints, and predicts with the weights that it is given.

    `settings` are further arguments of ``lightning.Trainer``.
    """
    # With `trainer.deterministic` PyTorch would also fill all memory that it takes, one operation more for each tensor;
    # nothing reads it before it is written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    trainer: L.Trainer = build(
        stage.cfg.trainer,
        "trainer",
        precision=job.precision,
        # Lightning looks here for checkpoints of its own, and would load one that an older version left in the run's
        # folder, or anyone in the current one.
        default_root_dir=str(stage.folder / CHECKPOINTS),
        enable_model_summary=False,
        use_distributed_sampler=False,  # `hbac.data.epoch` shares the rows out
        plugins=[WholeCheckpoints(), *slurm_plugins()],
        **settings,
    )
    return trainer


@contextmanager
def interrupts() -> Iterator[None]:
    """Let Ctrl-C and signals (`hbac.common.processes`) through a Trainer, of which Lightning makes an exit with 1."""
    try:
        yield
    except SystemExit as error:
        cause = error.__context__
        raise (cause if isinstance(cause, KeyboardInterrupt) else KeyboardInterrupt()) from None


def train_before(stage: Stage, job: Job, training_data: TrainingData, loggers: list[Any]) -> pd.DataFrame:
    """Train a stage that another one goes on from, and return the label rows that it was trained on.

    One that has been trained is only read. The job's network has the stage's weights in the end.
    """
    data = make_data(stage, job, training_data)
    trained = stage.cfg.resume and (stage.folder / WEIGHTS_FILE).is_file()
    if trained:
        try:
            load_weights(job.network, stage.folder)
        except UserError as error:
            log.warning("%s; stage %s is trained again", str(error).partition(";")[0], stage.name)
            trained = False
    if not trained:
        for name in (WEIGHTS_FILE, STAGE_FILE) if is_first() else ():
            (stage.folder / name).unlink(missing_ok=True)
        log.info("fold %d of %s: stage %s, on %d rows", stage.cfg.fold, job.member, stage.name, len(data.train_set))
        stage.folder.mkdir(parents=True, exist_ok=True)
        train_stage(stage, job, make_task(stage, job), data, staged(loggers, stage.name))
        if is_first():
            digest = save_weights(job.network, stage.folder)
            write_json(stage.folder / STAGE_FILE, {WEIGHTS_HASH: digest}, sealed=True)
    rows_trained: pd.DataFrame = data.rows_trained
    return rows_trained


def predict_for(pupil: Stage, teacher: Stage, job: Job, training_data: TrainingData) -> PseudoLabels:
    """Predict what a later stage learns from; never rows of the fold, nor with weights that saw its patients.

    The pupil says which rows it wants, of all that are outside the fold; the teacher's weights are in the network.
    """
    cfg, split = pupil.cfg, pupil.cfg.labels.pseudo_split
    part = training_data.part_of("test" if split == "test" else "train")
    wanted = np.isin(np.arange(len(part.rows)), rows_of_split(part.rows, split))
    if part is training_data.part:
        wanted &= training_data.folds.fold_of(part.rows["patient_id"]) != cfg.fold
    data = build(
        cfg.data,
        "data",
        cfg.allow,
        part=part,
        front_end=job.front_end,
        fold_of_row=np.where(wanted, 0, 1),
        fold=0,
        cache=Path(cfg.outputs) / "cache" if cfg.data.cache else None,
    )
    predicted = Predictions()
    silent = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar"), False)
    trainer = make_trainer(teacher, job, callbacks=[predicted], **silent)
    log.info(
        "fold %d of %s: stage %s predicts %d rows (%s)", cfg.fold, job.member, teacher.name, int(wanted.sum()), split
    )
    with interrupts():
        trainer.predict(make_task(teacher, job), data, return_predictions=False)
    prob_NK = np.full((len(wanted), N_CLASSES), np.nan)
    prob_NK[np.flatnonzero(wanted)[predicted.row]] = predicted.prob
    return PseudoLabels(part, prob_NK)
