"""hbac: classify harmful brain activity in EEG.

Recordings and votes become windows, windows become probabilities, probabilities become one table; cross-validation
score, ensemble, submission and report read only that table.
"""

from __future__ import annotations

__version__ = "0.1.0"
