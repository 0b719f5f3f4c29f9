"""The one seam between configs and objects.

A config names what it makes (``_target_``), and may come from a colleague or from a run folder found somewhere. Only
callables that were defined in the packages below may be named. Hydra's own ``instantiate`` would call anything, copy
tables given as arguments, and take dataclasses for configs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from inspect import signature
from typing import Any

from omegaconf import DictConfig, OmegaConf

from hbac.common.errors import UserError

ALLOWED = ("hbac.", "torch.nn.", "torch.optim.", "lightning.", "timm.")


def build(config: DictConfig | Mapping[str, Any], **arguments: Any) -> Any:
    """Make the object that a config describes.

    Parameters
    ----------
    config : DictConfig or mapping
        With ``_target_``, and the constructor's arguments as plain values; nested configs are built first.
    **arguments
        Further arguments, given as they are; they win over those of the config.

    Returns
    -------
    object
        What the target returns; a ``functools.partial`` of it with ``_partial_: true``.

    Raises
    ------
    UserError
        When a ``_target_`` is missing, cannot be imported, is not in an allowed package, or does not take the
        arguments of its config.
    """
    plain = OmegaConf.to_container(config, resolve=True) if isinstance(config, DictConfig) else config
    assert isinstance(plain, Mapping)
    if "_target_" not in plain:
        raise UserError(f"this config names no _target_: {dict(plain)}")
    name = str(plain["_target_"])
    target = _find(name)
    keywords = {str(key): _value(value) for key, value in plain.items() if not str(key).startswith("_")} | arguments
    is_partial = plain.get("_partial_", False)
    try:
        signature(target).bind_partial(**keywords) if is_partial else signature(target).bind(**keywords)
    except TypeError as error:
        raise UserError(f"{name} cannot be made from its config: {error}") from error
    return partial(target, **keywords) if is_partial else target(**keywords)


def _value(node: Any) -> Any:
    if isinstance(node, Mapping):
        return build(node) if "_target_" in node else {key: _value(value) for key, value in node.items()}
    return [_value(value) for value in node] if isinstance(node, list) else node


def _find(name: str) -> Callable[..., Any]:
    from hydra.utils import get_object

    packages = ", ".join(prefix.rstrip(".") for prefix in ALLOWED)
    if not name.startswith(ALLOWED):
        raise UserError(f"_target_: {name} is not allowed; a config may only name things in {packages}")
    try:
        found = get_object(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"_target_: {name} cannot be imported: {error}") from error
    # A module's own imports are reachable through it (hbac.cli.launch.os.system): where it was defined counts.
    if not callable(found) or not f"{getattr(found, '__module__', '')}.".startswith(ALLOWED):
        raise UserError(f"_target_: {name} is defined elsewhere; a config may only name things in {packages}")
    return found  # type: ignore[no-any-return]
