"""A folder of configs from elsewhere has Hydra run nothing that is not Hydra's or ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra._internal.utils import create_config_search_path
from hydra.types import RunMode

from hbac.cli.trusted import Loader, check_hydra
from hbac.common.errors import UserError
from tests.cli.test_launch import run

EVIL = {
    "hydra.callbacks.x._target_": "{callbacks: {x: {_target_: os.system, command: touch ran}}}",
    "hydra.callbacks.merge._target_": "{callbacks: {merge: {_target_: subprocess.run, args: [touch, ran]}}}",
    "hydra.callbacks.x.a._target_": "{callbacks: {x: {_target_: hbac.experiment.merge.MergeSweep, a: {_target_: B}}}}",
    "hydra.launcher._target_": "{launcher: {_target_: subprocess.Popen}}",
    "hydra.sweeper._target_": "{sweeper: {_target_: mine.Sweeper}}",
    "hydra.job_logging.handlers.x.()": "{job_logging: {handlers: {x: {(): os.system, command: touch ran}}}}",
    "hydra.job_logging.handlers.console.class": "{job_logging: {handlers: {console: {class: mine.Handler}}}}",
    "hydra.hydra_logging.handlers.console.stream": "{hydra_logging: {handlers: {console: {stream: 'ext://mine.x'}}}}",
    "hydra.job_logging.handlers.x.filename": "{job_logging: {handlers: {x: {filename: /}}}}",
    "hydra.job.env_set.PYTHONSTARTUP": "{job: {env_set: {PYTHONSTARTUP: x.py}}}",
}


def load(conf: Path, folder: Path, *overrides: str, mode: RunMode = RunMode.RUN) -> object:
    """Compose as a command does, with a folder of further configs."""
    places = create_config_search_path(str(conf))
    places.prepend("command-line", f"file://{folder}")
    return Loader(places).load_configuration("train", list(overrides), mode)


def write(folder: Path, hydra: str) -> None:
    (folder / "experiment").mkdir(parents=True)
    (folder / "experiment" / "mine.yaml").write_text(f"# @package _global_\nhydra: {hydra}\n")


@pytest.mark.parametrize(("key", "hydra"), EVIL.items())
def test_what_a_config_would_have_hydra_run_is_refused(key: str, hydra: str, conf: Path, tmp_path: Path) -> None:
    write(tmp_path, hydra)
    with pytest.raises(UserError, match=r"a config may not name what Hydra runs") as caught:
        load(conf, tmp_path, "experiment=mine")
    assert str(caught.value).startswith(f"{key}=")


@pytest.mark.parametrize(
    ("key", "hydra"),
    [
        ("hydra.sweeper.custom_search_space", {"sweeper": {"custom_search_space": "mine.space"}}),
        ("hydra.sweeper.sampler._target_", {"sweeper": {"sampler": {"_target_": "mine.Sampler"}}}),
        ("hydra.launcher.setup.0", {"launcher": {"setup": ["touch ran"]}}),
        ("hydra.launcher.ray.init.runtime_env.pip.0", {"launcher": {"ray": {"init": {"runtime_env": {"pip": ["x"]}}}}}),
        ("hydra.callbacks.x._target_", {"callbacks": {"x": {"_target_": "${oc.env:HOME}"}}}),
        ("hydra.callbacks.x._target_", {"callbacks": {"x": {"_target_": ["os.system"]}}}),
    ],
)
def test_settings_of_plugins(key: str, hydra: dict[str, object]) -> None:
    with pytest.raises(UserError) as caught:
        check_hydra(hydra, ["hydra.job.name=x", "experiment=mine"])
    assert str(caught.value).startswith(f"{key.removesuffix('.0')}")
    check_hydra(hydra, [f"+{key}=typed"])
    with pytest.raises(UserError):  # the beginning of a name is not the name
        check_hydra(hydra, [f"+{key[:-1]}=typed"])


def test_the_configs_of_a_sweep_s_jobs_too(conf: Path, tmp_path: Path) -> None:
    write(tmp_path, EVIL["hydra.job.env_set.PYTHONSTARTUP"])
    places = create_config_search_path(str(conf))
    places.prepend("command-line", f"file://{tmp_path}")
    loader = Loader(places)
    sweep = loader.load_configuration("train", ["experiment=bands,mine"], RunMode.MULTIRUN)
    with pytest.raises(UserError, match=r"hydra\.job\.env_set"):
        loader.load_sweep_config(sweep, ["experiment=mine"])


@pytest.mark.parametrize(
    "override",
    ["experiment=bands", "hydra/job_logging=default", "hydra/launcher=joblib", "+hydra.job.env_set.A=b", "+hydra.a=1"],
)
def test_what_is_hydra_s_own_or_typed_is_let_pass(override: str, conf: Path, tmp_path: Path) -> None:
    if "joblib" in override:
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    load(conf, tmp_path, override)


def test_the_command_refuses_before_anything_runs(tmp_path: Path) -> None:
    write(tmp_path / "theirs", EVIL["hydra.callbacks.x._target_"])
    result = run(tmp_path, "hbac.train", "--config-dir", "theirs", "experiment=mine")
    assert result.returncode == 2
    assert result.stderr.startswith("error: hydra.callbacks.x._target_=os.system: a config may not name")
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]
