"""Small pieces that several networks are made of."""

# Shapes: B window, F feature; further axes are places and times

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hbac.common.errors import UserError

_CHAINS = 4  # of the longitudinal montages: left and right, lateral and parasagittal


class GeM(nn.Module):
    """Generalised mean: ``mean(x^p)^(1/p)``, with p learned, one for all features.

    Parameters
    ----------
    p : float
        Exponent to begin with: 1 is the mean of the positive part, infinity its maximum.
    axis : int or None
        Axis that the mean goes over; None for all behind the features.

    References
    ----------
    Radenović et al. (2019), Fine-tuning CNN image retrieval with no human annotation, doi:10.1109/TPAMI.2018.2846566.
    """

    def __init__(self, p: float = 3.0, axis: int | None = None) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor([p]))
        self.axis = axis

    def forward(self, x_BF: Tensor) -> Tensor:
        """Return the mean in float32 (powers and roots lose too much in 16 bits), with axes of length 1."""
        with torch.autocast(x_BF.device.type, enabled=False):
            power_BF = x_BF.float().clamp(min=1e-6).pow(self.p.float())
            axes = tuple(range(2, x_BF.ndim)) if self.axis is None else (self.axis,)
            mean_BF: Tensor = power_BF.mean(axes, keepdim=True).pow(1.0 / self.p.float())
            return mean_BF


class DropPath(nn.Module):
    """Leave out a residual branch for a share of windows in training; those that stay count for those that do not.

    References
    ----------
    Huang et al. (2016), Deep networks with stochastic depth, doi:10.1007/978-3-319-46493-0_39.
    """

    def __init__(self, share: float = 0.0) -> None:
        super().__init__()
        self.share = share

    def forward(self, x_BF: Tensor) -> Tensor:
        """Return the branch, zero for the windows that go without it."""
        if not self.training or self.share == 0:
            return x_BF
        kept_B = torch.rand(len(x_BF), device=x_BF.device) >= self.share
        return x_BF * (kept_B / (1 - self.share)).to(x_BF.dtype).view(-1, *[1] * (x_BF.ndim - 1))


class SqueezeExcite(nn.Module):
    """Weigh features by what all of the window shows of them; a layer of ``width // ratio`` features stands between.

    References
    ----------
    Hu et al. (2018), Squeeze-and-excitation networks, doi:10.1109/CVPR.2018.00745.
    """

    def __init__(self, width: int, ratio: int = 4) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(width, max(1, width // ratio), 1)
        self.excite = nn.Conv2d(max(1, width // ratio), width, 1)

    def forward(self, x_BFHW: Tensor) -> Tensor:
        """Return the same shape."""
        weight_BF11: Tensor = self.excite(F.elu(self.squeeze(x_BFHW.mean((2, 3), keepdim=True)))).sigmoid()
        return x_BFHW * weight_BF11


class HeadNorm(nn.BatchNorm1d):
    """Batch normalisation of pooled features, where a batch may be a single window.

    That has no deviation; it is normalised by the running statistics, in training as in evaluation.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the same shape."""
        if self.training and len(input) == 1:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(input)


def central(x_BCT: Tensor, n_times: int | None) -> Tensor:
    """Return the `n_times` samples around the middle, all of them where there are no more or `n_times` is None."""
    if n_times is None or x_BCT.shape[-1] <= n_times:
        return x_BCT
    start = (x_BCT.shape[-1] - n_times) // 2
    return x_BCT[..., start : start + n_times]


def check_shares(shares: dict[str, float]) -> None:
    """Refuse settings of a model, by their names, that are no shares from 0 to 1."""
    for name, share in shares.items():
        if not 0 <= share < 1:
            raise UserError(f"model.{name}={share}: must lie in [0, 1)")


def check_counts(counts: dict[str, int]) -> None:
    """Refuse settings of a model, by their names, that are below 1."""
    for name, value in counts.items():
        if value < 1:
            raise UserError(f"model.{name}={value}: needs at least 1")


def check_length(n_times: int, needed: int, sfreq: float, how: str = "") -> None:
    """Refuse windows of fewer samples than a network can read; `how` says what would make it read them."""
    if n_times < needed:
        raise UserError(
            f"a window of {n_times} samples is too short for this network: it needs {needed} "
            f"({needed / sfreq:g} s at {sfreq:g} Hz){how}"
        )


def chains_of(n_chans: int, n_chains: int | None, otherwise: int, what: str) -> int:
    """Return in how many chains of electrodes derivations stand, equally many in each.

    `n_chains` is as the user gave it, a `UserError` where it does not divide the derivations; None for four where that
    does, else `otherwise`. `what` says in the message what the derivations are.
    """
    if n_chains is None:
        return _CHAINS if n_chans % _CHAINS == 0 else otherwise
    check_counts({"n_chains": n_chains})
    if n_chans % n_chains:
        raise UserError(f"model.n_chains={n_chains}: does not divide the {n_chans} {what}")
    return n_chains


def start_uniform(layer: nn.Linear, std: float = 0.01) -> None:
    """Let training start near the uniform prediction, so that no step is spent on unlearning random confidence.

    `std` is that of the last layer's weights; smaller where what it reads is large.
    """
    nn.init.normal_(layer.weight, std=std)
    nn.init.zeros_(layer.bias)
