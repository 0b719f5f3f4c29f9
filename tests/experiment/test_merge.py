"""A sweep's folder is made, never found; what Hydra would let pass is refused before any job."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from hbac.experiment.merge import MergeSweep


@pytest.fixture
def sweep_config(conf: Path, tmp_path: Path) -> DictConfig:
    with initialize_config_dir(str(conf), version_base="1.3"):
        return compose("train", [f"hydra.sweep.dir='{tmp_path}/the sweep'"], return_hydra_config=True)


def test_sweeps_that_start_in_one_second_have_folders_of_their_own(
    sweep_config: DictConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = sweep_config.copy(), sweep_config.copy()
    MergeSweep().on_multirun_start(first)
    (tmp_path / "the sweep" / "jobs").mkdir()
    MergeSweep().on_multirun_start(second)
    assert first.hydra.sweep.dir == f"{tmp_path}/the sweep"
    assert second.hydra.sweep.dir == f"{tmp_path}/the sweep-2"
    assert list((tmp_path / "the sweep-2").iterdir()) == []
    assert list(second.hydra.overrides.hydra)[-1] == f'hydra.sweep.dir="{tmp_path}/the sweep-2"'  # the jobs' own
    assert "this sweep is in" in capsys.readouterr().err


def test_a_sweep_of_no_jobs_is_an_error(sweep_config: DictConfig, capsys: pytest.CaptureFixture[str]) -> None:
    MergeSweep().on_multirun_start(sweep_config)
    with pytest.raises(SystemExit) as caught:
        MergeSweep().on_multirun_end(sweep_config)
    assert caught.value.code == 2
    assert "a sweep over nothing" in capsys.readouterr().err


@pytest.mark.parametrize("begin", ["on_run_start", "on_multirun_start"])
def test_another_current_folder_is_refused(begin: str, sweep_config: DictConfig, tmp_path: Path) -> None:
    sweep_config.hydra.job.chdir = True
    with pytest.raises(SystemExit) as caught:
        getattr(MergeSweep(), begin)(sweep_config)
    assert caught.value.code == 2
    assert list(tmp_path.iterdir()) == []
