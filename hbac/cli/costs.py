"""``python -m hbac.prepare list=zoo``: what each family of ``experiment=zoo`` reads, and what its network costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from hbac.cli.launch import composed

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from torch import Tensor, nn


class Cost(NamedTuple):
    """What a network costs."""

    shape: tuple[int, ...]  # of a window as the network reads it
    parameters: int
    multiply_adds: int  # of a window, in convolutions and matrix products


def families(conf: Path) -> list[str]:
    """Return the experiments that ``experiment=zoo`` sweeps over."""
    zoo = yaml.safe_load((conf / "experiment" / "zoo.yaml").read_text(encoding="utf-8"))
    return list(zoo["hydra"]["sweeper"]["params"]["+experiment@_global_"].split(","))


def network_with_input(cfg: DictConfig) -> tuple[nn.Module, Tensor]:
    """Make the network of a training, and a window of noise as its front-end hands it over, (1, …)."""
    import torch
    from omegaconf import OmegaConf

    from hbac.common.instantiate import build
    from hbac.recordings.columns import SPECTROGRAM_COLUMNS
    from hbac.vocabulary import N_CHANNELS, SPECTROGRAM_ROWS, WINDOW_SAMPLES

    front_end = build(cfg.front_end, "front_end", cfg.allow)
    model: dict[str, Any] = OmegaConf.to_container(cfg.model, resolve=True)  # type: ignore[assignment]
    network = build({**model, **front_end.network_arguments()}, "network", cfg.allow).eval()
    shapes = {"eeg": (1, WINDOW_SAMPLES, N_CHANNELS), "official": (1, SPECTROGRAM_ROWS, len(SPECTROGRAM_COLUMNS))}
    return network, front_end(*(50 * torch.rand(shapes[name]) for name in front_end.sources))


def cost(network: nn.Module, x: Tensor) -> Cost:
    """Count what a network takes for one window, (1, …)."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(x)
    parameters = sum(weight.numel() for weight in network.parameters())
    return Cost(tuple(x.shape[1:]), parameters, counter.get_total_flops() // 2)


def costs_table(conf: Path) -> str:
    """Say for each family of the zoo what its network reads, how many weights it has, and what a window takes."""
    lines = [("", "input", "parameters", "multiply-adds")]
    for name in families(conf):
        found = cost(*network_with_input(composed([f"experiment={name}"])))
        shape = " x ".join(map(str, found.shape))
        lines.append((name, shape, f"{found.parameters / 1e6:.2f} M", f"{found.multiply_adds / 1e9:.2f} G"))
    first, second, *others = (max(map(len, column)) for column in zip(*lines, strict=True))
    shown = [f"{a:<{first}}  {b:<{second}}  {c:>{others[0]}}  {d:>{others[1]}}".rstrip() for a, b, c, d in lines]
    return "\n".join([*shown, "", "choose:  python -m hbac.train experiment=zoo, or one of them"]) + "\n"
