"""The prediction table: schema, writing, reading, joining; tables of other code, of raters, along a recording.

All that follows a prediction (cross-validation score, ensemble, submission, report) reads only this table.
"""

from __future__ import annotations

from hbac.predictions.metadata import TableMetadata
from hbac.predictions.table import PredictionTable

__all__ = ["PredictionTable", "TableMetadata"]
