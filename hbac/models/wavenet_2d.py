"""A WaveNet that reads every derivation by itself, and an image backbone that reads what it found in all of them.

Dilated, gated convolutions make of each signal a map of features over time, by the same weights for all. The maps of a
chain of electrodes are averaged, and the chains' maps stand one above another as a picture.
"""

# Shapes: B window, C derivation, R chain, N one signal of B times C, T sample, F feature, K class

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hbac.common.errors import UserError
from hbac.models.backbone import backbone_layers, check_backbone_settings, make_backbone, make_input_norm
from hbac.models.parts import chains_of, check_counts, check_shares, start_uniform
from hbac.models.rates import ParameterGroup, layerwise_groups
from hbac.vocabulary import N_CLASSES


class WaveNet2d(nn.Module):
    """A shared WaveNet, the mean of its maps over each chain, a timm backbone on all chains' maps, a linear head.

    Parameters
    ----------
    n_chans : int
        Derivations, chain after chain, as in the montage ``chains_16``.
    n_times : int
        Samples of a window; only checked against the columns of the picture.
    n_outputs : int
        Classes.
    sfreq : float
        Rate of the input in hertz; changes nothing, but an error says seconds.
    n_chains : int or None
        Chains that the derivations stand in, equally many in each. None: four where that divides their number, else
        each derivation is a chain of its own.
    widths : sequence of int
        Features of the WaveNet's blocks; the last is the picture's height for each chain.
    depths : sequence of int
        Gated convolutions of each block, the k-th over samples that are 2^k apart.
    columns : int
        Width of the picture: the features are averaged over equal stretches of time.
    backbone : str
        A model of timm, as `hbac.models.EfficientNet` takes it; reads pictures of one channel.
    dropout : float
        Share of the pooled features that are dropped before the last layer, 0 to 1.
    drop_path, pretrained, pretrained_file, input_norm, backbone_lr_factor
        As `hbac.models.EfficientNet` takes them.

    References
    ----------
    After the network of the fifth place of the Kaggle competition "HMS - Harmful Brain Activity Classification" (2024);
    depths and columns are ours. van den Oord et al. (2016), WaveNet: a generative model for raw audio,
    arXiv:1609.03499.

    Examples
    --------
    >>> network = WaveNet2d(widths=(4, 8), depths=(3, 2), columns=64, backbone="test_efficientnet")
    >>> network(torch.zeros(2, 18, 400)).shape
    torch.Size([2, 6])
    """

    def __init__(
        self,
        n_chans: int = 18,
        n_times: int = 2000,
        n_outputs: int = N_CLASSES,
        sfreq: float = 40.0,
        n_chains: int | None = None,
        widths: Sequence[int] = (8, 16, 32, 64),
        depths: Sequence[int] = (8, 5, 3, 1),
        columns: int = 256,
        backbone: str = "efficientnet_b0",
        dropout: float = 0.2,
        drop_path: float = 0.0,
        pretrained: bool = False,
        pretrained_file: str | None = None,
        input_norm: str = "batch",
        backbone_lr_factor: float = 1.0,
    ) -> None:
        super().__init__()
        check_counts({"n_chans": n_chans, "n_outputs": n_outputs, "columns": columns})
        check_shares({"dropout": dropout, "drop_path": drop_path})
        check_backbone_settings(input_norm, backbone_lr_factor)
        n_chains = chains_of(n_chans, n_chains, n_chans, "derivations; montage=chains_16 has 4 chains")
        if not widths or len(widths) != len(depths) or min(*widths, *depths) < 1:
            raise UserError(
                f"model.widths={list(widths)}, model.depths={list(depths)}: needs a width and a depth, both at least "
                "1, for each block"
            )
        self.n_chans, self.n_chains, self.n_outputs = n_chans, n_chains, n_outputs
        self.columns, self.sfreq, self.backbone_lr_factor = columns, float(sfreq), backbone_lr_factor
        self._check_length(n_times)

        ins = [1, *widths[:-1]]
        self.wavenet = nn.Sequential(*(GatedBlock(*sizes) for sizes in zip(ins, widths, depths, strict=True)))
        self.backbone = make_backbone(backbone, 1, drop_path, pretrained, pretrained_file)
        self.input_norm = make_input_norm(input_norm, 1, self.backbone.pretrained_cfg)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head_dropout = nn.Dropout(dropout)
        self.final_layer = nn.Linear(self.backbone.head_hidden_size, n_outputs)
        start_uniform(self.final_layer)

    def forward(self, x_BCT: Tensor) -> Tensor:
        """Map windows (window, derivation, sample), scaled to about unit size, to logits (window, class)."""
        picture_B1HW = self.input_norm(self.picture(x_BCT))
        map_BFHW = self.backbone(picture_B1HW)
        logits_BK: Tensor = self.final_layer(self.head_dropout(self.pool(map_BFHW).flatten(1)))
        return logits_BK

    def picture(self, x_BCT: Tensor) -> Tensor:
        """Return what the backbone reads: (window, 1, chains times features, columns)."""
        self._check_length(x_BCT.shape[2])
        f_NFT = F.adaptive_avg_pool1d(self.wavenet(x_BCT.reshape(-1, 1, x_BCT.shape[2])), self.columns)
        f_BRFT = torch.unflatten(f_NFT, 0, (-1, self.n_chains, self.n_chans // self.n_chains)).mean(2)
        return f_BRFT.flatten(1, 2).unsqueeze(1)

    def parameter_groups(self, lr: float) -> list[ParameterGroup]:
        """Return the optimiser's groups: `lr` for what is ours, ``lr * backbone_lr_factor`` for the backbone."""
        ours = nn.ModuleList([self.wavenet, self.final_layer])
        return layerwise_groups([self.backbone, ours], lr, decay=self.backbone_lr_factor)

    def layers(self) -> list[nn.Module]:
        """Return what has weights, from input to output: the WaveNet's blocks, the backbone's parts, the head."""
        return [*self.wavenet, *backbone_layers(self.backbone), self.final_layer]

    def _check_length(self, n_times: int) -> None:
        if n_times < self.columns:
            raise UserError(
                f"a window of {n_times} samples ({n_times / self.sfreq:g} s at {self.sfreq:g} Hz) is too short for "
                f"model.columns={self.columns}: at most {n_times} are possible"
            )


class GatedBlock(nn.Module):
    """Gated convolutions of three samples that are 1, 2, 4, … apart, each added to what came before it."""

    def __init__(self, n_in: int, n_out: int, depth: int) -> None:
        super().__init__()
        self.widen = nn.Conv1d(n_in, n_out, 1)
        self.both = nn.ModuleList(
            nn.Conv1d(n_out, 2 * n_out, 3, padding=2**k, dilation=2**k) for k in range(depth)
        )  # what is let through, and how much of it
        self.join = nn.ModuleList(nn.Conv1d(n_out, n_out, 1) for _ in range(depth))

    def forward(self, x_NFT: Tensor) -> Tensor:
        """Return (N, n_out, T)."""
        x_NFT = self.widen(x_NFT)
        for both, join in zip(self.both, self.join, strict=True):
            content_NFT, gate_NFT = both(x_NFT).chunk(2, dim=1)
            x_NFT = x_NFT + join(torch.tanh(content_NFT) * torch.sigmoid(gate_NFT))
        return x_NFT
