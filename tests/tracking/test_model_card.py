"""The model cards say what a model reads, what it was trained on, how well it does, and what it is not for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from huggingface_hub import ModelCard

from hbac.ensembling.ensemble_file import Ensemble, Member
from hbac.predictions import PredictionTable, TableMetadata
from hbac.tracking.model_card import ensemble_card, model_card
from hbac.vocabulary import VOTE_COLUMNS
from tests.ensembles import SMALL_NET, write_ensemble

FACTS = {
    "member": "resnet_gru-0.5-20-abcdef01",
    "fold": 2,
    "data_fingerprint": "d" * 64,
    "fold_hash": "e" * 64,
    "config_hash": "c" * 64,
    "front_end": {"_target_": "hbac.signal.EEGFrontEnd", "band": "0.5-20", "montage": "public_8"},
    "network": {"_target_": "hbac.models.ResNetGRU", "n_chans": 8, "n_times": 2000, "sfreq": 40.0},
    "lineage": [{"member": "itself", "fold": 2}],
}
CONFIG = {"seed": 7, "labels": {"n_folds": 5}, "dataset": {"_target_": "hbac.recordings.datasets.HMS"}}
IMAGES = {
    "_target_": "hbac.signal.ImageFrontEnd",
    "sources": "both",
    "image": {"mel": {"montage": "regions", "band": "0-20"}, "zoom": {"montage": "chains_16", "band": "alpha"}},
}


@pytest.fixture
def rows() -> pd.DataFrame:
    frame = pd.DataFrame({"eeg_id": [1, 1, 2], "eeg_sub_id": [0, 1, 0], "label_id": [5, 6, 7], "patient_id": [8, 8, 9]})
    return frame.assign(spectrogram_id=3, **{column: [3, 3, 0] for column in VOTE_COLUMNS[:5]}, other_vote=[0, 0, 4])


def uniform(rows: pd.DataFrame) -> PredictionTable:
    return PredictionTable.from_arrays(rows, np.full((3, 6), 1 / 6), TableMetadata("m"), fold=2)


def card(rows: pd.DataFrame, facts: dict[str, Any] = FACTS, **config: object) -> str:
    return model_card(facts, {**CONFIG, **config}, uniform(rows), rows)


def test_a_card_of_real_recordings(rows: pd.DataFrame) -> None:
    text = card(rows)
    assert "Not a medical device" in text
    assert "simulated" not in text
    assert "band 0.5-20 Hz, montage public_8; the network reads 8 derivations of 2000 samples at 40 Hz" in text
    assert "prob = model(eeg)  # eeg: (batch, 10000, 20); prob: (batch, 6)" in text
    assert "5 folds by patient; fold 2 is held out" in text
    assert "learned from" not in text
    assert "Fp1 F3 C3 P3 F7" in text
    assert "microvolt" in text
    assert "| trained on | 3 | 2 | 2 |" in text
    for digest in ("d" * 64, "e" * 64, "c" * 64):
        assert digest in text
    # 15 votes on five classes: log(6/5); 4 votes on one: log 6.
    assert f"| 10 or more votes | 2 | 1 | {np.log(6 / 5):.4f} |" in text
    assert f"| up to 7 votes | 1 | 1 | {np.log(6):.4f} |" in text


def test_the_hub_reads_the_scores_before_the_text(rows: pd.DataFrame) -> None:
    about = ModelCard(card(rows)).data
    assert about.library_name == "hbac"
    assert about.model_name == "resnet_gru-0.5-20-abcdef01, fold 2"
    scores = {result.dataset_split: result.metric_value for result in about.eval_results}
    few, many = np.log(6), np.log(6 / 5)
    wanted = {"all": (few + 2 * many) / 3, "up to 7 votes": few, "10 or more votes": many}
    assert scores == {split: round(kl, 4) for split, kl in wanted.items()}


def test_a_card_of_images_says_what_each_shows(rows: pd.DataFrame) -> None:
    text = card(rows, {**FACTS, "front_end": IMAGES, "network": {"_target_": "x", "in_chans": 12}})
    assert "mel: band 0-20 Hz, montage regions; zoom: band alpha, montage chains_16" in text
    assert "the network reads images of 12 channels" in text
    assert "official: (batch, 300, 400)" in text
    without = card(rows, {**FACTS, "front_end": IMAGES | {"sources": "official"}, "network": {"_target_": "x"}})
    assert "montage" not in without
    assert "microvolt" not in without


def test_a_card_names_the_runs_that_went_into_it(rows: pd.DataFrame) -> None:
    lineage = [{"member": "itself", "fold": 2}, {"member": "teacher", "fold": 2}]
    assert "learned from: teacher, fold 2." in card(rows, {**FACTS, "lineage": lineage})


def test_a_card_names_those_whose_weights_it_began_with(rows: pd.DataFrame) -> None:
    network = {"_target_": "hbac.models.SPaRCNet", "pretrained_file": "model_1130.pt"}
    assert "ODC-By): Jing et al. (2023), doi:10.1212/WNL.0000000000207127." in card(rows, model=network)
    assert "ODC-By" not in card(rows, model=network | {"pretrained_file": None})
    assert "ODC-By" not in card(rows, model={"_target_": "mynets.Net", "pretrained_file": "a.safetensors"})


def test_a_card_says_that_recordings_were_simulated(rows: pd.DataFrame) -> None:
    dataset = {"_target_": "hbac.recordings.datasets.Synthetic", "size": "small", "seed": 0}
    assert "Trained on simulated EEG only" in card(rows, dataset=dataset)


def test_a_population_without_rows_has_no_score(rows: pd.DataFrame) -> None:
    few = rows.assign(**dict.fromkeys(VOTE_COLUMNS, 0)).assign(lpd_vote=2)
    assert "| 10 or more votes | 0 | 0 | | |" in card(few)


def test_the_card_of_an_ensemble(rows: pd.DataFrame, tmp_path: Path) -> None:
    ensemble = Ensemble.read(write_ensemble(tmp_path, [SMALL_NET, [*SMALL_NET, "band=1-12", "montage=public_8"]]))
    text = ensemble_card(ensemble, uniform(rows))
    assert "# Ensemble of 4 networks, members: 2" in text
    assert "Not a medical device" in text
    assert text.count("hbac.signal.EEGFrontEnd") == 2
    assert "band 1-12 Hz, montage public_8; the network reads 8 derivations" in text
    assert f"- fold hash: `{'f' * 64}`" in text
    assert "- data fingerprint: `unknown`" in text
    assert f"| 10 or more votes | 2 | 1 | {np.log(6 / 5):.4f} |" in text
    assert "In-sample, on rows with 10 or more votes:\n1.0000" in text
    assert text.index("| 10 or more votes |") < text.index("| all |")


def test_an_ensemble_with_tables_of_other_code_is_no_model_to_load(rows: pd.DataFrame, tmp_path: Path) -> None:
    ensemble = Ensemble.read(write_ensemble(tmp_path, [SMALL_NET]))
    (ours,) = ensemble.members
    text = ensemble_card(replace(ensemble, members=(ours, Member("theirs"))), uniform(rows))
    assert "| theirs | 0 | nan | of other code, or not here |" in text
    assert "hbac.load" not in text
