"""``python -m hbac.infer``: predict a data set's test part with an ensemble and write the submission."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hbac.cli import launch

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from omegaconf import DictConfig

    from hbac.recordings.store import Store
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
    part = build(cfg.dataset).part("test")
    prob_MNK = predict_members(ensemble, part.rows, part.eeg, cfg.batch_size, cfg.device)
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


def predict_members(ensemble: Any, rows: pd.DataFrame, store: Store, batch_size: int, device: str) -> np.ndarray:
    """Predict rows with every member: the mean over the networks of its folds.

    Members with the same front-end share it: each window is read once, filtered once for each front-end, and then
    seen by all networks that read it.

    Parameters
    ----------
    ensemble : Ensemble
        Its members name their run folders.
    rows : pandas.DataFrame
        Rows of the test part.
    store : Store
        Their recordings.
    batch_size : int
        Windows in a batch.
    device : str
        ``auto``, ``cpu``, ``cuda`` …

    Returns
    -------
    ndarray of float64, shape (members, n_rows, 6)
        Probabilities.

    Raises
    ------
    UserError
        When a run folder is missing or damaged.
    """
    import json

    import numpy as np
    import torch
    from torch.utils.data import DataLoader

    from hbac.data.windows import WindowDataset, identity
    from hbac.progress import track
    from hbac.runs import load
    from hbac.vocabulary import N_CLASSES

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    by_front_end: dict[str, list[tuple[int, float, Model]]] = {}
    for m, member in enumerate(ensemble.members):
        for run in member.runs:
            model = load(run).to(device)
            key = json.dumps(model.facts["front_end"], sort_keys=True)
            by_front_end.setdefault(key, []).append((m, 1 / len(member.runs), model))
    prob_MNK = np.zeros((len(ensemble.members), len(rows), N_CLASSES))
    loader = DataLoader(WindowDataset(rows, store), batch_size=batch_size, collate_fn=identity)
    with torch.inference_mode():
        for batch in track(loader, "predicting"):
            row_B, eeg_BTC = batch["row"].numpy(), batch["eeg"].to(device)
            for group in by_front_end.values():
                x = group[0][2].front_end(eeg_BTC)
                for m, share, model in group:
                    prob_MNK[m, row_B] += share * model.network(x).float().softmax(dim=1).cpu().numpy()
    return prob_MNK


if __name__ == "__main__":
    main()
