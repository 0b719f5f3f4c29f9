"""One base LightningModule, its callbacks, schedules and metrics."""

from hbac.training.module import Classifier

__all__ = ["Classifier"]
