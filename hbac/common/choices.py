"""One way to say that a name is not among the valid ones."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from hbac.common.errors import UserError

_ALIKE = 0.5  # share of letters, as difflib counts them


def nearest(name: object, valid: Iterable[str]) -> str | None:
    """Return the one of `valid` that is spelt most like `name`, None where none is alike."""
    return next(iter(difflib.get_close_matches(str(name).lower(), list(valid), n=1, cutoff=_ALIKE)), None)


def hint(name: object, valid: Iterable[str]) -> str:
    """Return a question with the name that may have been meant, and a space before it; empty where none is spelt alike.

    Examples
    --------
    >>> hint("aple", ["apple", "pear"])
    " Did you mean 'apple'?"
    """
    near = nearest(name, valid)
    return f" Did you mean {near!r}?" if near else ""


def check_choice(what: str, name: object, valid: Iterable[str]) -> str:
    """Return `name` if it is valid; otherwise a `UserError` lists what would be, and suggests the one spelt most alike.

    `what` is the kind of thing chosen, as the message should call it.

    Examples
    --------
    >>> check_choice("fruit", "apple", ["apple", "pear"])
    'apple'
    """
    names = list(valid)
    if isinstance(name, str) and name in names:
        return name
    raise UserError(f"unknown {what} {name!r}; there are: {', '.join(names)}.{hint(name, names)}")
