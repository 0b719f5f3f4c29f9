"""From the stored window to what a network on EEG reads: electrodes to derivations, filtered and decimated.

The order of operations is the cheapest one that is right. All steps but the clip are linear, so the filter runs
on the electrodes the montage needs (19 of them for 18 derivations, 8 for 8) and the montage on the five times
fewer samples that are left; the clip comes last, because clipped mains would become distortion inside the band.
Augmentation of electrodes is linear as well (`hbac.signal.RawAugment.mixing`): it joins the montage's matrix of
each window and costs nothing. The two halves can be had one by one: `EEGFrontEnd.filter` is the same in every epoch,
fold and montage, so that it may be kept on disk; `EEGFrontEnd.derive` is what changes, and is cheap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hbac.common.errors import UserError
from hbac.signal.band import BandPass
from hbac.signal.constants import Constants, arguments, full_precision, may_look, portions
from hbac.signal.montage import channel_mirror, get_montage
from hbac.vocabulary import N_CHANNELS, SFREQ, WINDOW_SAMPLES

# Legend of tensor names: B window, T sample, C stored channel, E electrode needed, P padded sample, D
# derivation.

# Windows at a time on a CPU.
_CPU_WINDOWS = 4


def fill_missing_(x_BCT: Tensor) -> Tensor:
    """Replace, in place, samples that are not finite by the mean of the channel's valid samples in the window, or 0.

    `x_BCT`, (..., T), has at least 32 bits. An infinity is a sample beyond the range of the float16 store and counts as
    missing. On a CPU only the channels that miss something are worked on; on other devices asking which would stall the
    queue, so that all are.

    Examples
    --------
    >>> fill_missing_(torch.tensor([[1.0, float("nan"), 3.0], [float("nan")] * 3])).tolist()
    [[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]
    """
    if not may_look(x_BCT):
        valid_BCT = x_BCT.isfinite()
        x_BCT.masked_fill_(~valid_BCT, 0.0)
        mean_BC1 = x_BCT.sum(-1, keepdim=True) / valid_BCT.sum(-1, keepdim=True).clamp(min=1)
        return x_BCT.copy_(x_BCT.where(valid_BCT, mean_BC1))
    bad_BC = ~x_BCT.sum(-1).isfinite()
    if bool(bad_BC.any()):
        x_NT = x_BCT[bad_BC]
        # numpy finds the missing samples many times as fast as torch, and they are few: they are changed one by one.
        missing = np.flatnonzero(~np.isfinite(x_NT.detach().numpy()))
        where, row = torch.from_numpy(missing), torch.from_numpy(missing // x_NT.shape[-1])
        x_NT.view(-1).index_fill_(0, where, 0.0)
        n_valid_N = x_NT.shape[-1] - torch.bincount(row, minlength=len(x_NT))
        mean_N = x_NT.sum(-1) / n_valid_N.clamp(min=1)
        x_NT.view(-1).index_copy_(0, where, mean_N[row])
        x_BCT[bad_BC] = x_NT
    return x_BCT


def around_label(x_BCT: Tensor, n: int, shift_B: Tensor | None = None) -> Tensor:
    """Cut the `n` samples around the middle of what the label speaks of: (B, C, n) of (B, C, T).

    `shift_B`, int64, says by how many samples each window was moved away from its label (``labels.jitter_s``). Where
    none was, it is a view; the ends are repeated where the window has no more.
    """
    first = (x_BCT.shape[-1] - n) // 2
    if shift_B is None:
        return x_BCT[..., first : first + n]
    place_BT = first + torch.arange(n, device=x_BCT.device) - shift_B[:, None]
    return x_BCT.gather(2, place_BT.clamp_(0, x_BCT.shape[-1] - 1)[:, None].expand(-1, x_BCT.shape[1], -1))


class EEGFrontEnd(nn.Module):
    """Montage, band-pass, decimation, clip and scale of a batch of stored windows.

    Parameters
    ----------
    montage : str or sequence of str
        A key of `hbac.signal.montage.MONTAGES`, or derivations: ``["Fp1-C3", "Fp2-C4"]``.
    band : str
        As `hbac.signal.band.parse_band` reads it: ``"0.5-20"``, ``"delta"``.
    n_times : int
        Samples of the stored window.
    sfreq : float
        Their rate in hertz.
    order : int
        Order of the Butterworth filter.
    causal : bool
        Filter forward once instead of forward and backward.
    sfreq_out : float or None
        Output rate in hertz; None for what the band needs.
    notch : {None, 50, 60, "auto"}
        Mains that is taken out, in hertz, with its harmonics; ``auto``: what is found in each window, if any.
    clip_uv : float
        Derivations are clipped to plus and minus this many microvolts, after the filter.
    scale_uv : float
        Microvolts that become 1.

    Attributes
    ----------
    sources : tuple of str
        What `forward` takes: ``eeg``.
    n_chans, n_times : int
        Derivations and samples of the *output*, as a network's constructor takes them.
    sfreq : float
        Rate of the output in hertz.
    filter_settings : dict
        Those of them that `filter` depends on.

    Raises
    ------
    UserError
        If the montage, band or rate cannot be, or clip or scale are not positive.

    Examples
    --------
    >>> front_end = EEGFrontEnd(montage="public_8", band="0.5-20")
    >>> front_end(torch.zeros(2, 10000, 20, dtype=torch.float16)).shape
    torch.Size([2, 8, 2000])
    """

    sources = ("eeg",)

    def __init__(
        self,
        montage: str | Sequence[str] = "longitudinal_bipolar",
        band: str = "0.5-20",
        n_times: int = WINDOW_SAMPLES,
        sfreq: float = SFREQ,
        order: int = 2,
        causal: bool = False,
        sfreq_out: float | None = None,
        notch: float | str | None = None,
        clip_uv: float = 1024.0,
        scale_uv: float = 32.0,
    ) -> None:
        super().__init__()
        if not (clip_uv > 0 and scale_uv > 0):
            raise UserError(f"clip_uv={clip_uv:g}, scale_uv={scale_uv:g}: both must be above 0 microvolts")
        self.settings = arguments(locals()) | {"band": str(band)}
        after = ("montage", "clip_uv", "scale_uv")
        self.filter_settings = {name: value for name, value in self.settings.items() if name not in after}
        self.montage = get_montage(montage)
        self.bandpass = BandPass(band, n_times, sfreq, order, causal, sfreq_out, notch)
        self.n_chans = len(self.montage.derivations)
        self.n_times = self.bandpass.n_times_out
        self.sfreq = self.bandpass.sfreq_out
        self._limit = clip_uv / scale_uv
        # With their partners of the other side, which an exchange of left and right puts in their place.
        # To find mains all channels are looked at, whatever the montage.
        partners = channel_mirror()[list(self.montage.needed)].tolist()
        needed = list(range(N_CHANNELS)) if notch == "auto" else sorted({*self.montage.needed, *partners})
        self._contiguous = slice(needed[0], needed[-1] + 1) if len(needed) == needed[-1] + 1 - needed[0] else None
        self._constants = Constants({"matrix_DC": self.montage.matrix / scale_uv, "needed_E": torch.tensor(needed)})

    def network_arguments(self) -> dict[str, Any]:
        """Return what a network's constructor has to know of its input: ``n_chans, n_times, sfreq``."""
        return {"n_chans": self.n_chans, "n_times": self.n_times, "sfreq": self.sfreq}

    def forward(self, eeg_BTC: Tensor, mixing_BCC: Tensor | None = None) -> Tensor:
        """Make a network's input of windows (B, n_times, 20), channels as stored, microvolt, NaN where missing.

        Returned is (B, n_chans, n_times of the output), float32 (float64 for float64), contiguous, in units of
        `scale_uv`, within plus and minus ``clip_uv / scale_uv``. `mixing_BCC`, (B, 20, 20), has the channels of each
        window as sums of the stored ones (`hbac.signal.RawAugment.mixing`); only those count which the montage needs,
        and their partners of the other side. `filter` and `derive` take all.
        """
        x_BDT = self._empty(eeg_BTC, self.n_chans)
        with full_precision(eeg_BTC):
            matrix_BDE = self._needed(self._matrices(x_BDT, mixing_BCC)).contiguous()
            for some in portions(eeg_BTC, _CPU_WINDOWS):
                y_BET = self._filtered(self._needed(eeg_BTC[some]), x_BDT.dtype)
                x_BDT[some] = torch.matmul(matrix_BDE[some], y_BET).clamp_(-self._limit, self._limit)
        return x_BDT

    def filter(self, eeg_BTC: Tensor) -> Tensor:
        """Fill, filter and decimate all channels, as `forward` takes them, to (B, 20, samples out) microvolt."""
        y_BCT = self._empty(eeg_BTC, N_CHANNELS)
        with full_precision(eeg_BTC):
            for some in portions(eeg_BTC, _CPU_WINDOWS):
                y_BCT[some] = self._filtered(eeg_BTC[some], y_BCT.dtype)
        return y_BCT

    def derive(self, y_BCT: Tensor, mixing_BCC: Tensor | None = None) -> Tensor:
        """Make of what `filter` returned, and maybe a mixing, what `forward` returns, up to rounding."""
        with full_precision(y_BCT):
            x_BDT = torch.matmul(self._matrices(y_BCT, mixing_BCC), y_BCT).clamp_(-self._limit, self._limit)
        return x_BDT

    def _empty(self, eeg_BTC: Tensor, n_chans: int) -> Tensor:
        expected = (self.bandpass.n_times, N_CHANNELS)
        if eeg_BTC.ndim != 3 or tuple(eeg_BTC.shape[1:]) != expected:
            raise ValueError(f"windows of shape {tuple(eeg_BTC.shape)}; expected (batch, {expected[0]}, {expected[1]})")
        dtype = torch.float64 if eeg_BTC.dtype == torch.float64 else torch.float32
        return eeg_BTC.new_empty((eeg_BTC.shape[0], n_chans, self.n_times), dtype=dtype)

    def _matrices(self, like: Tensor, mixing_BCC: Tensor | None) -> Tensor:
        matrix_BDC = self._constants.get("matrix_DC", like).expand(like.shape[0], -1, -1)
        if mixing_BCC is not None:
            matrix_BDC = torch.matmul(matrix_BDC, mixing_BCC.to(like.dtype))
        return matrix_BDC

    def _needed(self, x_BNC: Tensor) -> Tensor:
        if self._contiguous is not None:
            return x_BNC[..., self._contiguous]
        return x_BNC.index_select(-1, self._constants.get("needed_E", x_BNC))

    def _filtered(self, eeg_BTE: Tensor, dtype: torch.dtype) -> Tensor:
        x_BEP = eeg_BTE.new_empty((eeg_BTE.shape[0], eeg_BTE.shape[2], self.bandpass.n_fft), dtype=dtype)
        middle_BET = x_BEP[..., self.bandpass.middle]
        middle_BET.copy_(eeg_BTE.transpose(1, 2))
        fill_missing_(middle_BET)
        return self.bandpass.filter_extended(self.bandpass.extend(x_BEP))
