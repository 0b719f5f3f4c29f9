"""``python -m hbac.train``: train one fold, or with ``-m`` sweep over folds, bands, kernels, anything.

One job trains one fold of one member into its run folder. At the end of a sweep a Hydra callback
(`hbac.experiment.merge`) merges the folds and writes the ensemble.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from hbac.common.requeue import hold_signal, requeue_on_signal

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger("hbac.train")


def main() -> None:
    """Run the command."""
    hold_signal()  # before all that takes time to import
    from hbac.cli.launch import launch

    launch("hbac.train:train", "train")


def train(cfg: DictConfig) -> float:
    """Train one fold and write its run folder; a sweeper may minimise the score that is returned.

    It is the KL divergence of the fold's held-out rows of the population that counts. A finished run is left as it is,
    an interrupted one goes on from its last epoch, unless ``resume=false``.
    """
    hold_signal()  # also where a launcher has called this
    from hbac.common.instantiate import build

    # Before all that is heavy, see `hbac.tracking.loggers`; and a missing account is said at once.
    build(cfg.logger, "logger", cfg.allow)

    from contextlib import nullcontext

    from filelock import Timeout

    from hbac.cli.console import next_command, run_table
    from hbac.common.commands import command_line, override
    from hbac.common.errors import UserError
    from hbac.common.locks import locked
    from hbac.experiment import devices
    from hbac.experiment.audit import require_no_leak
    from hbac.experiment.finished import score_of_finished
    from hbac.experiment.fitting import fit
    from hbac.experiment.job import make_job
    from hbac.experiment.launched import all_folds, in_sweep, named, register_job, typed
    from hbac.experiment.training_data import fold_table_of, require_counted
    from hbac.labels.targets import population_of
    from hbac.training.quiet import quiet

    quiet()
    devices.join(cfg)
    first = devices.is_first()
    requeue_on_signal(cfg.requeue and first and not devices.was_started_here())
    job, counted = make_job(cfg), population_of(cfg.population)
    if job.n_devices > 1 and not job.is_joined:
        devices.train_on_each(job.n_devices)
        return float("nan")  # no sweeper waits for it
    # Settings first, files second: what is wrong with the former is said before a data set is read or made.
    part = build(cfg.dataset, "dataset", cfg.allow).part("train", official="official" in job.front_end.sources)
    folds = fold_table_of(part, cfg)
    require_counted(part, folds, cfg.fold, cfg.population)
    require_no_leak(part, folds, Path(cfg.outputs))
    job = job.of(part, folds)
    job.folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(job.folder / ".lock", timeout_s=0) if first else nullcontext(), devices.others_may_go():
            register_job(job.folder)
            if cfg.resume and (found := score_of_finished(job.folder, counted.name)) is not None:
                score = found
                log.info(
                    "fold %d of %s is there already: KL %.4f on %s (resume=false trains it anew)",
                    cfg.fold,
                    job.member,
                    score,
                    counted.rows,
                )
            else:
                score = fit(cfg, job, part, folds)
    except Timeout:
        raise UserError(
            f"{job.folder}: another process is training this run; wait for it, or change the seed"
        ) from None
    if first and not in_sweep():
        run_table(job.folder, cfg.population, part.floor)
        again = [line for line in typed() if line not in named("fold")]
        if job.n_devices == 1:
            next_command(command_line("train", *again, flags=all_folds(folds.n_folds)))
        elif cfg.fold + 1 < folds.n_folds:  # a sweep's jobs have one device each
            next_command(command_line("train", *again, override("fold", cfg.fold + 1)))
        else:
            next_command(command_line("ensemble", override("members", [str(job.folder.parent)])))
    return score


if __name__ == "__main__":
    main()
