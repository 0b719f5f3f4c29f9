"""``python -m hbac.infer``: predict a data set's test part with an ensemble and write the submission."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from hbac.cli import launch

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from omegaconf import DictConfig

    from hbac.ensembling.ensemble_file import Ensemble
    from hbac.recordings.datasets import Part
    from hbac.runs import Model

log = logging.getLogger("hbac.infer")


def main() -> None:
    """Run the command."""
    launch("hbac.infer:infer", "infer")


def infer(cfg: DictConfig) -> None:
    """Write ``submission.csv`` and the prediction table of the test part.

    Parameters
    ----------
    cfg : DictConfig
        The composed config of ``conf/infer.yaml``.

    Raises
    ------
    UserError
        When there is no ensemble, one of its runs is missing, or the data set is wrong.
    """
    from hbac.ensembling.collect import newest_ensemble
    from hbac.ensembling.ensemble_file import Ensemble
    from hbac.instantiate import build
    from hbac.predictions import PredictionTable, TableMetadata
    from hbac.predictions.submission import write_submission
    from hbac.tracking.console import ensemble_table
    from hbac.vocabulary import PROB_COLUMNS, VOTE_COLUMNS

    path = Path(cfg.ensemble) if cfg.ensemble else newest_ensemble(Path(cfg.outputs))
    ensemble = Ensemble.read(path)
    models = load_members(ensemble, cfg.device)
    part = build(cfg.dataset).part("test", official=any("official" in model.sources for _, _, model in models))
    prob_MNK = predict_members(models, part, cfg.batch_size)
    prob_NK = ensemble.apply(prob_MNK)

    out = Path(cfg.out)
    folder = out.parent if out.suffix == ".csv" else out
    submission = out if out.suffix == ".csv" else out / "submission.csv"
    folder.mkdir(parents=True, exist_ok=True)
    metadata = TableMetadata(member="ensemble", fold_hash=ensemble.fold_hash, data_fingerprint=part.fingerprint)
    table = PredictionTable.from_arrays(part.rows, prob_NK, metadata)
    table.write(submission.with_name(f"{submission.stem}_predictions.parquet"))
    frame = table.frame[["eeg_id", *PROB_COLUMNS]].rename(columns=dict(zip(PROB_COLUMNS, VOTE_COLUMNS, strict=True)))
    write_submission(frame, submission, part.rows["eeg_id"])
    ensemble_table(path if path.is_dir() else path.parent, submission)


def load_members(ensemble: Ensemble, device: str) -> list[tuple[int, float, Model]]:
    """Load the networks of all members.

    Parameters
    ----------
    ensemble : Ensemble
        Its members name their run folders.
    device : str
        ``auto``, ``cpu``, ``cuda`` …

    Returns
    -------
    list of tuple
        Number of the member, share of the network in it (one over its folds), model.

    Raises
    ------
    UserError
        When a run folder is missing or damaged.
    """
    import torch

    from hbac.runs import load

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return [
        (m, 1 / len(member.runs), load(run).to(device))
        for m, member in enumerate(ensemble.members)
        for run in member.runs
    ]


def predict_members(models: Sequence[tuple[int, float, Model]], part: Part, batch_size: int) -> np.ndarray:
    """Predict rows with every member: the mean over the networks of its folds.

    Each window is read once for all models, and goes once through each distinct front-end, whose output is then seen by
    all networks that have this front-end.

    Parameters
    ----------
    models : sequence of tuple
        As `load_members` returns them, on one device.
    part : Part
        The data set's part whose rows are predicted.
    batch_size : int
        Windows in a batch.

    Returns
    -------
    ndarray of float64, shape (members, n_rows, 6)
        Probabilities.

    Raises
    ------
    UserError
        When the data set lacks what a model reads.
    """
    import json

    import numpy as np
    import torch
    from torch.utils.data import DataLoader

    from hbac.data.windows import WindowDataset, identity
    from hbac.progress import track
    from hbac.signal.image_front_end import SOURCES
    from hbac.vocabulary import N_CLASSES

    by_front_end: dict[str, list[tuple[int, float, Model]]] = {}
    for m, share, model in models:
        key = json.dumps(model.facts["front_end"], sort_keys=True)
        by_front_end.setdefault(key, []).append((m, share, model))
    sources = [name for name in SOURCES if any(name in model.sources for _, _, model in models)]
    device = next(models[0][2].network.parameters()).device
    prob_MNK = np.zeros((1 + max(m for m, _, _ in models), len(part.rows), N_CLASSES))
    loader = DataLoader(WindowDataset(part, sources), batch_size=batch_size, collate_fn=identity)
    with torch.inference_mode():
        for batch in track(loader, "predicting"):
            row_B = batch["row"].numpy()
            windows = {name: batch[name].to(device) for name in sources}
            for group in by_front_end.values():
                first = group[0][2]
                x = first.front_end(*(windows[name] for name in first.sources))
                for m, share, model in group:
                    prob_MNK[m, row_B] += share * model.network(x).float().softmax(dim=1).cpu().numpy()
    return prob_MNK


if __name__ == "__main__":
    main()
