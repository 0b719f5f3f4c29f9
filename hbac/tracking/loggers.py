"""Loggers: W&B, TensorBoard, or none beside the CSV file that every run writes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from hbac.errors import UserError
from hbac.signal.choices import check_choice

MODES = ("offline", "online", "disabled")


@dataclass(frozen=True)
class RunFacts:
    """What a logger says of a run.

    Parameters
    ----------
    name : str
        ``<model>-<band>-f<fold>``.
    group : str
        The member: the config without its fold.
    config : dict
        The resolved config with the hashes of folds and data, plain containers.
    folder : Path
        The run's folder, where all logs go.
    job_type : str
        ``train``, ``ensemble`` or ``infer``.
    """

    name: str
    group: str
    config: dict[str, Any]
    folder: Path
    job_type: str = "train"


def none(facts: RunFacts) -> list[Logger]:
    """Return the CSV logger alone.

    Parameters
    ----------
    facts : RunFacts
        Of the run.

    Returns
    -------
    list of Logger
        Writes ``logs/version_<n>/metrics.csv``, one version for each time the run was started.
    """
    return [CSVLogger(facts.folder, name="logs")]


def wandb(
    facts: RunFacts,
    mode: Literal["offline", "online", "disabled"] = "offline",
    project: str = "hbac",
    entity: str | None = None,
    tags: Sequence[str] = (),
) -> list[Logger]:
    """Return W&B beside the CSV logger.

    Parameters
    ----------
    facts : RunFacts
        Of the run.
    mode : str
        ``offline`` needs neither account nor network: ``wandb leet`` shows the run, ``wandb sync`` uploads it.
        ``online`` uses the account that `wandb login` set up. ``disabled`` writes nothing.
    project : str
        W&B project.
    entity : str, optional
        W&B user or team; the account's default where absent.
    tags : sequence of str
        Further tags.

    Returns
    -------
    list of Logger
        Both loggers.

    Raises
    ------
    UserError
        For another `mode`.
    """
    check_choice("logger.mode", mode, MODES)
    # Lightning passes an argument that W&B no longer knows, and W&B says so each time.
    os.environ.setdefault("WANDB_SILENT", "true")
    logger = WandbLogger(
        name=facts.name,
        save_dir=facts.folder,
        project=project,
        entity=entity,
        group=facts.group,
        job_type=facts.job_type,
        tags=[facts.config["dataset"]["_target_"].rsplit(".", 1)[-1].lower(), *tags],
        config=facts.config,
        mode=mode,
        offline=mode == "offline",
        # A new W&B run for each fold, also where several are trained in one process.
        reinit="finish_previous",
        settings={"console": "off", "silent": True, "disable_git": False, "x_disable_stats": False},
    )
    run = logger.experiment
    run.define_metric("val/*", step_metric="epoch")
    run.define_metric("val/kl", step_metric="epoch", summary="min")
    return [*none(facts), logger]


def tensorboard(facts: RunFacts) -> list[Logger]:
    """Return TensorBoard beside the CSV logger.

    Parameters
    ----------
    facts : RunFacts
        Of the run.

    Returns
    -------
    list of Logger
        Both loggers.

    Raises
    ------
    UserError
        When tensorboard is not installed.
    """
    try:
        return [*none(facts), TensorBoardLogger(facts.folder, name="tensorboard")]
    except ModuleNotFoundError as error:
        raise UserError(f"logger=tensorboard: {error}; pip install tensorboard, or logger=csv") from error


@contextmanager
def closing(loggers: list[Logger]) -> Iterator[list[Logger]]:
    """Finish every W&B run, as failed where the block raised: the next fold of this process needs its own.

    Parameters
    ----------
    loggers : list of Logger
        Of one run.

    Yields
    ------
    list of Logger
        The same.
    """
    status = 1
    try:
        yield loggers
        status = 0
    finally:
        for logger in loggers:
            if isinstance(logger, WandbLogger):
                logger.experiment.finish(exit_code=status)
            else:
                logger.finalize("success" if status == 0 else "failed")


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
    """Return loggers for a stage of a run, whose metrics then begin with the stage's name.

    Parameters
    ----------
    loggers : sequence of Logger
        The run's.
    stage : str
        Name of the stage.

    Returns
    -------
    list of Logger
        One for each.
    """
    return [_Staged(logger, stage) for logger in loggers]
