"""Where a run is told of: W&B, TensorBoard, or the CSV file alone that every training writes.

`Loggers` offers `training`, the loggers of one fold, and `single`, a W&B run of another command; both close what they
opened, as failed where their block raised.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import hbac
from hbac.common.choices import check_choice
from hbac.common.errors import UserError
from hbac.labels.targets import POPULATIONS, kl_name, logged
from hbac.vocabulary import CLASSES

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger, WandbLogger
    from wandb import Run

log = logging.getLogger("hbac.tracking")

MODES = ("offline", "online", "disabled")
_OF_A_CLASS = re.compile(rf"{logged('')}(?=kl_(?:{'|'.join(CLASSES)})\b|kl_(?:{'|'.join(CLASSES)})_)")
_NOT_IN_PROJECTS = "/\\#?%:"
_SETTINGS: dict[str, Any] = {
    "console": "off",
    "silent": True,
    # Of git we say the commit ourselves: W&B's own record has the remote's address and the whole difference.
    "disable_git": True,
    "disable_code": True,
    "x_save_requirements": False,  # the run's environment.json has the versions
}


@dataclass(frozen=True)
class RunFacts:
    """What a logger says of a run."""

    name: str  # <model>-<band>-f<fold>
    group: str  # the member: the config without its fold
    config: dict[str, Any]  # resolved, with the hashes of folds and data; plain containers
    folder: Path  # the run's, where all logs go
    job_type: str = "train"  # or ensemble, or infer
    run_id: str | None = None  # W&B's, of a run that goes on where it stopped; None for a new one
    typed: bool = True  # whether W&B may note the command line, which can name a patient's file


def run_id(config_hash: str, fold: int) -> str:
    """Name a training as W&B identifies it, by the hash of its config and its fold: the same command is the same run.

    ``model-`` and the id names its weights.
    """
    return f"{config_hash[:16]}-{fold}"


class Loggers:
    """The loggers of a command: the CSV file that every training writes, and what was asked for beside it.

    The CSV file is ``logs/version_<n>/metrics.csv``, one version for each time the run was started.

    A `UserError` for another `mode`; for ``online`` without an account; when a run is opened, for ``online`` without a
    network; when tensorboard is asked for and not installed.

    Parameters
    ----------
    tensorboard : bool
        TensorBoard's files too.
    wandb : bool
        W&B too.
    mode : str
        Of W&B. ``offline`` needs neither account nor network: ``wandb leet`` shows the run, ``wandb sync`` uploads it.
        ``online`` uses the account that `wandb login` set up. ``disabled`` writes nothing.
    project : str
        W&B project.
    entity : str, optional
        W&B user or team; the account's default where absent.
    tags : sequence of str
        Further tags, beside data set, model and band.
    worst_windows : int
        How many of the worst held-out windows W&B shows with a picture; 0 for none.
    folder : str, optional
        Gets W&B's folder ``wandb``, one for all runs; that of each run where absent.
    models : bool
        Whether W&B keeps the weights of each fold, as an artifact.
    """

    def __init__(
        self,
        tensorboard: bool = False,
        wandb: bool = False,
        mode: Literal["offline", "online", "disabled"] = "offline",
        project: str = "hbac",
        entity: str | None = None,
        tags: Sequence[str] = (),
        worst_windows: int = 8,
        folder: str | None = None,
        models: bool = True,
    ) -> None:
        if tensorboard and not (find_spec("tensorboard") or find_spec("tensorboardX")):
            raise UserError("logger=tensorboard: it is not installed; pip install tensorboard, or logger=csv")
        check_choice("logger.mode", mode, MODES)
        if wrong := sorted(set(_NOT_IN_PROJECTS) & set(str(project))):
            raise UserError(
                f"logger.project={project}: W&B takes no {' '.join(wrong)} in a project's name; the user or team "
                "before it is logger.entity"
            )
        self.tensorboard, self.wandb, self.worst_windows = tensorboard, wandb, worst_windows
        self.folder, self.models = folder, models
        self.mode, self.project, self.entity, self.tags = mode, project, entity, tuple(tags)
        if wandb:
            _load_wandb()
            if mode == "online":
                self._require_account()

    @contextmanager
    def training(self, facts: RunFacts) -> Iterator[list[Logger]]:
        """Open the loggers of one fold, for Lightning's Trainer; W&B's is the last one."""
        from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger, WandbLogger
        from lightning.pytorch.utilities import rank_zero_only

        loggers: list[Logger] = [CSVLogger(facts.folder, name="logs")]
        if self.tensorboard:
            loggers.append(TensorBoardLogger(facts.folder, name="tensorboard"))
        # Processes of further devices get a run that does nothing.
        mode = "disabled" if rank_zero_only.rank else self.mode  # type: ignore[attr-defined]
        with self._run(facts, mode) if self.wandb else nullcontext() as run:
            if run is not None:
                _define_metrics(run)
            status = "failed"
            try:
                yield [
                    *loggers,
                    *([] if run is None else [_patient(WandbLogger(save_dir=str(facts.folder), experiment=run))]),
                ]
                status = "success"
            finally:
                for logger in loggers:
                    logger.finalize(status)

    @contextmanager
    def single(self, facts: RunFacts) -> Iterator[Run | None]:
        """Open the W&B run of a command that trains nothing; None where W&B is not asked for."""
        with self._run(facts, self.mode) if self.wandb else nullcontext() as run:
            yield run

    @contextmanager
    def _run(self, facts: RunFacts, mode: Literal["offline", "online", "disabled"]) -> Iterator[Run | None]:
        import wandb
        from wandb.errors import Error

        where = Path(self.folder or facts.folder)
        # Of an agent of W&B's sweeps the run is the agent's.
        run_id = None if "WANDB_RUN_ID" in os.environ else facts.run_id
        try:
            where.mkdir(parents=True, exist_ok=True)
            run = wandb.init(
                name=facts.name,
                id=run_id,
                resume="allow" if run_id and mode == "online" else None,
                dir=str(where),
                project=self.project,
                entity=self.entity,
                group=facts.group,
                job_type=facts.job_type,
                tags=[*_tags(facts.config), *self.tags],
                config=facts.config | {"git": git_state()},
                mode=mode,
                reinit="finish_previous",  # a new run for each fold, also where several are trained in one process
                settings=wandb.Settings(**_SETTINGS, x_disable_meta=not facts.typed),
            )
        except (Error, OSError) as error:
            if mode == "online":
                raise self._refused(error) from None
            log.warning("W&B writes nothing: %s", " ".join(str(error).split()))
            yield None
            return
        status = 1
        try:
            yield run
            status = 0
        finally:
            with never_fatal():
                run.finish(exit_code=status)

    def _require_account(self) -> None:
        """Look for an account before anything is computed: W&B itself would ask a person, and wait for the answer."""
        import wandb
        from wandb.errors import Error

        try:
            found = wandb.login(prompt=False)
        except Error as error:
            raise self._refused(error) from None
        if not found:
            raise self._refused("there is no account")

    def _refused(self, reason: object) -> UserError:
        return UserError(
            f"logger.mode={self.mode}: {str(reason).splitlines()[0]}; type `wandb login` or set WANDB_API_KEY, "
            "or take logger.mode=offline (`wandb sync` uploads such runs later)"
        )


@contextmanager
def never_fatal() -> Iterator[None]:
    """Make a warning of any error of a logger: what was computed is never lost for it."""
    try:
        yield
    except Exception as error:  # of W&B, its process, or the disk
        log.warning("logging failed: %s: %s", type(error).__name__, " ".join(str(error).split()))


def _patient(logger: WandbLogger) -> WandbLogger:
    """Let a training go on whatever happens to W&B's process."""
    logger.log_metrics = _by_class(logger.log_metrics)  # type: ignore[method-assign]
    for name in ("log_metrics", "log_hyperparams", "log_graph", "save", "finalize", "after_save_checkpoint"):
        if hasattr(logger, name):
            setattr(logger, name, _warning_only(getattr(logger, name)))
    return logger


def _by_class(method: Callable[..., Any]) -> Callable[..., None]:
    """Give the metrics of single classes a section of their own: W&B makes one of what stands before the stroke."""

    def renamed(metrics: Mapping[str, float], *args: Any, **kwargs: Any) -> None:
        method({_OF_A_CLASS.sub("val_by_class/", name): value for name, value in metrics.items()}, *args, **kwargs)

    return renamed


def _warning_only(method: Callable[..., Any]) -> Callable[..., None]:
    @wraps(method)
    def careful(*args: Any, **kwargs: Any) -> None:
        with never_fatal():
            method(*args, **kwargs)

    return careful


def _define_metrics(run: Run) -> None:
    """Draw each metric against its own axis, and keep the best value of a score beside the last one."""
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    for metrics in ("val/*", "val_by_class/*", "train/*"):
        run.define_metric(metrics, step_metric="epoch")
    for population in POPULATIONS:
        run.define_metric(logged(kl_name(population)), step_metric="epoch", summary="last,min")


def _load_wandb() -> None:
    """Load W&B with what its first run would load; where torch is not there yet, in half the time.

    Its data models read their own source when they are made, for which Python looks through every loaded module.
    """
    import wandb

    with suppress(ImportError):  # no part of its interface
        import wandb.sdk.launch.inputs.internal  # noqa: F401


def find_run(loggers: Sequence[Logger]) -> Run | None:
    """Return the W&B run among loggers; None where it is not asked for, and in processes of further devices."""
    from lightning.pytorch.loggers import WandbLogger
    from lightning.pytorch.utilities import rank_zero_only

    if rank_zero_only.rank:  # type: ignore[attr-defined]
        return None
    found = [logger.experiment for logger in loggers if isinstance(logger, WandbLogger)]
    return found[0] if found else None


def git_state() -> dict[str, Any]:
    """Return the ``commit`` of this code and whether it is ``dirty``; nothing where it is no git checkout."""
    root = Path(hbac.__file__).parents[1]
    if not (root / ".git").exists():
        return {}
    describe = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run(describe, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"commit": found.removesuffix("-dirty"), "dirty": found.endswith("-dirty")}


def _tags(config: dict[str, Any]) -> list[str]:
    """Name data set, model and band, as far as a command has them."""
    names = [config[key]["_target_"].rpartition(".")[2].lower() for key in ("dataset", "model") if key in config]
    return [*names, *([f"band {config['band']}"] if "band" in config else [])]
