"""Which number format a device is fastest in."""

from __future__ import annotations

import torch

from hbac.errors import UserError

VALID = ("auto", "32-true", "16-mixed", "bf16-mixed", "bf16-true", "64-true", "32", "64")


def choose_precision(precision: str | int, accelerator: str = "auto") -> str:
    """Resolve ``auto``; pass anything else on.

    On a GPU: bfloat16 where it computes in it natively (no loss scaling needed), else float16. On a CPU: bfloat16
    only with the matrix instructions for it (AVX512-BF16 or AMX); without them it is emulated and slower:
    ``benchmarks/resnet_gru.py`` prints the ratio of the machine at hand.

    Parameters
    ----------
    precision : str or int
        ``auto``, or what Lightning's Trainer takes.
    accelerator : str
        ``auto``, ``cpu``, ``gpu``, as for the Trainer.

    Returns
    -------
    str
        A precision of Lightning's Trainer.

    Raises
    ------
    UserError
        For a precision that there is not.
    """
    name = str(precision)
    if name not in VALID:
        raise UserError(f"trainer.precision={precision}: valid are {', '.join(VALID)}")
    if name != "auto":
        return name
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    if accelerator in ("auto", "gpu", "mps") and torch.backends.mps.is_available():
        return "32-true"
    return "bf16-mixed" if _cpu_has_bf16() else "32-true"


def _cpu_has_bf16() -> bool:
    # torch offers these only under private names.
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name)() for name in checks if hasattr(torch.cpu, name))
