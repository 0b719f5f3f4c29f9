"""Names among valid ones."""

from __future__ import annotations

import pytest

from hbac.common.choices import check_choice
from hbac.common.errors import UserError


@pytest.mark.parametrize("wrong", ["aple", "APPLE", "apples"])
def test_the_nearest_is_suggested(wrong: str) -> None:
    with pytest.raises(UserError, match=rf"unknown fruit '{wrong}'; there are: apple, pear. Did you mean 'apple'\?$"):
        check_choice("fruit", wrong, ("apple", "pear"))


@pytest.mark.parametrize("wrong", ["xyz", None, 3, [1]])
def test_nothing_is_suggested_where_nothing_is_near(wrong: object) -> None:
    with pytest.raises(UserError, match=r"there are: apple, pear\.$"):
        check_choice("fruit", wrong, iter(("apple", "pear")))
