"""Training speed of our ResNet1D-GRU at 18 x 2,000 against the public network's at its own 8 x 2,000.

    python benchmarks/resnet_gru.py

Both train on this machine in one process, turn and turn about, so that what else runs disturbs both alike; the
ratio is of the medians. Ours has to be at least 8 times as fast. Also prints what inference does. On a machine
whose cores are all taken the ratio says little: the public GRU's thousands of tiny steps suffer most from waiting.
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
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hbac.models import PublicResNetGRU, ResNetGRU

N_TIMES = 2000


def training_step(network: nn.Module, n_chans: int, batch: int, bf16: bool = False) -> Callable[[], None]:
    """One step of AdamW on the KL divergence, as a function to time."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
    x_BCT = torch.randn(batch, n_chans, N_TIMES)
    target_BK = torch.randn(batch, 6).softmax(dim=1)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits_BK = network(x_BCT)
        loss = F.kl_div(logits_BK.float().log_softmax(dim=1), target_BK, reduction="batchmean")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def inference(network: nn.Module, n_chans: int, batch: int) -> Callable[[], None]:
    """One batch without gradients, as a function to time."""
    x_BCT = torch.randn(batch, n_chans, N_TIMES)

    @torch.inference_mode()
    def run() -> None:
        network.eval()
        network(x_BCT)
        network.train()

    return run


def windows_per_second(calls: dict[str, Callable[[], None]], batch: int, rounds: int) -> dict[str, float]:
    """Medians over interleaved rounds, after one round that doesn't count."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: batch / statistics.median(times[1:]) for name, times in seconds.items()}


def main() -> None:
    """Time, print, and exit with 1 where the promise isn't kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--smoke", action="store_true", help="smallest sizes, in seconds; promises are not checked")
    options = parser.parse_args()
    if options.smoke:
        options.batch, options.rounds = 2, 1
    torch.manual_seed(0)
    public, ours = PublicResNetGRU(n_chans=8, n_times=N_TIMES), ResNetGRU(n_chans=18, n_times=N_TIMES)
    speed = windows_per_second(
        {
            "public, training": training_step(public, 8, options.batch),
            "ours, training": training_step(ours, 18, options.batch),
            "ours, training in bfloat16": training_step(ours, 18, options.batch, bf16=True),
            "public, inference": inference(public, 8, options.batch),
            "ours, inference": inference(ours, 18, options.batch),
        },
        options.batch,
        options.rounds,
    )
    n_threads = torch.get_num_threads()
    print(f"batch {options.batch}, {N_TIMES} samples, {n_threads} threads, medians of {options.rounds}")
    for name, network, n_chans in (("public", public, 8), ("ours", ours, 18)):
        n_parameters = sum(p.numel() for p in network.parameters())
        print(
            f"{name:7s}{n_chans:3d} derivations {n_parameters:8,d} parameters "
            f"{speed[f'{name}, training']:7.1f} windows/s training {speed[f'{name}, inference']:7.1f} inference"
        )
    ratio = speed["ours, training"] / speed["public, training"]
    forward = speed["ours, inference"] / speed["public, inference"]
    print(f"ratio   training {ratio:.1f} (at least 8), inference {forward:.1f}")
    bf16 = speed["ours, training in bfloat16"] / speed["ours, training"]
    print(f"bfloat16 autocast instead of float32: ratio {bf16:.2f} (below 1: this processor has to emulate it)")
    if ratio < 8 and not options.smoke:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
