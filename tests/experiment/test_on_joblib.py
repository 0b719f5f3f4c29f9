"""A sweep whose jobs joblib runs side by side on this machine, from nothing to a blend."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SMALL = ["dataset.size=tiny", "n_jobs=2", "labels.n_folds=2", "population=all", "trainer.max_epochs=1", "logger=csv"]


def test_jobs_side_by_side_simulate_train_with_workers_and_blend(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    launcher = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    line = [sys.executable, "-m", "hbac.train", "-m", "fold=0,1", *launcher, *SMALL, "data.num_workers=1"]
    done = subprocess.run(line, cwd=tmp_path, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("simulating the tiny data set …\n") == 1
    assert all(f"  job {number}, epoch 1/1   train " in done.stderr for number in (1, 2))
    assert len(list(tmp_path.glob("outputs/runs/*/fold*/metrics.json"))) == 2
    assert list(tmp_path.glob("outputs/sweeps/*/ensemble.json"))
