"""Events as a file of EDF+ annotations, which viewers of EEG load beside a recording. The recording stays as it is."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pandas as pd

from hbac.common.files import whole_file
from hbac.vocabulary import CLASSES, CONSENSUS_NAMES

NO_EVENTS = "No events"


def write_annotations(path: Path, events: pd.DataFrame, start: datetime | None = None) -> None:
    """Write an EDF+ file without a signal, with the classes as readers write them, such as ``LPD``.

    Without events there is one at the start that says so: a file of neither signals nor annotations is no EDF+. Without
    ``start`` the header has no date (1985-01-01, and ``X``) and midnight. Nothing of the patient is written.

    References
    ----------
    Kemp B, Olivan J. European data format 'plus' (EDF+), an EDF alike standard format for the exchange of physiological
    data. Clin Neurophysiol 2003;114:1755, doi:10.1016/S1388-2457(03)00123-8.
    """
    from edfio import Edf, EdfAnnotation, Recording

    names = dict(zip(CLASSES, CONSENSUS_NAMES, strict=True))
    annotations = [
        EdfAnnotation(round(row["onset"], 2), round(row["duration"], 2), names[row["class"]])
        for row in events.to_dict("records")
    ] or [EdfAnnotation(0, None, NO_EVENTS)]
    recording = Recording() if start is None else Recording(startdate=start.date())
    edf = Edf([], recording=recording, starttime=None if start is None else start.time(), annotations=annotations)
    with whole_file(path) as partial:
        edf.write(partial)
