"""SPaRCNet: the field's reference network for rhythmic and periodic patterns, with its published weights.

A densely connected network along time: each layer reads what all layers of its block before it have found. It reads ten
seconds of sixteen derivations at 200 Hz in microvolt, and has no normalisation anywhere, so that amplitude counts.
"""

# Shapes: B window, C derivation, T sample, F feature, K class

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hbac.common.errors import UserError
from hbac.models.parts import central, check_counts, check_length, check_shares, start_uniform
from hbac.models.pretrained import as_tensors, check_fit, read_pickled
from hbac.vocabulary import CENTRAL_S, CLASSES, N_CLASSES, SFREQ

#: Order of the published network's outputs, in our words.
PUBLISHED_CLASSES = ("other", "seizure", "lpd", "gpd", "lrda", "grda")

_N_BLOCKS, _N_LAYERS, _STEM_WIDTH, _GROWTH, _BOTTLENECK = 7, 4, 64, 32, 128
# Half the rate in the stem's convolution, its pool, and each of the transitions.
_SAMPLES_PER_STEP = 2 ** (2 + _N_BLOCKS - 1)


class SPaRCNet(nn.Module):
    """Seven dense blocks of four layers along time, their mean over time, and a linear layer.

    With 16 derivations it has 1,090,859 parameters, as the published one.

    Parameters
    ----------
    n_chans : int
        Derivations; of the published weights 16, chain after chain: LL, RL, LP, RP.
    n_times : int
        Samples of a window; only checked against the shortest that the network can read.
    n_outputs : int
        Classes; of the published weights 6.
    sfreq : float
        Rate of the input in hertz; of the published weights 200.
    crop_s : float or None
        Seconds around the middle of the window that are read; None for the whole window. Shorter windows are read
        whole.
    dropout : float
        Share of what each layer adds that is dropped, 0 to 1.
    head_dropout : float
        Share of values that are dropped before the last layer, 0 to 1.
    pretrained_file : str or None
        Start from the published file, ``model_1130.pt``, or from a state dict of the same names. Only tensors are read
        of it; the program in it is not run.

    Attributes
    ----------
    attribution : str
        Who is to be named beside weights that began with the published file.

    Raises
    ------
    UserError
        Where a setting is out of its range, the window is too short, or the file does not fit whole.

    References
    ----------
    Jing et al. (2023), Development of expert-level classification of seizures and rhythmic and periodic patterns during
    EEG interpretation, doi:10.1212/WNL.0000000000207127. Dense blocks: Huang et al. (2017), Densely connected
    convolutional networks, doi:10.1109/CVPR.2017.243.

    Examples
    --------
    >>> SPaRCNet()(torch.zeros(2, 16, 10000)).shape
    torch.Size([2, 6])
    """

    attribution = (
        "SPaRCNet (Brain Data Science Platform, Open Data Commons Attribution License, ODC-By): Jing et al. (2023), "
        "doi:10.1212/WNL.0000000000207127"
    )

    def __init__(
        self,
        n_chans: int = 16,
        n_times: int = 2000,
        n_outputs: int = N_CLASSES,
        sfreq: float = SFREQ,
        crop_s: float | None = CENTRAL_S,
        dropout: float = 0.2,
        head_dropout: float = 0.5,
        pretrained_file: str | None = None,
    ) -> None:
        super().__init__()
        check_counts({"n_chans": n_chans, "n_outputs": n_outputs})
        check_shares({"dropout": dropout, "head_dropout": head_dropout})
        if not (sfreq > 0 and (crop_s is None or crop_s > 0)):
            raise UserError(f"model.sfreq={sfreq}, model.crop_s={crop_s}: must be positive")
        self.n_chans, self.n_outputs, self.sfreq = n_chans, n_outputs, float(sfreq)
        self.crop = None if crop_s is None else round(crop_s * sfreq)

        self.stem = nn.Conv1d(n_chans, _STEM_WIDTH, 7, stride=2, padding=3)
        blocks, width = [], _STEM_WIDTH
        for i in range(_N_BLOCKS):
            blocks.append(DenseBlock(width, dropout, halve=i < _N_BLOCKS - 1))
            width = blocks[-1].width
        self.blocks = nn.Sequential(*blocks)
        self.head_dropout = nn.Dropout(head_dropout)
        self.final_layer = nn.Linear(width, n_outputs)
        self._check_length(n_times if self.crop is None else min(n_times, self.crop))
        for module in self.modules():
            if isinstance(module, nn.Conv1d):
                nn.init.kaiming_normal_(module.weight)
        start_uniform(self.final_layer, std=1e-4)  # nothing is normalised, microvolt are large
        if pretrained_file is not None:
            self._load_published(Path(pretrained_file))

    def forward(self, x_BCT: Tensor) -> Tensor:
        """Map windows (window, derivation, sample), without NaN, to logits (window, class), classes in our order.

        The published weights take microvolt.
        """
        x_BCT = central(x_BCT, self.crop)
        self._check_length(x_BCT.shape[2])
        f_BFT = F.max_pool1d(F.elu(self.stem(x_BCT)), 3, stride=2, padding=1)
        # Ten seconds at 200 Hz end in seven steps, over all of which the published network averages.
        f_BF = F.relu(self.blocks(f_BFT)).mean(dim=2)
        logits_BK: Tensor = self.final_layer(self.head_dropout(f_BF))
        return logits_BK

    def layers(self) -> list[nn.Module]:
        """Return what has weights, from input to output: stem, blocks, head."""
        return [self.stem, *self.blocks, self.final_layer]

    def _check_length(self, n_times: int) -> None:
        check_length(n_times, _SAMPLES_PER_STEP, self.sfreq, "; front_end.sfreq_out=200 gives more")

    def _load_published(self, path: Path) -> None:
        found = _read_tensors(path)
        names = published_names()
        own = self.state_dict()
        check_fit(
            f"model.pretrained_file={path}",
            f"SPaRCNet of {self.n_chans} derivations and {self.n_outputs} classes",
            {name: tuple(tensor.shape) for name, tensor in found.items()},
            {theirs: own[ours] for ours, theirs in names.items()},
            (theirs for theirs in found if theirs not in names.values()),
        )
        order = [PUBLISHED_CLASSES.index(name) for name in CLASSES]
        self.load_state_dict(
            {
                ours: found[theirs][order] if ours.startswith("final_layer.") else found[theirs]
                for ours, theirs in names.items()
            }
        )


class DenseBlock(nn.Module):
    """Four layers that each add 32 features; then, but for the last block, half of all features at half the rate."""

    def __init__(self, n_in: int, dropout: float, halve: bool) -> None:
        super().__init__()
        widths = [n_in + _GROWTH * i for i in range(_N_LAYERS + 1)]
        self.squeeze = nn.ModuleList(nn.Conv1d(width, _BOTTLENECK, 1) for width in widths[:-1])
        self.grow = nn.ModuleList(nn.Conv1d(_BOTTLENECK, _GROWTH, 3, padding=1) for _ in range(_N_LAYERS))
        self.dropout = dropout
        self.width = widths[-1] // 2 if halve else widths[-1]
        self.transition = nn.Conv1d(widths[-1], self.width, 1) if halve else None

    def forward(self, x_BFT: Tensor) -> Tensor:
        """Return (B, width, T // 2), or (B, width, T) of the last block."""
        for squeeze, grow in zip(self.squeeze, self.grow, strict=True):
            new_BFT = grow(F.elu(squeeze(F.elu(x_BFT))))
            x_BFT = torch.cat([x_BFT, F.dropout(new_BFT, self.dropout, self.training)], dim=1)
        if self.transition is None:
            return x_BFT
        return F.avg_pool1d(self.transition(F.elu(x_BFT)), 2)


def published_names() -> dict[str, str]:
    """Return what the published file calls each of our tensors.

    Examples
    --------
    >>> published_names()["blocks.0.grow.3.bias"]
    'features.densenet.denseblock1.denselayer4.conv2.bias'
    """
    layers = {"stem": "features.densenet.conv0", "final_layer": "classifier.1"}
    for i in range(_N_BLOCKS):
        for j in range(_N_LAYERS):
            for k, part in enumerate(("squeeze", "grow")):
                layers[f"blocks.{i}.{part}.{j}"] = f"features.densenet.denseblock{i + 1}.denselayer{j + 1}.conv{k + 1}"
        if i < _N_BLOCKS - 1:
            layers[f"blocks.{i}.transition"] = f"features.densenet.transition{i + 1}.conv"
    return {f"{ours}.{kind}": f"{theirs}.{kind}" for ours, theirs in layers.items() for kind in ("weight", "bias")}


class _Kept:
    """Stands for any class that the published file names: keeps what was stored of it, and can do nothing."""

    def __init__(self, *_: object) -> None:
        pass


# The published file holds the network as an object, not only its tensors. These are the names in it; each is read as
# `_Kept`, so that nothing of PyTorch's or of the file's own is called.
_STORED_CLASSES = (
    *(
        f"{module}.{name}"
        for module in ("__main__", "DenseNetClassifier")
        for name in ("DenseNetClassifier", "DenseNetEnconder", "_DenseBlock", "_DenseLayer", "_Transition")
    ),
    *(
        f"torch.nn.modules.{name}"
        for name in (
            "container.Sequential", "conv.Conv1d", "activation.ELU", "activation.ReLU", "pooling.MaxPool1d",
            "pooling.AvgPool1d", "dropout.Dropout", "linear.Linear",
        )
    ),
    "torch.nn.backends.thnn._get_thnn_function_backend",
)  # fmt: skip


def _read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a state dict, or the tensors of a network that was stored whole, by their names."""
    with torch.serialization.safe_globals([(_Kept, name) for name in _STORED_CLASSES]):
        stored = read_pickled(path, "model.pretrained_file")
    return as_tensors(dict(_tensors_of(stored)) if isinstance(stored, _Kept) else stored, path, "model.pretrained_file")


def _tensors_of(module: _Kept, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    stored = vars(module)
    for name, value in (stored.get("_parameters") or {}).items():
        if value is not None:
            yield f"{prefix}{name}", value
    for name, inner in (stored.get("_modules") or {}).items():
        if isinstance(inner, _Kept):
            yield from _tensors_of(inner, f"{prefix}{name}.")
