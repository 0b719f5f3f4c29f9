"""EfficientNet along time, with a step across the chains of electrodes: derivations are channels, chains are rows.

Each of the four chains is read by the same convolutions, as one signal of four derivations; after each stage a small
convolution over the chains lets neighbouring regions and both sides of the head meet. No pretrained weights.
"""

# Shapes: B window, C derivation, R chain (row), T sample, F feature, K class

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hbac.common.errors import UserError
from hbac.models.parts import (
    DropPath,
    GeM,
    HeadNorm,
    SqueezeExcite,
    chains_of,
    check_counts,
    check_length,
    check_shares,
    start_uniform,
)
from hbac.vocabulary import N_CLASSES

_STAGE_STRIDE = 2


class EfficientNet1d(nn.Module):
    """Stages of inverted residuals along time, each with a mixture across chains, then a generalised mean.

    Parameters
    ----------
    n_chans : int
        Derivations, chain after chain, as in the montage ``chains_16``.
    n_times : int
        Samples of a window; only checked against the shortest that the network can read.
    n_outputs : int
        Classes.
    sfreq : float
        Rate of the input in hertz; changes nothing, but an error says seconds. The kernels were chosen at 40.
    n_chains : int or None
        Chains that the derivations stand in, equally many in each. None: four where that divides their number, else
        one, and derivations are only channels.
    stem_width : int
        Features before the first stage.
    widths : sequence of int
        Features of each stage.
    kernels : sequence of int
        Odd length of each stage's convolutions along time, in samples of its rate, which each stage halves.
    depth : int
        Inverted residuals of a stage.
    expansion : int
        Features of an inverted residual's inside over its outside.
    drop_path : float
        Share of the residual branches that are dropped, 0 to 1.
    dropout : float
        Share of the pooled features that are dropped before the last layer, 0 to 1.

    References
    ----------
    Fourth place of the Kaggle competition "HMS - Harmful Brain Activity Classification" (2024), part of yu4u, after
    bilzard's. Inverted residuals: Tan and Le (2019), EfficientNet: rethinking model scaling for convolutional neural
    networks, arXiv:1905.11946.

    Examples
    --------
    >>> EfficientNet1d(n_chans=16, n_times=2000)(torch.zeros(2, 16, 2000)).shape
    torch.Size([2, 6])
    """

    def __init__(
        self,
        n_chans: int = 16,
        n_times: int = 2000,
        n_outputs: int = N_CLASSES,
        sfreq: float = 40.0,
        n_chains: int | None = None,
        stem_width: int = 64,
        widths: Sequence[int] = (96, 128, 192, 256, 384),
        kernels: Sequence[int] = (3, 3, 5, 5, 3),
        depth: int = 3,
        expansion: int = 4,
        drop_path: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        counts = {"n_chans": n_chans, "n_outputs": n_outputs, "stem_width": stem_width}
        check_counts(counts | {"depth": depth, "expansion": expansion})
        check_shares({"drop_path": drop_path, "dropout": dropout})
        n_chains = chains_of(n_chans, n_chains, 1, "derivations; montage=chains_16 has 4 chains")
        if not widths or len(widths) != len(kernels) or min(widths) < 1:
            raise UserError(
                f"model.widths={list(widths)}, model.kernels={list(kernels)}: needs a width, at least 1, and a kernel "
                "for each stage"
            )
        if any(kernel < 1 or kernel % 2 == 0 for kernel in kernels):
            raise UserError(f"model.kernels={list(kernels)}: must be odd")
        self.n_chans, self.n_chains, self.n_outputs, self.sfreq = n_chans, n_chains, n_outputs, float(sfreq)
        self.min_times = _STAGE_STRIDE ** len(widths)
        self._check_length(n_times)

        self.stem = _conv(n_chans // n_chains, stem_width, (1, 3))
        ins = [stem_width, *widths[:-1]]
        self.stages = nn.Sequential(
            *(
                Stage(n_in, n_out, kernel, depth, expansion, drop_path)
                for n_in, n_out, kernel in zip(ins, widths, kernels, strict=True)
            )
        )
        self.pool = GeM()
        self.head = nn.Sequential(
            nn.Linear(widths[-1], widths[-1], bias=False), HeadNorm(widths[-1]), nn.ReLU(), nn.Dropout(dropout)
        )
        self.final_layer = nn.Linear(widths[-1], n_outputs)
        start_uniform(self.final_layer)

    def forward(self, x_BCT: Tensor) -> Tensor:
        """Map windows (window, derivation, sample), of about unit size and without NaN, to logits (window, class)."""
        self._check_length(x_BCT.shape[2])
        x_BCRT = torch.unflatten(x_BCT, 1, (self.n_chains, -1)).transpose(1, 2)
        f_BFRT = self.stages(self.stem(x_BCRT))
        logits_BK: Tensor = self.final_layer(self.head(self.pool(f_BFRT).flatten(1)))
        return logits_BK

    def layers(self) -> list[nn.Module]:
        """Return what has weights, from input to output: stem, stages, head."""
        return [self.stem, *self.stages, nn.ModuleList([self.pool, self.head, self.final_layer])]

    def _check_length(self, n_times: int) -> None:
        check_length(n_times, self.min_times, self.sfreq, "; give model.widths and model.kernels fewer stages")


class Stage(nn.Module):
    """Inverted residuals along time, a mixture across chains, maximum pool 2; beside all of them a shortcut."""

    def __init__(self, n_in: int, n_out: int, kernel: int, depth: int, expansion: int, drop_path: float) -> None:
        super().__init__()
        blocks: list[nn.Module] = [
            Residual(
                n_in if i == 0 else n_out,
                n_out,
                nn.Sequential(
                    _conv(n_in if i == 0 else n_out, n_out, (1, 1)),
                    _conv(n_out, n_out * expansion, (1, kernel), groups=n_out),
                    _conv(n_out * expansion, n_out, (1, 1)),
                    SqueezeExcite(n_out),
                ),
                drop_path,
            )
            for i in range(depth)
        ]
        across = nn.Sequential(
            _conv(n_out, n_out, (3, 1), groups=n_out), _conv(n_out, n_out, (1, 1)), SqueezeExcite(n_out)
        )
        self.body = nn.Sequential(*blocks, Residual(n_out, n_out, across, drop_path))
        self.shortcut = nn.Conv2d(n_in, n_out, (1, _STAGE_STRIDE), stride=(1, _STAGE_STRIDE))

    def forward(self, x_BFRT: Tensor) -> Tensor:
        """Return (B, n_out, R, T // 2)."""
        shortcut_BFRT: Tensor = self.shortcut(x_BFRT)
        return shortcut_BFRT + F.max_pool2d(self.body(x_BFRT), (1, _STAGE_STRIDE))


class Residual(nn.Module):
    """A branch added to what came in, which is brought to its width where that differs."""

    def __init__(self, n_in: int, n_out: int, branch: nn.Module, drop_path: float) -> None:
        super().__init__()
        self.branch, self.drop_path = branch, DropPath(drop_path)
        self.shortcut = nn.Conv2d(n_in, n_out, 1) if n_in != n_out else nn.Identity()

    def forward(self, x_BFRT: Tensor) -> Tensor:
        """Return (B, n_out, R, T)."""
        out_BFRT: Tensor = self.shortcut(x_BFRT) + self.drop_path(self.branch(x_BFRT))
        return out_BFRT


def _conv(n_in: int, n_out: int, kernel: tuple[int, int], groups: int = 1) -> nn.Sequential:
    padding = (kernel[0] // 2, kernel[1] // 2)
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, kernel, padding=padding, groups=groups, bias=False), nn.BatchNorm2d(n_out), nn.ELU()
    )
