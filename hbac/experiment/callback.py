"""The Hydra callback that turns a finished sweep into an ensemble.

Hydra does not call it when a job failed; `hbac.ensemble members=[SWEEP]` does the same by hand. Light imports
only: Hydra makes it before every command, ``--cfg job`` included.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback

from hbac.cli.launch import fail
from hbac.common.errors import UserError


class MergeSweep(Callback):
    """Merge the out-of-fold tables of a sweep's runs and blend its members."""

    def on_multirun_end(self, config: Any, **kwargs: Any) -> None:
        """Write the ensemble into the sweep's folder and print its table.

        Parameters
        ----------
        config : DictConfig
            Of the sweep.
        **kwargs
            Not used.
        """
        from hbac.common.instantiate import build
        from hbac.ensemble import blend, blend_settings
        from hbac.ensembling.collect import JOBS

        sweep = Path(config.hydra.sweep.dir)
        if not (sweep / JOBS).is_dir():
            return  # of another command than training
        try:
            blend([sweep], sweep, logger=build(config.logger), **blend_settings(config))
        except UserError as error:
            # Hydra makes a warning of any exception here, and the command would end with 0.
            fail(error)
