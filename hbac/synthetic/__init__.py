"""A synthetic data set in exactly the HMS layout, with realistic EEG and a known Bayes floor.

The modules, in the order the data goes: `head` (geometry), `patient`, `background`, `patterns` and `seizures`,
`artefacts` and `electrodes`, `recording` (the plan and its rendering), `votes`, `spectrogram`, `dataset`.
"""

from __future__ import annotations

from hbac.synthetic.dataset import SIZES, VERSION, write_synthetic
from hbac.synthetic.window import simulate_window

__all__ = ["SIZES", "VERSION", "simulate_window", "write_synthetic"]
