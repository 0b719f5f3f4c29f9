"""Short runs to look for faults, other loggers and other callbacks, by the groups that name them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from hbac.data.epoch import EpochShuffle
from tests.helpers import write_hms_layout
from tests.test_commands import SMALL_NET, command


@pytest.fixture(scope="module")
def hms(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    root = write_hms_layout(tmp_path_factory.mktemp("data"), n_eegs=16, seed=1)
    return ["dataset=hms", f"dataset.root={root}", "labels.n_folds=2", "data.batch_size=4", *SMALL_NET]


def log_of(folder: Path) -> pd.DataFrame:
    [log] = folder.glob("outputs/runs/*/fold0/logs/version_0/metrics.csv")
    return pd.read_csv(log)


def test_a_fast_run_with_more_loggers_and_callbacks(tmp_path: Path, hms: list[str]) -> None:
    more = ["logger=[csv,wandb]", "callbacks=[device_stats,throughput]", "+trainer.log_every_n_steps=1"]
    command(tmp_path, "hbac.train", *hms, "debug=fast", *more)
    log = log_of(tmp_path)
    assert log.loc[log["train/kl"].notna(), "step"].tolist() == [1]  # two batches
    assert log["train/samples"].max() == 8
    assert list(tmp_path.glob("outputs/wandb/offline-run-*/*.wandb"))


def test_a_fast_run_of_two_stages(tmp_path: Path, hms: list[str]) -> None:
    command(tmp_path, "hbac.train", *hms, "debug=fast", "logger=csv", "+stages.wide.trainer.max_epochs=3")
    log = log_of(tmp_path)
    assert log["wide/val/kl"].count() == log["val/kl"].count() == 1


@pytest.mark.slow
def test_a_profile_is_printed(tmp_path: Path, hms: list[str]) -> None:
    result = command(tmp_path, "hbac.train", *hms, "debug=profile", "trainer.max_epochs=1")
    assert "run_training_batch" in result.stderr


@pytest.mark.slow
def test_two_batches_are_learnt_by_heart(tmp_path: Path, hms: list[str]) -> None:
    command(tmp_path, "hbac.train", *hms, "debug=overfit", "trainer.max_epochs=40")
    kl = log_of(tmp_path)["train/kl"].dropna()
    assert kl.iloc[-1] < 0.25 * kl.iloc[0]


def test_overfitting_sees_the_same_rows_in_each_epoch() -> None:
    for repeat in (False, True):
        shuffle = EpochShuffle(50, seed=1, repeat=repeat)
        first = [pick.row for pick in shuffle]
        shuffle.set_epoch(3)
        assert ([pick.row for pick in shuffle] == first) is repeat
