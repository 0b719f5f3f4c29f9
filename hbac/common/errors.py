"""The one error type for what a user can mend; the entry points print it without a traceback and exit with 2."""

from __future__ import annotations

import sys
from typing import NoReturn

BAD_INPUT = 2  # exit status


class UserError(ValueError):
    """Something the user gave is wrong.

    The message names the file, row, column or key, what was found there, and what would be right. Raise plain
    `AssertionError` or `RuntimeError` for what only we can break.
    """


def fail(error: Exception) -> NoReturn:
    """Print what the user can mend, as one message, and end with the status of bad input, 2."""
    sys.stderr.write(f"error: {error}\n")
    raise SystemExit(BAD_INPUT) from None
