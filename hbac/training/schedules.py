"""Learning-rate schedules, all stepped once per optimiser step."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def warmup_cosine(optimizer: Optimizer, total_steps: int, warmup: float = 0.1, final: float = 0.01) -> LambdaLR:
    """Rise linearly to the optimiser's rate, then fall along half a cosine.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Its rates are the peak; each parameter group keeps its own.
    total_steps : int
        Optimiser steps of the whole run.
    warmup : float
        Share of `total_steps` spent rising, in [0, 1).
    final : float
        Share of the peak that is left at the last step, in [0, 1].

    Returns
    -------
    LambdaLR
        To be stepped after each optimiser step.

    References
    ----------
    Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", doi:10.48550/arXiv.1608.03983.
    """
    rising = max(1, round(warmup * total_steps))

    def share(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        done = min(1.0, (step - rising) / max(1, total_steps - rising))
        return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * done))

    return LambdaLR(optimizer, share)
