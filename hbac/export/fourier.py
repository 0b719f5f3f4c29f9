"""The filters' Fourier transforms in real numbers, as matrix products: what formats without complex numbers can hold.

ONNX has a transform, but no complex numbers, and onnxruntime's is off by 1e-4 of the largest sample where the length is
no power of two. A transform of ``N = rows * columns`` samples is one of the rows' length over the columns, a turn of
the phase, and one of the columns' length over the rows; only the frequencies that the band keeps are made.

References
----------
Cooley & Tukey 1965, "An algorithm for the machine calculation of complex Fourier series",
doi:10.1090/S0025-5718-1965-0178586-1.
"""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hbac.common.errors import UserError
from hbac.signal.band import BandPass
from hbac.signal.scalogram import MorletScalogram

# Legend of tensor names: B window, C channel, P padded sample, S frequency bin, R row, Q column of the folded samples.

_LONGEST = 4096  # side of a matrix; a length whose largest prime factor is above it has no short way


class Transform(nn.Module):
    """The discrete Fourier transform of `n` samples, of pairs of real tensors; forward where `sign` is -1.

    Of the results the first `n_out` are made; backward without the division by `n`. A `UserError` when the length has a
    prime factor above 4,096.

    Examples
    --------
    >>> x = torch.randn(3, 600)
    >>> real, imag = Transform(600, 301)(x, None)
    >>> torch.allclose(torch.complex(real, imag), torch.fft.rfft(x), atol=1e-4)
    True
    """

    def __init__(self, n: int, n_out: int, sign: int = -1) -> None:
        super().__init__()
        rows = max(d for d in range(1, math.isqrt(n) + 1) if n % d == 0)
        columns = n // rows
        if columns > _LONGEST:
            raise UserError(f"a front-end with a transform of {n} samples (= {rows} x {columns}) cannot be exported")
        self.rows, self.n_out = rows, n_out
        # What is made is result r + rows * q of the inner row r and the outer column q.
        n_outer = math.ceil(n_out / rows)
        turn = sign * 2 * torch.pi
        inner_RR = _phase(range(rows), range(rows), rows) * turn
        middle_RQ = _phase(range(rows), range(columns), n) * turn
        outer_QQ = _phase(range(columns), range(n_outer), columns) * turn
        for name, phase in (("inner", inner_RR), ("middle", middle_RQ), ("outer", outer_QQ)):
            self.register_buffer(f"{name}_cos", phase.cos().float(), persistent=False)
            self.register_buffer(f"{name}_sin", phase.sin().float(), persistent=False)

    def forward(self, real: Tensor, imag: Tensor | None) -> tuple[Tensor, Tensor]:
        """Transform the last axis of (..., n), float32, to real and imaginary part (..., n_out); no `imag` is 0."""
        inner_cos, inner_sin, middle_cos, middle_sin, outer_cos, outer_sin = self.buffers()
        real_RQ = _folded(real, self.rows)
        a, b = inner_cos @ real_RQ, inner_sin @ real_RQ
        if imag is not None:
            imag_RQ = _folded(imag, self.rows)
            a, b = a - inner_sin @ imag_RQ, b + inner_cos @ imag_RQ
        a, b = a * middle_cos - b * middle_sin, a * middle_sin + b * middle_cos
        a, b = a @ outer_cos - b @ outer_sin, a @ outer_sin + b @ outer_cos
        return self._in_order(a), self._in_order(b)

    def _in_order(self, x_RQ: Tensor) -> Tensor:
        return x_RQ.transpose(-1, -2).flatten(-2)[..., : self.n_out]


def _folded(x: Tensor, rows: int) -> Tensor:
    return x.reshape(*x.shape[:-1], rows, -1)


def _phase(one: range, other: range, n: int) -> Tensor:
    """Return turns of the phase, as parts of 1; the product is taken modulo n while it is a whole number."""
    product = torch.tensor(list(one))[:, None] * torch.tensor(list(other))[None]
    return (product % n).double() / n


def _parts(response: Tensor) -> tuple[Tensor, Tensor]:
    return response.real.float().contiguous(), torch.view_as_real(response + 0j)[..., 1].float().contiguous()


def _take_over(module: nn.Module, other: nn.Module) -> None:
    """Give a module all that another one was made with; neither has weights."""
    vars(module).update({name: value for name, value in vars(other).items() if name not in vars(module)})


class RealBandPass(BandPass):
    """A `BandPass` whose transforms are matrix products, in float32."""

    def __init__(self, bandpass: BandPass) -> None:
        nn.Module.__init__(self)
        _take_over(self, bandpass)
        response = self._constants.get("response_S", torch.zeros((), dtype=torch.float64))
        n_kept, n_out = response.shape[-1], self._n_fft_out
        n_seen = self.n_fft // 2 + 1 if self._find_mains is not None else n_kept
        self._forward = Transform(self.n_fft, n_seen)
        self._backward = Transform(n_out, n_out, sign=1)
        # The spectrum of a real signal, of which half is there: what is missing counts by doubling what is there.
        weight = torch.full((n_kept,), 2.0 / n_out, dtype=torch.float64)
        weight[0] = 1 / n_out
        if n_out % 2 == 0 and n_kept == n_out // 2 + 1:
            weight[-1] = 1 / n_out
        real, imag = _parts(response * weight)
        self.register_buffer("response_real", real, persistent=False)
        self.register_buffer("response_imag", imag if bool((imag != 0).any()) else None, persistent=False)

    def filter_extended(self, x_BCP: Tensor) -> Tensor:
        """Filter and decimate; as `BandPass.filter_extended`, of float32."""
        a, b = self._forward(x_BCP, None)
        real: Tensor = self.response_real  # type: ignore[assignment]
        imag: Tensor | None = self.response_imag  # type: ignore[assignment]
        if self._find_mains is not None:
            found = self._find_mains.of_power(lambda some: a[..., some].square() + b[..., some].square())
            real = real[found].unsqueeze(-2)
            imag = None if imag is None else imag[found].unsqueeze(-2)
        a, b = a[..., : real.shape[-1]], b[..., : real.shape[-1]]
        a, b = (a * real, b * real) if imag is None else (a * real - b * imag, a * imag + b * real)
        missing = self._n_fft_out - a.shape[-1]
        y_BCP, _ = self._backward(F.pad(a, (0, missing)), F.pad(b, (0, missing)))
        kept: Tensor = y_BCP[..., self._left_out : self._left_out + self.n_times_out]
        return kept


class RealMorlet(MorletScalogram):
    """A `MorletScalogram` whose transforms are matrix products, in float32."""

    def __init__(self, morlet: MorletScalogram) -> None:
        nn.Module.__init__(self)
        _take_over(self, morlet)
        self._forward = Transform(self._n_fft, self._n_bins)
        self._backward = Transform(self._n_out, self._n_frames * self._samples, sign=1)
        kernel = self._wavelets.get("kernel_HS", torch.zeros((), dtype=torch.float64))
        real, imag = _parts(kernel / self._n_out)
        self.register_buffer("kernel_real", real, persistent=False)
        self.register_buffer("kernel_imag", imag, persistent=False)

    def _power(self, x_BDT: Tensor) -> Tensor:
        kernel_real: Tensor = self.kernel_real  # type: ignore[assignment]
        kernel_imag: Tensor = self.kernel_imag  # type: ignore[assignment]
        extended = F.pad(x_BDT, (self._pad, self._pad), mode="reflect")
        extended = F.pad(extended, (0, self._n_fft - extended.shape[-1]))
        missing = kernel_real.shape[-1] - self._n_bins
        a, b = (F.pad(part, (0, missing))[..., None, :] for part in self._forward(extended, None))
        product = (a * kernel_real - b * kernel_imag, a * kernel_imag + b * kernel_real)
        folded = [part.view(*part.shape[:-1], -1, self._n_out).sum(-2) for part in product]
        wave_real, wave_imag = self._backward(*folded)
        power_BDHT = wave_real.square() + wave_imag.square()
        power_BDHF: Tensor = power_BDHT.reshape(*power_BDHT.shape[:-1], -1, self._samples).mean(-1)
        return power_BDHF.permute(2, 0, 1, 3)


_EQUIVALENTS = {BandPass: RealBandPass, MorletScalogram: RealMorlet}


def in_real_numbers(front_end: nn.Module) -> nn.Module:
    """Return a copy of a front-end, of anybody's, without complex numbers: the same up to rounding.

    A `UserError` when one of its transforms has a length that is (nearly) prime and large.
    """
    copied = copy.deepcopy(front_end)
    for module in list(copied.modules()):
        for name, child in module.named_children():
            if (equivalent := _EQUIVALENTS.get(type(child))) is not None:
                setattr(module, name, equivalent(child))
    return copied
