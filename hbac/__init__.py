"""hbac: classify harmful brain activity in EEG.

Recordings and votes become windows, windows become probabilities, probabilities become one table; cross-validation
score, ensemble, submission and report read only that table.

Examples
--------
From the folder of a run, or of an ensemble, to probabilities, in a notebook::

    import hbac

    model = hbac.load("outputs/runs/resnet_gru-0.5-20-1a2b3c4d/fold0")
    prob = model(eeg)  # (batch, 10000, 20) microvolt at 200 Hz, to (batch, 6)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hbac.experiment.classifier import Classifier
    from hbac.inference.loading import load

__version__ = "0.1.0"
__all__ = ["Classifier", "__version__", "load"]


def _rooms() -> list[str]:
    from pkgutil import iter_modules

    return ["vocabulary", *(found.name for found in iter_modules(__path__) if found.ispkg)]


def __getattr__(name: str) -> Any:
    # Lazy, so that the command line answers before anything heavy is imported.
    if name == "load":
        from hbac.inference.loading import load

        return load
    if name == "Classifier":
        from hbac.experiment.classifier import Classifier

        return Classifier
    if not name.startswith("_") and name in _rooms():
        from importlib import import_module

        return import_module(f"hbac.{name}")
    raise AttributeError(f"module 'hbac' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_rooms()])
