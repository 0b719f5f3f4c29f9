"""An augmentation of one's own: a module that gets a batch and the rows' keys."""

import torch
from torch import Tensor, nn

from hbac.signal.chance import uniforms


class Quieter(nn.Module):
    """Scale whole windows down, each by its own factor.

    Parameters
    ----------
    low : float
        The smallest factor, in (0, 1].
    """

    def __init__(self, low: float = 0.5) -> None:
        super().__init__()
        self.low = low

    @torch.no_grad()
    def forward(self, x_BDT: Tensor, key_B: Tensor) -> Tensor:
        """Return signals (batch, derivations, samples), scaled; chance is a function of the row's key."""
        factor_B = self.low + (1 - self.low) * uniforms(key_B, "quieter")[:, 0]
        return x_BDT * factor_B[:, None, None].to(x_BDT)
