"""The weights of a run, and its model: front-end and network, ready to predict."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from hbac.common.errors import UserError
from hbac.common.files import read_json, whole_file, write_json
from hbac.common.instantiate import build, find
from hbac.common.shapes import Maybe
from hbac.models.population_head import PopulationHead
from hbac.runs.folder import MODEL_FILE, STAGE_FILE, WEIGHTS_FILE, WEIGHTS_HASH, check_weights, read_facts
from hbac.signal.plausible import check_windows
from hbac.vocabulary import N_CLASSES

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

# Where weights came from before training is of no use to a model that has its own, and may need a network.
_START = {"pretrained": False, "pretrained_file": None}


def save_model(
    folder: Path,
    network: nn.Module,
    network_config: Mapping[str, Any],
    front_end_config: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> None:
    """Write weights, as safetensors, and what they need to become a model again, to a run's folder.

    The configs are ``_target_`` and all constructor arguments, plain values; `facts` are further entries of
    ``model.json``: member, fold, hashes.
    """
    digest = save_weights(network, folder)
    content = {"network": _started(network_config), "front_end": dict(front_end_config), **facts, WEIGHTS_HASH: digest}
    write_json(folder / MODEL_FILE, content, sealed=True)


def _started(network: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out where its weights came from, and those of its branches."""
    branches = network.get("branches")
    inside = {"branches": {name: _started(branch) for name, branch in branches.items()}} if branches else {}
    return {**network, **{key: value for key, value in _START.items() if key in network}, **inside}


def save_weights(network: nn.Module, folder: Path) -> str:
    """Write a network's state to ``weights.safetensors``, never seen half-written; return the file's hash."""
    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    content = save(state)
    with whole_file(folder / WEIGHTS_FILE) as partial:
        partial.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def load_weights(network: nn.Module, folder: Path) -> None:
    """Read a network's state from a run's or a stage's folder, and compare it with the hash that is noted there.

    A `UserError` where there is none, it is not what was written, or does not fit the network.
    """
    noted = next((path for path in (folder / MODEL_FILE, folder / STAGE_FILE) if path.is_file()), None)
    check_weights(folder, None if noted is None else read_json(noted, {WEIGHTS_HASH: Maybe(str)}).get(WEIGHTS_HASH))
    try:
        network.load_state_dict(load_file(folder / WEIGHTS_FILE))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise UserError(f"{folder / WEIGHTS_FILE}: cannot be loaded into the network: {error}") from None


@dataclass
class Model:
    """Front-end and network of one run, ready to predict.

    Parameters
    ----------
    front_end : torch.nn.Module
        Maps the windows of its ``sources`` to the network's input.
    network : torch.nn.Module
        Maps that to logits (batch, 6); in evaluation mode.
    facts : dict
        What ``model.json`` says besides: member, fold, hashes, configs.
    """

    front_end: nn.Module
    network: nn.Module
    facts: dict[str, Any]

    @property
    def sources(self) -> tuple[str, ...]:
        """What the model reads of a window, in the order of its arguments: ``eeg``, ``official``."""
        sources: tuple[str, ...] = self.front_end.sources  # type: ignore[assignment]
        return sources

    def __call__(self, *windows: Tensor | NDArray[Any]) -> Tensor:
        """Return class probabilities of raw windows.

        Parameters
        ----------
        *windows : Tensor or ndarray
            One for each of `sources`, NaN where nothing was recorded. EEG: shape (batch, 10000, 20), microvolt at
            200 Hz, channels in the order of `hbac.vocabulary.CHANNELS`. Official spectrogram: (batch, 300, 400),
            power, columns in the order of `hbac.recordings.columns.SPECTROGRAM_COLUMNS`. The model follows a tensor
            to its device.

        Returns
        -------
        Tensor, shape (batch, 6)
            Probabilities in the order of `hbac.vocabulary.CLASSES`, on the windows' device; each row sums to 1.

        Raises
        ------
        ValueError
            When there is not one array for each source, or its shape is another.
        UserError
            When EEG is in volts. A warning says what else cannot be microvolt (`hbac.signal.plausible`).
        """
        given = as_windows(self.sources, windows)
        if not len(given[0]):  # no window is no reason to stop somebody's loop
            return given[0].new_zeros((0, N_CLASSES), dtype=torch.float32)
        if "eeg" in self.sources:
            check_windows(given[self.sources.index("eeg")])
        with torch.inference_mode():
            self.to(given[0].device)
            logits_BK: Tensor = self.network(self.front_end(*given))
            return logits_BK.float().softmax(dim=1)

    def to(self, device: Any) -> Model:
        """Move front-end and network to a device; returns the model itself."""
        self.front_end.to(device)
        self.network.to(device)
        return self


def as_windows(sources: Sequence[str], windows: Sequence[Tensor | NDArray[Any]]) -> list[Tensor]:
    """Take arrays of any kind of number, one for each source, as a model's input: float16 or float32.

    Tensors stay on their device. A `ValueError` where there is not one for each source.
    """
    if len(windows) != len(sources):
        raise ValueError(f"this model reads {', '.join(sources)}; {len(windows)} arrays were given")
    # What pandas hands out may be read-only, which torch warns of.
    given = [w if isinstance(w, torch.Tensor) else torch.from_numpy(np.require(w, np.float32, "W")) for w in windows]
    return [window if window.dtype == torch.float16 else window.float() for window in given]


def load_run(folder: str | Path, allow: str | Sequence[str] = ()) -> Model:
    """Return the model of a run's folder, on the CPU, in evaluation mode.

    The folder may be anybody's: nothing in it decides what code is run; `allow` are packages of your own that its
    network may be of. A `UserError` when the folder is no finished run, its network is of a package that is not
    allowed, or its weights do not fit its network.
    """
    folder = Path(folder)
    if not (folder / MODEL_FILE).is_file():
        raise UserError(
            f"{folder}: not a finished run: it has no {MODEL_FILE}; give a folder like outputs/runs/…/fold0"
        )
    facts = read_facts(folder)
    try:
        # Whatever the file says: no weights to begin with are read, be it from a file or from the network.
        config = _started(facts["network"])
        population = facts.get("population_head")
        find(config.get("_target_"), "network", allow)
        front_end = build(facts["front_end"], "front_end", allow)
        if str(config["_target_"]).startswith("hbac."):
            _check_shapes(folder, _shapes(json.dumps(config), population))
        network = build(config, "network", allow)
        if population is not None:
            network = PopulationHead(network, population)
    except UserError as error:
        raise UserError(f"{folder / MODEL_FILE}: {error}") from None
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError, RuntimeError) as error:
        raise UserError(f"{folder / MODEL_FILE}: no model can be made from it: {error!r}") from None
    load_weights(network, folder)
    return Model(front_end.eval(), network.eval(), facts)


@lru_cache(maxsize=64)
def _shapes(config: str, population: str | None) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a network's state; no memory is taken for it, however large its config asks it to be."""
    with torch.device("meta"):
        network = build(json.loads(config), "network")
        if population is not None:
            network = PopulationHead(network, population)
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}


def _check_shapes(folder: Path, wanted: Mapping[str, tuple[int, ...]]) -> None:
    """Compare a network with its weights before it is made: none can take more memory than the file has weights."""
    path = folder / WEIGHTS_FILE
    try:
        with safe_open(path, "pt") as file:
            found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: cannot be loaded into the network: {error}") from None
    differs = [name for name in wanted if found.get(name) != wanted[name]]
    if differs or found.keys() != wanted.keys():
        name = (differs or [name for name in found if name not in wanted])[0]
        shapes = f"{found.get(name, 'missing')} there, {wanted.get(name, 'missing')} in the network"
        raise UserError(f"{path}: cannot be loaded into the network: {name} is {shapes}")
