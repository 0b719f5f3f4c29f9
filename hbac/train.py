"""``python -m hbac.train``: train one fold, or with ``-m`` sweep over folds, bands, kernels, anything.

One job trains one fold of one member into its run folder. At the end of a sweep a Hydra callback
(`hbac.ensembling.callback`) merges the folds and writes the ensemble.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hbac.cli import launch
from hbac.errors import UserError

if TYPE_CHECKING:
    import lightning as L
    from omegaconf import DictConfig

    from hbac.labels.folds import FoldTable
    from hbac.labels.recipe import LabelRecipe
    from hbac.recordings.datasets import Part

log = logging.getLogger("hbac.train")


def main() -> None:
    """Run the command."""
    launch("hbac.train:train", "train")


def train(cfg: DictConfig) -> float:
    """Train one fold and write its run folder.

    A finished run is left as it is, an interrupted one goes on from its last epoch, unless ``resume=false``.

    Parameters
    ----------
    cfg : DictConfig
        The composed config of ``conf/train.yaml``.

    Returns
    -------
    float
        The KL divergence of the fold's held-out rows, which a sweeper may minimise.

    Raises
    ------
    UserError
        When the config or the data set is wrong, or another process is training this very run.
    """
    from filelock import FileLock, Timeout

    from hbac.instantiate import build
    from hbac.runs import DONE_FILE, read_json

    job = make_job(cfg)
    # Settings first, files second: what is wrong with the former is said before a data set is read or made.
    part = build(cfg.dataset).part("train", official="official" in job.front_end.sources)
    folds = fold_table_of(part, cfg)
    job.folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(job.folder / ".lock", timeout=0):
            register_job(job.folder)
            if cfg.resume and (job.folder / DONE_FILE).is_file():
                score = float(read_json(job.folder / DONE_FILE)["kl"]["all"])
                log.info(
                    "fold %d of %s is there already: KL %.4f (resume=false trains it anew)", cfg.fold, job.member, score
                )
                return score
            return fit(cfg, job, part, folds)
    except Timeout:
        raise UserError(
            f"{job.folder}: another process is training this run; wait for it, or change the seed"
        ) from None


@dataclass
class Job:
    """What a config alone decides, before any recording is read.

    Parameters
    ----------
    config : dict
        The resolved config as plain containers; its ``model`` has all arguments that the network was made with.
    member : str
        Name of the config without its fold.
    folder : Path
        Where the run is written.
    front_end : torch.nn.Module
        From raw windows to the network's input.
    network : torch.nn.Module
        From there to logits (batch, 6); freshly initialised from the seed.
    precision : str
        Of Lightning's Trainer.
    labels : LabelRecipe
        Which rows are trained on, and toward what.
    """

    config: dict[str, Any]
    member: str
    folder: Path
    front_end: Any
    network: Any
    precision: str
    labels: LabelRecipe


def make_job(cfg: DictConfig) -> Job:
    """Check the settings and make all that needs nothing else.

    Parameters
    ----------
    cfg : DictConfig
        The composed config of ``conf/train.yaml``.

    Returns
    -------
    Job
        Front-end and network with the run's name and folder.

    Raises
    ------
    UserError
        When a setting is wrong.
    """
    import lightning as L
    from omegaconf import OmegaConf

    from hbac.data.base import check_cache
    from hbac.instantiate import build
    from hbac.labels.recipe import LabelRecipe
    from hbac.runs import member_name
    from hbac.signal.choices import check_choice
    from hbac.tracking.loggers import MODES
    from hbac.training.callbacks import EXPORTS
    from hbac.training.precision import choose_precision
    from hbac.training.quiet import quiet

    quiet()
    check_fold(cfg.fold, cfg.labels.n_folds)
    check_choice("export", cfg.export, EXPORTS)
    check_choice("logger.mode", cfg.logger.get("mode", MODES[0]), MODES)
    recipe = LabelRecipe.from_config(cfg.labels)
    if cfg.data.cache:
        check_cache([stage for stage, node in cfg.augment.items() if node is not None], recipe.jitter_s)
    config = cast("dict[str, Any]", OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True))
    member = member_name(config)
    front_end = build(cfg.front_end)
    check_montage(cfg.montage, config["front_end"])
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    config["model"] |= front_end.network_arguments()
    return Job(
        config=config,
        member=member,
        folder=Path(cfg.outputs) / "runs" / member / f"fold{cfg.fold}",
        front_end=front_end,
        network=build(config["model"]),
        precision=choose_precision(cfg.trainer.precision, cfg.trainer.accelerator),
        labels=recipe,
    )


def weights_at_start(model: Mapping[str, Any]) -> str | None:
    """Say which weights a network begins with, where there is a choice.

    Parameters
    ----------
    model : mapping
        The network's config.

    Returns
    -------
    str or None
        None for networks that are never pretrained.
    """
    if "pretrained" not in model:
        return None
    if model.get("pretrained_file") is not None:
        return f"the weights in {model['pretrained_file']}"
    return f"timm's pretrained weights of {model['backbone']}" if model["pretrained"] else "random weights"


def check_fold(fold: Any, n_folds: int) -> None:
    """Refuse a fold that there is not.

    Parameters
    ----------
    fold : int
        As the user gave it.
    n_folds : int
        How many folds there are.

    Raises
    ------
    UserError
        Unless `fold` is a whole number in 0 … n_folds - 1.
    """
    if not isinstance(fold, int) or isinstance(fold, bool) or not 0 <= fold < n_folds:
        valid = ", ".join(map(str, range(n_folds)))
        raise UserError(f"fold={fold}: there is no such fold; labels.n_folds={n_folds} makes the folds {valid}")


def check_montage(montage: str, front_end: Mapping[str, Any]) -> None:
    """Refuse a montage that the user asked for and the front-end does not see.

    Parameters
    ----------
    montage : str
        The setting ``montage``.
    front_end : mapping
        The front-end's resolved config.

    Raises
    ------
    UserError
        When ``montage=…`` was typed for images, which have a montage each.
    """
    from hydra.core.hydra_config import HydraConfig

    typed = HydraConfig.get().overrides.task if HydraConfig.initialized() else []
    if "montage" in front_end or not any(override.startswith("montage=") for override in typed):
        return
    names = ", ".join(f"front_end.image.{name}.montage={montage}" for name in front_end.get("image") or {})
    raise UserError(f"montage={montage}: images have a montage each; {names or 'official spectrograms have none'}")


def fold_table_of(part: Part, cfg: DictConfig) -> FoldTable:
    """Return the one fold table of a data set, made on first use.

    Parameters
    ----------
    part : Part
        The training part.
    cfg : DictConfig
        With ``outputs``, ``labels.n_folds`` and ``labels.seed``.

    Returns
    -------
    FoldTable
        Kept in ``outputs/folds/``, named after the data set's fingerprint.
    """
    from hbac.labels.folds import fold_table

    name = f"{part.fingerprint[:12]}-{cfg.labels.n_folds}folds-seed{cfg.labels.seed}.csv"
    return fold_table(part.rows, Path(cfg.outputs) / "folds" / name, cfg.labels.n_folds, cfg.labels.seed)


def register_job(folder: Path) -> None:
    """Tell the sweep which run this job is, so that the folds can be merged whatever launcher ran them.

    Parameters
    ----------
    folder : Path
        The run's folder.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from hbac.ensembling.collect import JOBS
    from hbac.runs import write_json

    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        jobs = Path(HydraConfig.get().sweep.dir) / JOBS
        jobs.mkdir(parents=True, exist_ok=True)
        number = HydraConfig.get().job.num
        write_json(jobs / f"{number:05d}.json", {"run": os.path.relpath(folder, jobs.parent)})


def fit(cfg: DictConfig, job: Job, part: Part, folds: FoldTable) -> float:
    """Train, keep the weights, write the out-of-fold table and the metrics.

    Parameters
    ----------
    cfg : DictConfig
        The composed config.
    job : Job
        What it describes.
    part : Part
        The training part of the data set.
    folds : FoldTable
        Its folds.

    Returns
    -------
    float
        KL divergence of the held-out rows.
    """
    from hbac.instantiate import build
    from hbac.predictions import PredictionTable, TableMetadata, kl_by_population
    from hbac.runs import CONFIG_FILE, DONE_FILE, TABLE_FILE, config_hash, environment, save_model, write_json
    from hbac.tracking.loggers import RunFacts, closing
    from hbac.tracking.model_card import write_model_card
    from hbac.training.callbacks import PredictionTableWriter, last_checkpoint, make_callbacks, on_terminal, restore

    folder = job.folder
    if (start := weights_at_start(job.config["model"])) is not None:
        log.info("fold %d of %s starts from %s", cfg.fold, job.member, start)
    data = build(
        cfg.data,
        part=part,
        front_end=job.front_end,
        fold_of_row=folds.fold_of(part.rows["patient_id"]),
        fold=cfg.fold,
        labels=job.labels,
        augment={name: build(node) for name, node in cfg.augment.items() if node is not None},
        seed=cfg.seed,
        cache=Path(cfg.outputs) / "cache" if cfg.data.cache else None,
    )
    if not len(data.train_set) or not len(data.held_out_set):
        raise UserError(
            f"fold {cfg.fold}: {len(data.train_set)} rows to train on and {len(data.held_out_set)} to validate on; "
            f"widen labels.min_votes={cfg.labels.min_votes} and labels.max_votes={cfg.labels.max_votes}"
        )
    task = build(cfg.task, network=job.network, optimizer=build(cfg.optimizer), schedule=build(cfg.schedule))
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
    facts = RunFacts(f"{job.member.rpartition('-')[0]}-f{cfg.fold}", job.member, job.config | hashes, folder)

    (folder / DONE_FILE).unlink(missing_ok=True)
    write_json(folder / CONFIG_FILE, job.config)
    write_json(folder / "environment.json", environment())
    with closing(build(cfg.logger, facts=facts)) as loggers:
        table_writer = PredictionTableWriter(folder / TABLE_FILE, data.rows_held_out, cfg.fold, metadata)
        trainer: L.Trainer = build(
            cfg.trainer,
            logger=loggers,
            callbacks=[*make_callbacks(folder, cfg.seed, cfg.ema, cfg.patience), table_writer],
            precision=job.precision,
            default_root_dir=str(folder),
            enable_model_summary=False,
            enable_progress_bar=on_terminal(),
            num_sanity_val_steps=0,
        )
        try:
            resumed = last_checkpoint(folder) if cfg.resume else None
            trainer.fit(task, data, ckpt_path=resumed, weights_only=True)
        except SystemExit:  # what Lightning makes of Ctrl-C
            raise KeyboardInterrupt from None
        restore(task, folder, cfg.export)
        save_model(folder, job.network, job.config["model"], job.config["front_end"], {"fold": cfg.fold, **hashes})
        trainer.predict(task, data, return_predictions=False)
        write_model_card(folder, data.rows_trained)
        table = PredictionTable.read(folder / TABLE_FILE)
        score = kl_by_population(table.targets, table.probs, table.frame["n_votes"])
        write_json(folder / DONE_FILE, {"kl": score, "epochs": trainer.current_epoch})
    log.info("fold %d of %s: KL %.4f, in %s", cfg.fold, job.member, score["all"], folder)
    return score["all"]


if __name__ == "__main__":
    main()
