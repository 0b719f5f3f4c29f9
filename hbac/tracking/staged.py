"""Loggers of a stage that comes before the last: the run's own, with the stage's name before each metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch.loggers import Logger


class _Staged(Logger):
    """Hands metrics on under a stage's name, so that the stages of a run stay apart."""

    def __init__(self, logger: Logger, stage: str) -> None:
        super().__init__()
        self.logger, self.stage = logger, stage

    @property
    def name(self) -> str | None:
        """Of the logger behind it."""
        return self.logger.name

    @property
    def version(self) -> int | str | None:
        """Of the logger behind it."""
        return self.logger.version

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Log nothing: the run has said it all."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log a stage's metrics."""
        self.logger.log_metrics({f"{self.stage}/{name}": value for name, value in metrics.items()}, step)

    def save(self) -> None:
        """Write what is waiting."""
        self.logger.save()


def staged(loggers: Sequence[Logger], stage: str) -> list[Logger]:
    """Return loggers for a stage of a run, whose metrics then begin with the stage's name."""
    return [_Staged(logger, stage) for logger in loggers]
