"""What predicts, whether rows or recordings: an ensemble, its networks, and the machines that they run on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hbac.cli.console import next_command
from hbac.ensembling.collect import newest_ensemble
from hbac.ensembling.ensemble_file import Ensemble
from hbac.experiment.launched import command_of_report, typed
from hbac.experiment.merge import kept_settings
from hbac.inference.loading import ensemble_of
from hbac.inference.networks import Networks, choose_place
from hbac.tracking.loggers import Loggers, RunFacts, never_fatal

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from hbac.inference.on_ray import RayActors


class Predictor(NamedTuple):
    """An ensemble, loaded."""

    folder: Path
    ensemble: Ensemble
    networks: Networks
    cluster: RayActors | None  # who predicts in place of this process

    @classmethod
    def of(cls, cfg: DictConfig, path: Path) -> Predictor:
        """Load the ensemble of a file or folder, to predict here or where ``engine`` says."""
        ensemble = ensemble_of(path)
        networks, cluster = _networks(cfg, ensemble)
        return cls(path if path.is_dir() else path.parent, ensemble, networks, cluster)

    @property
    def name(self) -> str:
        """What the ensemble's folder is called."""
        return self.folder.resolve().name

    def tell(self, logger: Loggers, facts: RunFacts, totals: Mapping[str, float]) -> None:
        """Tell a logger what was predicted; its errors end nothing."""
        with never_fatal(), logger.single(facts) as run:
            if run is not None:
                run.summary.update({**totals, "networks": len(self.networks.models)})

    def suggest_report(self) -> None:
        """Print the command that reports on the ensemble."""
        next_command(command_of_report(self.folder, self.ensemble.population, kept_settings(typed())))


def chosen_ensemble(cfg: DictConfig) -> Path:
    """Return the file or folder of the ensemble that was named, else the newest file."""
    return newest_ensemble(Path(cfg.outputs)) if cfg.ensemble is None else Path(str(cfg.ensemble))


def _networks(cfg: DictConfig, ensemble: Ensemble) -> tuple[Networks, RayActors | None]:
    if cfg.engine.name == "local" or cfg.dry_run:
        return Networks.of(ensemble, cfg.device, cfg.precision, cfg.allow, cfg.population), None
    from hbac.inference.on_ray import RayActors

    cluster = RayActors(**{key: value for key, value in cfg.engine.items() if key != "name"})
    if cfg.engine.num_gpus:  # which this machine may not have: one that has says what is meant by auto
        device, precision = cluster.call(choose_place, cfg.device, cfg.precision)
    else:
        device, precision = choose_place("cpu" if cfg.device == "auto" else cfg.device, cfg.precision)
    return Networks.of(ensemble, device, precision, cfg.allow, cfg.population, elsewhere=True), cluster
