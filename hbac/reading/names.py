"""Which electrodes a file has, whatever it calls them, and against what each was recorded.

A label names an active electrode and mostly what it was recorded against: ``EEG FP1-LE``, ``Fp1-F7``, ``T7``. All
labels of a file together are a graph: electrodes and references are its nodes, signals its edges, each the difference
of the two at its ends. Within a connected part any difference of two electrodes is a sum of signals, so that a file of
derivations alone (CHB-MIT) serves each montage whose differences stay within its chains.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hbac.vocabulary import CHANNELS, ELECTRODES, channel_name

COMMON = ""  # the recorder's own reference, where the file names none
_COMMON = ("", "REF", "REFERENCE", "G1", "CE", "COMMON")
_AVERAGE = ("AVG", "AV", "AVE", "AVERAGE", "AR", "CAR")
_LINKED = ("LE", "A1A2", "A1+A2", "A1/A2", "A12", "M1M2", "M1+M2", "LINKED", "LM")
_PREFIX = re.compile(r"^(?:EEG|POL)[\s:_-]+")
_HEART = re.compile(r"^(?:EEG[\s:_-]+)?(?:EKG|ECG)(?![A-Z])")
_TWICE = re.compile(r"-\d+$")  # MNE numbers labels that a file has twice
# 10-20 and 10-10 names, and the ear or mastoid that others may be recorded against.
_ELECTRODE = re.compile(r"(?:FP|AF|FT|FC|TP|CP|PO|[FTCPO])(?:Z|\d{1,2})|[AM][12]")
_SEPARATOR = re.compile(r"\s*[-–:_/]\s*|\s+")


@dataclass(frozen=True)
class Lead:
    """What a label says."""

    name: str  # the active electrode: of `hbac.vocabulary.CHANNELS` where it is one of them, else its 10-10 name
    reference: str  # what it was recorded against, `COMMON` where the label does not say


def parse_label(label: str) -> Lead | None:
    """Read a label: any case and blanks, with or without ``EEG`` before and a reference behind.

    None where it is neither an electrode nor the heart: ``SPO2``, ``DC1``, ``26-LE``.

    Examples
    --------
    >>> parse_label("EEG FP1-LE"), parse_label("t7"), parse_label("P7-T7").reference
    (Lead(name='Fp1', reference='LE'), Lead(name='T3', reference=''), 'T3')
    """
    text = label.replace(".", " ").strip().upper()  # "Fc5.": some files pad names with dots
    if _HEART.match(text):
        return Lead("EKG", COMMON)
    text = _PREFIX.sub("", text)
    active, *behind = _SEPARATOR.split(_TWICE.sub("", text) if text.count("-") else text, maxsplit=1)
    if not _ELECTRODE.fullmatch(active):
        return None
    return Lead(_node(active), _reference(behind[0] if behind else ""))


def _node(text: str) -> str:
    return channel_name(text) or text


def _reference(text: str) -> str:
    text = text.strip().strip("()[]")
    for known, name in ((_COMMON, COMMON), (_AVERAGE, "AVG"), (_LINKED, "LE")):
        if text in known:
            return name
    return _node(text)


@dataclass(frozen=True)
class Electrodes:
    """How electrodes follow from a file's signals."""

    # (20, signals): ``matrix @ signals`` are the channels in the order of `hbac.vocabulary.CHANNELS`, each against the
    # reference of its part; a row of zeros where there is none.
    matrix: NDArray[np.float64]
    # The connected part of each channel: differences within one are as recorded, across two they are not known. −1 for
    # a channel that the file has not.
    part: tuple[int, ...]
    # Against what the channels of each part are: a reference, or an electrode where the file has derivations only.
    root: tuple[str, ...]
    repeated: tuple[int, ...]  # signals that say what an earlier one says (a derivation twice), which are left aside

    @property
    def missing(self) -> list[str]:
        """The 10-20 electrodes that the file has not."""
        return [name for name in ELECTRODES if self.part[CHANNELS.index(name)] < 0]

    def what_is_against(self, weights: Mapping[str, float]) -> str:
        """Say why a derivation cannot be had, by its weights of channels; empty where it can.

        The weights are those of `hbac.signal.montage.derivation_weights`.
        """
        parts = {name: self.part[CHANNELS.index(name)] for name in weights}
        if lost := [name for name in weights if parts[name] < 0 and name != "EKG"]:
            return f"{', '.join(lost)} missing"
        there = {part for part in parts.values() if part >= 0}
        sums = {part: sum(weight for name, weight in weights.items() if parts[name] == part) for part in there}
        open_ends = [part for part, total in sums.items() if abs(total) > 1e-9]
        if len(open_ends) > 1:
            examples = [next(name for name in weights if parts[name] == part) for part in open_ends[:2]]
            return f"{' and '.join(examples)} share no reference"
        if open_ends and self.root[open_ends[0]] in ELECTRODES:
            return "recorded as differences of electrodes only"
        return ""


def electrodes_of(leads: Sequence[Lead]) -> Electrodes:
    """Find out how electrodes follow from signals, by a spanning tree of each connected part."""
    edges: dict[str, list[tuple[str, int, float]]] = {}
    seen: dict[frozenset[str], int] = {}
    repeated = []
    for i, lead in enumerate(leads):
        ends = frozenset((lead.name, lead.reference))
        if ends in seen or len(ends) < 2:
            repeated.append(i)
            continue
        seen[ends] = i
        edges.setdefault(lead.name, []).append((lead.reference, i, -1.0))
        edges.setdefault(lead.reference, []).append((lead.name, i, 1.0))
    matrix = np.zeros((len(CHANNELS), len(leads)))
    part = [-1] * len(CHANNELS)
    potential: dict[str, NDArray[np.float64]] = {}
    roots = []
    # References first: an electrode is a root only where there is nothing else, then the one of most signals.
    for root in sorted(edges, key=lambda node: (node in CHANNELS, node != COMMON, -len(edges[node]))):
        if root in potential:
            continue
        roots.append(root)
        potential[root] = np.zeros(len(leads))
        reached = [root]
        for node in reached:
            if node in CHANNELS:
                part[CHANNELS.index(node)] = len(roots) - 1
                matrix[CHANNELS.index(node)] = potential[node]
            for other, i, sign in edges[node]:
                if other not in potential:
                    potential[other] = potential[node].copy()
                    potential[other][i] += sign
                    reached.append(other)
    return Electrodes(matrix, tuple(part), tuple(roots), tuple(repeated))
