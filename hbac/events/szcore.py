"""Seizures as SzCORE and epilepsy2bids read them: a table of tab-separated values.

References
----------
Dan J et al. SzCORE: seizure community open-source research evaluation framework for the validation of
electroencephalography-based automated seizure detection algorithms. Epilepsia 2024, doi:10.1111/epi.18113.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pandas as pd

from hbac.common.files import write_text

COLUMNS = ("onset", "duration", "eventType", "confidence", "channels", "dateTime", "recordingDuration")
SEIZURE, BACKGROUND = "sz", "bckg"
NOTHING = "n/a"


def write_szcore(path: Path, events: pd.DataFrame, duration_s: float, start: datetime | None = None) -> None:
    """Write the seizures of a recording, whose duration includes its gaps; all other classes are background."""
    seizures = events[events["class"] == "seizure"]
    rows = [
        (f"{row.onset:.2f}", f"{row.duration:.2f}", SEIZURE, f"{row.max_prob:.2f}", NOTHING)
        for row in seizures.itertuples()
    ] or [("0.00", f"{duration_s:.2f}", BACKGROUND, NOTHING, NOTHING)]
    when = NOTHING if start is None else f"{start:%Y-%m-%d %H:%M:%S}"
    lines = [COLUMNS, *((*row, when, f"{duration_s:.2f}") for row in rows)]
    write_text(path, "".join("\t".join(line) + "\n" for line in lines))
