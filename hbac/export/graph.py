"""Front-ends, networks and blend of a run or an ensemble as one module: windows in, probabilities out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from hbac.common.choices import check_choice
from hbac.common.errors import UserError
from hbac.ensembling.blends import FLOOR, Arithmetic, Blend, LogLinear
from hbac.export.fourier import in_real_numbers
from hbac.inference.loading import EnsembleModel
from hbac.inference.networks import Networks
from hbac.runs.model import Model

# Legend of tensor names: M member, B window, K class.

#: What the weights are stored in; what is computed is float32 whatever it is.
STORED = ("float32", "float16", "int8")


class Graph(nn.Module):
    """All that `hbac.load` does with windows, but for its warnings, of what it returned.

    Without complex numbers front-ends become `hbac.export.fourier.in_real_numbers`. Weights of two axes or more are
    kept as one of `STORED`; int8 with a scale for each of the first axis. ``sources`` say what `forward` takes, in this
    order. A `UserError` when the blend, or a front-end, has no such form.
    """

    def __init__(self, model: Model | EnsembleModel, complex_numbers: bool = True, stored: str = "float32") -> None:
        super().__init__()
        check_choice("weights", stored, STORED)
        networks = Networks([model], [0], [""]) if isinstance(model, Model) else model.networks
        self.sources = tuple(networks.sources)
        self.groups = networks.groups
        firsts = [networks.models[group[0]] for group in self.groups]
        self._read = [first.sources for first in firsts]
        self.front_ends = nn.ModuleList(
            first.front_end if complex_numbers else in_real_numbers(first.front_end) for first in firsts
        )
        runs = [run.network for run in networks.models]
        self.networks = nn.ModuleList(runs if stored == "float32" else [Stored(run, stored) for run in runs])
        self.members = [
            [r for r, m in enumerate(networks.member) if m == member] for member in sorted(set(networks.member))
        ]
        self.blend = None if isinstance(model, Model) else _module_of(model.ensemble.blend)
        self.eval()

    def forward(self, *windows: Tensor) -> Tensor:
        """Return class probabilities (batch, 6), float32, of windows as `hbac.runs.model.Model` takes them."""
        given = dict(zip(self.sources, windows, strict=True))
        probs: dict[int, Tensor] = {}
        for front_end, sources, group in zip(self.front_ends, self._read, self.groups, strict=True):
            x = front_end(*(given[name] for name in sources))
            for r in group:
                probs[r] = self.networks[r](x).float().softmax(dim=1)
        members = [torch.stack([probs[r] for r in runs]).mean(0) for runs in self.members]
        return members[0] if self.blend is None else self.blend(torch.stack(members))


class Stored(nn.Module):
    """A network, in evaluation mode, whose large weights are kept in fewer bits: ``float16`` or ``int8``."""

    def __init__(self, network: nn.Module, dtype: str) -> None:
        super().__init__()
        self._network = [network]  # in a list, so that its own weights are none of this module
        self._names: dict[str, str] = {}
        for i, (name, value) in enumerate(network.state_dict().items()):
            self._names[name] = f"w{i}"
            if not value.is_floating_point() or value.ndim < 2:
                self.register_buffer(f"w{i}", value)
            elif dtype == "float16":
                self.register_buffer(f"w{i}", value.half())
            else:
                scale = value.abs().amax(tuple(range(1, value.ndim)), keepdim=True).clamp(min=1e-12) / 127
                self.register_buffer(f"w{i}", (value / scale).round().to(torch.int8))
                self.register_buffer(f"w{i}_scale", scale)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        weights = {name: self._weight(own) for name, own in self._names.items()}
        logits_BK: Tensor = functional_call(self._network[0], weights, (x,))
        return logits_BK

    def _weight(self, name: str) -> Tensor:
        value: Tensor = getattr(self, name)
        if value.dtype == torch.float16:
            return value.float()
        return value.float() * getattr(self, f"{name}_scale") if value.dtype == torch.int8 else value


class _Arithmetic(nn.Module):
    weights: Tensor

    def __init__(self, blend: Arithmetic) -> None:
        super().__init__()
        self.register_buffer("weights", torch.from_numpy(blend.weights).float()[:, None, None])

    def forward(self, prob_MBK: Tensor) -> Tensor:
        total_BK = (prob_MBK * self.weights).sum(0)
        return total_BK / total_BK.sum(1, keepdim=True)


class _LogLinear(nn.Module):
    weights: Tensor
    bias: Tensor

    def __init__(self, blend: LogLinear) -> None:
        super().__init__()
        self.register_buffer("weights", torch.from_numpy(blend.weights).float()[:, None])
        self.register_buffer("bias", torch.from_numpy(blend.bias).float())

    def forward(self, prob_MBK: Tensor) -> Tensor:
        log_MBK = prob_MBK.clamp(min=FLOOR).log()
        log_MBK = log_MBK - log_MBK.mean(-1, keepdim=True)
        return ((log_MBK * self.weights).sum(0) + self.bias).softmax(1)


def _module_of(blend: Blend) -> nn.Module:
    if isinstance(blend, Arithmetic):
        return _Arithmetic(blend)
    if isinstance(blend, LogLinear):
        return _LogLinear(blend)
    raise UserError(f"a blend of kind {type(blend).__name__} has no form to be exported in")
