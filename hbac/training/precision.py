"""Which number format a device is fastest in."""

from __future__ import annotations

import torch

from hbac.common.choices import check_choice

# Not bf16-true: filters and Fourier transforms have no such kernels, and losses need float32.
VALID = ("auto", "32-true", "16-mixed", "bf16-mixed", "64-true", "32", "64")


def choose_precision(precision: str | int, accelerator: str = "auto") -> str:
    """Resolve ``auto``; pass any other precision that Lightning's Trainer takes on.

    On a GPU: bfloat16 where it computes in it natively (no loss scaling needed), else float16. On a CPU: bfloat16 only
    with matrix tiles for it (AMX). AVX512-BF16 alone is not enough: an EPYC that has it trains EfficientNet-B0 at 0.7
    to 0.9 of the speed of float32, and processors without either emulate it. ``benchmarks/efficientnet.py`` and
    ``benchmarks/resnet_gru.py`` print the ratios of the machine at hand.
    """
    name = check_choice("trainer.precision", str(precision), VALID)
    if name != "auto":
        return name
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    if accelerator in ("auto", "gpu", "mps") and torch.backends.mps.is_available():
        return "32-true"
    return "bf16-mixed" if _cpu_has_tiles() else "32-true"


def _cpu_has_tiles() -> bool:
    # torch offers this only under a private name.
    supported = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return supported is not None and bool(supported())
