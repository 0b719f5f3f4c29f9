"""A sweep's folder is made, never found; what Hydra would let pass is refused before any job."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, open_dict, read_write

from hbac.experiment.merge import MergeSweep, _jobs_of


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


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (["fold=0,1,2"], (3, "fold")),
        (["band=0.5-20,1-12", "fold=0,1"], (4, "job")),
        (["fold=range(0,5)", "seed=1"], (5, "fold")),
        (["experiment=two_stage"], (1, "job")),
    ],
)
def test_the_jobs_of_a_sweep_are_counted(typed: list[str], expected: tuple[int, str], conf: Path) -> None:
    with initialize_config_dir(str(conf), version_base="1.3"):
        hydra = compose("train", [], return_hydra_config=True).hydra
    hydra.overrides.task = typed
    assert _jobs_of(hydra) == expected


@pytest.mark.parametrize(("requeue", "given", "times"), [(True, 0, 20), (True, 3, 3), (False, 0, 0)])
def test_a_job_that_slurm_stops_is_to_go_back_into_the_queue(
    requeue: bool, given: int, times: int, sweep_config: DictConfig
) -> None:
    with open_dict(sweep_config), read_write(sweep_config):
        sweep_config.requeue = requeue
        sweep_config.hydra.launcher = {"_target_": "of.Slurm", "max_num_timeout": given}
    MergeSweep().on_multirun_start(sweep_config)
    assert sweep_config.hydra.launcher.max_num_timeout == times


def test_slurm_s_launcher_without_slurm(
    sweep_config: DictConfig, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hbac.experiment.merge.which", lambda _: None)
    with open_dict(sweep_config), read_write(sweep_config):
        sweep_config.hydra.launcher._target_ = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"
    with pytest.raises(SystemExit):
        MergeSweep().on_multirun_start(sweep_config)
    assert "there is no Slurm here" in capsys.readouterr().err
