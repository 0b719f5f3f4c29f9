"""Simulated votes beside the competition's: the table of ``python -m hbac.prepare list=votes``."""

from __future__ import annotations

import numpy as np

from hbac.synthetic.dataset import SIZES
from hbac.synthetic.reference import HMS_FIGURES, VoteFigures, vote_figures
from hbac.vocabulary import CLASSES

_TITLES = {"up_to_7": "up to 7 votes", "10_or_more": "10 or more votes"}
_FIRST = 26  # width of the first column
COMPARED = ("medium", "large")


def simulated_figures(size: str, seed: int = 0) -> dict[str, VoteFigures]:
    """Return what the votes of a size's training part are like, by population; no EEG is made for it."""
    eegs = [eeg for patient in SIZES[size].labels("train", seed) for eeg in patient]
    votes = np.concatenate([eeg.votes for eeg in eegs])
    of_eeg = np.repeat(np.arange(len(eegs)), [len(eeg.votes) for eeg in eegs])
    return {population: vote_figures(votes, of_eeg, population) for population in HMS_FIGURES}


def votes_table(seed: int = 0) -> str:
    """Return the table: the competition's figures, and those of the sizes that are to have them."""
    found = {"HMS": HMS_FIGURES} | {size: simulated_figures(size, seed) for size in COMPARED}
    return "\n".join(line for population in HMS_FIGURES for line in _section(found, population))


def _section(found: dict[str, dict[str, VoteFigures]], population: str) -> list[str]:
    figures = {name: those[population] for name, those in found.items()}
    lines = [f"{_TITLES[population]:<{_FIRST}}" + "".join(f"{name:>9}" for name in figures)]
    for label, key, shape in (
        ("label rows", "rows", ",d"),
        ("EEGs", "eegs", ",d"),
        ("share of the top class", "top", ".3f"),
        ("unanimous rows", "unanimous", ".3f"),
        ("entropy, nats", "entropy", ".3f"),
    ):
        lines.append(f"{label:<{_FIRST}}" + "".join(f"{getattr(f, key):>9{shape}}" for f in figures.values()))
    lines += ["", " " * _FIRST + "".join(f"{name:>9}" for name in CLASSES)]
    for label, key, shape in (
        ("votes", "shares", ".3f"),
        ("consensus of EEGs", "first", ".3f"),
        ("rows an EEG, by consensus", "rows_per_eeg", ".1f"),
    ):
        lines += [_row(label if name == "HMS" else "", name, getattr(f, key), shape) for name, f in figures.items()]
    for k, label in enumerate(CLASSES):
        lines += [
            _row(f"votes, consensus {label}" if name == "HMS" else "", name, f.by_consensus[k], ".3f")
            for name, f in figures.items()
        ]
    return [*lines, ""]


def _row(label: str, name: str, values: np.ndarray, shape: str) -> str:
    return f"{label:<{_FIRST}}" + "".join(f"{value:>9{shape}}" for value in values) + f"  {name}"
