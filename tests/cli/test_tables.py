"""Tables on a narrow terminal: names are whole, and what has learnt nothing is said to."""

from __future__ import annotations

import io

from rich.console import Console
from rich.table import Table

from hbac.cli.console import UNIFORM, _name, _say_what_has_not_learnt

MEMBER = "public_resnet_gru-0.5-40-865f5d24"


def shown(table: Table, width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO())
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_names_fold_and_are_never_cut_short() -> None:
    table = Table(
        _name("member"), "band", "folds", "KL all", "KL up to 7 votes", "KL 10 or more votes", "95 % interval"
    )
    table.add_row(MEMBER, "0.5-20", "5", "1.2154", "1.2121", "1.2188", "1.0868 to 1.4579")
    text = shown(table)
    assert "…" not in text
    column = "".join(line.split("│")[1].strip() for line in text.splitlines() if line.startswith("│"))
    assert column == MEMBER
    assert max(map(len, text.splitlines())) <= 80


def test_a_score_worse_than_uniform_is_explained() -> None:
    table = Table(_name("run"), "KL all")
    _say_what_has_not_learnt(table, {MEMBER: 4.2}, uniform=1.57)
    table.add_row(UNIFORM, "1.5700")
    assert "this run has learnt nothing yet" in " ".join(shown(table, 140).split())
    fine = Table(_name("run"), "KL all")
    _say_what_has_not_learnt(fine, {MEMBER: 1.2, "other": float("nan")}, uniform=1.57)
    assert fine.caption is None
