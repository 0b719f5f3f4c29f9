"""What all entry points share: where the configs lie, where ``-m`` may stand, how an error ends.

Only light imports here: ``--help`` and ``--cfg job`` must answer before torch could even be loaded.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hbac import __version__
from hbac.cli.failures import LAUNCHERS, SweepJobError, end_failed_sweep, end_killed_sweep, note_failure
from hbac.cli.ground import keep_below, open_streams, unusable
from hbac.cli.settings import check_settings
from hbac.cli.spelling import check_config_dir, check_flags, check_overrides, explained, with_empty_groups
from hbac.common.errors import UserError, fail
from hbac.common.processes import ends_cleanly, interrupt_within

if TYPE_CHECKING:
    from omegaconf import DictConfig

# What Hydra and OmegaConf end in, before a job has begun, where they are given what they did not think of.
NOT_COMPOSED = (TypeError, ValueError, KeyError, AttributeError, AssertionError, ArithmeticError, RecursionError)
_FLAGS_WITH_VALUE = ("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn",
                     "--config-dir", "-cd")  # fmt: skip


def conf_dir() -> Path:
    """Return the folder of the configs.

    In the repository it is the top-level ``conf/``; in an installed wheel it travels inside the package.
    """
    package = Path(__file__).parents[1]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def composed(overrides: Sequence[str]) -> DictConfig:
    """Compose the config of a training, with settings as they are typed, in another command or in no command at all.

    A `UserError` when a setting is misspelt, or chooses what there is not.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException

    check_overrides(list(overrides), conf_dir(), "train")
    inside = GlobalHydra.instance().is_initialized()
    try:
        with nullcontext() if inside else initialize_config_dir(str(conf_dir()), version_base="1.3"):
            return compose("train", list(overrides))
    except HydraException as error:
        raise UserError(explained(error, list(overrides), conf_dir(), "train")) from None


def flags_first(argv: Sequence[str]) -> list[str]:
    """Move all flags before all overrides.

    Hydra's parser takes the overrides as one block, so that ``model=a -m fold=0,1`` is an error to it:
    ``-m`` splits the block in two.

    Examples
    --------
    >>> flags_first(["model=resnet_gru", "-m", "fold=0,1", "--cfg", "job"])
    ['-m', '--cfg', 'job', 'model=resnet_gru', 'fold=0,1']
    """
    flags, overrides = _apart(argv)
    return flags + overrides


def _apart(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    flags: list[str] = []
    overrides: list[str] = []
    rest = iter(argv)
    for argument in rest:
        if argument in ("--info", "-i"):  # its value may be left out, and an override is none
            value = next(rest, "all")
            flags.append(f"--info={value if '=' not in value else 'all'}")
            overrides += [value] if "=" in value else []
        elif argument.startswith("-"):
            flags.append(argument)
            if argument in _FLAGS_WITH_VALUE:
                flags.extend(value for value in [next(rest, None)] if value is not None)
        else:
            overrides.append(argument)
    return flags, overrides


def launch(job: str, config_name: str) -> None:
    """Run one entry point: compose its primary config in ``conf/``, call the job, end with the right status.

    The job is ``module:function``, and imported when it starts, not before. A `SystemExit` with status 2 and one
    message, where the user's input is wrong: a `UserError`, or a config that cannot be composed. With 128 and the
    number of the signal, where one ended it.
    """
    with ends_cleanly():
        _launch(job, config_name)


def _launch(job: str, config_name: str) -> None:
    # OpenMP's threads spin where they wait for one another, by default so long that a training of two threads all but
    # stops when other programs want the two cores; fewer spins cost an idle machine nothing that could be measured.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # read when torch is loaded
    open_streams()
    try:
        if sys.platform == "win32":
            raise UserError("hbac runs on Linux and macOS; on Windows use its Linux subsystem: wsl --install")
        check_flags(sys.argv[1:], conf_dir(), config_name)
        check_config_dir(sys.argv[1:])
    except UserError as error:
        fail(error)
    sys.argv[1:] = with_empty_groups(flags_first(sys.argv[1:]), conf_dir(), config_name)
    if "--version" in sys.argv[1:]:
        sys.stdout.write(f"hbac {__version__}\n")
        return
    if {"--help", "-h"} & set(sys.argv[1:]):
        from hbac.cli.help import help_text

        width = shutil.get_terminal_size().columns if sys.stdout.isatty() or "COLUMNS" in os.environ else None
        sys.stdout.write(help_text(conf_dir(), config_name, width))
        return

    import hydra
    from hydra._internal import hydra as hydra_main
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException
    from hydra.types import RunMode
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from hbac.cli.trusted import Loader

    # Without this Hydra prints its own summary of any exception and exits with 1 before we see it.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    module, function = job.split(":")

    started = False

    def task(cfg: Any) -> Any:
        nonlocal started
        started = True
        settings = HydraConfig.get()
        try:
            check_settings(OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True))  # type: ignore[arg-type]
            keep_below(Path(str(cfg.outputs)))
            if multiprocessing.get_start_method(allow_none=True) == "loky":  # joblib's, which no worker of a job knows
                multiprocessing.set_start_method(None, force=True)
            # A process of submitit's is the job's own; those of others end with the command, which says so.
            with ends_cleanly() if "SUBMITIT_EXECUTOR" in os.environ else nullcontext():
                return getattr(import_module(module), function)(cfg)
        except Exception as error:
            if interrupt := interrupt_within(error):
                raise interrupt from None
            if isinstance(error, OSError):
                error = unusable(error)
            elif isinstance(error, OmegaConfBaseException):
                error = UserError(explained(error, [], conf_dir(), config_name))
            if settings.mode == RunMode.MULTIRUN:
                note_failure(error, settings)
            if isinstance(error, UserError):
                fail(error)  # at once, and without Hydra's own summary before it
            raise

    task.__module__ = module  # the name Hydra gives the job
    _, overrides = _apart(sys.argv[1:])
    hydra_main.ConfigLoaderImpl = Loader  # type: ignore[attr-defined]  # there is no other way to look at a config
    try:
        check_overrides(overrides, conf_dir(), config_name)
        hydra.main(config_path=str(conf_dir()), config_name=config_name, version_base="1.3")(task)()
    except UserError as error:
        fail(error)
    except (HydraException, OmegaConfBaseException) as error:  # first: that of a missing option is an OSError too
        fail(UserError(explained(error, overrides, conf_dir(), config_name)))
    except OSError as error:
        fail(unusable(error))
    except SweepJobError as error:
        end_failed_sweep(error.sweep, overrides, merged=config_name == "train")
    except Exception as error:
        if type(error).__module__.partition(".")[0] in LAUNCHERS:
            end_killed_sweep(error, merged=config_name == "train")
        if not isinstance(error, NOT_COMPOSED):
            raise
        if started:
            raise
        fail(UserError(f"{' '.join(overrides)}: no config can be made of this: {error}"))
