"""Learning-rate schedules: thin functions around torch's, in shares of the run.

Each takes the optimiser and the number of its steps in the whole run, and is stepped after each of them, whatever the
number of batches or epochs. Only `reduce_on_plateau` waits for a validation. Each parameter group keeps its own rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingWarmRestarts,
    LambdaLR,
    MultiStepLR,
    OneCycleLR,
    ReduceLROnPlateau,
)

from hbac.common.errors import UserError


def warmup_cosine(optimizer: Optimizer, total_steps: int, warmup: float = 0.1, final: float = 0.01) -> LambdaLR:
    """Rise linearly to the optimiser's rate, then fall along half a cosine.

    `warmup`, in [0, 1), is the share of all steps spent rising; `final`, in [0, 1], the share of the peak that is left
    at the last.

    References
    ----------
    Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", doi:10.48550/arXiv.1608.03983.
    """
    _check("warmup", warmup, 0 <= warmup < 1, "a share, from 0 to below 1")
    rising = max(1, round(warmup * total_steps))

    def share(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        done = min(1.0, (step - rising) / max(1, total_steps - rising))
        return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * done))

    return LambdaLR(optimizer, share)


def one_cycle(
    optimizer: Optimizer, total_steps: int, warmup: float = 0.3, first: float = 0.04, final: float = 0.0001
) -> OneCycleLR:
    """Rise along half a cosine to the optimiser's rate, then fall along another to next to nothing.

    `warmup`, in (0, 1), is the share of all steps spent rising; `first` and `final`, above 0, are the rates of the
    first and the last step over the peak. Momentum stays as it is, where the original also cycles it.

    References
    ----------
    Smith and Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates",
    doi:10.48550/arXiv.1708.07120.
    """
    _check("warmup", warmup, 0 < warmup < 1, "a share, above 0 and below 1")
    for name, value in (("first", first), ("final", final)):
        _check(name, value, 0 < value <= 1, "above 0 and at most 1")
    return OneCycleLR(
        optimizer,
        max_lr=[group["lr"] for group in optimizer.param_groups],
        total_steps=max(2, total_steps),  # torch divides by the steps of each half
        pct_start=warmup,
        cycle_momentum=False,
        div_factor=1 / first,
        final_div_factor=first / final,
    )


def stepwise(
    optimizer: Optimizer, total_steps: int, milestones: Sequence[float] = (0.5, 0.75), factor: float = 0.1
) -> MultiStepLR:
    """Lower the rate by a factor, in (0, 1), at each milestone: shares of all steps, ascending, in (0, 1)."""
    shares = list(milestones)
    ascending = shares == sorted(shares) and all(0 < share < 1 for share in shares)
    _check("milestones", shares, ascending, "ascending shares of the run, above 0 and below 1")
    _check("factor", factor, 0 < factor < 1, "above 0 and below 1")
    return MultiStepLR(optimizer, [round(share * total_steps) for share in shares], gamma=factor)


def cosine_restarts(
    optimizer: Optimizer, total_steps: int, cycles: int = 5, lowest: float = 1e-6
) -> CosineAnnealingWarmRestarts:
    """Fall along half a cosine towards `lowest` (of every parameter group), jump back up, and again.

    All `cycles`, 1 or more, take equally long, and the last ends with the run.

    References
    ----------
    Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", doi:10.48550/arXiv.1608.03983.
    """
    _check("cycles", cycles, isinstance(cycles, int) and cycles >= 1, "a whole number, 1 or more")
    return CosineAnnealingWarmRestarts(optimizer, T_0=math.ceil(total_steps / cycles), eta_min=lowest)


def reduce_on_plateau(
    optimizer: Optimizer, total_steps: int, factor: float = 0.3, patience: int = 2, lowest: float = 1e-6
) -> ReduceLROnPlateau:
    """Lower the rate by `factor`, in (0, 1), down to `lowest`, when the validation KL has not improved for a while.

    So many validations as `patience` says, 0 or more, are let pass without a better value. The rate then depends on the
    very rows that are scored: scores are a little optimistic. To be stepped after each validation.
    """
    _check("factor", factor, 0 < factor < 1, "above 0 and below 1")
    _check("patience", patience, isinstance(patience, int) and patience >= 0, "a whole number, 0 or more")
    return ReduceLROnPlateau(optimizer, factor=factor, patience=patience, min_lr=lowest)


def constant(optimizer: Optimizer, total_steps: int) -> ConstantLR:
    """Leave the rate as it is."""
    return ConstantLR(optimizer, factor=1.0)


def _check(name: str, value: object, fits: bool, range_: str) -> None:
    if not fits:
        raise UserError(f"schedule.{name}={value}: must be {range_}")
