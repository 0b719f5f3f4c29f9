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
    """Blend what ``members`` names.

    Parameters
    ----------
    cfg : DictConfig
        The composed config of ``conf/ensemble.yaml``.

    Returns
    -------
    float
        The nested score of the blend.

    Raises
    ------
    UserError
        When no members are given, or they do not go together.
    """
    from hbac.common.instantiate import build
    from hbac.experiment.merge import blend, blend_settings

    logger = build(cfg.logger, "logger", cfg.allow)
    if not cfg.members:
        raise UserError("members=[PATH,…] is needed: run, sweep or ensemble folders, or prediction tables")
    return blend(list(cfg.members), Path(cfg.out), cfg.folds, logger, **blend_settings(cfg))


if __name__ == "__main__":
    main()
