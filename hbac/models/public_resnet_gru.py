"""The public ResNet1D-GRU of the HMS competition, to train as its recipe says and to measure ours against.

Written anew from its description: parallel convolutions whose outputs are joined along *time*, a strided convolution,
pre-activation residual blocks that each halve the length, and beside them a bidirectional GRU that reads every raw
sample, where nearly all of the time goes.
"""

# Shapes: B window, C derivation, T sample, F feature, K class, D direction

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hbac.common.errors import UserError
from hbac.models.parts import check_counts, start_uniform
from hbac.vocabulary import N_CLASSES

_POOL, _POOL_PADDING = 6, 2


class PublicBlock(nn.Module):
    """Pre-activation residual block at constant width; maximum pool 2 on both paths."""

    def __init__(self, n_features: int, kernel: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm1d(n_features),
            nn.ReLU(),
            nn.Conv1d(n_features, n_features, kernel, padding=kernel // 2, bias=False),
            nn.BatchNorm1d(n_features),
            nn.ReLU(),
            nn.Conv1d(n_features, n_features, kernel, padding=kernel // 2, bias=False),
            nn.MaxPool1d(2),
        )
        self.shortcut = nn.MaxPool1d(2)

    def forward(self, x_BFT: Tensor) -> Tensor:
        """Return features at half the length."""
        out: Tensor = self.body(x_BFT) + self.shortcut(x_BFT)
        return out


class PublicResNetGRU(nn.Module):
    """Residual convolutions beside a GRU over the raw signal.

    Two departures from the public code. Its GRU took the batch for time, so that predictions depended on the rest of
    the batch; this one does not. And it read both directions at the last sample, where the backward one has seen a
    single sample; here each direction gives its own last state.

    A `UserError` when a setting is out of its range or the window is too short for so many blocks.

    Parameters
    ----------
    n_chans, n_times : int
        Derivations and samples of a window; the head has a weight for each moment, so it takes no other length.
    n_outputs : int
        Classes.
    sfreq : float
        Rate of the input in hertz; changes nothing, but an error says seconds.
    kernels : sequence of int
        Lengths in samples of the parallel convolutions.
    filters : int
        Features of each of them, and of all that follows.
    block_kernel : int
        Odd length of the other convolutions.
    depth : int
        Residual blocks.
    gru_hidden : int
        Hidden units of each direction.

    References
    ----------
    The public ResNet1D-GRU notebooks of the Kaggle competition "HMS - Harmful Brain Activity Classification" (2024).

    Examples
    --------
    >>> PublicResNetGRU(n_chans=8, n_times=2000)(torch.zeros(2, 8, 2000)).shape
    torch.Size([2, 6])
    """

    def __init__(
        self,
        n_chans: int = 8,
        n_times: int = 2000,
        n_outputs: int = N_CLASSES,
        sfreq: float = 40.0,
        kernels: Sequence[int] = (3, 5, 7, 9),
        filters: int = 24,
        block_kernel: int = 5,
        depth: int = 9,
        gru_hidden: int = 128,
    ) -> None:
        super().__init__()
        counts = {"n_chans": n_chans, "n_outputs": n_outputs, "filters": filters, "depth": depth}
        check_counts(counts | {"gru_hidden": gru_hidden})
        if not kernels or min(kernels) < 1:
            raise UserError(f"model.kernels={list(kernels)}: needs one or more lengths of at least 1 sample")
        if block_kernel < 1 or block_kernel % 2 == 0:
            raise UserError(f"model.block_kernel={block_kernel}: must be odd")
        self.n_chans, self.n_times, self.n_outputs, self.sfreq = n_chans, n_times, n_outputs, float(sfreq)
        self.parallel = nn.ModuleList(nn.Conv1d(n_chans, filters, int(k), bias=False) for k in kernels)
        padding = block_kernel // 2
        self.stem = nn.Sequential(
            nn.BatchNorm1d(filters),
            nn.ReLU(),
            nn.Conv1d(filters, filters, block_kernel, stride=2, padding=padding, bias=False),
        )
        self.blocks = nn.Sequential(*(PublicBlock(filters, block_kernel) for _ in range(depth)))
        self.tail = nn.Sequential(nn.BatchNorm1d(filters), nn.ReLU(), nn.AvgPool1d(_POOL, padding=_POOL_PADDING))
        self.gru = nn.GRU(n_chans, gru_hidden, batch_first=True, bidirectional=True)
        joined = sum(n_times - int(k) + 1 for k in kernels)
        length = ((joined + 1) // 2) // 2**depth
        if n_times < max(kernels) or length < 2:  # two: batch normalisation of a single window needs them
            raise UserError(
                f"a window of {n_times} samples ({n_times / self.sfreq:g} s) is too short for this network; "
                f"lower model.depth={depth} or model.kernels={list(kernels)}"
            )
        pooled = (length + 2 * _POOL_PADDING - _POOL) // _POOL + 1
        self.final_layer = nn.Linear(filters * pooled + 2 * gru_hidden, n_outputs)
        start_uniform(self.final_layer)

    def forward(self, x_BCT: Tensor) -> Tensor:
        """Map windows (window, derivation, sample), of about unit size, without NaN.

        Of the one length, to logits (window, class).
        """
        if x_BCT.shape[2] != self.n_times:
            raise UserError(f"a window of {x_BCT.shape[2]} samples; this network was made for {self.n_times}")
        joined_BFT = torch.cat([conv(x_BCT) for conv in self.parallel], dim=2)
        features_BF = self.tail(self.blocks(self.stem(joined_BFT))).flatten(1)
        _, last_DBF = self.gru(x_BCT.transpose(1, 2))
        logits_BK: Tensor = self.final_layer(torch.cat([features_BF, last_DBF[0], last_DBF[1]], dim=1))
        return logits_BK

    def layers(self) -> list[nn.Module]:
        """Return what has weights, from input to output: stem, blocks, head and, beside them all, the GRU."""
        stem = nn.ModuleList([self.parallel, self.stem])
        return [stem, *self.blocks, nn.ModuleList([self.tail, self.gru, self.final_layer])]
