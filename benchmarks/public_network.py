"""The public network of the competition, as described, to measure ours against. Not for training anything.

Written anew from its description: parallel convolutions whose outputs are joined along *time*, a strided
convolution, nine pre-activation residual blocks that each halve the length, and beside them a bidirectional GRU
that reads every raw sample. (The GRU is batch-first here; a GRU that isn't mixes the windows of a batch.)
"""

# Shapes: B window, C derivation, T sample, F feature, K class

from __future__ import annotations

import torch
from torch import Tensor, nn


class PublicBlock(nn.Module):
    """Pre-activation residual block at constant width; max-pool 2 on both paths."""

    def __init__(self, n_features: int, kernel: int) -> None:
        super().__init__()
        padding = kernel // 2
        self.body = nn.Sequential(
            nn.BatchNorm1d(n_features),
            nn.ReLU(),
            nn.Conv1d(n_features, n_features, kernel, padding=padding, bias=False),
            nn.BatchNorm1d(n_features),
            nn.ReLU(),
            nn.Conv1d(n_features, n_features, kernel, padding=padding, bias=False),
            nn.MaxPool1d(2),
        )
        self.shortcut = nn.MaxPool1d(2)

    def forward(self, x_BFT: Tensor) -> Tensor:
        """Halve the length."""
        out: Tensor = self.body(x_BFT) + self.shortcut(x_BFT)
        return out


class PublicNetwork(nn.Module):
    """ResNet1D beside a GRU over the raw signal, 8 derivations at 200 or 40 Hz.

    Parameters
    ----------
    n_chans, n_times, n_outputs : int
        Input derivations and samples, output classes.
    kernels : tuple of int
        Of the parallel convolutions.
    filters, fixed_kernel, blocks, gru_hidden : int
        Width of the convolutions, their kernel after the first layer, residual blocks, GRU width.
    """

    def __init__(
        self,
        n_chans: int = 8,
        n_times: int = 2000,
        n_outputs: int = 6,
        kernels: tuple[int, ...] = (3, 5, 7, 9),
        filters: int = 24,
        fixed_kernel: int = 5,
        blocks: int = 9,
        gru_hidden: int = 128,
    ) -> None:
        super().__init__()
        self.parallel = nn.ModuleList(nn.Conv1d(n_chans, filters, k, bias=False) for k in kernels)
        self.stem = nn.Sequential(
            nn.BatchNorm1d(filters),
            nn.ReLU(),
            nn.Conv1d(filters, filters, fixed_kernel, stride=2, padding=2, bias=False),
        )
        self.blocks = nn.Sequential(*(PublicBlock(filters, fixed_kernel) for _ in range(blocks)))
        self.tail = nn.Sequential(nn.BatchNorm1d(filters), nn.ReLU(), nn.AvgPool1d(6, padding=2))
        self.gru = nn.GRU(n_chans, gru_hidden, batch_first=True, bidirectional=True)
        length = (sum(n_times - k + 1 for k in kernels) + 4 - fixed_kernel) // 2 + 1
        for _ in range(blocks):
            length //= 2
        length = (length + 4 - 6) // 6 + 1
        self.final_layer = nn.Linear(filters * length + 2 * gru_hidden, n_outputs)

    def forward(self, x_BCT: Tensor) -> Tensor:
        """Map (B, C, T) to logits (B, K)."""
        joined_BFT = torch.cat([conv(x_BCT) for conv in self.parallel], dim=2)
        features_BF = self.tail(self.blocks(self.stem(joined_BFT))).flatten(1)
        states_BTF, _ = self.gru(x_BCT.transpose(1, 2))
        logits_BK: Tensor = self.final_layer(torch.cat([features_BF, states_BTF[:, -1]], dim=1))
        return logits_BK
