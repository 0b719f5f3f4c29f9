"""The model card says what a model reads, what it was trained on, how well it does, and what it is not for."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hbac.predictions import PredictionTable, TableMetadata
from hbac.tracking.model_card import model_card
from hbac.vocabulary import VOTE_COLUMNS

FACTS = {
    "member": "resnet_gru-0.5-20-abcdef01",
    "fold": 2,
    "data_fingerprint": "d" * 64,
    "fold_hash": "e" * 64,
    "config_hash": "c" * 64,
    "front_end": {"_target_": "hbac.signal.EEGFrontEnd", "montage": "public_8"},
    "network": {"_target_": "hbac.models.ResNetGRU"},
}
CONFIG = {"band": "0.5-20", "seed": 7, "dataset": {"_target_": "hbac.recordings.datasets.HMS"}}


@pytest.fixture
def rows() -> pd.DataFrame:
    frame = pd.DataFrame({"eeg_id": [1, 1, 2], "eeg_sub_id": [0, 1, 0], "label_id": [5, 6, 7], "patient_id": [8, 8, 9]})
    return frame.assign(spectrogram_id=3, **{column: [3, 3, 0] for column in VOTE_COLUMNS[:5]}, other_vote=[0, 0, 4])


def card(rows: pd.DataFrame, **config: object) -> str:
    table = PredictionTable.from_arrays(rows, np.full((3, 6), 1 / 6), TableMetadata("m"), fold=2)
    return model_card(FACTS, {**CONFIG, **config}, table, rows)


def test_a_card_of_real_recordings(rows: pd.DataFrame) -> None:
    text = card(rows)
    assert "Not a medical device" in text
    assert "simulated" not in text
    assert "band 0.5-20 Hz" in text
    assert "montage public_8" in text
    assert "Fp1 F3 C3 P3 F7" in text
    assert "microvolt" in text
    assert "| trained on | 3 | 2 | 2 |" in text
    for digest in ("d" * 64, "e" * 64, "c" * 64):
        assert digest in text
    # 15 votes on five classes: log(6/5); 4 votes on one: log 6.
    assert f"| 10 or more votes | 2 | {np.log(6 / 5):.4f} |" in text
    assert f"| up to 7 votes | 1 | {np.log(6):.4f} |" in text


def test_a_card_says_that_recordings_were_simulated(rows: pd.DataFrame) -> None:
    dataset = {"_target_": "hbac.recordings.datasets.Synthetic", "size": "small", "seed": 0}
    assert "Trained on simulated EEG only" in card(rows, dataset=dataset)


def test_a_population_without_rows_has_no_score(rows: pd.DataFrame) -> None:
    few = rows.assign(**dict.fromkeys(VOTE_COLUMNS, 0)).assign(lpd_vote=2)
    assert "| 10 or more votes | 0 | | |" in card(few)
