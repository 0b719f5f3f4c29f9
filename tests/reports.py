"""Runs as training leaves them, with predictions, curves and configs but without weights: nothing here was trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from hbac.cli.launch import conf_dir
from hbac.common.files import write_json
from hbac.evaluation.scores import scores
from hbac.labels.folds import fold_table
from hbac.labels.targets import kl_name, votes_to_shares
from hbac.predictions import PredictionTable, TableMetadata
from hbac.recordings.datasets import HMS, Part
from hbac.runs.folder import environment
from hbac.runs.naming import config_hash, member_name


def write_runs(
    outputs: Path, root: Path, members: Sequence[list[str]], n_folds: int = 2, n_epochs: int = 4
) -> list[Path]:
    """Write a folder of runs for each member's overrides, the first the best; return these folders."""
    part = HMS(root, outputs / "stores").part("train")
    folds = fold_table(part.rows, outputs / "folds" / f"{part.fingerprint[:12]}.csv", n_folds)
    fold_N = folds.fold_of(part.rows["patient_id"])
    folders = []
    for number, overrides in enumerate(members):
        settings = [
            "dataset=hms",
            f"dataset.root={root}",
            f"outputs={outputs}",
            f"labels.n_folds={n_folds}",
            *overrides,
        ]
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            config = OmegaConf.to_container(compose("train", settings), resolve=True)
        assert isinstance(config, dict)
        name = member_name(config)
        folders.append(outputs / "runs" / name)
        for fold in range(n_folds):
            run = folders[-1] / f"fold{fold}"
            rows = np.flatnonzero(fold_N == fold)
            metadata = TableMetadata(
                member=name,
                config_hash=config_hash(config),
                fold_hash=folds.hash,
                data_fingerprint=part.fingerprint,
                n_folds=n_folds,
                runs={fold: run},
                extras={"floor_all": "0.1", "floor_up_to_7": "0.15", "floor_10_or_more": "0.05"},
            )
            table = _predictions(part, rows, metadata, fold, blur=0.8 + 0.25 * number)
            table.write(run / "predictions.parquet")
            write_json(run / "config.json", {**config, "fold": fold})
            write_json(run / "environment.json", environment() | {"command": f"python -m hbac.train fold={fold}"})
            found = scores(table.targets, table.probs, table.frame["n_votes"])
            kl = {population: values.get("kl", float("nan")) for population, values in found.items()}
            _write_curves(run / "logs" / "version_0" / "metrics.csv", kl, n_epochs)
            write_json(run / "metrics.json", {"kl": kl, "scores": found, "epochs": n_epochs})
    return folders


def _predictions(part: Part, rows: np.ndarray, metadata: TableMetadata, fold: int, blur: float) -> PredictionTable:
    """Votes seen through noise: the more blur, the worse."""
    chosen = part.rows.iloc[rows].reset_index(drop=True)
    rng = np.random.default_rng([int(1000 * blur), fold])
    logits = np.log(votes_to_shares(chosen) + 0.15) + blur * rng.standard_normal((len(rows), 6))
    prob = np.exp(logits)
    return PredictionTable.from_arrays(chosen, prob / prob.sum(axis=1, keepdims=True), metadata, fold)


def _write_curves(path: Path, kl: dict[str, float], n_epochs: int) -> None:
    """What Lightning's CSV logger writes: validation and training stand in rows of their own."""
    lines = []
    for epoch in range(n_epochs):
        left = 0.6 * (n_epochs - 1 - epoch) / n_epochs
        val = {f"val/{kl_name(population)}": value + left for population, value in kl.items()}
        lines.append({"epoch": epoch, "step": 10 * epoch + 9, **val})
        lines.append({"epoch": epoch, "step": 10 * epoch + 9, "train/kl": kl["all"] + 0.8 * left})
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(lines).to_csv(path, index=False)
