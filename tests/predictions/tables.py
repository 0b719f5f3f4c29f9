"""Small prediction tables for the tests."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hbac.predictions.metadata import TableMetadata
from hbac.predictions.table import PredictionTable
from hbac.vocabulary import VOTE_COLUMNS


def make_rows(n: int = 40, seed: int = 0, n_folds: int = 5) -> tuple[pd.DataFrame, np.ndarray]:
    """Label rows of n windows (two per patient) and their folds."""
    rng = np.random.default_rng([seed, 1])
    votes = rng.multinomial(rng.integers(1, 16, n), rng.dirichlet(np.full(6, 0.5), n))
    patient = np.arange(n) // 2
    rows = pd.DataFrame(
        {
            "eeg_id": 1000 + np.arange(n),
            "eeg_sub_id": 0,
            "spectrogram_id": 2000 + np.arange(n),
            "patient_id": 300 + patient,
            "label_id": 9000 + np.arange(n)[::-1],
        }
        | {column: votes[:, k] for k, column in enumerate(VOTE_COLUMNS)}
    )
    return rows, (patient % n_folds).astype(np.int16)


def make_table(member: str = "a", n: int = 40, seed: int = 0, **metadata: object) -> PredictionTable:
    """A labelled table; `seed` moves the probabilities only."""
    rows, fold = make_rows(n)
    probs = np.random.default_rng([seed, 2]).dirichlet(np.ones(6), n)
    known = {"config_hash": f"c-{member}", "fold_hash": "f0", "data_fingerprint": "d0", "n_folds": 5}
    return PredictionTable.from_arrays(rows, probs, TableMetadata(member, **(known | metadata)), fold)


def fold_tables(member: str = "a", n: int = 40, seed: int = 0) -> list[PredictionTable]:
    """The same, one table per fold."""
    whole = make_table(member, n, seed)
    return [PredictionTable(part.reset_index(drop=True), whole.metadata) for _, part in whole.frame.groupby("fold")]
