"""``hbac.load``: from the folder of a run, or of an ensemble, to a model that predicts arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hbac.common.errors import UserError
from hbac.ensembling.blends import Arithmetic
from hbac.ensembling.ensemble_file import ENSEMBLE_FILE, Ensemble, Member
from hbac.evaluation.bootstrap import Interval
from hbac.inference.hub import HUB, downloaded
from hbac.inference.networks import Networks, members_of_runs
from hbac.runs.folder import MODEL_FILE, read_facts
from hbac.runs.model import Model, as_windows, load_run
from hbac.signal.plausible import check_windows
from hbac.vocabulary import N_CLASSES

if TYPE_CHECKING:
    import pandas as pd


class RunModel(Model):
    """The model of a run; see `hbac.runs.model.Model`."""

    def predict_raw(self, raw: Any, **settings: Any) -> pd.DataFrame:
        """Predict an `mne.io.Raw` along its length, or `mne.Epochs` each: see `hbac.inference.raws.predict_raw`."""
        from hbac.inference.raws import predict_raw

        networks = Networks([self], [0], [""])
        return predict_raw(_alone("run", (), self.facts), networks, raw, **settings)


@dataclass
class EnsembleModel:
    """All networks of an ensemble, ready to predict as one.

    Parameters
    ----------
    ensemble : Ensemble
        The members, how they are blended, and with what score.
    networks : Networks
        The networks of their folds.
    """

    ensemble: Ensemble
    networks: Networks

    @property
    def sources(self) -> tuple[str, ...]:
        """What the members read of a window, in the order of the arguments: ``eeg``, ``official``."""
        return tuple(self.networks.sources)

    def __call__(self, *windows: Tensor | NDArray[Any]) -> Tensor:
        """Return class probabilities of raw windows: the blend of all members, each the mean of its folds.

        It takes, returns and refuses what `hbac.runs.model.Model` does.
        """
        given = as_windows(self.sources, windows)
        if not len(given[0]):
            return given[0].new_zeros((0, N_CLASSES), dtype=torch.float32)
        if "eeg" in self.sources:
            check_windows(given[self.sources.index("eeg")])
        self.to(given[0].device)
        batch = dict(zip(self.sources, given, strict=True)) | {"row": torch.arange(len(given[0]))}
        prob_RBK = self.networks.predict(batch).cpu().numpy()
        prob_BK = self.ensemble.apply(members_of_runs(prob_RBK, self.networks.member))
        return torch.from_numpy(prob_BK).float().to(given[0].device)

    def predict_raw(self, raw: Any, **settings: Any) -> pd.DataFrame:
        """Predict an `mne.io.Raw` along its length, or `mne.Epochs` each: see `hbac.inference.raws.predict_raw`."""
        from hbac.inference.raws import predict_raw

        return predict_raw(self.ensemble, self.networks, raw, **settings)

    def to(self, device: torch.device | str) -> EnsembleModel:
        """Move all networks and front-ends to a device; returns the model itself."""
        self.networks.to(str(device))
        return self


def ensemble_of(path: Path) -> Ensemble:
    """Read an ensemble, by its ``ensemble.json`` or its folder.

    A run, or a folder of one member's runs, is an ensemble of one, whose own score nobody knows; a `UserError` where it
    is none of these.
    """
    runs = [path] if (path / MODEL_FILE).is_file() else [file.parent for file in path.glob(f"fold*/{MODEL_FILE}")]
    if path.is_file() or (path / ENSEMBLE_FILE).is_file():
        return Ensemble.read(path)
    if not runs:
        raise UserError(
            f"{path}: neither an ensemble (with {ENSEMBLE_FILE}) nor a finished run (with {MODEL_FILE}), nor a folder "
            "of one member's runs"
        )
    facts = {run: read_facts(run) for run in runs}
    runs.sort(key=lambda run: int(facts[run]["fold"]))
    first = facts[runs[0]]
    return _alone(str(first["member"]), tuple(run.absolute() for run in runs), first)


def _alone(name: str, runs: tuple[Path, ...], facts: Mapping[str, Any]) -> Ensemble:
    """Return an ensemble of one member, whose score nobody knows."""
    unknown = Interval(math.nan, math.nan, math.nan)
    return Ensemble(
        members=(Member(name, runs, config_hash=str(facts.get("config_hash", ""))),),
        method="mean",
        blend=Arithmetic(np.ones(1)),
        population="all",
        nested=unknown,
        in_sample=unknown,
        fold_hash=str(facts.get("fold_hash", "")),
        data_fingerprint=str(facts.get("data_fingerprint", "")),
    )


def load(folder: str | Path, allow: str | Sequence[str] = ()) -> RunModel | EnsembleModel:
    """Return the model of a run or of an ensemble.

    Parameters
    ----------
    folder : str or Path
        A run's folder, ``outputs/runs/<member>/fold<k>``; or an ensemble's: that of a sweep, or of
        ``hbac.ensemble``. Or ``hf://OWNER/NAME``, with ``@REVISION`` behind it where wanted: what
        ``hbac.export to=hub`` wrote, from the Hugging Face Hub, or without a network from its cache on this machine.
    allow : str or sequence of str
        Packages of your own that its networks may be of, and that are imported then: ``("mynets",)``. A folder of
        anybody's is safe to load without.

    Returns
    -------
    RunModel or EnsembleModel
        On the CPU, in evaluation mode, computing in float32.

    Raises
    ------
    UserError
        When the folder is neither, a run of the ensemble is missing, a network is of a package that is not allowed, or
        weights do not fit their network; when the Hub has no such model, or it cannot be reached.
    """
    if str(folder).startswith(HUB):
        return load(downloaded(str(folder)), allow)
    folder = Path(folder)
    if (folder / MODEL_FILE).is_file():
        model = load_run(folder, allow)
        return RunModel(model.front_end, model.network, model.facts)
    if (folder / ENSEMBLE_FILE).is_file():
        ensemble = Ensemble.read(folder)
        return EnsembleModel(ensemble, Networks.of(ensemble, "cpu", "32-true", allow))
    raise UserError(
        f"{folder}: neither a finished run (with {MODEL_FILE}) nor an ensemble (with {ENSEMBLE_FILE}); give a folder "
        "like outputs/runs/…/fold0 or outputs/sweeps/…"
    )
