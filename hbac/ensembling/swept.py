"""What was swept: the settings in which the members of an ensemble differ, read from their runs' configs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import pandas as pd

from hbac.common.errors import UserError
from hbac.predictions.metadata import TableMetadata
from hbac.runs.folder import read_config
from hbac.runs.naming import deciding

_FROM_FRONT_END = ("n_chans", "n_times", "sfreq", "in_chans")  # arguments of the network that nobody sets
_NOT_THERE = ""


def swept_settings(members: Sequence[TableMetadata], everything: bool = False) -> pd.DataFrame:
    """Tabulate the settings that tell members apart: one row a member, one column of text a setting.

    ``model`` (or any other choice among classes) comes first, then from the top of the config downwards, called as one
    types them (``band, model.kernels``). There are no columns where members don't differ, and empty cells for members
    of other code, or whose runs are gone. Settings that only follow another one are left out, but with `everything`: a
    copy of its values, or what comes with another kind of model.
    """
    configs = [_config(member) for member in members]
    known = [config for config in configs if config is not None]
    found = list(_differing("", known)) if known else []
    columns: dict[str, list[str]] = {}
    kinds: list[list[int]] = []
    # What comes with another network, as its front-end, follows the network and not the other way round.
    found.sort(key=lambda entry: (not entry[2], entry[0] != "model", entry[0].count(".")))
    for key, texts, is_kind in found:
        groups = [texts.index(text) for text in texts]  # equal for settings that go together
        if everything or (groups not in kinds and texts not in columns.values()):
            columns[_printable(key)] = [_printable(text) for text in texts]
            kinds += [groups] * is_kind
    rows = iter(zip(*columns.values(), strict=True)) if columns else iter(())
    empty = (_NOT_THERE,) * len(columns)
    return pd.DataFrame(
        [empty if config is None or not columns else next(rows) for config in configs], columns=list(columns), dtype=str
    )


def _config(member: TableMetadata) -> dict[str, Any] | None:
    for _, run in sorted(member.runs.items()):
        with suppress(UserError):  # a run that is gone or damaged; another fold may know
            return deciding(read_config(run))
    return None


def _differing(key: str, values: Sequence[Any]) -> Iterator[tuple[str, list[str], bool]]:
    """Yield (setting, its text for each member, whether it is a choice among classes), parents before children."""
    if all(value == values[0] for value in values):
        return
    nodes = [value if isinstance(value, Mapping) else {} for value in values]
    if not any(nodes):
        yield key, [_text(value) for value in values], False
        return
    if not all(nodes):
        yield key, ["on" if node else "off" for node in nodes], True
    elif any("_target_" in node for node in nodes):
        texts = [_text(node.get("_target_", _NOT_THERE)).rpartition(".")[2] for node in nodes]
        if len(set(texts)) > 1:
            yield key, texts, True
    names = dict.fromkeys(name for node in nodes for name in node)
    for name in names:
        if not name.startswith("_") and name not in _FROM_FRONT_END:
            yield from _differing(f"{key}.{name}" if key else name, [node.get(name, _NOT_THERE) for node in nodes])


def _printable(text: str) -> str:
    """Take out what a terminal would obey: a config may be anybody's."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
