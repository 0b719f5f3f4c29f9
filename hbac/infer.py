"""``python -m hbac.infer``: predict with an ensemble; of a test part, write the submission."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hbac.cli.launch import launch

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main() -> None:
    """Run the command."""
    launch("hbac.infer:infer", "infer")


def infer(cfg: DictConfig) -> None:
    """Write prediction tables of a data set, for a test part ``submission.csv``; or a folder for each recording."""
    from hbac.common.instantiate import build

    logger = build(cfg.logger, "logger", cfg.allow)  # before all that is heavy, see `hbac.tracking.loggers`

    from hbac.experiment.infer_recordings import infer_recordings
    from hbac.experiment.infer_rows import infer_rows

    (infer_rows if cfg.recordings is None else infer_recordings)(cfg, logger)


if __name__ == "__main__":
    main()
