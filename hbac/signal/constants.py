"""Device and precision: constants that follow their input, and arithmetic that autocast leaves alone."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


class Constants:
    """Named float64 or complex128 tensors, handed out in the precision and on the device that is asked for.

    Buffers of a module would do as well, were it not that `module.half()` rounds them for good, that a state
    dict would carry them, and that some devices have no float64. Here the full precision stays on the CPU and
    each (device, dtype) is converted once.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        The constants, on the CPU; integers are moved but keep their type.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._exact = dict(tensors)
        self._ready: dict[tuple[str, torch.device, torch.dtype], Tensor] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._exact

    def get(self, name: str, like: Tensor) -> Tensor:
        """Return a constant that can be combined with `like`.

        Parameters
        ----------
        name : str
            Which constant.
        like : Tensor
            A real floating-point tensor: its device and precision are taken.

        Returns
        -------
        Tensor
            Real, complex or integer as it was given.
        """
        key = (name, like.device, like.dtype)
        if key not in self._ready:
            exact = self._exact[name]
            dtype = exact.dtype
            if exact.is_complex():
                dtype = like.dtype.to_complex()
            elif exact.is_floating_point():
                dtype = like.dtype
            self._ready[key] = exact.to(dtype).to(like.device)
        return self._ready[key]

    def __deepcopy__(self, memo: object) -> Constants:
        # Copies of a model share what never changes.
        return self


def full_precision(like: Tensor) -> AbstractContextManager[object]:
    """Return a context in which autocast does not lower the precision of products.

    Parameters
    ----------
    like : Tensor
        A tensor on the device in question.

    Returns
    -------
    context manager
        Does nothing on devices that know no autocast.

    Examples
    --------
    >>> x = torch.ones(2, 2)
    >>> with torch.autocast("cpu", dtype=torch.bfloat16), full_precision(x):
    ...     (x @ x).dtype
    torch.float32
    """
    kind = like.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()
