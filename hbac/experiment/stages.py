"""The stages of a training: settings of their own on top of the run's, one after another."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hbac.cli.settings import check_settings
from hbac.common.errors import UserError
from hbac.experiment.launched import chosen

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from hbac.labels.recipe import LabelRecipe

# What a stage may have of its own. Network, front-end, data set, folds and seed are the run's.
STAGE_SETTINGS = ("labels", "augment", "optimizer", "schedule", "trainer", "data", "ema", "patience")
_FOLD_SETTINGS = ("n_folds", "seed")
STAGES = "stages"  # in a run's folder: one folder for each stage before the last


@dataclass(frozen=True)
class Stage:
    """A part of a training run, with its own rows, rates and epochs; it goes on from the weights of the one before."""

    name: str  # empty for the last, whose settings are those of the run
    cfg: DictConfig  # the run's, with the stage's settings in it
    labels: LabelRecipe  # which rows are trained on, and toward what
    folder: Path  # gets its checkpoints
    seed: int  # its own, or each stage would draw the same numbers again
    teacher: str  # the earlier stage whose predictions it learns from; empty where there is none


def shorten_stages(cfg: DictConfig) -> None:
    """Give the stages of a run with ``debug=`` as few epochs as the run itself."""
    from omegaconf import OmegaConf, open_dict

    stages = cfg.stages if chosen("debug") and isinstance(cfg.stages, Mapping) else {}
    with open_dict(cfg):
        for name, settings in stages.items():
            if isinstance(settings, Mapping):
                cfg.stages[name] = OmegaConf.merge(settings, {"trainer": {"max_epochs": cfg.trainer.max_epochs}})


def stages_of(cfg: DictConfig) -> dict[str, DictConfig]:
    """Put together the config of each stage, in order; the run's own config comes last and has no name.

    A `UserError` for a setting that a stage cannot have, or that does not exist.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if cfg.stages is not None and not isinstance(cfg.stages, Mapping):
        raise UserError(f"stages={cfg.stages}: must have names and their settings, such as {{first: {{ema: 0.99}}}}")
    stages: dict[str, DictConfig] = {}
    for name, settings in (cfg.stages or {}).items():
        if settings is not None and not isinstance(settings, Mapping):
            raise UserError(f"stages.{name}={settings}: must be settings, such as {{ema: 0.99}}")
        check_settings(as_plain(cast("DictConfig", settings)) if settings else {}, key_prefix(str(name)))
        if not re.fullmatch(r"\w[\w.+-]*", str(name)):  # it names a folder in the run's
            raise UserError(f"stages.{name}: a stage's name has letters, digits and _ . + - only")
        for key in settings or {}:
            if key not in STAGE_SETTINGS:
                raise UserError(
                    f"stages.{name}.{key}: a stage has no such setting; it may have {', '.join(STAGE_SETTINGS)}"
                )
        for key in (settings or {}).get("labels") or {}:
            if key in _FOLD_SETTINGS:
                raise UserError(f"stages.{name}.labels.{key}: all stages share the run's folds; set labels.{key}")
        try:
            stages[str(name)] = cast("DictConfig", OmegaConf.merge(cfg, settings or {}))
        except OmegaConfBaseException as error:
            raise UserError(f"stages.{name}: {str(error).splitlines()[0]}") from None
    return stages | {"": cfg}


def make_stage(stages: Mapping[str, DictConfig], name: str) -> Stage:
    """Check a stage's settings, and make one of `stages_of`; its folder is relative to the run's.

    A `UserError` for a setting out of its range.
    """
    import numpy as np

    from hbac.common.choices import check_choice
    from hbac.data.base import check_cache
    from hbac.data.resident import WHERE
    from hbac.labels.recipe import LabelRecipe
    from hbac.labels.targets import SPLITS

    cfg, number = stages[name], list(stages).index(name)
    recipe = LabelRecipe.from_config(cfg.labels)
    if cfg.data.cache:
        # The cache of signals holds electrodes, which can still be changed.
        after = ("raw",) if cfg.front_end._target_ == "hbac.signal.EEGFrontEnd" else ()
        stages_before = [stage for stage, node in cfg.augment.items() if node is not None and stage not in after]
        check_cache(stages_before, recipe.jitter_s)
    check_choice("labels.pseudo_split", cfg.labels.pseudo_split, SPLITS)
    check_choice("data.resident", cfg.data.get("resident", "auto"), WHERE)
    teacher = cfg.labels.pseudo if cfg.labels.pseudo in stages else ""
    if teacher and list(stages).index(teacher) >= number:
        raise UserError(f"stages.{name}.labels.pseudo={teacher}: a stage can only learn from one before it")
    seed = int(np.random.SeedSequence((cfg.seed, number)).generate_state(1)[0]) if name else cfg.seed
    return Stage(name, cfg, recipe, Path(STAGES) / name if name else Path(), seed, teacher)


def key_prefix(stage: str) -> str:
    """Return what stands before the keys of a stage's settings; nothing for those of the run itself."""
    return f"{STAGES}.{stage}." if stage else ""


def as_plain(cfg: DictConfig) -> dict[str, Any]:
    """Return a config as plain containers, all its references filled in and nothing missing."""
    from omegaconf import OmegaConf

    return cast("dict[str, Any]", OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True))
