"""timm's backbones: made by name, without pooling and classifier, and filled with weights whole or not at all."""

# Shapes: B window, C image channel, H frequency, W time, F feature

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hbac.common.choices import check_choice
from hbac.common.errors import UserError
from hbac.models.pretrained import check_fit, shapes_in

INPUT_NORMS = ("batch", "unit_range", "none")
_NAME = re.compile(r"\w+(\.\w+)?", re.ASCII)


def make_backbone(
    name: str,
    in_chans: int,
    drop_path: float,
    pretrained: bool,
    pretrained_file: str | None,
    image_size: Sequence[int] | None = None,
) -> Any:
    """Make one of timm's models that gives a map of features.

    Settings are those of `hbac.models.EfficientNet`; `image_size` is height and width of the images, None for any,
    which a backbone that was made for one size cannot read. It has timm's ``head_hidden_size`` and ``pretrained_cfg``.
    A `UserError` for an unknown name, one that reads a fixed image size only or gives no map, and weights that cannot
    be had or do not fit.
    """
    backbone, settings = _make(name, in_chans, drop_path, image_size)
    if pretrained_file is not None:
        _load_file(backbone, name, in_chans, Path(pretrained_file))
    elif pretrained:
        _load_from_timm(backbone, name, in_chans, settings)
    return backbone


def own_size(name: str) -> list[int] | None:
    """Return height and width of the images that a backbone of timm was made for, None where it reads any."""
    import timm  # half a second that a run of another model needn't wait for

    is_name = isinstance(name, str) and _NAME.fullmatch(name)  # what else it may be, `make_backbone` refuses
    config = timm.get_pretrained_cfg(name.split(".")[0]) if is_name else None
    return list(config.input_size[1:]) if config is not None and config.fixed_input_size else None


def check_backbone_settings(input_norm: str, backbone_lr_factor: float) -> None:
    """Refuse an unknown normalisation of images, and a factor of the backbone's learning rate that is not positive."""
    check_choice("model.input_norm", input_norm, INPUT_NORMS)
    if not backbone_lr_factor > 0:
        raise UserError(f"model.backbone_lr_factor={backbone_lr_factor}: must be positive")


def backbone_layers(backbone: Any) -> list[nn.Module]:
    """Return what has weights in a backbone of timm, from input to output: its stem and stages."""
    parts = (part if isinstance(part, nn.Sequential) else [part] for part in backbone.children())
    return [layer for part in parts for layer in part if any(True for _ in layer.parameters())]


def make_input_norm(kind: str, in_chans: int, weights: dict[str, Any]) -> nn.Module:
    """Make what brings images to where a backbone with this ``pretrained_cfg`` expects them, by `kind`."""
    if kind == "batch":
        return nn.BatchNorm2d(in_chans, affine=False)
    if kind == "unit_range":
        # One mean and deviation for all channels: ours are no red, green and blue.
        return _Standardise(sum(weights["mean"]) / 3, sum(weights["std"]) / 3)
    return nn.Identity()


def _make(
    name: str, in_chans: int, drop_path: float, image_size: Sequence[int] | None
) -> tuple[nn.Module, dict[str, Any]]:
    """Make timm's model without its pooling and classifier, with random weights; and say with what settings."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):  # timm reads folders and addresses, too
        raise UserError(f"model.backbone={name}: must be the name of one of timm's models, such as efficientnet_b0")
    import timm
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
    fixed = own_size(name)
    if fixed is not None and image_size is None:
        raise UserError(f"model.backbone={name}: reads a fixed image size only; choose a convolutional one")
    made_for: dict[str, Any] = {} if fixed is None else {"img_size": tuple(image_size or ())}
    settings: dict[str, Any] = {"drop_path_rate": drop_path} if drop_path else {}
    try:
        backbone: Any = timm.create_model(
            name, in_chans=in_chans, num_classes=0, global_pool="", **made_for, **settings
        )
    except TypeError as error:
        if "drop_path_rate" not in str(error):
            raise
        raise UserError(f"model.drop_path={drop_path}: {name} has no drop-path; set it to 0") from error
    height, width = image_size or (64, 64)
    try:
        with torch.no_grad():
            shape = backbone.eval()(torch.zeros(1, in_chans, height, width)).shape
    except (AssertionError, RuntimeError) as error:
        raise UserError(
            f"model.image_size=[{height},{width}]: {name} cannot read it ({error}); multiples of 32 mostly fit"
        ) from error
    if shape[1:2] != (backbone.head_hidden_size,) or len(shape) != 4:
        raise UserError(
            f"model.backbone={name}: gives no (window, feature, height, width) map; choose a convolutional one, "
            "or a transformer with stages, such as maxvit_tiny_rw_224 or caformer_s18"
        )
    return backbone.train(), made_for


class _Standardise(nn.Module):
    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


def _load_file(backbone: Any, name: str, in_chans: int, path: Path) -> None:
    """Fill the backbone from a file that has all of its weights, by timm's loader."""
    from timm.models import load_pretrained

    found = shapes_in(path)
    # timm doesn't look for missing names where the classifier is left out, and would leave those at random.
    config = dict(backbone.pretrained_cfg)
    stem = f"{config.get('first_conv')}.weight"
    wanted = backbone.state_dict()
    fits = stem in found and _same_but_channels(found[stem], tuple(wanted[stem].shape))
    check_fit(
        f"model.pretrained_file={path}",
        name,
        found | ({stem: tuple(wanted[stem].shape)} if fits else {}),
        wanted,
    )
    if stem in found:
        config["input_size"] = (found[stem][1], *config["input_size"][1:])
    config.update(file=str(path), custom_load=False)
    load_pretrained(backbone, pretrained_cfg=config, num_classes=0, in_chans=in_chans)


def _same_but_channels(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return (a[0], *a[2:]) == (b[0], *b[2:])


def _load_from_timm(backbone: Any, name: str, in_chans: int, made_for: dict[str, Any]) -> None:
    """Fill the backbone by timm's own loading, which asks the network where its cache has no such weights."""
    import timm

    try:
        pretrained = timm.create_model(
            name, pretrained=True, in_chans=in_chans, num_classes=0, global_pool="", **made_for
        )
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
