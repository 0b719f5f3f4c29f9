"""What modules without weights share: settings, constants that follow their input, and arithmetic in full precision."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

# `dtype.to_complex` cannot be compiled.
_COMPLEX = {torch.float16: torch.complex32, torch.float32: torch.complex64, torch.float64: torch.complex128}


class Constants:
    """Named float64 or complex128 tensors, handed out in the precision and on the device that is asked for.

    Buffers of a module would do as well, were it not that `module.half()` rounds them for good, that a state dict would
    carry them, and that some devices have no float64. Here the full precision stays on the CPU and each (device, dtype)
    is converted once; integers are moved but keep their type.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        # What is made under inference_mode can never take part in a gradient: copy it outside.
        with torch.inference_mode(False):
            self._exact = {name: x.clone() if x.is_inference() else x for name, x in tensors.items()}
        self._ready: dict[tuple[str, torch.device, torch.dtype], Tensor] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._exact

    def get(self, name: str, like: Tensor) -> Tensor:
        """Return a constant, real, complex or integer as it was given, with the device and precision of `like`.

        Whether it was first asked for under `torch.inference_mode` makes no difference: it can be part of a gradient.
        """
        if torch.compiler.is_compiling():  # a tracer's stand-in must not be kept for later calls
            return self._converted(name, like)
        key = (name, like.device, like.dtype)
        if key not in self._ready:
            with torch.inference_mode(False):
                self._ready[key] = self._converted(name, like)
        return self._ready[key]

    def _converted(self, name: str, like: Tensor) -> Tensor:
        exact = self._exact[name]
        dtype = exact.dtype
        if exact.is_complex():
            dtype = _COMPLEX[like.dtype]
        elif exact.is_floating_point():
            dtype = like.dtype
        return exact.to(dtype).to(like.device)

    def __deepcopy__(self, memo: object) -> Constants:
        # Copies of a model share what never changes.
        return self


def may_look(x: Tensor) -> bool:
    """Say whether the values of a tensor may decide what is computed next.

    On a CPU they may, at no cost; but not while `torch.compile` or `torch.export` records the steps, which then have to
    be those of any input.
    """
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def portions(x: Tensor, on_cpu: int, elsewhere: int | None = None) -> list[slice]:
    """Divide a batch (B, …) into what is computed at a time; while it is traced that is all of it, whatever its size.

    `on_cpu` counts rows: there temporaries of a few stay in the cache and those of a batch do not. `elsewhere` only
    memory counts; None for all rows.
    """
    if torch.compiler.is_compiling():
        return [slice(None)]
    step = on_cpu if x.device.type == "cpu" else elsewhere or max(len(x), 1)
    return [slice(start, start + step) for start in range(0, len(x), step)]


def full_precision(like: Tensor) -> AbstractContextManager[object]:
    """Return a context in which autocast does not lower the precision of products on this tensor's device.

    Examples
    --------
    >>> x = torch.ones(2, 2)
    >>> with torch.autocast("cpu", dtype=torch.bfloat16), full_precision(x):
    ...     (x @ x).dtype
    torch.float32
    """
    kind = like.device.type
    if torch.compiler.is_exporting():  # autocast would be recorded, and cannot be saved
        return nullcontext()
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()


def arguments(scope: dict[str, Any]) -> dict[str, Any]:
    """Return a constructor's arguments, in their order, from its ``locals()`` before it has any other variable."""
    return {name: value for name, value in scope.items() if name not in ("self", "__class__")}
