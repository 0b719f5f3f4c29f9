"""Whether a run is there already: all its files, as they were written."""

from __future__ import annotations

import logging
from pathlib import Path

from hbac.common.errors import UserError
from hbac.common.files import with_nan
from hbac.predictions import PredictionTable
from hbac.runs.folder import DONE_FILE, TABLE_FILE, WEIGHTS_HASH, check_weights, read_facts, read_scores

log = logging.getLogger("hbac.train")


def score_of_finished(folder: Path, population: str) -> float | None:
    """Return the score of a run that is complete and undamaged, None where it is to be trained.

    That is the KL divergence of its held-out rows of a population (a name in `hbac.labels.targets.POPULATIONS`), NaN
    where there is none. A warning says what is wrong with a run that had been finished.
    """
    if not (folder / DONE_FILE).is_file():
        return None
    try:
        score = read_scores(folder)["kl"][population]
        check_weights(folder, read_facts(folder).get(WEIGHTS_HASH))
        PredictionTable.read(folder / TABLE_FILE)
    except UserError as error:
        log.warning("%s: finished, but no longer whole, and made again: %s", folder, error)
        return None
    return with_nan(score)
