"""Trainings in jobs of the batch system Slurm; `hbac.common.requeue` puts them back into its queue."""

from __future__ import annotations

from typing import Any

from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment


def slurm_plugins() -> list[Any]:
    """Return the plugins with which a Trainer leaves requeueing to us: one in a job of Slurm, else none.

    Lightning's own saves a checkpoint in the middle of an epoch, and any later ``fit`` or ``predict`` begins with it,
    whatever weights it was given.
    """
    if SLURMEnvironment.detect() and not TorchElasticEnvironment.detect():
        return [SLURMEnvironment(auto_requeue=False)]
    return []
