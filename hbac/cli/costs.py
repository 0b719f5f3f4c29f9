"""``python -m hbac.prepare list=zoo``: what each family of ``experiment=zoo`` reads, and what its network costs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

if TYPE_CHECKING:
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


def made(settings: Mapping[str, Any]) -> tuple[nn.Module, nn.Module, Tensor]:
    """Make front-end and network of a training's settings, and a window of noise as the network reads it, (1, …)."""
    import torch

    from hbac.common.instantiate import build
    from hbac.recordings.columns import SPECTROGRAM_COLUMNS
    from hbac.vocabulary import N_CHANNELS, SPECTROGRAM_ROWS, WINDOW_SAMPLES

    front_end = build(settings["front_end"], "front_end")
    network = build({**settings["model"], **front_end.network_arguments()}, "network").eval()
    shapes = {"eeg": (1, WINDOW_SAMPLES, N_CHANNELS), "official": (1, SPECTROGRAM_ROWS, len(SPECTROGRAM_COLUMNS))}
    return front_end, network, front_end(*(50 * torch.rand(shapes[name]) for name in front_end.sources))


def cost(network: nn.Module, x: Tensor) -> Cost:
    """Count what a network takes for one window, (1, …)."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(x)
    parameters = sum(weight.numel() for weight in network.parameters())
    return Cost(tuple(x.shape[1:]), parameters, counter.get_total_flops() // 2)


def settings_of(conf: Path, *overrides: str) -> dict[str, Any]:
    """Compose the settings of a training."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf

    inside = GlobalHydra.instance().is_initialized()
    with nullcontext() if inside else initialize_config_dir(str(conf.resolve()), version_base="1.3"):
        composed = compose("train", list(overrides))
    return {name: OmegaConf.to_container(composed[name], resolve=True) for name in ("front_end", "model")}


def costs_table(conf: Path) -> str:
    """Say for each family of the zoo what its network reads, how many weights it has, and what a window takes."""
    lines = [("", "input", "parameters", "multiply-adds")]
    for name in families(conf):
        _, network, x = made(settings_of(conf, f"experiment={name}"))
        found = cost(network, x)
        shape = " x ".join(map(str, found.shape))
        lines.append((name, shape, f"{found.parameters / 1e6:.2f} M", f"{found.multiply_adds / 1e9:.2f} G"))
    first, second, *others = (max(map(len, column)) for column in zip(*lines, strict=True))
    shown = [f"{a:<{first}}  {b:<{second}}  {c:>{others[0]}}  {d:>{others[1]}}".rstrip() for a, b, c, d in lines]
    return "\n".join([*shown, "", "choose:  python -m hbac.train experiment=zoo, or one of them"]) + "\n"
