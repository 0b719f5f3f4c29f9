"""Which number format a device is fastest in."""

from __future__ import annotations

import torch

from hbac.common.choices import check_choice

# Not bf16-true: filters and Fourier transforms have no such kernels, and losses need float32.
VALID = ("auto", "32-true", "16-mixed", "bf16-mixed", "64-true", "32", "64")


def choose_precision(precision: str | int, accelerator: str = "auto", training: bool = True) -> str:
    """Resolve ``auto``; pass any other precision that Lightning's Trainer takes on.

    On a GPU: bfloat16 where it computes in it natively (no loss scaling needed), else float16. A CPU trains in float32:
    PyTorch's bfloat16 gradients of depthwise convolutions are slow, so that even with matrix tiles (AMX) MobileNetV3
    takes 1.6 and EfficientNet-B0 1.2 times as long. It predicts in bfloat16 with such tiles, where these networks and
    `ResNetGRU` take 0.5 to 0.8 of the time, and in float32 without. ``benchmarks/efficientnet.py`` and
    ``benchmarks/resnet_gru.py`` print the ratios of the machine at hand.
    """
    name = check_choice("trainer.precision", str(precision), VALID)
    if name != "auto":
        return name
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    if accelerator in ("auto", "gpu", "mps") and torch.backends.mps.is_available():
        return "32-true"
    return "bf16-mixed" if not training and _cpu_has_tiles() else "32-true"


def _cpu_has_tiles() -> bool:
    # torch offers this only under a private name.
    supported = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return supported is not None and bool(supported())
