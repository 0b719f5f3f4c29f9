"""The end of a sweep: its tables are collected, blended and shown; `MergeSweep` is the Hydra callback that does it.

Hydra does not call it when a job failed; `hbac.ensemble members=[SWEEP]` does the same by hand. Light imports
only: Hydra makes it before every command, ``--cfg job`` included.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback

from hbac.cli.failures import note_sweep
from hbac.common.commands import command_line, override
from hbac.common.errors import UserError, fail
from hbac.common.files import new_folder
from hbac.experiment.devices import refuse_in_sweep
from hbac.experiment.launched import command_of_best, command_of_report, expect_jobs
from hbac.experiment.watching import watch

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from hbac.tracking.loggers import Loggers

_SHOWN = 3  # tables that a warning names
_TIMEOUTS = 20  # how often a job that Slurm stops when its time is over goes back into the queue


class MergeSweep(Callback):
    """Give each sweep a folder of its own, merge the out-of-fold tables of its runs and blend its members."""

    def on_run_start(self, config: Any, **kwargs: Any) -> None:
        """Refuse what a command cannot work with."""
        _check(config.hydra)

    def on_multirun_start(self, config: Any, **kwargs: Any) -> None:
        """Make the sweep's folder: never one that is there, which is another sweep's."""
        from omegaconf import open_dict, read_write

        _check(config.hydra)
        asked_for = str(config.hydra.sweep.dir)
        try:
            refuse_in_sweep(config.trainer.devices if "trainer" in config else 1)
            expect_jobs(*_jobs_of(config.hydra))
            sweep = str(new_folder(Path(asked_for)))
        except UserError as error:
            fail(error)
        with read_write(config), open_dict(config):
            if config.get("requeue") and config.hydra.launcher.get("max_num_timeout") == 0:  # submitit's default
                config.hydra.launcher.max_num_timeout = _TIMEOUTS
            if sweep != asked_for:
                if any(typed.startswith("hydra.sweep.dir=") for typed in config.hydra.overrides.hydra):
                    sys.stderr.write(f"hydra.sweep.dir={asked_for} is there already; this sweep is in {sweep}\n")
                config.hydra.sweep.dir = sweep
                config.hydra.overrides.hydra.append(override("hydra.sweep.dir", sweep))  # for the jobs' own configs
        note_sweep(Path(sweep))
        watch(config, Path(sweep))

    def on_multirun_end(self, config: Any, **kwargs: Any) -> None:
        """Write the ensemble into the sweep's folder and print its table."""
        from hbac.common.instantiate import build
        from hbac.ensembling.collect import JOBS

        sweep = Path(config.hydra.sweep.dir)
        if "fold" not in config:
            return  # of another command than training
        try:
            if not (sweep / JOBS).is_dir():
                raise UserError(
                    f"{' '.join(config.hydra.overrides.task)}: this is a sweep over nothing; no job was run"
                )
            kept = kept_settings(config.hydra.overrides.task)
            then = command_of_best(sweep, config.hydra.overrides.task, config.labels.n_folds)
            if then is None and "test" not in build(config.dataset, "dataset", config.allow).parts():
                then = command_of_report(sweep, config.population, kept)  # there is nothing to predict
            logger = build(config.logger, "logger", config.allow)
            blend([sweep], sweep, logger=logger, kept=kept, then=then, **blend_settings(config))
        except UserError as error:
            # Hydra makes a warning of any exception here, and the command would end with 0.
            fail(error)


def _check(hydra: Any) -> None:
    """Stop at settings of Hydra's that no command can work with."""
    launcher = str(hydra.launcher._target_)
    if launcher.endswith("SlurmLauncher") and not which("srun"):
        fail(
            UserError(
                "hydra/launcher=submitit_slurm: there is no Slurm here (no srun); leave it out, or submitit_local"
            )
        )
    if hydra.job.chdir:
        fail(
            UserError(
                "hydra.job.chdir=true: all paths are relative to the folder you type the command in; leave it out"
            )
        )


def _jobs_of(hydra: Any) -> tuple[int, str]:
    """Say how many jobs a sweep has, and what it is over; 0 where jobs run elsewhere or a search decides."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    if "BasicSweeper" not in hydra.sweeper._target_ or "BasicLauncher" not in hydra.launcher._target_:
        return 0, "job"
    given = [f"{key}={value}" for key, value in (hydra.sweeper.params or {}).items()]
    counts = {}
    try:
        for parsed in OverridesParser.create().parse_overrides([*given, *hydra.overrides.task]):
            swept = parsed.is_sweep_override()
            counts[parsed.get_key_element()] = len(list(parsed.sweep_string_iterator())) if swept else 1
    except HydraException:  # of options by a pattern it would have to look up
        return 0, "job"
    n_jobs = math.prod(counts.values())
    return n_jobs, "fold" if n_jobs == counts.get("fold") else "job"


def kept_settings(typed: Sequence[str]) -> list[str]:
    """Choose, of the settings of this command, what the next one has to be told again: where everything is written."""
    return [line for line in typed if line.startswith("outputs=")]


def blend_settings(cfg: DictConfig) -> dict[str, Any]:
    """Collect what a config says about blending: the group ``blend`` and some settings beside it.

    They are arguments of `hbac.ensembling.build.build_ensemble`.
    """
    beside = {
        name: cfg[name] for name in ("population", "on_missing", "allow_missing_folds", "comparisons") if name in cfg
    }
    return beside | dict(cfg.blend)


def blend(
    paths: Sequence[str | Path],
    out: Path,
    folds: str | None = None,
    logger: Loggers | None = None,
    kept: Sequence[str] = (),
    then: str | None = None,
    **settings: Any,
) -> float:
    """Collect tables, write the ensemble, print its table, and return its nested score.

    `paths` and `folds` are as `hbac.ensembling.collect.collect` takes them, `settings` as
    `hbac.ensembling.build.build_ensemble` does. The `logger` is told of the ensemble. `kept` are settings that the next
    command has to be told again; `then` is that command, where it is not to predict.
    """
    from hbac.cli.console import ensemble_table, next_command
    from hbac.ensembling.build import COMPARISONS, build_ensemble
    from hbac.ensembling.collect import collect
    from hbac.tracking.loggers import never_fatal
    from hbac.tracking.model_card import ensemble_card
    from hbac.tracking.results import log_ensemble

    with _told_once():
        result = build_ensemble(collect(paths, folds), out, card=ensemble_card, **settings)
    if logger is not None:
        with never_fatal():
            log_ensemble(logger, result, settings)
    ensemble_table(out)
    if settings.get("comparisons"):
        sys.stdout.write(f"compared:   {out / COMPARISONS}\n")
    for line in result.audit.told():
        sys.stdout.write(f"leak audit: {line}\n")
    for note in result.notes:
        sys.stdout.write(f"note:       {note}\n")
    next_command(then or command_line("infer", override("ensemble", out), *kept))
    return float(result.nested_kl)


@contextmanager
def _told_once() -> Iterator[None]:
    """Say what was found about tables of other code once for all tables of which it is true."""
    from hbac.predictions.foreign import UncheckedTableWarning

    tables: dict[str, list[str]] = {}
    with warnings.catch_warnings():
        show = warnings.showwarning

        def note(message: Warning | str, *where: Any, **more: Any) -> None:
            if isinstance(message, UncheckedTableWarning):
                tables.setdefault(message.found, []).append(message.table)
            else:
                show(message, *where, **more)

        warnings.simplefilter("always", UncheckedTableWarning)
        warnings.showwarning = note
        try:
            yield
        finally:
            for found, names in tables.items():
                more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
                what = "table" if len(names) == 1 else "tables"
                sys.stderr.write(f"warning: {what} {', '.join(names[:_SHOWN])}{more}: {found}\n")
