"""Networks trained for recordings of ten seconds lose less with the rest of a window, whatever stands in its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from hbac.inference.loading import ensemble_of
from hbac.inference.networks import Networks
from hbac.reading.outside import OUTSIDE, fill_outside
from hbac.vocabulary import CHANNELS, VOTE_COLUMNS
from tests.simulated import write_windows
from tests.test_commands import command


@pytest.mark.slow
def test_a_network_trained_for_ten_seconds_loses_less(tmp_path: Path) -> None:
    """Two networks, and new windows of which the middle is left; ``-s`` prints the documentation's figures."""
    write_windows(tmp_path / "data", 480)
    write_windows(tmp_path / "new", 180, seed=2)
    votes_NK = pd.read_csv(tmp_path / "new" / "train.csv")[list(VOTE_COLUMNS)].to_numpy(float)
    share_NK = votes_NK / votes_NK.sum(axis=1, keepdims=True)
    files = [tmp_path / "new" / "train_eegs" / f"{i}.parquet" for i in range(len(votes_NK))]
    eeg = [pd.read_parquet(file)[list(CHANNELS)].to_numpy(np.float32).T for file in files]
    setting = ["dataset=hms", "dataset.root=data", "labels.n_folds=4", "trainer.max_epochs=10", "logger=csv"]
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
