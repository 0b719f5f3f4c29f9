"""Ensembles of networks with random weights, written as training writes them: nothing here was trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from hbac.cli.launch import conf_dir
from hbac.common.instantiate import build
from hbac.ensembling.blends import Arithmetic
from hbac.ensembling.ensemble_file import Ensemble, Member
from hbac.evaluation.bootstrap import Interval
from hbac.runs.model import save_model
from hbac.runs.naming import config_hash, member_name

SMALL_NET = ["model.filters=8", "model.width=16", "model.depth=2", "model.gru_hidden=16"]


def write_ensemble(folder: Path, members: list[list[str]], n_folds: int = 2, fold_hash: str = "f" * 64) -> Path:
    """Write run folders for each member's overrides and fold, and their plain mean; return ``ensemble.json``."""
    written = []
    for overrides in members:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            cfg = compose("train", [*overrides, "dataset=hms", "dataset.root=x"])
        config = OmegaConf.to_container(cfg, resolve=True)
        assert isinstance(config, dict)
        front_end = build(cfg.front_end, "front_end")
        config["model"] |= front_end.network_arguments()
        name, digest = member_name(config), config_hash(config)
        runs = [folder / "runs" / name / f"fold{fold}" for fold in range(n_folds)]
        for fold, run in enumerate(runs):
            torch.manual_seed(fold)
            run.mkdir(parents=True)
            facts = {"fold": fold, "member": name, "fold_hash": fold_hash, "config_hash": digest}
            save_model(run, build(config["model"], "network").eval(), config["model"], config["front_end"], facts)
        written.append(Member(name=name, runs=tuple(runs), table=None, config_hash=digest, kl=1.0))
    blend = Arithmetic(np.full(len(written), 1 / len(written)))
    score = Interval(1.0, 0.9, 1.1)
    return Ensemble(tuple(written), "mean", blend, score, score, fold_hash=fold_hash).write(folder)
