"""Commands as one types them: what is printed may be copied to the shell, from the folder where it was printed."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

_PLAIN = re.compile(r"[A-Za-z0-9_./@+%*-]+")  # what Hydra reads as text without quotes
_OTHER_WORDS = ("true", "false", "null", "nan", "inf", "+inf", "-inf")


def override(key: str, value: Any) -> str:
    """Write ``key=value`` as Hydra reads it; `value` is plain, and the shell's quotes are `command_line`'s affair.

    Examples
    --------
    >>> override("runs", ["outputs/sweeps/a", "my runs/[b]"])
    'runs=[outputs/sweeps/a,"my runs/[b]"]'
    """
    return f"{key}={_value(value)}"


def _value(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_value(key)}:{_value(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_value, value)) + "]"
    text = str(value)
    if _PLAIN.fullmatch(text) and text.lower() not in _OTHER_WORDS and not _is_number(text):
        return text
    quoted = re.sub(r'(\\*)("|$)', lambda found: found[1] * 2 + (r"\"" if found[2] else ""), text)
    return '"' + quoted.replace("${", r"\${") + '"'


def key_of(typed: str) -> str:
    """Return which setting, or group, an override is of: ``+model@main=a`` is of ``model``."""
    return typed.lstrip("+~").partition("=")[0].partition("@")[0]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def command_line(command: str, *overrides: str, flags: tuple[str, ...] = ()) -> str:
    """Write a command for the shell, in one line.

    Its name, overrides as `override` returns them or as somebody typed them, then flags such as ``("-m", "fold=0,1")``;
    with the ``--config-dir`` that this very command was given.
    """
    return shlex.join(["python", "-m", f"hbac.{command}", *config_dir(sys.argv[1:]), *overrides, *flags])


def config_dir(argv: Sequence[str]) -> list[str]:
    """Return ``--config-dir`` and its folder from the arguments of a command, or nothing."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config-dir", "-cd", nargs="?")
    folder = parser.parse_known_args(list(argv))[0].config_dir
    return ["--config-dir", folder] if folder else []


def several(value: Any) -> list[Any]:
    """Take one value for a list of one: ``members=PATH`` for ``members=[PATH]``; None is an empty list.

    Examples
    --------
    >>> several("here"), several(["a", "b"]), several(None)
    (['here'], ['a', 'b'], [])
    """
    if value is None:
        return []
    return [value] if isinstance(value, str | int | float) else list(value)
