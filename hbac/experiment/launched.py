"""What this command was asked: the settings that were typed, and the sweep that a job is part of."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hbac.common.commands import command_line, key_of, override

if TYPE_CHECKING:
    from hbac.training.epoch_lines import Place

SEARCHED = "optimization_results.yaml"  # Optuna's sweeper writes it in the end
SEARCH = "experiment=optuna"

_expected: tuple[int, str] = (0, "job")  # of the sweep in this process


def command_of_job() -> str:
    """Return the command that trains this job alone, of a sweep with its own values."""
    return command_line("train", *typed())


def all_folds(n_folds: int) -> tuple[str, str]:
    """Return what trains every fold, at the end of a command: a flag and a sweep."""
    return "-m", f"fold={','.join(map(str, range(n_folds)))}"


def command_of_best(sweep: Path, asked: Sequence[str], n_folds: int) -> str | None:
    """Return the command that trains the best setting of a search on all folds; None for a sweep that is no search.

    `asked` are the settings that the search was typed with.
    """
    import yaml

    if not (sweep / SEARCHED).is_file():
        return None
    best = yaml.safe_load((sweep / SEARCHED).read_text(encoding="utf-8"))["best_params"]
    own = [line for line in asked if line.lstrip("+~").partition("=")[0] not in ("fold", *best) and line != SEARCH]
    return command_line("train", *own, *(override(*item) for item in best.items()), flags=all_folds(n_folds))


def command_of_report(ensemble: Path, population: str, kept: Sequence[str]) -> str:
    """Return the command that reports on an ensemble, by the rows that it was fitted on."""
    from hbac.labels.targets import DEFAULT_POPULATION

    rows = [] if population == DEFAULT_POPULATION else [override("population", population)]
    return command_line("report", override("runs", [ensemble]), *rows, *kept)


def typed() -> list[str]:
    """Return the settings of the command line, as they were typed."""
    from hydra.core.hydra_config import HydraConfig

    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []


def named(*keys: str) -> list[str]:
    """Return the settings among some that were typed, as they were; with a group its settings count."""
    return [line for line in typed() if any(f"{key_of(line)}.".startswith(f"{key}.") for key in keys)]


def chosen(group: str) -> str | None:
    """Return which option of a group this command has; None for none, and where no command runs."""
    from hydra.core.hydra_config import HydraConfig

    choice: str | None = HydraConfig.get().runtime.choices.get(group) if HydraConfig.initialized() else None
    return choice


def in_sweep() -> bool:
    """Say whether this job is one of several."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def expect_jobs(n_jobs: int, what: str) -> None:
    """Note how many jobs the sweep that begins has, where they run one after another in this process; 0 is not known.

    It is over ``fold``, or ``job``.
    """
    global _expected  # Hydra tells a job its number only
    _expected = (n_jobs, what)


def place_in_sweep() -> Place | None:
    """Return where this job stands in its sweep; None where there is none."""
    from hydra.core.hydra_config import HydraConfig

    from hbac.training.epoch_lines import Place

    if not in_sweep():
        return None
    return Place(_expected[1], int(HydraConfig.get().job.num), _expected[0])


def register_job(folder: Path) -> None:
    """Tell the sweep which run this job is, so that the folds can be merged whatever launcher ran them."""
    from hydra.core.hydra_config import HydraConfig

    from hbac.common.files import write_json
    from hbac.ensembling.collect import JOBS

    if in_sweep():
        jobs = Path(HydraConfig.get().sweep.dir) / JOBS
        jobs.mkdir(parents=True, exist_ok=True)
        number = HydraConfig.get().job.num
        write_json(jobs / f"{number:05d}.json", {"run": os.path.relpath(folder, jobs.parent)}, sealed=True)
