"""Each of our networks beside a plain PyTorch statement of the same operations: same numbers, times as a ratio.

    python benchmarks/networks.py                        # some three minutes of one thread
    python benchmarks/networks.py --only resnet_gru volume

The plain statements below are written from the papers and figures that the networks of `hbac.models` name, with what
PyTorch and timm have and nothing of ours; sizes are those of our configs. A statement gets our network's weights, in
order, and must then give the same logits. Both are timed turn and turn about in processor time of one thread, on whole
windows and, where signals are read, on a fifth (10 s; SPaRCNet reads no more). The ratio of the medians, our time over
the plain one's, must not exceed 2. Batches are smaller than 16 where a window takes long.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hbac.cli.costs import cost, network_with_input
from hbac.cli.launch import composed


class ResNetGRU(nn.Module):
    """Four stem convolutions side by side, pre-activation residual blocks, a bidirectional GRU over some 30 steps."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.ModuleList(nn.Conv1d(18, 16, k, stride=2, padding=k // 2, bias=False) for k in (3, 5, 7, 9))
        self.blocks = nn.ModuleList(
            nn.Sequential(
                *(nn.BatchNorm1d(64), nn.ReLU(), nn.Conv1d(64, 64, 3, padding=1, bias=False)),
                *(nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout1d(0.1), nn.Conv1d(64, 64, 3, padding=1, bias=False)),
            )
            for _ in range(5)
        )
        self.norm = nn.BatchNorm1d(64)
        self.gru = nn.GRU(64, 64, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(0.2)
        self.last = nn.Linear(512, 6)

    def forward(self, x: Tensor) -> Tensor:
        share = min(1.0, 400 / x.shape[2])  # the 10 s in the middle, at 40 Hz
        x = x.asinh()
        x = F.max_pool1d(torch.cat([conv(x) for conv in self.stem], dim=1), 4)
        for i, block in enumerate(self.blocks):
            x = F.max_pool1d(x, 2) if i < 3 else x
            x = x + block(x)
        x = F.relu(self.norm(x)).transpose(1, 2)
        states, last = self.gru(x)
        n = round(share * x.shape[1])
        centre = torch.cat([x, states], dim=2).narrow(1, (x.shape[1] - n) // 2, n)
        found = [centre.mean(dim=1), centre.amax(dim=1), last[0], last[1]]
        return self.last(self.dropout(torch.cat(found, dim=1)))


def conv_norm(n_in: int, n: int, kernel: int | tuple[int, int], act: type[nn.Module], **how: Any) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(n_in, n, kernel, bias=False, **how), nn.BatchNorm2d(n), act())


conv_norm_elu = partial(conv_norm, act=nn.ELU, padding="same")


class SqueezeExcite(nn.Module):
    def __init__(self, n: int) -> None:
        super().__init__()
        squeeze, excite = nn.Conv2d(n, n // 4, 1), nn.Conv2d(n // 4, n, 1)
        self.weights = nn.Sequential(nn.AdaptiveAvgPool2d(1), squeeze, nn.ELU(), excite, nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weights(x)


class InvertedResidual(nn.Module):
    def __init__(self, n_in: int, n: int, k: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv_norm_elu(n_in, n, (1, 1)),
            conv_norm_elu(n, 4 * n, (1, k), groups=n),
            conv_norm_elu(4 * n, n, (1, 1)),
            SqueezeExcite(n),
        )
        self.shortcut = nn.Identity() if n == n_in else nn.Conv2d(n_in, n, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.body(x)


class GeM(nn.Module):
    def __init__(self, *axes: int) -> None:
        super().__init__()
        self.p, self.axes = nn.Parameter(torch.tensor([3.0])), axes

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(min=1e-6).pow(self.p).mean(self.axes).pow(1 / self.p)


class EfficientNet1d(nn.Module):
    """Derivations of a chain as channels, 4 chains as rows; five stages of three inverted residuals."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_norm_elu(4, 64, (1, 3))
        self.stages = nn.ModuleList()
        n_in = 64
        for n, k in zip((96, 128, 192, 256, 384), (3, 3, 5, 5, 3), strict=True):
            residuals = nn.Sequential(*(InvertedResidual(n if i else n_in, n, k) for i in range(3)))
            across = nn.Sequential(conv_norm_elu(n, n, (3, 1), groups=n), conv_norm_elu(n, n, (1, 1)), SqueezeExcite(n))
            self.stages.append(nn.ModuleList([residuals, across, nn.Conv2d(n_in, n, (1, 2), stride=(1, 2))]))
            n_in = n
        head = nn.Linear(384, 384, bias=False), nn.BatchNorm1d(384), nn.ReLU(), nn.Linear(384, 6)
        self.head = nn.Sequential(GeM(2, 3), *head)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x.reshape(len(x), 4, 4, -1).transpose(1, 2))
        for residuals, across, shortcut in self.stages:
            y = residuals(x)
            x = shortcut(x) + F.max_pool2d(y + across(y), (1, 2))
        return self.head(x)


def separable(kernel: tuple[int, int], groups_in: int, groups_out: int) -> nn.Sequential:
    padding = (kernel[0] // 2, kernel[1] // 2)
    return nn.Sequential(
        conv_norm(128, 256, 1, nn.SiLU, groups=groups_in),
        conv_norm(256, 256, kernel, nn.SiLU, padding=padding, groups=256),
        conv_norm(256, 128, 1, nn.SiLU, groups=groups_out),
    )


class Attention(nn.Module):
    """Four heads with rotary positions."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(128, 128, bias=False), nn.Linear(128, 128, bias=False)
        self.value, self.out = nn.Linear(128, 128), nn.Linear(128, 128)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (f(x).view(len(x), -1, 4, 32).transpose(1, 2) for f in (self.query, self.key, self.value))
        speed = 10_000 ** (-torch.arange(0, 32, 2, device=x.device) / 32)
        angle = (torch.arange(x.shape[1], device=x.device)[:, None] * speed).repeat(1, 2)

        def rotated(z: Tensor) -> Tensor:
            return z * angle.cos() + torch.cat([-z[..., 16:], z[..., :16]], dim=-1) * angle.sin()

        dropout = 0.2 if self.training else 0.0
        found = F.scaled_dot_product_attention(rotated(q), rotated(k), v, dropout_p=dropout)
        return F.dropout(self.out(found.transpose(1, 2).flatten(2)), dropout)


class Convolution(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(128, 256)
        self.conv = nn.Conv1d(128, 128, 51, padding=25, groups=128, bias=False)
        self.norm = nn.BatchNorm1d(128)
        self.out = nn.Linear(128, 128)
        self.dropout = nn.Dropout(0.2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.norm(self.conv(F.glu(self.gate(x)).transpose(1, 2))))
        return self.dropout(self.out(x.transpose(1, 2)))


class SqueezeformerBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()

        def feed_forward() -> nn.Sequential:
            return nn.Sequential(nn.Linear(128, 128), nn.SiLU(), nn.Dropout(0.2), nn.Linear(128, 128), nn.Dropout(0.2))

        self.parts = nn.ModuleList([Attention(), feed_forward(), Convolution(), feed_forward()])
        self.norms = nn.ModuleList(nn.LayerNorm(128) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        for part, norm in zip(self.parts, self.norms, strict=True):
            x = norm(x + part(x))
        return x


class ConvSqueezeformer(nn.Module):
    """Convolutions, CBAM, GeM over derivations, three Squeezeformer blocks, GeM over time."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            *(conv_norm(1, 64, (1, 16), nn.ReLU, padding=(0, 8)), nn.AvgPool2d((1, 8))),
            *(nn.Conv2d(64, 128, 1), nn.SiLU()),
            conv_norm(128, 128, (1, 16), nn.SiLU, stride=(1, 2), padding=(0, 7), groups=128),
            nn.Conv2d(128, 128, 1),
        )
        self.cbam_features = nn.Sequential(nn.Linear(128, 16, bias=False), nn.ReLU(), nn.Linear(16, 128))
        self.cbam_places = nn.Conv2d(2, 1, 7, padding=3)
        self.derivations = separable((3, 1), 4, 1)
        self.times = nn.Sequential(separable((1, 8), 1, 4), nn.AvgPool2d((1, 2)), GeM(2))
        self.blocks = nn.Sequential(*(SqueezeformerBlock() for _ in range(3)))
        self.last = nn.Sequential(GeM(1), nn.Linear(128, 6))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x.unsqueeze(1))
        weight = self.cbam_features(x.mean((2, 3))) + self.cbam_features(x.amax((2, 3)))
        x = x * weight.sigmoid()[:, :, None, None]
        x = x * self.cbam_places(torch.stack([x.mean(1), x.amax(1)], dim=1)).sigmoid()
        return self.last(self.blocks(self.times(self.derivations(x)).transpose(1, 2)))


class GatedBlock(nn.Module):
    def __init__(self, n_in: int, n: int, depth: int) -> None:
        super().__init__()
        self.widen = nn.Conv1d(n_in, n, 1)
        self.dilated = nn.ModuleList(nn.Conv1d(n, 2 * n, 3, padding=2**k, dilation=2**k) for k in range(depth))
        self.join = nn.ModuleList(nn.Conv1d(n, n, 1) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        x = self.widen(x)
        for dilated, join in zip(self.dilated, self.join, strict=True):
            content, gate = dilated(x).chunk(2, dim=1)
            x = x + join(content.tanh() * gate.sigmoid())
        return x


class WaveNet2d(nn.Module):
    """A WaveNet for each signal, the means of a chain's maps, four of them as a picture."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (1, 8, 8), (8, 16, 5), (16, 32, 3), (32, 64, 1)
        self.wavenet = nn.Sequential(*(GatedBlock(*block) for block in sizes))
        self.image = Image(1, "efficientnet_b0")

    def forward(self, x: Tensor) -> Tensor:
        maps = F.adaptive_avg_pool1d(self.wavenet(x.reshape(-1, 1, x.shape[2])), 256)
        return self.image(maps.view(-1, 4, 4, 64, 256).mean(2).view(-1, 1, 256, 256))


class Image(nn.Module):
    """timm's backbone with batch normalisation before it, mean, dropout and a linear layer behind it."""

    def __init__(self, n_in: int, backbone: str) -> None:
        super().__init__()
        self.backbone = timm.create_model(backbone, in_chans=n_in, num_classes=0)
        self.norm = nn.BatchNorm2d(n_in, affine=False)
        self.dropout = nn.Dropout(0.2)
        self.last = nn.Linear(self.backbone.num_features, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.dropout(self.backbone(self.norm(x))))


class Volume(nn.Module):
    """timm's encoder for each chain, three residual 3-d convolutions over all four."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = timm.create_model("caformer_s18", in_chans=1, num_classes=0, global_pool="")
        self.norm = nn.BatchNorm2d(16, affine=False)
        self.narrow = conv_norm(512, 128, 1, nn.ReLU)
        self.across = nn.ModuleList(
            nn.Sequential(nn.Conv3d(128, 128, 3, padding=1, bias=False), nn.BatchNorm3d(128)) for _ in range(3)
        )
        self.widen = nn.Sequential(nn.Conv3d(128, 512, 1, bias=False), nn.BatchNorm3d(512), nn.ReLU())
        self.last = nn.Sequential(nn.Dropout(0.5), nn.Linear(512, 6))

    def forward(self, x: Tensor) -> Tensor:
        n, _, height, width = x.shape
        x = self.narrow(self.backbone(self.norm(x).view(4 * n, 1, 4 * height, width)))
        x = x.view(n, 4, *x.shape[1:]).transpose(1, 2)
        for conv in self.across:
            x = F.relu(x + conv(x))
        x = self.widen(x)
        return self.last(x.mean((2, 3, 4)) + x.amax((2, 3, 4)))


class SPaRCNet(nn.Module):
    """Seven dense blocks of four layers, without normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv1d(16, 64, 7, stride=2, padding=3)
        self.blocks = nn.ModuleList()
        n = 64
        for i in range(7):
            squeeze = nn.ModuleList(nn.Conv1d(n + 32 * j, 128, 1) for j in range(4))
            grow = nn.ModuleList(nn.Conv1d(128, 32, 3, padding=1) for _ in range(4))
            self.blocks.append(nn.ModuleList([squeeze, grow]))
            n += 128
            if i < 6:
                self.blocks[-1].append(nn.Conv1d(n, n // 2, 1))
                n //= 2
        self.last = nn.Sequential(nn.Dropout(0.5), nn.Linear(255, 6))

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool1d(F.elu(self.stem(x)), 3, stride=2, padding=1)
        for squeeze, grow, *transition in self.blocks:
            for a, b in zip(squeeze, grow, strict=True):
                x = torch.cat([x, F.dropout(b(F.elu(a(F.elu(x)))), 0.2, self.training)], dim=1)
            if transition:
                x = F.avg_pool1d(transition[0](F.elu(x)), 2)
        return self.last(F.avg_pool1d(F.relu(x), 7, stride=3).flatten(1))


# What a user types for a network, and the plain statement of the same.
NETWORKS: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "resnet_gru": ("model=resnet_gru", ResNetGRU),
    "efficientnet_1d": ("experiment=efficientnet_1d", EfficientNet1d),
    "conv_squeezeformer": ("experiment=conv_squeezeformer", ConvSqueezeformer),
    "wavenet_2d": ("experiment=wavenet_2d", WaveNet2d),
    "volume": ("experiment=volume", Volume),
    "sparcnet": ("experiment=sparcnet", SPaRCNet),
    "raw_image": ("experiment=raw_image", lambda: Image(3, "efficientnet_b0")),
}


def fill(plain: nn.Module, ours: nn.Module) -> None:
    """Give the plain network our numbers, in the order in which both have them."""
    to, numbers = ([x.data for x in (*net.parameters(), *net.buffers()) if x.ndim] for net in (plain, ours))
    for x, part in zip(to, torch.cat([x.flatten() for x in numbers]).split([x.numel() for x in to]), strict=True):
        x.copy_(part.view_as(x))


def difference(plain: nn.Module, ours: nn.Module, x: Tensor) -> float:
    """Return the largest difference of their logits, over the largest logit, with the same weights."""
    nn.init.normal_(ours.final_layer.weight)  # type: ignore[arg-type]
    with torch.no_grad():
        ours.train()(x)  # away from the first running statistics
        fill(plain, ours)
        expected, found = plain.eval()(x), ours.eval()(x)
    return ((found - expected).abs().max() / expected.abs().max()).item()


def medians(calls: list[Callable[[], Any]], least_s: float) -> list[float]:
    """Return seconds of processor time of each, timed turn and turn about; the first turn does not count."""
    rounds: list[list[float]] = []
    while len(rounds) < 3 or sum(map(sum, rounds[1:])) < least_s:
        rounds.append([])
        for call in calls:
            start = time.process_time()
            call()
            rounds[-1].append(time.process_time() - start)
    return [statistics.median(seconds) for seconds in zip(*rounds[1:], strict=True)]


def step(network: nn.Module, x: Tensor, training: bool) -> None:
    network.train(training).zero_grad()
    with torch.inference_mode(not training):
        logits = network(x)
    if training:
        logits.sum().backward()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--least-s", type=float, default=3.0, help="processor seconds of each comparison, at least")
    parser.add_argument("--smoke", action="store_true", help="two windows of 10 s, a few steps, no pictures; any ratio")
    options = parser.parse_args()
    options.least_s *= not options.smoke
    torch.set_num_threads(1)
    torch.manual_seed(0)
    columns = "input | batch | parameters | multiply-adds | logits differ by"
    print(f"| network | {columns} | training, windows/s | ratio | inference, windows/s | ratio |")
    print("| --- " * 10 + "|")
    slow: list[str] = []
    for name, (setting, statement) in ((name, NETWORKS[name]) for name in options.only):
        ours, window = network_with_input(composed([setting]))
        plain, whole = statement(), window.shape[1:]
        inputs = [whole] if len(whole) == 3 else [whole, (whole[0], whole[1] // 5)]
        for shape in inputs[1:] if options.smoke or name == "sparcnet" else inputs:
            costs = [cost(network.eval(), torch.zeros(1, *shape)) for network in (ours, plain)]
            batch = 2 if options.smoke else min(16, max(2, round(1e10 / costs[0].multiply_adds)))
            x = torch.randn(batch, *shape)
            apart = difference(plain, ours, x)
            cells = [f"`{name}`", " x ".join(map(str, shape)), str(batch), f"{costs[0].parameters:,}"]
            counts = dict.fromkeys(f"{found.multiply_adds / 1e6:,.1f} M" for found in costs)
            cells += [", plain ".join(counts), f"{apart:.0e}"]
            for training in (True, False):
                seconds = medians([partial(step, network, x, training) for network in (ours, plain)], options.least_s)
                cells += [f"{batch / seconds[0]:.3g}", f"{seconds[0] / seconds[1]:.2f}"]
                slow += [name] if seconds[0] > 2 * seconds[1] else []
            print(f"| {' | '.join(cells)} |", flush=True)
            if costs[0].parameters != costs[1].parameters or apart > 1e-4:
                raise SystemExit(f"{name}: not the same network as its plain statement")
    if slow and not options.smoke:
        raise SystemExit(f"more than twice the plain statement's time: {', '.join(slow)}")


if __name__ == "__main__":
    main()
