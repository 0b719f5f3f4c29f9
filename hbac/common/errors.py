"""The one error type for what a user can mend; the entry points print it without a traceback and exit with 2."""

from __future__ import annotations


class UserError(ValueError):
    """Something the user gave is wrong.

    The message names the file, row, column or key, what was found there, and what would be right. Raise plain
    `AssertionError` or `RuntimeError` for what only we can break.
    """
