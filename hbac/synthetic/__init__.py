"""A synthetic data set in exactly the HMS layout, with realistic EEG and a known Bayes floor.

Labels come first: `reference` (the competition's figures), `population` and `raters`, `labels`, `votes` (the floor),
`comparison`. Then the EEG that has to look like them: `head` (geometry), `patient`, `background`, `patterns` and
`seizures` at their `fields`, `looks`, `artefacts` and `electrodes`, `recording` (the plan and its rendering),
`spectrogram_file`. Both go into `dataset`; `window` and `hours` make one window, or one long recording.
"""

from __future__ import annotations

from hbac.synthetic.dataset import SIZES, VERSION, write_synthetic
from hbac.synthetic.window import simulate_window

__all__ = ["SIZES", "VERSION", "simulate_window", "write_synthetic"]
