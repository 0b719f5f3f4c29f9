"""One way to say that a name is not among the valid ones."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from hbac.errors import UserError


def check_choice(what: str, name: object, valid: Iterable[str]) -> str:
    """Return `name` if it is valid, and otherwise say what would be.

    Parameters
    ----------
    what : str
        The kind of thing chosen, as the message should call it: ``"montage"``.
    name : object
        What the user wrote.
    valid : iterable of str
        The names there are.

    Returns
    -------
    str
        `name`, unchanged.

    Raises
    ------
    UserError
        If `name` is not in `valid`; the message lists them all and suggests the one spelt most alike.

    Examples
    --------
    >>> check_choice("fruit", "apple", ["apple", "pear"])
    'apple'
    """
    names = list(valid)
    if isinstance(name, str) and name in names:
        return name
    near = difflib.get_close_matches(str(name).lower(), names, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise UserError(f"unknown {what} {name!r}; there are: {', '.join(names)}.{hint}")
