"""``--help`` from the configs themselves: the first comment of each file says how to use it.

Hydra's own help copies the whole config for every group and takes over a second; this reads a few small files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap

import yaml


def help_text(conf: Path, config_name: str, width: int | None = None) -> str:
    """Return what ``python -m hbac.<config_name> --help`` prints; lines are wrapped only where a `width` is given."""
    lines = [*first_comment(conf / f"{config_name}.yaml"), "", "Choices (group=option; * is the default):"]
    settings: list[str] = []
    for group, default in groups_of(conf, config_name):
        if group is None:
            settings += _settings(conf / f"{default}.yaml")
            continue
        lines += _options(conf, group, default, _purpose(conf, config_name, group))
        for inner in sorted(path for path in (conf / group).iterdir() if path.is_dir()):
            lines += _options(conf, f"{group}/{inner.name}", None, f"where {group}={inner.name} is chosen")
    lines += ["", "Settings (key=value):", "", *settings, ""]
    lines += [
        "-m, --multirun   run every combination of comma-separated values: -m fold=0,1,2,3,4",
        "--cfg job        show the whole config instead of running; --resolve with its references filled in",
        "--help           this page",
    ]
    folded = [line for long in lines for line in (_folded(long, width) if width else [long])]
    return "\n".join(folded) + "\n"


def _folded(line: str, width: int) -> list[str]:
    """Break a line between words, and begin what follows under its second column."""
    second = re.match(r"\s*\S+(?: \S+)*\s{2,}", line)
    indent = len(second[0]) if second and len(second[0]) < width // 2 else 8
    return wrap(line, max(width, 40), subsequent_indent=" " * indent, break_on_hyphens=False) or [""]


def _options(conf: Path, group: str, default: str | None, purpose: str) -> list[str]:
    lines = ["", f"  {group:<20} {purpose}"]
    for option in sorted((conf / group).glob("*.yaml")):
        mark = "*" if option.stem == default else " "
        lines.append(f"  {mark} {option.stem:<18} {first_comment(option)[0]}")
    return lines


def _purpose(conf: Path, config_name: str, group: str) -> str:
    """Return what a defaults list says beside a group."""
    text = "".join((conf / f"{name}.yaml").read_text(encoding="utf-8") for name in (config_name, "common"))
    found = re.search(rf"^  - {group}: .*?# (.*)$", text, re.MULTILINE)
    return found[1] if found else ""


def first_comment(path: Path) -> list[str]:
    """Return the lines that a config begins with, without their marks: what it is for, and how to use it."""
    lines = path.read_text(encoding="utf-8").splitlines()
    end = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return [text for line in lines[:end] if not (text := line.removeprefix("#").strip()).startswith("@")] or [""]


def groups_of(conf: Path, name: str) -> Iterator[tuple[str | None, str | None]]:
    """Yield the choices that a command has.

    A group and its default, and (None, config) for configs whose own settings count.
    """
    for entry in yaml.safe_load((conf / f"{name}.yaml").read_text(encoding="utf-8")).get("defaults", []):
        if entry == "_self_":
            yield None, name
        elif isinstance(entry, str):
            yield from groups_of(conf, entry)
        else:
            group, default = next(iter(entry.items()))
            if not group.startswith("override"):
                yield group, default


def _settings(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    own = text.split("\n\n", 1)[1] if "\n\n" in text else ""
    return [f"  {line}" for line in own.split("\nhydra:")[0].splitlines() if line.strip()]
