"""Training speed of EfficientNet-B0 on 128 x 256 x 8 images: our settings against plain float32 contiguous.

    python benchmarks/efficientnet.py

Ours is the channels-last memory format; bfloat16 beside it, where the processor has instructions for it, shows what
``trainer.precision=auto`` leaves out on a CPU (`hbac.training.precision`). The settings are timed in turn within one
process; the ratio is of the medians.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hbac.models import EfficientNet

SHAPE = (8, 128, 256)


def training_step(batch: int, backbone: str, channels_last: bool, bf16: bool) -> Callable[[], None]:
    """One step of AdamW on the KL divergence, as a function to time."""
    torch.manual_seed(0)
    network = EfficientNet(backbone, in_chans=SHAPE[0], channels_last=channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4)
    x_BCHW = torch.randn(batch, *SHAPE)
    target_BK = torch.randn(batch, 6).softmax(dim=1)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits_BK = network(x_BCHW)
        loss = F.kl_div(logits_BK.float().log_softmax(dim=1), target_BK, reduction="batchmean")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def main() -> None:
    """Time and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backbone", default="efficientnet_b0")
    parser.add_argument("--bf16", action="store_true", help="also where the processor has none (then slow)")
    parser.add_argument("--smoke", action="store_true", help="smallest sizes, in seconds; promises are not checked")
    options = parser.parse_args()
    if options.smoke:
        options.batch, options.rounds = 2, 1
    settings = {
        "plain float32": {"channels_last": False, "bf16": False},
        "channels-last": {"channels_last": True, "bf16": False},
    }
    if options.bf16 or torch.cpu._is_avx512_bf16_supported():
        settings["channels-last, bfloat16"] = {"channels_last": True, "bf16": True}
    steps = {name: training_step(options.batch, options.backbone, **kw) for name, kw in settings.items()}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(options.rounds + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    print(f"{options.backbone}, batch {options.batch}, {SHAPE}, {torch.get_num_threads()} threads")
    for name, median in medians.items():
        ratio = medians["plain float32"] / median
        print(f"{name:32s}{options.batch / median:7.2f} images/s  ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
