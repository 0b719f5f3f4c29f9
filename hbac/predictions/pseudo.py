"""Pseudo-labels: predictions that ``hbac.infer`` wrote, read as something to train toward.

Fold k may learn only from models that never saw fold k's validation patients: ``folds/fold<k>.parquet`` of an inference
folder holds what those say. With any other table the fold's score would improve, and no new patient would confirm it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from hbac.common.errors import UserError
from hbac.common.shapes import check_shape
from hbac.labels.lineage import TrainedOn, check_unseen, lineage_of
from hbac.labels.recipe import PseudoLabels
from hbac.predictions.table import PredictionTable
from hbac.recordings.datasets import Part
from hbac.vocabulary import PROB_COLUMNS

FOLDS = "folds"  # in an inference folder: one table a fold


def pseudo_tables(path: Path) -> dict[int | None, Path]:
    """Find the tables of an inference folder by the fold that may learn from them; one named itself is under None.

    A `UserError` when there is none.
    """
    if path.is_file():
        return {None: path}
    tables: dict[int | None, Path] = {
        int(table.stem[4:]): table for table in sorted((path / FOLDS).glob("fold*.parquet"))
    }
    if not tables:
        raise UserError(
            f"labels.pseudo={path}: neither a prediction table nor a folder with {FOLDS}/fold0.parquet …, as "
            "`python -m hbac.infer split=few_votes` and `split=test` write it"
        )
    return tables


def pseudo_hash(path: Path) -> str:
    """Hash what pseudo-labels say, the same for all folds, in 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for table in pseudo_tables(path).values():
        digest.update(hashlib.sha256(table.read_bytes()).digest())
    return digest.hexdigest()


def read_pseudo(
    path: Path, fold: int, fold_hash: str, dataset: str, part: Callable[[str], Part]
) -> tuple[PseudoLabels, list[TrainedOn]]:
    """Read the pseudo-labels (`pseudo_tables`) that a fold may learn from, and every run that went into them.

    `fold_hash` is that of the fold table, `dataset` the kind of the data set; `part` returns its part of a name,
    ``train`` or ``test``. A `UserError` when the predictions know patients of the fold, or are not of this data set.
    """
    tables = pseudo_tables(path)
    file = tables.get(fold, tables.get(None))
    if file is None:
        raise UserError(f"labels.pseudo={path}: there is no {FOLDS}/fold{fold}.parquet in it")
    table = PredictionTable.read(file)
    setting = f"labels.pseudo={file}"
    extras = table.metadata.extras
    if "models" not in extras or "split" not in extras:
        raise UserError(
            f"{setting}: does not say which models predicted it, so that nobody knows whose patients they saw; use a "
            "table that `python -m hbac.infer` wrote"
        )
    try:
        models = json.loads(extras["models"])
    except (ValueError, RecursionError) as error:
        raise UserError(f"{setting}: its metadata are damaged: models is no JSON ({error})") from None
    check_shape(models, [dict], f"{setting}: models in its metadata")
    lineage = [run for model in models for run in lineage_of(model)]
    check_unseen(setting, lineage, fold, fold_hash, dataset)
    name = "test" if extras["split"] == "test" else "train"
    predicted = part(name)
    if table.metadata.data_fingerprint != predicted.fingerprint:
        raise UserError(
            f"{setting}: predictions of other recordings or label rows "
            f"({table.metadata.data_fingerprint[:12]}, not {predicted.fingerprint[:12]}); predict this data set"
        )
    key = "eeg_id" if name == "test" else "label_id"
    prob = table.frame.set_index(key)[list(PROB_COLUMNS)].reindex(pd.Index(predicted.rows[key]))
    return PseudoLabels(predicted, prob.to_numpy(np.float64)), lineage
