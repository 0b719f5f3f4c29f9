"""``python -m hbac.infer``: predict with an ensemble; of a test part, write the submission."""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hbac.cli.launch import conf_dir, launch
from hbac.common.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from omegaconf import DictConfig

    from hbac.ensembling.ensemble_file import Ensemble
    from hbac.inference.networks import Networks
    from hbac.inference.on_ray import RayActors
    from hbac.predictions import TableMetadata

log = logging.getLogger("hbac.infer")

COMMAND = "hbac.infer"  # who its files are said to be of
_TIMED = 3  # batches of a dry run
_SHOWN = 5  # pages that are named


def main() -> None:
    """Run the command."""
    launch("hbac.infer:infer", "infer")


def infer(cfg: DictConfig) -> None:
    """Write prediction tables, and for a test part ``submission.csv``."""
    if cfg.recordings is not None:
        infer_recordings(cfg)
        return
    from hbac.common.choices import check_choice
    from hbac.common.instantiate import build

    logger = build(cfg.logger, "logger", cfg.allow)  # before all that is heavy, see `hbac.tracking.loggers`

    from hbac.cli.console import ensemble_table, next_command
    from hbac.common.commands import command_line, override, report_line, several
    from hbac.common.files import new_folder
    from hbac.common.outputs import check_free, replacing
    from hbac.data.windows import WindowDataset
    from hbac.ensembling.build import OOF_FILE
    from hbac.ensembling.collect import newest_ensemble
    from hbac.experiment.data_to_predict import dataset_to_predict, folds_of
    from hbac.experiment.launched import all_folds, named, typed
    from hbac.experiment.merge import kept_settings
    from hbac.inference.kept import forget, kept_folder
    from hbac.inference.loading import ensemble_of
    from hbac.inference.networks import RowChunks, members_of_runs, predict_runs
    from hbac.labels.targets import SPLITS, rows_of_split
    from hbac.predictions import PredictionTable, TableMetadata
    from hbac.predictions.pseudo import FOLDS
    from hbac.predictions.submission import write_submission
    from hbac.recordings.amplitudes import describe
    from hbac.runs.data_of_run import dataset_overrides
    from hbac.signal.tta import check_variants
    from hbac.tracking.loggers import RunFacts, never_fatal
    from hbac.vocabulary import PROB_COLUMNS, VOTE_COLUMNS

    split = check_choice("split", cfg.split, SPLITS)
    variants = check_variants(several(cfg.tta))
    out = Path(cfg.out)
    if out.suffix.lower() == ".csv" and split != "test":
        raise UserError(f"out={out}: split={split} writes tables and no submission; name a folder")
    # A submission that is named by its own path is all that is written there: its folder is the user's.
    alone = out.suffix.lower() == ".csv"
    folder, submission = (out.parent, out.name) if alone else (out, "submission.csv")
    name = "submission" if split == "test" else split
    last = submission if split == "test" else f"{name}_predictions.parquet"
    own_folders = () if alone else (FOLDS,)
    check_free(folder, COMMAND, {last} if alone else {last, f"{name}_predictions.parquet"}, own_folders)
    path = newest_ensemble(Path(cfg.outputs)) if cfg.ensemble is None else Path(str(cfg.ensemble))
    ensemble = ensemble_of(path)
    networks, cluster = _networks(cfg, ensemble)
    runs = [run for member in ensemble.members for run in member.runs]
    dataset = dataset_to_predict(cfg, runs)
    recordings = build(dataset, "dataset", cfg.allow)
    part = recordings.part("test" if split == "test" else "train", official="official" in networks.sources)
    members = rows_of_split(part.rows, split)
    windows = WindowDataset(part, networks.sources, members)
    read_from = f"{part.recordings.part} part of {part.recordings.root}"
    sys.stdout.write(f"data set:   {read_from} ({len(members):,} of {len(part.rows):,} rows, split={split})\n")
    if cfg.dry_run:
        dry_run(networks, windows, cfg.batch_size, variants)
        return
    read = part.fingerprint_of(networks.sources)
    kept = kept_folder(Path(cfg.outputs), networks, read, split, variants, cfg.batch_size)
    began = time.perf_counter()
    prob_RNK = predict_runs(RowChunks(networks, windows, cfg.batch_size, variants), kept, cluster)
    spent_s = time.perf_counter() - began
    if networks.windows:
        log.info(
            "%d windows in %.0f s: %.0f a second, %.0f %% of the time in the networks",
            networks.windows,
            spent_s,
            networks.windows / spent_s,
            100 * networks.clock.seconds / spent_s,
        )

    if text := describe(networks.looks):
        log.warning("%s", text)
    if not named("out"):
        folder = new_folder(out)  # of two commands in one second each gets its own
    rows = part.rows.iloc[members].reset_index(drop=True)
    metadata = TableMetadata(
        member="ensemble",
        fold_hash=ensemble.fold_hash,
        data_fingerprint=part.fingerprint,
        extras={"models": json.dumps(networks.described()), "split": split, "tta": ",".join(variants)},
    )
    prob_NK = ensemble.apply(members_of_runs(prob_RNK, networks.member))
    # Fold -1 also for training rows: these predictions are not out-of-fold, and no ensemble takes them for such.
    table = PredictionTable.from_arrays(rows, prob_NK, metadata)
    with replacing(folder, COMMAND, last, own_folders) as staged:
        if not alone:
            write_fold_tables(staged / FOLDS, rows, prob_RNK, networks, metadata)
            table.write(staged / f"{name}_predictions.parquet")
        if split == "test":
            votes = dict(zip(PROB_COLUMNS, VOTE_COLUMNS, strict=True))
            frame = table.frame[["eeg_id", *PROB_COLUMNS]].rename(columns=votes)
            write_submission(frame, staged / submission, rows["eeg_id"])
    forget(kept)
    described = path if path.is_dir() else path.parent
    where = Path(cfg.outputs) if alone else folder
    facts = RunFacts(f"infer-{split}", described.name, _facts(cfg, metadata), where, "infer")
    with never_fatal(), logger.single(facts) as run:
        if run is not None:
            run.summary.update({"windows": len(rows), "networks": len(networks.models), "seconds": spent_s})
    if split == "test" and (described / OOF_FILE).is_file():
        ensemble_table(described)
    kept_typed = kept_settings(typed())
    if split == "test":
        sys.stdout.write(f"submission: {folder / submission}\n")
        next_command(report_line(described, ensemble.population, *kept_typed))
    else:
        sys.stdout.write(
            f"tables:     {folder}  ({len(rows)} rows; folds/fold<k>.parquet: by the models that never saw fold k)\n"
        )
        n_folds, made_by = folds_of(runs[0], conf_dir())
        data = named("dataset")
        if not any(line.lstrip("+").startswith("dataset=") for line in data):
            data = dataset_overrides(dataset)
        again = [*data, *made_by, override("labels.pseudo", folder), *kept_typed]
        next_command(command_line("train", *again, flags=all_folds(n_folds)))


def infer_recordings(cfg: DictConfig) -> None:
    """Write for each recording a folder: its predictions, its events, and its page."""
    from omegaconf import OmegaConf

    from hbac.common.instantiate import build

    logger = build(cfg.logger, "logger", cfg.allow)  # as in `infer`

    from hbac.cli.console import next_command, recordings_table
    from hbac.common.commands import command_line, report_line, several
    from hbac.ensembling.collect import newest_ensemble
    from hbac.ensembling.operating_points import OPERATING_FILE
    from hbac.events.event_files import rule_of
    from hbac.experiment.launched import named, typed
    from hbac.experiment.merge import kept_settings
    from hbac.inference.along import Steps
    from hbac.inference.loading import ensemble_of
    from hbac.inference.recordings import Wish, find_recordings, infer_recordings, open_recordings
    from hbac.report.recording_folder import check_recording_folder, summarise, totals
    from hbac.signal.tta import check_variants
    from hbac.tracking.loggers import RunFacts, never_fatal

    if Path(str(cfg.out)).suffix.lower() == ".csv":
        raise UserError(f"out={cfg.out}: recordings= writes a folder for each and no submission; name a folder")
    if mixed := named("dataset", "split"):
        raise UserError(f"{mixed[0]}: recordings= stands in place of a data set; leave one of them away")
    wish = Wish(
        step_s=float(cfg.step_s),
        outside=cfg.outside,
        unit=cfg.unit,
        interpolate=cfg.interpolate,
        keep=tuple(several(cfg.keep)),
        batch_size=cfg.batch_size,
        variants=check_variants(several(cfg.tta)),
    )
    files = find_recordings(several(cfg.recordings))
    path = newest_ensemble(Path(cfg.outputs)) if cfg.ensemble is None else Path(str(cfg.ensemble))
    ensemble = ensemble_of(path)
    rule = rule_of(OmegaConf.to_container(cfg.events), path)  # type: ignore[arg-type]
    networks, cluster = _networks(cfg, ensemble)
    described = path if path.is_dir() else path.parent
    name = described.resolve().name
    out = Path(cfg.out) if named("out") else Path(cfg.outputs) / "recordings" / name
    for folder in files:
        check_recording_folder(out / folder)
    if cfg.dry_run:
        for stem, recording in open_recordings(files, networks, wish).items():
            n_windows = len(Steps.of(recording, wish.step_s).middle)
            sys.stdout.write(f"{stem}: {recording.duration_s:.0f} s, {n_windows:,} windows, {recording.name}\n")
        return
    began = time.perf_counter()
    folders = infer_recordings(files, ensemble, name, networks, out, Path(cfg.outputs), wish, cluster)
    summaries = [summarise(folder, recording if cfg.page else None, rule) for folder, recording in folders.items()]
    recordings_table(summaries)
    spent_s = time.perf_counter() - began
    # Without the files' names, which may be those of patients.
    settings = cast("dict[str, Any]", OmegaConf.to_container(cfg, resolve=True)) | {"recordings": len(files)}
    told = {key: value for key, value in settings.items() if key not in ("dataset", "split", "out")}
    with never_fatal(), logger.single(RunFacts("infer-recordings", name, told, out, "infer", typed=False)) as run:
        if run is not None:
            run.summary.update(totals(summaries) | {"networks": len(networks.models), "seconds": spent_s})
    sys.stdout.write(f"recordings: {out}  ({len(folders)} folder(s), each with predictions and events)\n")
    for summary in summaries[:_SHOWN]:
        if summary.page is not None:
            sys.stdout.write(f"page:       {summary.page}\n")
    if cfg.events.recall is None and (described / OPERATING_FILE).is_file():
        again = [line for line in typed() if not line.startswith("events.")]
        next_command(command_line("infer", *again, "events.recall=0.95"))
    else:
        next_command(report_line(described, ensemble.population, *kept_settings(typed())))


def _networks(cfg: DictConfig, ensemble: Ensemble) -> tuple[Networks, RayActors | None]:
    """Load the networks, here or for the machines that are to predict in place of this one."""
    from hbac.inference.networks import Networks, choose_place

    settings = {key: value for key, value in cfg.engine.items() if key != "name"}
    if cfg.engine.name == "local" or cfg.dry_run:
        return Networks.of(ensemble, cfg.device, cfg.precision, cfg.allow, cfg.population), None
    from hbac.inference.on_ray import RayActors

    cluster = RayActors(**settings)
    if cfg.engine.num_gpus:  # which this machine may not have: one that has says what is meant by auto
        device, precision = cluster.call(choose_place, cfg.device, cfg.precision)
    else:
        device, precision = choose_place("cpu" if cfg.device == "auto" else cfg.device, cfg.precision)
    networks = Networks.of(ensemble, "cpu", precision, cfg.allow, cfg.population)
    networks.elsewhere = device
    return networks, cluster


def _facts(cfg: DictConfig, metadata: TableMetadata) -> dict[str, Any]:
    """Return the settings and whose predictions they are, plain, for a logger."""
    from omegaconf import OmegaConf

    hashes = {"fold_hash": metadata.fold_hash, "data_fingerprint": metadata.data_fingerprint}
    return cast("dict[str, Any]", OmegaConf.to_container(cfg, resolve=True)) | hashes


def write_fold_tables(
    folder: Path, rows: pd.DataFrame, prob_RNK: np.ndarray, networks: Networks, metadata: TableMetadata
) -> None:
    """Write for each fold, as ``fold<k>.parquet``, what those models say that never saw it.

    Only these may serve as pseudo-labels when the fold is trained. They are plain means over the members, from (runs,
    rows, 6): the weights of the blend were fitted with all folds' labels.
    """
    from dataclasses import replace

    import numpy as np

    from hbac.predictions import PredictionTable

    for fold in np.unique(networks.folds):
        chosen = np.flatnonzero(networks.folds == fold)
        models = [networks.described()[r] for r in chosen]
        its_own = replace(metadata, extras={**metadata.extras, "models": json.dumps(models)})
        prob_NK = prob_RNK[chosen].mean(axis=0, dtype=np.float64)
        PredictionTable.from_arrays(rows, prob_NK, its_own).write(folder / f"fold{fold}.parquet")


def dry_run(networks: Networks, windows: object, batch_size: int, variants: tuple[str, ...]) -> None:
    """Time a few batches, their reading included, and say what the whole would take; write nothing."""
    import resource

    from torch.utils.data import DataLoader

    from hbac.data.windows import identity

    n_windows = len(windows)  # type: ignore[arg-type]
    if not n_windows:
        sys.stdout.write("windows:    0: nothing to predict\n")
        return
    seconds = []
    began = time.perf_counter()
    for number, batch in enumerate(DataLoader(windows, batch_size=batch_size, collate_fn=identity)):  # type: ignore[arg-type]
        networks.predict(batch, variants).cpu()
        seconds.append((time.perf_counter() - began) / len(batch["row"]))
        began = time.perf_counter()
        if number == _TIMED:
            break
    each_s = sum(seconds[1:] or seconds) / len(seconds[1:] or seconds)  # the first one warms up
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)
    sys.stdout.write(
        f"windows:    {n_windows:,}, each in {len(variants)} variant(s): {', '.join(variants)}\n"
        f"networks:   {len(networks.models)}, with {len(networks.groups)} front-end(s)\n"
        f"time:       {n_windows * each_s:.0f} s, {1 / each_s:.1f} windows/s\n"
        f"memory:     {peak_gb:.1f} GB\n"
    )


if __name__ == "__main__":
    main()
