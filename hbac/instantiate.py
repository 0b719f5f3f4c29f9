"""The one seam between configs and objects.

Hydra's ``instantiate`` runs whatever a config names. A config may come from a colleague or from a run folder found
somewhere, so only callables of the packages below may be named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from inspect import signature
from typing import Any

from omegaconf import DictConfig, OmegaConf

from hbac.errors import UserError

ALLOWED = ("hbac.", "torch.nn.", "torch.optim.", "lightning.", "timm.")


def build(config: DictConfig | Mapping[str, Any], **arguments: Any) -> Any:
    """Make the object that a config describes.

    Parameters
    ----------
    config : DictConfig or mapping
        With ``_target_``, and the constructor's arguments as plain values; nested configs are built first.
    **arguments
        Further arguments, which win over those of the config.

    Returns
    -------
    object
        What the target returns; a ``functools.partial`` of it with ``_partial_: true``.

    Raises
    ------
    UserError
        When a ``_target_`` is missing, cannot be imported, or is not in an allowed package.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import get_object, instantiate

    plain = OmegaConf.to_container(config, resolve=True) if isinstance(config, DictConfig) else dict(config)
    assert isinstance(plain, dict)
    if "_target_" not in plain:
        raise UserError(f"this config names no _target_: {plain}")
    for target in _targets(plain):
        allowed = ", ".join(prefix.rstrip(".") for prefix in ALLOWED)
        if not target.startswith(ALLOWED):
            raise UserError(f"_target_: {target} is not allowed; a config may only name things in {allowed}")
        try:
            found = get_object(target)
        except (ImportError, AttributeError, ValueError) as error:
            raise UserError(f"_target_: {target} cannot be imported: {error}") from error
        # A module's own imports are reachable through it (hbac.cli.os.system): where it was defined counts.
        if not f"{getattr(found, '__module__', '')}.".startswith(ALLOWED):
            raise UserError(f"_target_: {target} is defined elsewhere; a config may only name things in {allowed}")
    try:
        # Arguments are given in a second step: Hydra would copy tables and take dataclasses for configs.
        factory = instantiate(plain | {"_partial_": True}, _convert_="all")
    except InstantiationException as error:
        raise _user_error(error) or UserError(f"{plain['_target_']} cannot be made from its config: {error}") from error
    if plain.get("_partial_"):
        return partial(factory, **arguments) if arguments else factory
    try:
        signature(factory).bind(**arguments)
    except TypeError as error:
        raise UserError(f"{plain['_target_']} cannot be made from its config: {error}") from error
    return factory(**arguments)


def _user_error(error: BaseException | None) -> UserError | None:
    """Find what a nested constructor had to say to the user."""
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__
    return error


def _targets(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield str(node["_target_"])
        for value in node.values():
            yield from _targets(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _targets(value)
