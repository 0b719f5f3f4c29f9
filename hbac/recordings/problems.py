"""All that is wrong with a data set, gathered first and told in one message."""

from __future__ import annotations

from collections import Counter

from hbac.common.errors import UserError

SHOWN = 20


class Problems:
    """Collect what is wrong, and raise it as one `UserError`, whose message `title` opens.

    Somebody who mends a data set wants the whole list, not one line for each run. The first `shown` problems are
    written out; of the rest, the message counts how many there are of each kind.

    Examples
    --------
    >>> problems = Problems("data set x, part train", shown=1)
    >>> problems.add("duplicate label_id", "train.csv line 3: label_id 7 stands on line 2 already")
    >>> problems.add("duplicate label_id", "train.csv line 4: label_id 7 stands on line 2 already")
    >>> try:
    ...     problems.raise_if_any()
    ... except UserError as error:
    ...     print(error)
    data set x, part train: 2 problems
      train.csv line 3: label_id 7 stands on line 2 already
      and 1 more: 1 x duplicate label_id
    """

    def __init__(self, title: str, shown: int = SHOWN) -> None:
        self.title = title
        self.shown = shown
        self.lines: list[str] = []
        self.rest: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self.lines) + self.rest.total()

    def add(self, kind: str, text: str) -> None:
        """Add one problem, in one line, under the few words by which its sort is counted."""
        if len(self.lines) < self.shown:
            self.lines.append(text)
        else:
            self.rest[kind] += 1

    def raise_if_any(self) -> None:
        """Raise what was collected, if anything was."""
        n = len(self)
        if not n:
            return
        rows = [f"{self.title}: {n} problem{'s' if n > 1 else ''}", *(f"  {line}" for line in self.lines)]
        if self.rest:
            kinds = ", ".join(f"{count} x {kind}" for kind, count in self.rest.most_common())
            rows.append(f"  and {self.rest.total()} more: {kinds}")
        raise UserError("\n".join(rows))
