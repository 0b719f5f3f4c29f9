"""``python -m hbac.prepare list=…``: what there is to choose from, from the configs and the registries themselves."""

from __future__ import annotations

import re
from pathlib import Path

from hbac.cli.help import first_comment
from hbac.common.choices import check_choice

#: What can be listed, and the group of configs that it stands in.
GROUPS = {
    "models": "model",
    "augmentations": "augment",
    "experiments": "experiment",
    "datasets": "dataset",
    "blends": "blend",
    "front_ends": "front_end",
    "images": "front_end/image",
    "optimizers": "optimizer",
    "schedules": "schedule",
    "trainers": "trainer",
    "loggers": "logger",
    "callbacks": "callbacks",
    "debug": "debug",
    "engines": "engine",
}
LISTS = ("models", "bands", "montages", "votes", "zoo", *(name for name in GROUPS if name != "models"))


def listed(what: str, conf: Path) -> str:
    """List what there is of a kind, one of `LISTS`: a line each, and how one is chosen; votes and zoo are tables."""
    check_choice("list", what, LISTS)
    if what == "votes":
        from hbac.synthetic.comparison import votes_table  # with pandas and scipy

        return votes_table()
    if what == "zoo":
        from hbac.cli.costs import costs_table

        return costs_table(conf)
    lines, use = {"bands": _bands, "montages": _montages}.get(what, lambda: _group(conf, GROUPS[what]))()
    width = max(map(len, lines))
    shown = [f"{name:<{width}}  {text}" for name, text in lines.items()]
    return "\n".join([*shown, "", f"choose:  {use}"]) + "\n"


def _group(conf: Path, group: str) -> tuple[dict[str, str], str]:
    lines = {}
    for option in sorted((conf / group).glob("*.yaml")):
        example, _, purpose = re.sub(r"\s{2,}", "\t", first_comment(option)[0]).partition("\t")
        lines[option.stem] = purpose
    return lines, example


# These two are read where they are made, and come with torch: the rest answers before it could be loaded.
def _bands() -> tuple[dict[str, str], str]:
    from hbac.signal.band import CLINICAL_BANDS

    lines = {name: f"{low:g}-{high:g} Hz" for name, (low, high) in CLINICAL_BANDS.items()}
    return lines, "python -m hbac.train band=delta, or any low-high in hertz: band=0.5-20"


def _montages() -> tuple[dict[str, str], str]:
    from hbac.signal.montage import MONTAGES

    lines = {name: f"{len(m.derivations)} derivations: {m.purpose}" for name, m in MONTAGES.items()}
    return lines, "python -m hbac.train montage=public_8"
