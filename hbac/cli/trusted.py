"""What Hydra itself makes of a config: only its own, so that a folder of configs from elsewhere runs no code.

`hbac.common.instantiate` guards what hbac makes. Hydra makes callbacks, launchers, sweepers and log handlers of
``hydra.*``, before any command of ours begins, and any config that is chosen may set them. What the user typed is the
user's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from hbac.common.errors import UserError

_PLUGINS = r"(hydra\._internal\.core_plugins|hydra_plugins)\.[\w.]+"
_HANDLERS = r"logging\.(Stream|File|Null)Handler|logging\.Formatter|colorlog\.ColoredFormatter"
_STREAM = re.compile(r"ext://sys\.std(out|err)")
# Below a part of Hydra's config, the key that names what is made, and what that may be.
_MADE = [
    (r"callbacks\..*", "_target_", r"hbac\.experiment\.merge\.MergeSweep"),
    (r"sweeper\.sampler", "_target_", r"optuna\.samplers\.[A-Z]\w+"),
    (r"launcher|sweeper", "_target_", _PLUGINS),
    (r"(job|hydra)_logging\..*", "class", _HANDLERS),
    (r"(job|hydra)_logging\..*", "()", _HANDLERS),
]
_LOG_FILE = "${hydra.runtime.output_dir}/${hydra.job.name}.log"  # Hydra's own
# What the shell, or the linker of a program that is started, would take for code: nothing, unless it is typed.
_EMPTY = (
    "job.env_set",
    "searchpath",
    "sweeper.custom_search_space",
    "launcher.setup",
    "launcher.additional_parameters",
    "launcher.ray.init.runtime_env",
    "launcher.ray.remote.runtime_env",
)


class Loader(ConfigLoaderImpl):
    """Compose configs as Hydra does, and refuse those that would have it run what is not its own."""

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        """Compose, also the config of each job of a sweep, and look at it before anything is made of it."""
        config = super().load_configuration(config_name, overrides, run_mode, from_shell, validate_sweep_overrides)
        check_hydra(OmegaConf.to_container(config.hydra, resolve=False), overrides)  # type: ignore[arg-type]
        return config


def check_hydra(hydra: Mapping[str, Any], typed: Sequence[str]) -> None:
    """Refuse a config (its part ``hydra``, not resolved) that names code, or where to look for it; not what was typed.

    A `UserError` names the first such setting.
    """
    by_hand = [line.lstrip("+").partition("=")[0] for line in typed]
    for key, value in _leaves(hydra):
        where, _, last = key.rpartition(".")
        if "_target_" in where.split("."):  # of a list, say
            where, last, value = where.partition("._target_")[0], "_target_", None
        if any(f"hydra.{key}.".startswith(f"{hand}.") for hand in by_hand if hand.startswith("hydra.")):
            continue
        if last in ("_target_", "class", "()"):
            fine = any(
                re.fullmatch(place, where) and last == name and isinstance(value, str) and re.fullmatch(valid, value)
                for place, name, valid in _MADE
            )
        elif "_logging." in f"{key}.":
            fine = not str(value).startswith("ext://") or bool(_STREAM.fullmatch(str(value)))
            fine = fine and (last != "filename" or value == _LOG_FILE)
        else:
            fine = not value or not any(key == name or key.startswith(f"{name}.") for name in _EMPTY)
        if not fine:
            raise UserError(
                f"hydra.{key}={value}: a config may not name what Hydra runs, nor where it writes or looks for it; "
                "type it, if it is meant"
            )


def _leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping | list):
        for key, value in node.items() if isinstance(node, Mapping) else enumerate(node):
            yield from _leaves(value, f"{prefix}{key}.")
    else:
        yield prefix[:-1], node
