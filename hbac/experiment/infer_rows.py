"""``python -m hbac.infer``: prediction tables of rows of a data set; of a test part, the submission."""

from __future__ import annotations

import json
import logging
import resource
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from omegaconf import OmegaConf
from torch.utils.data import DataLoader

from hbac.cli.console import ensemble_table, next_command
from hbac.cli.launch import conf_dir
from hbac.common.choices import check_choice
from hbac.common.commands import command_line, override, several
from hbac.common.errors import UserError
from hbac.common.files import new_folder
from hbac.common.instantiate import build
from hbac.common.outputs import check_free, replacing
from hbac.data.windows import WindowDataset, identity
from hbac.ensembling.build import OOF_FILE
from hbac.experiment.data_to_predict import dataset_to_predict, folds_of
from hbac.experiment.launched import all_folds, named, typed
from hbac.experiment.merge import kept_settings
from hbac.experiment.predictor import Predictor, chosen_ensemble
from hbac.inference.kept import forget, kept_folder
from hbac.inference.networks import Networks, RowChunks, members_of_runs, predict_runs
from hbac.labels.targets import SPLITS, rows_of_split
from hbac.predictions import PredictionTable, TableMetadata
from hbac.predictions.pseudo import FOLDS
from hbac.predictions.submission import write_submission
from hbac.recordings.amplitudes import describe
from hbac.runs.data_of_run import dataset_overrides
from hbac.signal.tta import check_variants
from hbac.tracking.loggers import Loggers, RunFacts
from hbac.vocabulary import PROB_COLUMNS, VOTE_COLUMNS

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger("hbac.infer")

COMMAND = "hbac.infer"  # who its files are said to be of
_TIMED = 3  # batches of a dry run


def infer_rows(cfg: DictConfig, logger: Loggers) -> None:
    """Predict a split of a data set, and write what is made of it."""
    split, variants = check_choice("split", cfg.split, SPLITS), check_variants(several(cfg.tta))
    target = _Target.of(Path(cfg.out), split)
    predictor = Predictor.of(cfg, chosen_ensemble(cfg))
    networks = predictor.networks
    runs = [run for member in predictor.ensemble.members for run in member.runs]
    dataset = dataset_to_predict(cfg, runs)
    official = "official" in networks.sources
    part = build(dataset, "dataset", cfg.allow).part("test" if split == "test" else "train", official=official)
    windows = WindowDataset(part, networks.sources, rows_of_split(part.rows, split))
    read_from = f"{part.recordings.part} part of {part.recordings.root}"
    sys.stdout.write(f"data set:   {read_from} ({len(windows):,} of {len(part.rows):,} rows, split={split})\n")
    if cfg.dry_run:
        dry_run(networks, windows, cfg.batch_size, variants)
        return
    read = part.fingerprint_of(networks.sources)
    kept = kept_folder(Path(cfg.outputs), networks, read, split, variants, cfg.batch_size)
    began = time.perf_counter()
    prob_RNK = predict_runs(RowChunks(networks, windows, cfg.batch_size, variants), kept, predictor.cluster)
    spent_s = time.perf_counter() - began
    _say_what_was_seen(networks, spent_s)
    if not named("out"):
        target = replace(target, folder=new_folder(target.folder))  # of two commands in one second each gets its own
    hashes = {"fold_hash": predictor.ensemble.fold_hash, "data_fingerprint": part.fingerprint}
    extras = {"models": json.dumps(networks.provenance()), "split": split, "tta": ",".join(variants)}
    metadata = TableMetadata(member="ensemble", **hashes, extras=extras)
    target.write(part.rows.iloc[windows.members].reset_index(drop=True), prob_RNK, predictor, metadata)
    forget(kept)
    settings: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    where = Path(cfg.outputs) if target.alone else target.folder
    facts = RunFacts(f"infer-{split}", predictor.name, settings | hashes, where, "infer")
    predictor.tell(logger, facts, {"windows": len(windows), "seconds": spent_s})
    if split == "test":
        if (predictor.folder / OOF_FILE).is_file():
            ensemble_table(predictor.folder)
        sys.stdout.write(f"submission: {target.folder / target.submission}\n")
        predictor.suggest_report()
    else:
        whose = "folds/fold<k>.parquet: by the models that never saw fold k"
        sys.stdout.write(f"tables:     {target.folder}  ({len(windows)} rows; {whose})\n")
        _suggest_training(target.folder, dataset, runs[0])


@dataclass(frozen=True)
class _Target:
    """Where predictions of a split are written, and as what."""

    folder: Path
    split: str
    submission: str = "submission.csv"
    # A submission that is named by its own path is all that is written there: its folder is the user's.
    alone: bool = False

    @classmethod
    def of(cls, out: Path, split: str) -> _Target:
        """Take a folder, or a submission's own path; nothing may be in the way there."""
        alone = out.suffix.lower() == ".csv"
        if alone and split != "test":
            raise UserError(f"out={out}: split={split} writes tables and no submission; name a folder")
        target = cls(out.parent, split, out.name, alone) if alone else cls(out, split)
        check_free(target.folder, COMMAND, {target.last} if alone else {target.last, target.table}, target.own_folders)
        return target

    @property
    def table(self) -> str:
        """The file of the ensemble's predictions."""
        return f"{'submission' if self.split == 'test' else self.split}_predictions.parquet"

    @property
    def last(self) -> str:
        """What is written last."""
        return self.submission if self.split == "test" else self.table

    @property
    def own_folders(self) -> tuple[str, ...]:
        """Folders in which all is this command's."""
        return () if self.alone else (FOLDS,)

    def write(
        self, rows: pd.DataFrame, prob_RNK: NDArray[np.float32], predictor: Predictor, metadata: TableMetadata
    ) -> None:
        """Write tables and submission, all of them or none."""
        ensemble, networks = predictor.ensemble, predictor.networks
        prob_NK = ensemble.apply(members_of_runs(prob_RNK, networks.member))
        # Fold -1 also for training rows: these predictions are not out-of-fold, and no ensemble takes them for such.
        table = PredictionTable.from_arrays(rows, prob_NK, metadata)
        with replacing(self.folder, COMMAND, self.last, self.own_folders) as staged:
            if not self.alone:
                _write_fold_tables(staged / FOLDS, rows, prob_RNK, networks, metadata)
                table.write(staged / self.table)
            if self.split == "test":
                votes = dict(zip(PROB_COLUMNS, VOTE_COLUMNS, strict=True))
                frame = table.frame[["eeg_id", *PROB_COLUMNS]].rename(columns=votes)
                write_submission(frame, staged / self.submission, rows["eeg_id"])


def _write_fold_tables(
    folder: Path, rows: pd.DataFrame, prob_RNK: NDArray[np.float32], networks: Networks, metadata: TableMetadata
) -> None:
    """Write for each fold, as ``fold<k>.parquet``, what those models say that never saw it.

    Only these may serve as pseudo-labels when the fold is trained. They are plain means over the members, from (runs,
    rows, 6): the weights of the blend were fitted with all folds' labels.
    """
    models = networks.provenance()
    for fold in np.unique(networks.folds):
        chosen = np.flatnonzero(networks.folds == fold)
        extras = {**metadata.extras, "models": json.dumps([models[r] for r in chosen])}
        prob_NK = prob_RNK[chosen].mean(axis=0, dtype=np.float64)
        table = PredictionTable.from_arrays(rows, prob_NK, replace(metadata, extras=extras))
        table.write(folder / f"fold{fold}.parquet")


def _say_what_was_seen(networks: Networks, spent_s: float) -> None:
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


def _suggest_training(tables: Path, dataset: Any, run: Path) -> None:
    """Print the command that trains with these predictions as pseudo-labels, on the folds of a run."""
    n_folds, made_by = folds_of(run, conf_dir())
    data = named("dataset")
    if not any(line.lstrip("+").startswith("dataset=") for line in data):
        data = dataset_overrides(dataset)
    again = [*data, *made_by, override("labels.pseudo", tables), *kept_settings(typed())]
    next_command(command_line("train", *again, flags=all_folds(n_folds)))


def dry_run(networks: Networks, windows: WindowDataset, batch_size: int, variants: tuple[str, ...]) -> None:
    """Time a few batches, their reading included, and say what the whole would take; write nothing."""
    n_windows = len(windows)
    if not n_windows:
        sys.stdout.write("windows:    0: nothing to predict\n")
        return
    seconds = []
    began = time.perf_counter()
    for number, batch in enumerate(DataLoader(windows, batch_size=batch_size, collate_fn=identity)):
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
