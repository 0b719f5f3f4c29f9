"""Recordings of ten seconds are told the same whatever they come in, and networks can be trained for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import hbac
from hbac.inference.along import AlongChunks, Steps, predict_along
from hbac.inference.loading import ensemble_of
from hbac.inference.networks import Networks
from hbac.reading.labelled import Recordings
from hbac.reading.opened import open_recording
from hbac.recordings.datasets import HMS, Part
from hbac.recordings.outside import OUTSIDE, fill_outside
from hbac.vocabulary import CHANNELS, PROB_COLUMNS, VOTE_COLUMNS
from tests.ensembles import SMALL_NET, write_ensemble
from tests.helpers import write_eeg
from tests.recorded import write_brain
from tests.simulated import write_windows
from tests.test_commands import command


@pytest.mark.parametrize("outside", OUTSIDE)
def test_ten_seconds_are_told_the_same_in_each_layout(tmp_path: Path, outside: str) -> None:
    mne = pytest.importorskip("mne")
    folder = write_ensemble(tmp_path / "ensemble", [SMALL_NET], n_folds=1).parent
    networks = Networks.of(ensemble_of(folder), "cpu", "32-true")
    eeg_CT = write_brain(tmp_path / "a.edf", 10.0, 256.0).astype(np.float32)
    recording = open_recording(tmp_path / "a.edf")
    wanted = predict_along(AlongChunks(networks, recording, Steps.of(recording, 10.0), outside))[0, 0]

    (tmp_path / "labels.csv").write_text("file,onset,class,patient\na.edf,0,lpd,x\n")
    own = Recordings(tmp_path, tmp_path / "stores", "labels.csv", outside).part("train")
    write_eeg(tmp_path / "train_eegs" / "7.parquet", eeg_CT.T)
    names = "eeg_id,eeg_sub_id,eeg_label_offset_seconds,patient_id,label_id,expert_consensus"
    (tmp_path / "train.csv").write_text(f"{names},{','.join(VOTE_COLUMNS)}\n7,0,0,1,1,LPD,0,3,0,0,0,0\n")
    hms = HMS(tmp_path, tmp_path / "stores", sfreq=256, outside=outside).part("train")
    info = mne.create_info(list(CHANNELS), 256.0, ["eeg"] * 19 + ["ecg"])
    epochs = mne.EpochsArray(1e-6 * eeg_CT[None], info, verbose="ERROR")
    table = hbac.load(folder).predict_raw(epochs, outside=outside)
    for found in (told(networks, own), told(networks, hms), table[list(PROB_COLUMNS)].to_numpy()[0]):
        assert np.abs(found - wanted).max() < 0.002


def told(networks: Networks, part: Part) -> np.ndarray:
    """What networks say of the first window of a data set."""
    eeg = torch.from_numpy(part.eeg.copy_windows([part.rows["eeg_id"][0]], [0], 10_000))
    return networks.predict({"eeg": eeg, "row": torch.arange(1)}).numpy()[0, 0]


@pytest.mark.slow
def test_a_network_trained_for_ten_seconds_loses_less(tmp_path: Path) -> None:
    """Two networks, and new windows of which the middle is left; ``-s`` prints the documentation's figures."""
    write_windows(tmp_path / "data", 480)
    write_windows(tmp_path / "new", 180, seed=2)
    votes_NK = pd.read_csv(tmp_path / "new" / "train.csv")[list(VOTE_COLUMNS)].to_numpy(float)
    share_NK = votes_NK / votes_NK.sum(axis=1, keepdims=True)
    files = [tmp_path / "new" / "train_eegs" / f"{i}.parquet" for i in range(len(votes_NK))]
    eeg = [pd.read_parquet(file)[list(CHANNELS)].to_numpy(np.float32).T for file in files]
    setting = ["dataset=hms", "dataset.root=data", "labels.n_folds=4", "trainer.max_epochs=20", "logger=csv"]
    found = {}
    for name, more in (("plain", []), ("ten_seconds", ["experiment=ten_seconds"])):
        command(tmp_path, "hbac.train", *more, *setting, f"outputs={name}")
        (run,) = (tmp_path / name / "runs").glob("*/fold0")
        networks = Networks.of(ensemble_of(run), "cpu", "32-true")
        found[name] = {how: kl(networks, eeg, share_NK, how) for how in ("whole", *OUTSIDE)}
    print(pd.DataFrame(found).T.round(2))  # noqa: T201
    assert all(found["ten_seconds"][how] < found["plain"][how] for how in OUTSIDE)
    assert found["ten_seconds"]["whole"] < found["plain"]["whole"] + 0.1


def kl(networks: Networks, eeg: list[np.ndarray], share_NK: np.ndarray, how: str) -> float:
    """Mean KL divergence over whole windows, or over their middle with something around it."""
    parts = []
    for first in range(0, len(eeg), 20):
        windows = [x if how == "whole" else fill_outside(middle_of(x), how) for x in eeg[first : first + 20]]
        batch = {"eeg": torch.from_numpy(np.stack([x.T for x in windows])), "row": torch.arange(len(windows))}
        parts.append(networks.predict(batch).numpy()[0])
    prob_NK = np.clip(np.concatenate(parts), 1e-15, 1)
    return float((share_NK * np.log(np.clip(share_NK, 1e-15, 1) / prob_NK)).sum(axis=1).mean())


def middle_of(x_CT: np.ndarray) -> np.ndarray:
    """Lose all but the middle ten seconds."""
    out = np.full_like(x_CT, np.nan)
    out[:, 4000:6000] = x_CT[:, 4000:6000]
    return out
