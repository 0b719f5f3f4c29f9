"""A run is a folder that explains itself.

``outputs/runs/<member>/fold<k>/`` holds the resolved config, the environment, the weights with the constructor
arguments of front-end and network, the metrics and the prediction table. The member's name ends in a hash of all that
decides its predictions except the fold, so that the same command finds the same folder again: a finished fold is kept,
an interrupted one goes on.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hbac import __version__
from hbac.common.errors import UserError
from hbac.common.files import whole_file

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

MODEL_FILE, WEIGHTS_FILE, TABLE_FILE = "model.json", "weights.safetensors", "predictions.parquet"
CONFIG_FILE, ENVIRONMENT_FILE = "config.json", "environment.json"
DONE_FILE = "metrics.json"  # written last: where it is, the run is complete

# What never changes a prediction: where things lie, who watches, how fast it goes.
_NOT_HASHED = ("fold", "logger", "outputs", "n_jobs", "resume", "blend", "report", "allow_missing_folds", "init_from")
# The underscore marks what is not the data set's own affair: it reaches the model's config, which is hashed.
_NOT_HASHED_INSIDE = {"dataset": ("stores", "n_jobs", "_pretrained_"), "data": ("num_workers",), "labels": ("pseudo",)}

# Where weights came from before training is of no use to a model that has its own, and may need a network.
_START = {"pretrained": False, "pretrained_file": None}


def deciding(config: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what decides the predictions of a resolved config, except the fold.

    Parameters
    ----------
    config : mapping
        The resolved config as plain containers.

    Returns
    -------
    dict
        The same without where things lie, who watches, how fast it goes.

    Examples
    --------
    >>> deciding({"band": "1-12", "fold": 3, "outputs": "/here", "data": {"num_workers": 4, "batch_size": 32}})
    {'band': '1-12', 'data': {'batch_size': 32}}
    """
    return {
        key: {k: v for k, v in value.items() if k not in _NOT_HASHED_INSIDE.get(key, ())}
        if isinstance(value, Mapping)
        else value
        for key, value in config.items()
        if key not in _NOT_HASHED
    }


def config_hash(config: Mapping[str, Any]) -> str:
    """Hash everything in a resolved config that decides the predictions, except the fold.

    Parameters
    ----------
    config : mapping
        The resolved config as plain containers.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    return hashlib.sha256(json.dumps(deciding(config), sort_keys=True).encode()).hexdigest()


def member_name(config: Mapping[str, Any]) -> str:
    """Name the member of an ensemble that a config describes: ``<model>-<band>-<hash>``.

    Parameters
    ----------
    config : mapping
        The resolved config as plain containers.

    Returns
    -------
    str
        The same for all folds of one config.

    Examples
    --------
    >>> member_name({"model": {"_target_": "hbac.models.ResNetGRU"}, "band": "0.5-20", "fold": 3})[:17]
    'resnet_gru-0.5-20'
    """
    from hydra.utils import get_class

    architecture = get_class(config["model"]["_target_"]).__module__.rpartition(".")[2]  # one architecture a file
    return f"{architecture}-{config['band']}-{config_hash(config)[:8]}"


def without_nan(content: Any) -> Any:
    """Put None where JSON has no number.

    Parameters
    ----------
    content : object
        Plain containers.

    Returns
    -------
    object
        The same, None for NaN and infinity.

    Examples
    --------
    >>> without_nan({"kl": [0.5, float("nan")]})
    {'kl': [0.5, None]}
    """
    if isinstance(content, Mapping):
        return {key: without_nan(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [without_nan(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file that is never seen half-written.

    Parameters
    ----------
    path : Path
        File to write.
    content : object
        Plain containers. What JSON has no number for (the score of no rows is NaN) becomes null.
    """
    write_text(path, json.dumps(without_nan(content), indent=2, allow_nan=False) + "\n")


def write_text(path: Path, content: str) -> None:
    """Write a text file that is never seen half-written.

    Parameters
    ----------
    path : Path
        File to write.
    content : str
        The text.
    """
    with whole_file(path) as partial:
        partial.write_text(content, encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Parameters
    ----------
    path : Path
        File to read.

    Returns
    -------
    object
        Plain containers.

    Raises
    ------
    UserError
        When there is no such file, or it is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a JSON file: {error}") from None


def environment() -> dict[str, str]:
    """Return the versions and the machine that a run's figures depend on."""
    from importlib.metadata import version

    packages = ("torch", "lightning", "timm", "numpy", "scipy", "pandas", "hydra-core")
    return {
        "hbac": __version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        **{name: version(name) for name in packages},
    }


def save_model(
    folder: Path,
    network: nn.Module,
    network_config: Mapping[str, Any],
    front_end_config: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> None:
    """Write weights and what they need to become a model again.

    Parameters
    ----------
    folder : Path
        The run's folder.
    network : torch.nn.Module
        Its state is written as safetensors.
    network_config, front_end_config : mapping
        ``_target_`` and all constructor arguments, plain values.
    facts : mapping
        Further entries of ``model.json``: member, fold, hashes.
    """
    save_weights(network, folder)
    arguments = dict(network_config) | {key: value for key, value in _START.items() if key in network_config}
    content = {"network": arguments, "front_end": dict(front_end_config), **facts}
    write_json(folder / MODEL_FILE, content)


def save_weights(network: nn.Module, folder: Path) -> None:
    """Write a network's state.

    Parameters
    ----------
    network : torch.nn.Module
        On any device.
    folder : Path
        Gets ``weights.safetensors``, which is never seen half-written.
    """
    from safetensors.torch import save

    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    with whole_file(folder / WEIGHTS_FILE) as partial:
        partial.write_bytes(save(state))


def load_weights(network: nn.Module, folder: Path) -> None:
    """Read a network's state.

    Parameters
    ----------
    network : torch.nn.Module
        Gets it.
    folder : Path
        With ``weights.safetensors``.

    Raises
    ------
    UserError
        When there is none, or it does not fit the network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        network.load_state_dict(load_file(folder / WEIGHTS_FILE))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise UserError(f"{folder / WEIGHTS_FILE}: cannot be loaded into the network: {error}") from None


def run_of_fold(path: Path, fold: int) -> Path:
    """Find the run that a path stands for.

    Parameters
    ----------
    path : Path
        A run's folder, or the folder of a member's runs, of which the one of the fold is meant.
    fold : int
        The fold.

    Returns
    -------
    Path
        A finished run's folder.

    Raises
    ------
    UserError
        When there is none.
    """
    for folder in (path, path / f"fold{fold}"):
        if (folder / MODEL_FILE).is_file():
            return folder
    raise UserError(
        f"{path}: neither a finished run (with {MODEL_FILE}) nor a folder of them with fold{fold}; give a folder like "
        "outputs/runs/… or outputs/runs/…/fold0"
    )


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
        """
        import torch

        given = as_windows(self.sources, windows)
        with torch.inference_mode():
            self.to(given[0].device)
            logits_BK: Tensor = self.network(self.front_end(*given))
            return logits_BK.float().softmax(dim=1)

    def to(self, device: Any) -> Model:
        """Move front-end and network to a device.

        Parameters
        ----------
        device : torch.device or str
            Where to.

        Returns
        -------
        Model
            Itself.
        """
        self.front_end.to(device)
        self.network.to(device)
        return self


def as_windows(sources: Sequence[str], windows: Sequence[Tensor | NDArray[Any]]) -> list[Tensor]:
    """Take arrays of any kind as a model's input.

    Parameters
    ----------
    sources : sequence of str
        What the model reads of a window.
    windows : sequence of Tensor or ndarray
        One for each source, of any kind of number.

    Returns
    -------
    list of Tensor
        float16 or float32; tensors stay on their device.

    Raises
    ------
    ValueError
        When there is not one for each source.
    """
    import numpy as np
    import torch

    if len(windows) != len(sources):
        raise ValueError(f"this model reads {', '.join(sources)}; {len(windows)} arrays were given")
    # What pandas hands out may be read-only, which torch warns of.
    given = [w if isinstance(w, torch.Tensor) else torch.from_numpy(np.require(w, np.float32, "W")) for w in windows]
    return [window if window.dtype == torch.float16 else window.float() for window in given]


def load_run(folder: str | Path) -> Model:
    """Return the model of a run folder.

    Parameters
    ----------
    folder : str or Path
        A run's folder, ``outputs/runs/<member>/fold<k>``.

    Returns
    -------
    Model
        On the CPU, in evaluation mode.

    Raises
    ------
    UserError
        When the folder is no finished run, or its weights do not fit its network.
    """
    from hbac.common.instantiate import build

    folder = Path(folder)
    if not (folder / MODEL_FILE).is_file():
        raise UserError(
            f"{folder}: not a finished run: it has no {MODEL_FILE}; give a folder like outputs/runs/…/fold0"
        )
    facts = read_json(folder / MODEL_FILE)
    network, front_end = build(facts["network"]), build(facts["front_end"])
    load_weights(network, folder)
    return Model(front_end.eval(), network.eval(), facts)
