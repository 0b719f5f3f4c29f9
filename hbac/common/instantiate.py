"""The one seam between configs and objects.

A config names what it makes (``_target_``), and may come from a colleague or from a run folder found somewhere. Each
place in a config is a slot that accepts one kind of thing only: a network is a class that `hbac.models` exports, an
optimiser one of `torch.optim`, and so on; or a class of that kind from a package that the user allowed by name. The
name is compared with the slot as text before anything is imported. Hydra's own ``instantiate`` would call anything,
copy tables given as arguments, and take dataclasses for configs.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any

from omegaconf import DictConfig, OmegaConf

from hbac.common.errors import UserError

_PUBLIC_NAME = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)+", re.ASCII)
_PACKAGE = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)*", re.ASCII)
_MOST = 10_000  # of any whole number that a model's config has, where the slot says nothing else
_MOST_ITEMS = 64  # of a list or mapping


@dataclass(frozen=True)
class Slot:
    """A place in a config, and what may be made there."""

    what: str  # for messages
    where: tuple[str, ...]  # modules that export what may be named
    kinds: tuple[str, ...] = ()  # classes of which it must be a subclass
    itself: bool = True  # these classes may be named themselves
    is_function: bool = False  # a function in place of a class
    is_open: bool = True  # packages that the user allowed may have such things too
    # Arguments that are configs, or mappings of configs, and the slot of these
    parts: Mapping[str, str] = field(default_factory=dict)
    # Largest values of arguments that decide how much memory is taken, for those that are not `_MOST`; None where
    # values are not looked at.
    limits: Mapping[str, float] | None = None


_SIGNAL = {"n_times": 40_000, "sfreq": 1000, "order": 10}
SLOTS = {
    "network": Slot(
        "a network",
        ("hbac.models",),
        ("torch.nn.Module",),
        parts={"branches": "network"},
        limits={"depth": 64, "gru_layers": 16, "n_times": 1_000_000, "image_size": 4096},
    ),
    "front_end": Slot(
        "a front-end",
        ("hbac.signal",),
        ("hbac.signal.EEGFrontEnd", "hbac.signal.ImageFrontEnd", "hbac.signal.FusionFrontEnd"),
        parts={"image": "image", "branches": "front_end"},
        limits=_SIGNAL | {"tile_height": 2048, "tile_width": 4096, "in_chans": 256, "clip_uv": 1e9, "scale_uv": 1e9},
    ),
    "image": Slot(
        "a picture of the EEG",
        ("hbac.signal",),
        ("hbac.signal.spectrogram_image.SpectrogramImage", "hbac.signal.RawImage", "hbac.signal.ZoomInside"),
        parts={"whole": "image", "centre": "image"},
        limits=_SIGNAL | {"height": 1024, "width": 4096, "n_fft": 16_384, "window_s": 10, "n_tapers": 8,
                          "half_bandwidth": 8, "clip_uv": 1e9, "scale_uv": 1e9},
    ),
    "augment": Slot(
        "an augmentation",
        ("hbac.signal",),
        tuple(f"hbac.signal.{name}" for name in ("RawAugment", "SignalAugment", "ImageAugment", "Mixup")),
        limits={},
    ),
    "optimizer": Slot("an optimiser", ("torch.optim",), ("torch.optim.Optimizer",), itself=False),
    "schedule": Slot("a schedule", ("hbac.training.schedules",), is_function=True),
    "task": Slot("a LightningModule", ("hbac.training",), ("hbac.training.Classifier",)),
    "trainer": Slot("a Trainer", ("lightning", "lightning.pytorch"), ("lightning.pytorch.Trainer",), is_open=False),
    "callback": Slot(
        "a callback",
        ("hbac.training.callbacks", "lightning.pytorch.callbacks"),
        ("lightning.pytorch.callbacks.Callback",),
        itself=False,
    ),
    "logger": Slot("a logger", ("hbac.tracking.loggers",), ("hbac.tracking.loggers.Loggers",)),
    "dataset": Slot(
        "a data set", ("hbac.recordings.datasets", "hbac.reading.labelled"), ("hbac.recordings.datasets.HMS",)
    ),
    "data": Slot("a data module", ("hbac.data",), ("hbac.data.base.WindowDataModule",)),
}  # fmt: skip
# What another package must have in place of our own classes, where these are not a base of one another.
_THEIR_KINDS = {"front_end": ("torch.nn.Module",), "augment": ("torch.nn.Module",)}


def build(config: DictConfig | Mapping[str, Any], slot: str, allow: str | Sequence[str] = (), **arguments: Any) -> Any:
    """Make the object that a config describes, or with ``_partial_: true`` a ``functools.partial`` of it.

    The config has ``_target_``, and the constructor's arguments as plain values; `arguments` are given as they are, and
    win over them. `slot` says what it is to be, a key of `SLOTS`; `allow` are packages of the user's that it may be of,
    too. A `UserError` where a ``_target_`` is missing, is not of the slot's kind, cannot be imported, or does not take
    its config's arguments.
    """
    plain = OmegaConf.to_container(config, resolve=True) if isinstance(config, DictConfig) else config
    if not isinstance(plain, Mapping) or "_target_" not in plain:
        shown = dict(plain) if isinstance(plain, Mapping) else plain
        raise UserError(f"{SLOTS[slot].what}: this config names no _target_: {shown}")
    name = plain["_target_"]
    target = find(name, slot, allow)
    given = {str(key): value for key, value in plain.items() if not str(key).startswith("_")}
    if (limits := SLOTS[slot].limits) is not None and not _is_of(name, packages(allow)):
        _check_sizes(name, given, limits)
    keywords = {key: _value(name, slot, key, value, allow) for key, value in given.items()} | arguments
    is_partial = plain.get("_partial_", False)
    try:
        inspect.signature(target).bind_partial(**keywords) if is_partial else inspect.signature(target).bind(**keywords)
    except TypeError as error:
        raise UserError(f"{name} cannot be made from its config: {error}") from error
    return partial(target, **keywords) if is_partial else target(**keywords)


def packages(allow: str | Sequence[str]) -> tuple[str, ...]:
    """Check names of packages that a user allows, one or several.

    Examples
    --------
    >>> packages("mynets")
    ('mynets',)
    """
    names = (allow,) if isinstance(allow, str) else tuple(allow or ())
    for name in names:
        if not isinstance(name, str) or not _PACKAGE.fullmatch(name):
            raise UserError(f"allow={name}: must be the name of a package, such as mynets")
    return names


def find(name: Any, slot: str, allow: str | Sequence[str] = ()) -> Callable[..., Any]:
    """Find what a ``_target_`` names, if it is of the slot's kind: a class, or for a schedule a function.

    Nothing else is imported for it; `allow` are packages of the user's that it may be of, too. A `UserError` where it
    is of another kind, is not public, or there is no such thing.
    """
    place, theirs = SLOTS[slot], packages(allow) if SLOTS[slot].is_open else ()
    where = ", ".join(place.where)
    package = name.split(".")[0] if isinstance(name, str) and _PUBLIC_NAME.fullmatch(name) else "PACKAGE"
    yours = f" (or of your own package: allow=[{package}], hbac.load(…, allow=['{package}']))" if place.is_open else ""
    rule = f"{place.what} is one of {where}{yours}"
    if not isinstance(name, str) or not _PUBLIC_NAME.fullmatch(name):
        raise UserError(f"_target_: {name!r} is not allowed; {rule}")
    module_name, _, last = name.rpartition(".")
    is_theirs = _is_of(name, theirs)
    # A submodule of ours may be named; of another package only what it exports, so that no other module is imported.
    inside = [home for home in place.where if home.startswith("hbac.") and _is_of(name, [home])]
    if not (is_theirs or inside or module_name in place.where):
        raise UserError(f"_target_: {name} is not allowed; {rule}")
    try:
        found = getattr(import_module(module_name), last)
    except (ImportError, AttributeError) as error:
        raise UserError(f"_target_: {name} cannot be imported: {error}") from error
    # What a module has imported is reachable through it: where it was defined counts, or who exports it.
    defined = f"{getattr(found, '__module__', '')}.{getattr(found, '__name__', '')}"
    homes = theirs if is_theirs else place.where
    at_home = _is_of(defined, [home.partition(".")[0] if not is_theirs else home for home in homes])
    exported = is_theirs or any(getattr(import_module(home), last, None) is found for home in place.where)
    if not (at_home and exported and last == getattr(found, "__name__", "") and _is_kind(found, slot, is_theirs)):
        raise UserError(f"_target_: {name} is not {place.what}; {rule}")
    return found  # type: ignore[no-any-return]


def _is_kind(found: Any, slot: str, is_theirs: bool) -> bool:
    place = SLOTS[slot]
    if place.is_function:
        return inspect.isfunction(found)
    if not inspect.isclass(found) or inspect.isabstract(found):
        return False
    names = _THEIR_KINDS.get(slot, place.kinds) if is_theirs else place.kinds
    kinds = [getattr(import_module(module), last) for module, _, last in (name.rpartition(".") for name in names)]
    return any(issubclass(found, kind) and (place.itself or found is not kind) for kind in kinds)


def _is_of(name: str, homes: Sequence[str]) -> bool:
    return any(name.startswith(f"{home}.") for home in homes)


def _value(name: str, slot: str, key: str, node: Any, allow: str | Sequence[str]) -> Any:
    part = SLOTS[slot].parts.get(key)
    if part is not None and isinstance(node, Mapping):
        if "_target_" in node:
            return build(node, part, allow)
        return {inner: build(config, part, allow) for inner, config in node.items() if config is not None}
    if _has_target(node):
        raise UserError(f"{name}: {key} is a plain value; nothing is made there from a _target_")
    return node


def _has_target(node: Any) -> bool:
    if isinstance(node, Mapping):
        return "_target_" in node or any(_has_target(value) for value in node.values())
    return isinstance(node, list) and any(_has_target(value) for value in node)


def _check_sizes(name: str, node: Any, limits: Mapping[str, float], key: str = "") -> None:
    """Refuse numbers that no model has: a config from elsewhere could else take all memory, or all time."""
    if isinstance(node, Mapping | list | tuple):
        if len(node) > _MOST_ITEMS:
            raise UserError(
                f"{name}: {key or 'its config'} has {len(node)} entries; at most {_MOST_ITEMS} are possible"
            )
        for inner, value in node.items() if isinstance(node, Mapping) else ((key, value) for value in node):
            if not isinstance(value, Mapping) or "_target_" not in value:  # a part is looked at when it is built
                _check_sizes(name, value, limits, str(inner))
        return
    most = limits.get(key, _MOST if isinstance(node, int) else None)
    if most is not None and isinstance(node, int | float) and not abs(node) <= most:
        raise UserError(f"{name}: {key}={node} is too large: at most {most:g}")
