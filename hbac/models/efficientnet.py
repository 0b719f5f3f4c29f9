"""EfficientNet, or any other backbone of timm, on spectrogram images.

The images come normalised from the front-end; what is left for the network is what its weights expect of them.
"""

# Shapes: B window, C image channel, H frequency, W time, F feature, K class

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hbac.common.choices import check_choice
from hbac.common.errors import UserError
from hbac.models.rates import ParameterGroup, layerwise_groups
from hbac.vocabulary import N_CLASSES

INPUT_NORMS = ("batch", "unit_range", "none")
POOLINGS = ("average", "gem")
_NAME = re.compile(r"\w+(\.\w+)?", re.ASCII)


class EfficientNet(nn.Module):
    """A timm backbone between an input normalisation and a linear head.

    Parameters
    ----------
    backbone : str
        A model of timm, with or without the tag of its weights: ``efficientnet_b0``,
        ``tf_efficientnetv2_s.in21k_ft_in1k``.
    in_chans : int
        Channels of the images. Pretrained weights of the first convolution are repeated over them and scaled,
        as timm does; with one channel they are summed, which equals three equal channels.
    n_outputs : int
        Classes.
    pooling : {"average", "gem"}
        Mean over the feature map, or the generalised mean, whose exponent is learned: between mean and maximum.
    dropout : float
        Share of the pooled features that are dropped before the last layer, 0 to 1.
    drop_path : float
        Share of the residual branches that are dropped in the last block; linearly fewer before, 0 to 1.
    pretrained : bool
        Start from timm's weights, from its cache or else from the network.
    pretrained_file : str or None
        Start from this safetensors file with timm's names for the backbone's weights; needs no network.
    input_norm : {"batch", "unit_range", "none"}
        Pretrained weights expect channels of about mean 0 and deviation 1. ``batch`` brings any image there by the
        mean and deviation that each channel has over the training data; ``unit_range`` is for images from 0 to 1,
        and applies the mean and deviation that belong to the weights; ``none`` is for images that are there already.
    backbone_lr_factor : float
        Learning rate of the backbone over that of the head, for `parameter_groups`; below 1 keeps what pretrained
        weights know.
    channels_last : bool
        Compute in channels-last memory format: 1.1 to 1.6 times as fast on a CPU (benchmarks/efficientnet.py),
        and what GPUs want for float16 and bfloat16. The results are the same.

    Raises
    ------
    UserError
        For an unknown backbone, one that reads a fixed image size only, settings out of range, and pretrained weights
        that cannot be had or do not fit. It never starts from random weights when asked for pretrained ones.

    References
    ----------
    Tan and Le (2019), EfficientNet: rethinking model scaling for convolutional neural networks, arXiv:1905.11946.
    Generalised mean: Radenović et al. (2019), Fine-tuning CNN image retrieval with no human annotation,
    doi:10.1109/TPAMI.2018.2846566.
    Weights and backbones: Wightman (2019), PyTorch image models, doi:10.5281/zenodo.4414861.

    Examples
    --------
    >>> EfficientNet(backbone="test_efficientnet", in_chans=4)(torch.zeros(2, 4, 64, 64)).shape
    torch.Size([2, 6])
    """

    def __init__(
        self,
        backbone: str = "efficientnet_b0",
        in_chans: int = 8,
        n_outputs: int = N_CLASSES,
        pooling: str = "average",
        dropout: float = 0.2,
        drop_path: float = 0.0,
        pretrained: bool = False,
        pretrained_file: str | None = None,
        input_norm: str = "batch",
        backbone_lr_factor: float = 1.0,
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        for name, value in {"in_chans": in_chans, "n_outputs": n_outputs}.items():
            if value < 1:
                raise UserError(f"model.{name}={value}: needs at least 1")
        for name, share in {"dropout": dropout, "drop_path": drop_path}.items():
            if not 0 <= share < 1:
                raise UserError(f"model.{name}={share}: must lie in [0, 1)")
        if not backbone_lr_factor > 0:
            raise UserError(f"model.backbone_lr_factor={backbone_lr_factor}: must be positive")
        check_choice("model.pooling", pooling, POOLINGS)
        check_choice("model.input_norm", input_norm, INPUT_NORMS)
        self.in_chans, self.n_outputs = in_chans, n_outputs
        self.backbone_lr_factor, self.channels_last = backbone_lr_factor, channels_last

        self.backbone = _make_backbone(backbone, in_chans, drop_path)
        if pretrained_file is not None:
            _load_file(self.backbone, backbone, in_chans, Path(pretrained_file))
        elif pretrained:
            _load_from_timm(self.backbone, backbone, in_chans)
        self.input_norm = _input_norm(input_norm, in_chans, self.backbone.pretrained_cfg)
        self.pool = GeM() if pooling == "gem" else nn.AdaptiveAvgPool2d(1)
        self.head_dropout = nn.Dropout(dropout)
        self.final_layer = nn.Linear(self.backbone.head_hidden_size, n_outputs)
        nn.init.normal_(self.final_layer.weight, std=0.01)
        nn.init.zeros_(self.final_layer.bias)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Map images to logits.

        Parameters
        ----------
        x_BCHW : Tensor
            Images (window, channel, frequency, time), without NaN.

        Returns
        -------
        Tensor
            Logits (window, class).
        """
        if self.channels_last:
            # The weights stay as they are: a convolution follows the format of its input, and
            # safetensors files hold contiguous tensors only.
            x_BCHW = x_BCHW.contiguous(memory_format=torch.channels_last)
        map_BFHW = self.backbone(self.input_norm(x_BCHW))
        logits_BK: Tensor = self.final_layer(self.head_dropout(self.pool(map_BFHW).flatten(1)))
        return logits_BK

    def parameter_groups(self, lr: float) -> list[ParameterGroup]:
        """Return the optimiser's groups: `lr` for the head, ``lr * backbone_lr_factor`` for the backbone.

        Parameters
        ----------
        lr : float
            Learning rate of the head.

        Returns
        -------
        list of dict
            As `hbac.models.rates.layerwise_groups` makes them.
        """
        return layerwise_groups([self.backbone, self._head()], lr, decay=self.backbone_lr_factor)

    def layers(self) -> list[nn.Module]:
        """Return what has weights, from input to output: the backbone's stem and stages, the head."""
        parts = (part if isinstance(part, nn.Sequential) else [part] for part in self.backbone.children())
        layers = [layer for part in parts for layer in part if any(True for _ in layer.parameters())]
        return [*layers, self._head()]

    def _head(self) -> nn.Module:
        return nn.ModuleList([self.pool, self.final_layer])


class GeM(nn.Module):
    """Generalised mean over the feature map: ``mean(x^p)^(1/p)``, with p learned, one for all features.

    Parameters
    ----------
    p : float
        Exponent to begin with: 1 is the mean of the positive part, infinity its maximum.
    """

    def __init__(self, p: float = 3.0) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor([p]))

    def forward(self, x_BFHW: Tensor) -> Tensor:
        """Return (B, F, 1, 1) in float32: powers and roots lose too much in 16 bits."""
        with torch.autocast(x_BFHW.device.type, enabled=False):
            power_BFHW = x_BFHW.float().clamp(min=1e-6).pow(self.p.float())
            return F.adaptive_avg_pool2d(power_BFHW, 1).pow(1.0 / self.p.float())


def _make_backbone(name: str, in_chans: int, drop_path: float) -> Any:
    """Make timm's model without its pooling and classifier, with random weights."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):  # timm reads folders and addresses, too
        raise UserError(f"model.backbone={name}: must be the name of one of timm's models, such as efficientnet_b0")
    import timm  # half a second that a run of another model needn't wait for
    from timm.models import _registry

    # timm says nowhere else what became of the names that recipes from before 2023 have; a missing table is none.
    if today := getattr(_registry, "_deprecated_models", {}).get(name):
        raise UserError(f"model.backbone={name}: timm calls it {today} today")
    architecture = name.split(".")[0]
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), n=4)
        raise UserError(
            f"model.backbone={name}: timm {timm.__version__} has no such model; "
            + (f"near ones are {', '.join(near)}" if near else "timm.list_models() lists all")
        )
    if "." in name and name not in timm.list_pretrained(f"{architecture}.*"):
        tags = ", ".join(timm.list_pretrained(f"{architecture}.*")) or "none"
        raise UserError(f"model.backbone={name}: no such weights; there are {tags}")
    config = timm.get_pretrained_cfg(name)
    if config is None or config.fixed_input_size:
        raise UserError(f"model.backbone={name}: reads a fixed image size only; choose a convolutional one")
    settings: dict[str, Any] = {"drop_path_rate": drop_path} if drop_path else {}
    try:
        backbone: Any = timm.create_model(name, in_chans=in_chans, num_classes=0, global_pool="", **settings)
    except TypeError as error:
        if "drop_path_rate" not in str(error):
            raise
        raise UserError(f"model.drop_path={drop_path}: {name} has no drop-path; set it to 0") from error
    with torch.no_grad():
        shape = backbone.eval()(torch.zeros(1, in_chans, 64, 64)).shape
    if shape[1:2] != (backbone.head_hidden_size,) or len(shape) != 4:
        raise UserError(
            f"model.backbone={name}: gives no (window, feature, height, width) map; choose a convolutional one"
        )
    return backbone.train()


def _input_norm(kind: str, in_chans: int, weights: dict[str, Any]) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm2d(in_chans, affine=False)
    if kind == "unit_range":
        # One mean and deviation for all channels: ours are no red, green and blue.
        return _Standardise(sum(weights["mean"]) / 3, sum(weights["std"]) / 3)
    return nn.Identity()


class _Standardise(nn.Module):
    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


def _load_file(backbone: Any, name: str, in_chans: int, path: Path) -> None:
    """Fill the backbone from a file that has all of its weights, by timm's loader."""
    from safetensors import SafetensorError, safe_open
    from timm.models import load_pretrained

    if path.suffix != ".safetensors":
        raise UserError(f"model.pretrained_file={path}: must be a .safetensors file; others hold pickled code")
    if not path.is_file():
        raise UserError(f"model.pretrained_file={path}: no such file")
    try:
        with safe_open(path, "pt") as file:
            found = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise UserError(f"model.pretrained_file={path}: is no readable safetensors file ({error})") from error
    # timm doesn't look for missing names where the classifier is left out, and would leave those at random.
    config = dict(backbone.pretrained_cfg)
    stem = f"{config.get('first_conv')}.weight"
    problems = []
    for key, tensor in backbone.state_dict().items():
        expected = tuple(tensor.shape)
        if key not in found:
            problems.append(f"{key} is missing")
        elif found[key] != expected and not (key == stem and _same_but_channels(found[key], expected)):
            problems.append(f"{key} is {found[key]}, not {expected}")
    if problems:
        raise UserError(
            f"model.pretrained_file={path}: isn't for {name}; of its {len(backbone.state_dict())} tensors "
            f"{len(problems)} don't fit: {'; '.join(problems[:3])}{'; …' if len(problems) > 3 else ''}"
        )
    if stem in found:
        config["input_size"] = (found[stem][1], *config["input_size"][1:])
    config.update(file=str(path), custom_load=False)
    load_pretrained(backbone, pretrained_cfg=config, num_classes=0, in_chans=in_chans)


def _same_but_channels(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return (a[0], *a[2:]) == (b[0], *b[2:])


def _load_from_timm(backbone: Any, name: str, in_chans: int) -> None:
    """Fill the backbone by timm's own loading, which asks the network where its cache has no such weights."""
    import timm

    try:
        pretrained = timm.create_model(name, pretrained=True, in_chans=in_chans, num_classes=0, global_pool="")
    except (OSError, RuntimeError) as error:
        # OSError: no network, no such file, a full disk (huggingface_hub's and urllib's errors are OSErrors);
        # RuntimeError: timm knows of no weights for this model, or they don't fit.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"model.pretrained=true: the weights of {name} are neither in the cache nor to be had from the network "
            f"({reason}); give a local file as model.pretrained_file=PATH.safetensors, or set "
            "model.pretrained=false to start from random weights"
        ) from error
    backbone.load_state_dict(pretrained.state_dict())
    backbone.pretrained_cfg = pretrained.pretrained_cfg
