"""Which number format a device is fastest in."""

from __future__ import annotations

import torch

from hbac.common.choices import check_choice

# Not bf16-true: filters and Fourier transforms have no such kernels, and losses need float32.
VALID = ("auto", "32-true", "16-mixed", "bf16-mixed", "64-true", "32", "64")


def choose_precision(precision: str | int, accelerator: str = "auto") -> str:
    """Resolve ``auto``; pass any other precision that Lightning's Trainer takes on.

    On a GPU: bfloat16 where it computes in it natively (no loss scaling needed), else float16. On a CPU float32, so
    that probabilities are those of exported files, and the same on all CPUs: bfloat16 differs by up to 6e-3. With
    matrix tiles (AMX) it would predict in less time, but train EfficientNet-B0 in 1.2 times the time of float32, since
    PyTorch's gradients of depthwise convolutions are slow in it; other processors emulate it.
    ``benchmarks/efficientnet.py`` prints the ratio of the machine at hand.
    """
    name = check_choice("trainer.precision", str(precision), VALID)
    if name != "auto":
        return name
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    return "32-true"
