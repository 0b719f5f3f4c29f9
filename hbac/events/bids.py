"""All events as BIDS has them: ``events.tsv`` and its ``events.json``, with tags of HED-SCORE.

The tags are those of version 1.1.0 of the SCORE library, which SzCORE uses. Rhythmic delta activity has one tag whether
it is lateralized or generalized; ``trial_type`` keeps them apart.

References
----------
Pernet CR et al. EEG-BIDS, an extension to the brain imaging data structure for electroencephalography.
Sci Data 2019;6:103, doi:10.1038/s41597-019-0104-8.
HED-SCORE: https://github.com/hed-standard/hed-schemas
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from hbac.common.files import write_json, write_text
from hbac.events.rule import EVENT_CLASSES, EventRule, duration_word

#: SCORE has no seizure of unknown semiology but this one.
HED_TAGS = {
    "seizure": "Unclassified-epileptic-seizure",
    "lpd": "Lateralized-periodic-discharges",
    "gpd": "Generalized-periodic-discharges",
    "lrda": "Rhythmic-delta-activity",
    "grda": "Rhythmic-delta-activity",
}
assert tuple(HED_TAGS) == EVENT_CLASSES

_LEVELS = {
    "seizure": "electrographic seizure",
    "lpd": "lateralized periodic discharges",
    "gpd": "generalized periodic discharges",
    "lrda": "lateralized rhythmic delta activity",
    "grda": "generalized rhythmic delta activity",
}
_COLUMNS: dict[str, dict[str, Any]] = {
    "onset": {"Description": "Start of the event from the start of the recording", "Units": "s"},
    "duration": {"Description": "Duration of the event", "Units": "s"},
    "trial_type": {"LongName": "Pattern", "Levels": _LEVELS, "HED": HED_TAGS},
    "mean_probability": {"Description": "Probability of the pattern, mean over the event, 0 to 1"},
    "max_probability": {"Description": "Largest probability of the pattern in the event, 0 to 1"},
    "peak": {"Description": "Where the probability is largest, from the start of the recording", "Units": "s"},
    "entropy": {"Description": "Entropy of the six probabilities in nats, mean over the event: 0 is sure"},
    "acns_duration": {
        "Description": "ACNS 2021 term for the duration; windows of 10 s cannot tell what is shorter",
        "Levels": {
            "very brief": "under 10 s",
            "brief": "10 to 59 s",
            "intermediate": "1 to 4.9 min",
            "long": "5 to 59 min",
            "very long": "1 h or more",
        },
    },
}


def write_bids(folder: Path, events: pd.DataFrame, rule: EventRule, models: str = "") -> None:
    """Write ``events.tsv`` and ``events.json``, which says by which rule and models they were found."""
    lines = ["\t".join(_COLUMNS)]
    for row in events.to_dict("records"):
        cells = [f"{row['onset']:.2f}", f"{row['duration']:.2f}", row["class"], f"{row['mean_prob']:.4f}"]
        cells += [f"{row['max_prob']:.4f}", f"{row['peak']:.2f}", f"{row['entropy']:.4f}"]
        lines.append("\t".join([*cells, duration_word(row["duration"])]))
    write_text(folder / "events.tsv", "\n".join(lines) + "\n")
    write_json(folder / "events.json", sidecar(rule, models))


def sidecar(rule: EventRule, models: str = "") -> dict[str, Any]:
    """Return what ``events.json`` says: each column, and under ``trial_type`` the classes with their tags."""
    thresholds = ", ".join(f"{name} {value:g}" for name, value in rule.threshold.items())
    by = f" ({models})" if models else ""
    smooth = "; single steps smoothed" if rule.smooth else ""
    text = (
        f"Found by hbac, for research{by}: probability at or above {thresholds} for {rule.held_s:g} s or longer; "
        f"stretches of a pattern up to {rule.join_s:g} s apart joined; {rule.least_s:g} s or longer{smooth}. "
        "Each pattern is looked at by itself."
    )
    return {**_COLUMNS, "trial_type": {**_COLUMNS["trial_type"], "Description": text}}
