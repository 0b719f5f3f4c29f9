"""W&B's pages as code show keys that a training logs; nothing is sent."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from hbac.cli.launch import composed
from hbac.common.errors import UserError
from hbac.labels.targets import POPULATIONS, kl_name
from hbac.tracking.wandb_pages import make_report, make_workspace, outline
from hbac.training.metrics import monitored
from hbac.vocabulary import CLASSES
from hbac.workspace import workspace

pytest.importorskip("wandb_workspaces")
pytestmark = pytest.mark.filterwarnings("ignore:Pydantic V1:DeprecationWarning")  # of its own models


def test_the_workspace_has_a_section_for_the_classes() -> None:
    sections = {name: set(metrics) for name, metrics in outline(make_workspace("me", "hbac")).items()}
    assert sections == {
        "Scores": {f"val/{kl_name(population)}" for population in POPULATIONS},
        "Classes": {f"val_by_class/kl_{name}_10_or_more" for name in CLASSES},
        "Training": {"train/kl", "train/grad_norm", "train/windows_per_s"},
        "Windows": {"worst_windows_pictures"},
    }


def test_the_report_has_members_and_ensembles() -> None:
    shown = outline(make_report("me", "hbac"))
    assert list(shown) == ["ensembles", "folds"]
    assert shown["ensembles"] == ["kl", "kl_in_sample"]
    assert {"kl", "val/kl_10_or_more"} < set(shown["folds"])


def test_a_dry_run_prints_what_would_be_made(capsys: pytest.CaptureFixture[str]) -> None:
    workspace(OmegaConf.create({"entity": None, "project": "mine", "dry_run": True}))
    printed = capsys.readouterr().out
    assert printed.startswith("workspace: {") and "report: {" in printed
    assert "val_by_class/kl_lpd_10_or_more" in printed


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="entity=NAME is needed"):
        workspace(OmegaConf.create({"entity": None, "project": "mine", "dry_run": False}))
    monkeypatch.setattr("hbac.workspace.find_spec", lambda _: None)
    with pytest.raises(UserError, match="pip install 'wandb-workspaces>=0.4'"):
        workspace(OmegaConf.create({}))


def test_the_sweep_file_runs_our_command(conf: Path) -> None:
    """As `wandb agent` fills it in: ``${args_no_hyphens}`` becomes ``key=value`` for each parameter."""
    sweep = yaml.safe_load((conf.parent / "examples" / "wandb_sweep.yaml").read_text())
    python, flag, module, *fixed, last = sweep["command"]
    assert (python, flag, module, last) == ("python", "-m", "hbac.train", "${args_no_hyphens}")
    assert sweep["metric"]["name"].removesuffix(".min") == monitored("many_votes")
    values = {
        name: (space.get("values") or [space["min"], space["max"]]) for name, space in sweep["parameters"].items()
    }
    for chosen in zip(*(itertools.islice(itertools.cycle(each), 3) for each in values.values()), strict=True):
        overrides = [f"{name}={value}" for name, value in zip(values, chosen, strict=True)]
        cfg = composed([*overrides, *(line for line in fixed if line != "logger.mode=online")])
        assert cfg.band in values["band"] and cfg.optimizer.lr in values["optimizer.lr"]
