"""Learning rates that differ by depth, as groups for an optimiser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from torch import nn


class ParameterGroup(TypedDict, total=False):
    """What a `torch.optim` optimiser takes for some of the parameters, in the place of its own settings."""

    params: list[nn.Parameter]
    lr: float
    weight_decay: float


def layerwise_groups(stages: Sequence[nn.Module], lr: float, decay: float = 1.0) -> list[ParameterGroup]:
    """Split parameters into groups whose learning rate falls from the last stage to the first.

    Within a stage, matrices and kernels are one group; biases and other vectors (scales and shifts of normalisations)
    are another without weight decay, which would pull scales to zero and not make anything simpler.

    Parameters
    ----------
    stages : sequence of torch.nn.Module
        From input to output, no parameter in two of them. ``[network]`` gives one rate to all.
    lr : float
        Rate of the last stage.
    decay : float
        Rate of each stage over that of the next one, positive; 1 for the same everywhere.

    Returns
    -------
    list of dict
        With ``params``, ``lr`` and, for biases and vectors, ``weight_decay`` 0. Parameters that need no gradient, and
        groups that would be empty, are left out.

    References
    ----------
    Howard and Ruder (2018), Universal language model fine-tuning for text classification, doi:10.18653/v1/P18-1031.

    Examples
    --------
    >>> body, head = nn.Linear(4, 4), nn.Linear(4, 2)
    >>> [(g["lr"], len(g["params"])) for g in layerwise_groups([body, head], lr=0.1, decay=0.5)]
    [(0.05, 1), (0.05, 1), (0.1, 1), (0.1, 1)]
    """
    seen: set[int] = set()
    groups: list[ParameterGroup] = []
    for i, stage in enumerate(stages):
        parameters = {name: p for name, p in stage.named_parameters() if p.requires_grad}
        ids = {id(p) for p in parameters.values()}
        if seen & ids:
            raise AssertionError("a parameter is in two stages")
        seen |= ids
        rate = lr * decay ** (len(stages) - 1 - i)
        vectors = [p for name, p in parameters.items() if p.ndim <= 1 or name.rpartition(".")[2] == "bias"]
        spared = {id(p) for p in vectors}
        kernels = [p for p in parameters.values() if id(p) not in spared]
        if kernels:
            groups.append({"params": kernels, "lr": rate})
        if vectors:
            groups.append({"params": vectors, "lr": rate, "weight_decay": 0.0})
    return groups
