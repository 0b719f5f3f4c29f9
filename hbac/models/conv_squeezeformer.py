"""Convolutions over time and derivations, then attention over time: what a moment looks like, and what goes with it.

The convolutions bring a window to some three hundred moments of 128 features, weighed by how telling they are; their
generalised mean over the derivations is read by Squeezeformer blocks, in which every moment sees all others.
"""

# Shapes: B window, C derivation, T sample or moment, F feature, N head, K class

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hbac.common.errors import UserError
from hbac.models.parts import GeM, check_counts, check_length, check_shares, start_uniform
from hbac.vocabulary import N_CLASSES, SFREQ

_STEM_WIDTH, _STEM_POOL, _GROUPS, _WIDEN = 64, 8, 4, 2
_SAMPLES_PER_STEP = _STEM_POOL * 2 * 2  # a stride and a pool of 2 behind the stem


class ConvSqueezeformer(nn.Module):
    """Convolutional stem, attention over features and places, Squeezeformer blocks with rotary positions.

    Parameters
    ----------
    n_chans : int
        Derivations; neighbours in the montage meet in the kernels, so that ``alternating_16`` suits it.
    n_times : int
        Samples of a window; only checked against the shortest that the network can read.
    n_outputs : int
        Classes.
    sfreq : float
        Rate of the input in hertz; changes nothing, but an error says seconds. The kernels were chosen at 200.
    width : int
        Features of the convolutions behind the stem and of the blocks; a multiple of `n_heads` and of 4, with an even
        number for each head.
    n_blocks : int
        Squeezeformer blocks.
    n_heads : int
        Heads of their attention.
    expansion : int
        Features inside their feed-forward layers over those outside.
    conv_kernel : int
        Odd length of their convolutions, in moments.
    dropout : float
        Share of values that are dropped in each part of a block, 0 to 1.

    References
    ----------
    Third place of the Kaggle competition "HMS - Harmful Brain Activity Classification" (2024), write-up 492471.
    Squeezeformer: Kim et al. (2022), Squeezeformer: an efficient transformer for automatic speech recognition,
    arXiv:2206.00888. Attention over features and places: Woo et al. (2018), CBAM, doi:10.1007/978-3-030-01234-2_1.
    Rotary positions: Su et al. (2024), RoFormer, doi:10.1016/j.neucom.2023.127063.

    Examples
    --------
    >>> ConvSqueezeformer(n_chans=16, n_times=2000)(torch.zeros(2, 16, 2000)).shape
    torch.Size([2, 6])
    """

    def __init__(
        self,
        n_chans: int = 16,
        n_times: int = 10_000,
        n_outputs: int = N_CLASSES,
        sfreq: float = SFREQ,
        width: int = 128,
        n_blocks: int = 3,
        n_heads: int = 4,
        expansion: int = 1,
        conv_kernel: int = 51,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        counts = {"n_chans": n_chans, "n_outputs": n_outputs, "width": width, "n_blocks": n_blocks, "n_heads": n_heads}
        check_counts(counts | {"expansion": expansion})
        check_shares({"dropout": dropout})
        if width % (2 * n_heads) or width % _GROUPS:
            raise UserError(
                f"model.width={width}, model.n_heads={n_heads}: the width must be a multiple of 4, and of twice the "
                "number of heads"
            )
        if conv_kernel < 1 or conv_kernel % 2 == 0:
            raise UserError(f"model.conv_kernel={conv_kernel}: must be odd")
        self.n_chans, self.n_outputs, self.sfreq = n_chans, n_outputs, float(sfreq)
        self.min_times = 2 * _SAMPLES_PER_STEP
        check_length(n_times, self.min_times, self.sfreq)

        inner = _WIDEN * width
        self.stem = nn.Sequential(
            nn.Conv2d(1, _STEM_WIDTH, (1, 16), padding=(0, 8), bias=False),
            nn.BatchNorm2d(_STEM_WIDTH),
            nn.ReLU(),
            nn.AvgPool2d((1, _STEM_POOL)),
        )
        self.moments = nn.Sequential(
            nn.Conv2d(_STEM_WIDTH, width, 1),
            nn.SiLU(),
            nn.Conv2d(width, width, (1, 16), stride=(1, 2), padding=(0, 7), groups=width, bias=False),
            nn.BatchNorm2d(width),
            nn.SiLU(),
            nn.Conv2d(width, width, 1),
        )
        self.attention = FeaturesAndPlaces(width)
        self.derivations = _separable(width, inner, (3, 1), groups_in=_GROUPS)
        self.times = _separable(width, inner, (1, 8), groups_out=_GROUPS)
        self.pool_derivations = GeM(axis=2)
        self.blocks = nn.Sequential(
            *(SqueezeformerBlock(width, n_heads, expansion, conv_kernel, dropout) for _ in range(n_blocks))
        )
        self.pool_times = GeM(axis=1)
        self.final_layer = nn.Linear(width, n_outputs)
        start_uniform(self.final_layer)

    def forward(self, x_BCT: Tensor) -> Tensor:
        """Map windows (window, derivation, sample), of about unit size and without NaN, to logits (window, class)."""
        check_length(x_BCT.shape[2], self.min_times, self.sfreq)
        f_BFCT = self.attention(self.moments(self.stem(x_BCT.unsqueeze(1))))
        f_BFCT = F.avg_pool2d(self.times(self.derivations(f_BFCT)), (1, 2))
        f_BTF = self.blocks(self.pool_derivations(f_BFCT).squeeze(2).transpose(1, 2))
        logits_BK: Tensor = self.final_layer(self.pool_times(f_BTF).squeeze(1))
        return logits_BK

    def layers(self) -> list[nn.Module]:
        """Return what has weights, from input to output: convolutions, blocks, head."""
        across = nn.ModuleList([self.attention, self.derivations, self.times, self.pool_derivations])
        return [self.stem, self.moments, across, *self.blocks, nn.ModuleList([self.pool_times, self.final_layer])]


def _separable(
    width: int, inner: int, kernel: tuple[int, int], groups_in: int = 1, groups_out: int = 1
) -> nn.Sequential:
    """Widen, convolve each feature by itself, and narrow; along one axis."""
    return nn.Sequential(
        nn.Conv2d(width, inner, 1, groups=groups_in, bias=False),
        nn.BatchNorm2d(inner),
        nn.SiLU(),
        nn.Conv2d(inner, inner, kernel, padding=(kernel[0] // 2, kernel[1] // 2), groups=inner, bias=False),
        nn.BatchNorm2d(inner),
        nn.SiLU(),
        nn.Conv2d(inner, width, 1, groups=groups_out, bias=False),
        nn.BatchNorm2d(width),
        nn.SiLU(),
    )


class FeaturesAndPlaces(nn.Module):
    """Weigh features by their mean and maximum over the window, then places by those over the features (CBAM)."""

    def __init__(self, width: int, ratio: int = 8, kernel: int = 7) -> None:
        super().__init__()
        hidden = max(1, width // ratio)
        self.features = nn.Sequential(nn.Linear(width, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, width))
        self.places = nn.Conv2d(2, 1, kernel, padding=kernel // 2)

    def forward(self, x_BFCT: Tensor) -> Tensor:
        """Return the same shape."""
        weight_BF: Tensor = (self.features(x_BFCT.mean((2, 3))) + self.features(x_BFCT.amax((2, 3)))).sigmoid()
        x_BFCT = x_BFCT * weight_BF[:, :, None, None]
        seen_B2CT = torch.cat([x_BFCT.mean(1, keepdim=True), x_BFCT.amax(1, keepdim=True)], dim=1)
        weight_B1CT: Tensor = self.places(seen_B2CT).sigmoid()
        return x_BFCT * weight_B1CT


class SqueezeformerBlock(nn.Module):
    """Attention, feed-forward, convolution, feed-forward; each added to what came in, and normalised."""

    def __init__(self, width: int, n_heads: int, expansion: int, conv_kernel: int, dropout: float) -> None:
        super().__init__()
        self.parts = nn.ModuleList(
            [
                RotaryAttention(width, n_heads, dropout),
                _feed_forward(width, expansion, dropout),
                GatedConvolution(width, conv_kernel, dropout),
                _feed_forward(width, expansion, dropout),
            ]
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in self.parts)

    def forward(self, x_BTF: Tensor) -> Tensor:
        """Return the same shape."""
        for part, norm in zip(self.parts, self.norms, strict=True):
            x_BTF = norm(x_BTF + part(x_BTF))
        return x_BTF


def _feed_forward(width: int, expansion: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width, expansion * width),
        nn.SiLU(),
        nn.Dropout(dropout),
        nn.Linear(expansion * width, width),
        nn.Dropout(dropout),
    )


class RotaryAttention(nn.Module):
    """Attention of every moment to all moments, which depends on how far apart they are and not on where they are."""

    def __init__(self, width: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads, self.dropout = n_heads, dropout
        self.queries_keys = nn.Linear(width, 2 * width, bias=False)
        self.values = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x_BTF: Tensor) -> Tensor:
        """Return the same shape."""
        heads = (self.n_heads, -1)
        query_BTNF, key_BTNF = (part.unflatten(2, heads) for part in self.queries_keys(x_BTF).chunk(2, dim=2))
        value_BNTF = self.values(x_BTF).unflatten(2, heads).transpose(1, 2)
        found_BNTF = F.scaled_dot_product_attention(
            rotate(query_BTNF).transpose(1, 2).to(value_BNTF.dtype),
            rotate(key_BTNF).transpose(1, 2).to(value_BNTF.dtype),
            value_BNTF,
            dropout_p=self.dropout if self.training else 0.0,
        )
        out_BTF: Tensor = self.out(found_BNTF.transpose(1, 2).flatten(2))
        return F.dropout(out_BTF, self.dropout, self.training)


def rotate(x_BTNF: Tensor) -> Tensor:
    """Turn pairs of features (B, T, heads, features) by angles that grow with the moment, each pair at its own speed.

    The product of two of them depends on the difference of their moments.
    """
    half = x_BTNF.shape[3] // 2
    speed_F = 10_000.0 ** (-torch.arange(half, device=x_BTNF.device, dtype=torch.float32) / half)
    moment_T = torch.arange(x_BTNF.shape[1], device=x_BTNF.device, dtype=torch.float32)
    angle_T1F = (moment_T[:, None] * speed_F)[:, None]
    first, second = torch.split(x_BTNF, half, dim=3)
    cos, sin = angle_T1F.cos(), angle_T1F.sin()
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=3)


class GatedConvolution(nn.Module):
    """A gate, a long convolution of each feature by itself, and a mixture."""

    def __init__(self, width: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.gate = nn.Linear(width, 2 * width)
        self.conv = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width, bias=False)
        self.norm = nn.BatchNorm1d(width)
        self.out = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BTF: Tensor) -> Tensor:
        """Return the same shape."""
        f_BFT = F.glu(self.gate(x_BTF), dim=2).transpose(1, 2)
        f_BTF = F.silu(self.norm(self.conv(f_BFT))).transpose(1, 2)
        out_BTF: Tensor = self.dropout(self.out(f_BTF))
        return out_BTF
