"""What another model said about label rows, to be learned from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hbac.recordings.datasets import Part


@dataclass(frozen=True, eq=False)
class PseudoLabels:
    """Predictions of rows of a data set's part; `hbac.predictions.pseudo` reads them and checks whose they are.

    Parameters
    ----------
    part : Part
        The part that is trained on, or another one, whose rows are then trained on as well.
    probs : ndarray of float64, shape (n_rows, 6)
        Of each row of the part; NaN where nothing was predicted.
    """

    part: Part
    probs: NDArray[np.float64]
