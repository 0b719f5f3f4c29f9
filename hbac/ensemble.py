"""``python -m hbac.ensemble members=[PATH,…]``: blend runs, sweeps, ensembles or prediction tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hbac.cli.launch import launch
from hbac.common.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main() -> None:
    """Run the command."""
    launch("hbac.ensemble:ensemble", "ensemble")


def ensemble(cfg: DictConfig) -> float:
    """Blend what ``members`` names; the nested score of the blend is returned."""
    from hbac.common.commands import several
    from hbac.common.files import fresh_folder
    from hbac.common.instantiate import build
    from hbac.experiment.launched import named, typed
    from hbac.experiment.merge import blend, blend_settings, kept_settings

    logger = build(cfg.logger, "logger", cfg.allow)
    members = [str(member) for member in several(cfg.members)]
    if not members:
        raise UserError("members=[PATH,…] is needed: run, sweep or ensemble folders, or prediction tables")
    with fresh_folder(Path(cfg.out), found=bool(named("out"))) as out:
        return blend(members, out, cfg.folds, logger, kept=kept_settings(typed()), **blend_settings(cfg))


if __name__ == "__main__":
    main()
