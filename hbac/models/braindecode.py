"""Networks of braindecode on what our front-end makes: one config for all of them.

Only networks that were seen to run at our sizes can be named; none of them asks the network or reads files by itself.
"""

# Shapes: B window, C derivation, T sample, K class

from __future__ import annotations

import difflib
import inspect
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hbac.common.errors import UserError
from hbac.models.parts import central, check_counts
from hbac.models.pretrained import load_strictly
from hbac.vocabulary import N_CLASSES

#: What can be named: seen to map 18 derivations of 10 s and of 50 s at 200 Hz to six logits, with braindecode 1.8.1.
NETWORKS = (
    "ATCNet", "BDTCN", "BIOT", "CBraMod", "CTNet", "ContraWR", "Deep4Net", "EEGConformer", "EEGDINO", "EEGITNet",
    "EEGInceptionMI", "EEGNeX", "EEGNet", "EEGPT", "EEGSimpleConv", "EEGTCNet", "FBCNet", "LUNA", "MSVTNet",
    "MVPFormer", "PBT", "SPARCNet", "SSTDPN", "ShallowFBCSPNet", "TCFormer", "TSception",
)  # fmt: skip
#: Under licences that forbid commercial use (CC BY-NC and BY-NC-SA), says braindecode's NOTICE.
NON_COMMERCIAL = ("BrainModule", "EEGMiner", "EMG2QwertyNet", "MetaNeuromotorHand", "VEMG2Pose")


class Braindecode(nn.Module):
    """A network of braindecode, its output the logits.

    A `UserError` where braindecode is not installed, has no such network, or cannot make it for windows of this size;
    for a network that may not be used commercially; and for a file that does not fit whole.

    Parameters
    ----------
    name : str
        One of `NETWORKS`.
    n_chans : int
        Derivations.
    n_times : int
        Samples of a window.
    n_outputs : int
        Classes.
    sfreq : float
        Rate of the input in hertz. Some networks are made for 200: ``+front_end.sfreq_out=200``.
    crop_s : float or None
        Seconds around the middle of the window that are read; None for the whole window.
    args : mapping of str to object
        Further arguments of the network's constructor, plain values: ``{growth_rate: 16}``.
    pretrained_file : str or None
        Start from this safetensors file with braindecode's names, such as the ``model.safetensors`` of one of its
        repositories: every tensor but those of the network's last layer, of the right shape.

    References
    ----------
    Schirrmeister et al. (2017), Deep learning with convolutional neural networks for EEG decoding and visualization,
    doi:10.1002/hbm.23730; each network's own source stands in braindecode's docs.

    Examples
    --------
    >>> Braindecode("EEGNet", n_times=400)(torch.zeros(2, 18, 400)).shape  # doctest: +SKIP
    torch.Size([2, 6])
    """

    def __init__(
        self,
        name: str = "EEGConformer",
        n_chans: int = 18,
        n_times: int = 2000,
        n_outputs: int = N_CLASSES,
        sfreq: float = 40.0,
        crop_s: float | None = None,
        args: Mapping[str, Any] | None = None,
        pretrained_file: str | None = None,
    ) -> None:
        super().__init__()
        check_counts({"n_chans": n_chans, "n_times": n_times, "n_outputs": n_outputs})
        if crop_s is not None and not crop_s > 0:
            raise UserError(f"model.crop_s={crop_s}: must be positive, or null for the whole window")
        self.n_times = n_times if crop_s is None else min(n_times, round(crop_s * sfreq))
        sizes = {"n_chans": n_chans, "n_outputs": n_outputs, "n_times": self.n_times, "sfreq": sfreq}
        self.network = _make(name, sizes, dict(args or {}))
        if pretrained_file is not None:
            load_strictly(self.network, Path(pretrained_file), f"braindecode's {name}", but=_head(self.network))

    def forward(self, x_BCT: Tensor) -> Tensor:
        """Map EEG (window, derivation, sample) to logits (window, class)."""
        logits_BK: Tensor = self.network(central(x_BCT, self.n_times))
        return logits_BK

    def layers(self) -> list[nn.Module]:
        """Return what has weights, in the order in which braindecode declares it."""
        own = list(self.network.parameters(recurse=False))
        parts = [part for part in self.network.children() if any(True for _ in part.parameters())]
        return [*([nn.ParameterList(own)] if own else []), *parts]


def _make(name: str, sizes: Mapping[str, Any], settings: Mapping[str, Any]) -> nn.Module:
    if name in NON_COMMERCIAL:
        raise UserError(f"model.name={name}: its licence forbids commercial use; it is not offered here")
    if name not in NETWORKS:
        near = difflib.get_close_matches(str(name), NETWORKS, n=4, cutoff=0.4)
        raise UserError(f"model.name={name}: no such network here; choose {', '.join(near or NETWORKS)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of packages that braindecode imports, not of ours
            import braindecode.models as theirs  # seven seconds
    except ImportError as error:
        raise UserError(f"model=braindecode needs braindecode: pip install 'braindecode>=1.8' ({error})") from error
    parameters = inspect.signature(getattr(theirs, name)).parameters
    if unknown := [key for key in settings if key not in parameters or key in sizes]:
        raise UserError(f"model.args.{unknown[0]}: {name} has no such argument; it has {', '.join(parameters)}")
    if wrong := [key for key, value in settings.items() if not isinstance(value, bool | int | float | str | list)]:
        raise UserError(f"model.args.{wrong[0]}={settings[wrong[0]]}: must be a plain value")
    given = {key: value for key, value in sizes.items() if key in parameters} | dict(settings)
    try:
        network: nn.Module = getattr(theirs, name)(**given)
        with torch.no_grad():
            found = tuple(network.eval()(torch.zeros(1, sizes["n_chans"], sizes["n_times"])).shape)
    except Exception as error:  # each of them says in its own way that a size does not suit it
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"model.name={name}: cannot be made for {sizes['n_chans']} derivations of {sizes['n_times']} samples at "
            f"{sizes['sfreq']:g} Hz ({reason}); model.crop_s=10 and +front_end.sfreq_out=200 change the samples"
        ) from error
    if found != (1, sizes["n_outputs"]):
        raise UserError(f"model.name={name}: gives {found} for one window, not (1, {sizes['n_outputs']})")
    return network.train()


def _head(network: nn.Module) -> str:
    """Name the part that makes the logits, whose weights are of another number of classes in a published file."""
    return "final_layer" if hasattr(network, "final_layer") else list(dict(network.named_children()))[-1]
