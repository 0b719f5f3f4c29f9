"""A network of one's own: any ``torch.nn.Module`` that maps the front-end's output to six logits."""

import torch
from torch import Tensor, nn


class BandNet(nn.Module):
    """Two strided convolutions along time, shared by all derivations, then a linear layer.

    Parameters
    ----------
    n_chans, n_times, sfreq
        Derivations, samples and rate of the input: the front-end fills them in.
    width : int
        Features.
    n_outputs : int
        Classes.
    """

    def __init__(self, n_chans: int, n_times: int, sfreq: float, width: int = 16, n_outputs: int = 6) -> None:
        super().__init__()
        kernel = int(sfreq) | 1  # one second
        self.features = nn.Sequential(
            nn.Conv1d(1, width, kernel, stride=4, padding=kernel // 2),
            nn.ReLU(),
            nn.Conv1d(width, width, 9, stride=4, padding=4),
            nn.ReLU(),
        )
        self.final_layer = nn.Linear(n_chans * width, n_outputs)

    def forward(self, x_BDT: Tensor) -> Tensor:
        """Return logits (batch, 6) of signals (batch, derivations, samples)."""
        batch, derivations, samples = x_BDT.shape
        features = self.features(torch.asinh(x_BDT).reshape(batch * derivations, 1, samples))
        return self.final_layer(features.mean(dim=2).reshape(batch, -1))
