"""What must stand in a file that was read: plain containers, checked once before anything is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hbac.common.errors import UserError

_WORDS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "an object",
    list: "a list",
}


class Maybe:
    """An entry that may be missing or null, and is of `shape` otherwise."""

    def __init__(self, shape: Any) -> None:
        self.shape = shape


def check_shape(content: Any, shape: Any, where: str) -> None:
    """Check plain containers, as a JSON file holds them, against what they must be; `where` opens the error's message.

    A shape is a type (``str``, ``int``, ``float``, ``bool``, ``dict``, ``list``; a whole number is a ``float``, too,
    and neither infinite nor beyond 64 bits); ``[shape]`` for a list of such; ``{key: shape}`` for an object that has
    these keys and maybe others; ``{str: shape}`` for an object of such values; a `Maybe`.

    Examples
    --------
    >>> check_shape({"members": [{"name": "a", "kl": 0.5}]}, {"members": [{"name": str, "kl": Maybe(float)}]}, "x.json")
    >>> try:
    ...     check_shape({"members": [{"name": 3}]}, {"members": [{"name": str}]}, "x.json")
    ... except UserError as error:
    ...     print(error)
    x.json: members[0].name is 3, must be text
    """
    fault = _fault(content, shape, "")
    if fault:
        raise UserError(f"{where}: {fault}")


def _fault(content: Any, shape: Any, at: str) -> str | None:
    name = at.lstrip(".") or "its content"
    if isinstance(shape, Maybe):
        return None if content is None else _fault(content, shape.shape, at)
    if isinstance(shape, list):
        if not isinstance(content, list):
            return f"{name} is {_short(content)}, must be a list"
        return next(filter(None, (_fault(value, shape[0], f"{at}[{i}]") for i, value in enumerate(content))), None)
    if isinstance(shape, Mapping):
        if not isinstance(content, dict):
            return f"{name} is {_short(content)}, must be an object"
        if str in shape:
            return next(filter(None, (_fault(v, shape[str], f"{at}.{k}") for k, v in content.items())), None)
        for key, inner in shape.items():
            if key not in content and not isinstance(inner, Maybe):
                return f"{(at + '.' + key).lstrip('.')} is missing, must be {_word(inner)}"
            if key in content and (fault := _fault(content[key], inner, f"{at}.{key}")):
                return fault
        return None
    wanted = (int, float) if shape is float else shape
    right = isinstance(content, wanted) and (shape is bool or not isinstance(content, bool))
    if right and isinstance(content, int | float):
        right = abs(content) < 2**63  # which NaN is not either
    return None if right else f"{name} is {_short(content)}, must be {_word(shape)}"


def _word(shape: Any) -> str:
    if isinstance(shape, Maybe):
        return _word(shape.shape)
    return _WORDS[type(shape) if isinstance(shape, list | dict) else shape]


def _short(content: Any) -> str:
    text = repr(content)
    return text if len(text) <= 60 else f"{text[:57]}..."
