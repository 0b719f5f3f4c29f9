"""From the stored window to what a network on EEG reads: electrodes to derivations, filtered and decimated.

The order of operations is the cheapest one that is right. All steps but the clip are linear, so the filter runs
on the electrodes the montage needs (19 of them for 18 derivations, 8 for 8) and the montage on the five times
fewer samples that are left; the clip comes last, because clipped mains would become distortion inside the band.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hbac.errors import UserError
from hbac.signal.band import BandPass
from hbac.signal.constants import Constants, full_precision
from hbac.signal.montage import get_montage
from hbac.vocabulary import N_CHANNELS, SFREQ, WINDOW_SAMPLES

# Legend of tensor names: B window, T sample, C stored channel, E electrode needed, P padded sample, D
# derivation.

# Windows at a time on a CPU: temporaries of this many stay in its cache, and those of a batch do not.
_CPU_WINDOWS = 4


def fill_missing(x_BCT: Tensor) -> Tensor:
    """Replace samples that are not finite by the mean of the channel's valid samples in the window.

    Parameters
    ----------
    x_BCT : Tensor
        Shape (..., T), floating point of at least 32 bits. An infinity is a sample beyond the range of the
        float16 store and counts as missing.

    Returns
    -------
    Tensor
        The same shape; 0 throughout where a channel has no valid sample. The input itself if nothing is missing
        and it lies on a CPU, where asking costs little; on other devices asking would stall the queue, so the
        filling runs always.

    Examples
    --------
    >>> fill_missing(torch.tensor([[1.0, float("nan"), 3.0], [float("nan")] * 3])).tolist()
    [[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]
    """
    if x_BCT.device.type == "cpu":
        bad_BC = ~x_BCT.sum(-1).isfinite()
        n_bad = int(bad_BC.sum())
        if n_bad == 0:
            return x_BCT
        if n_bad < bad_BC.numel():  # most often a lost electrode or two: the others need no second look
            filled_BCT = x_BCT.clone()
            filled_BCT[bad_BC] = _fill(x_BCT[bad_BC])
            return filled_BCT
    return _fill(x_BCT)


def _fill(x_BCT: Tensor) -> Tensor:
    valid_BCT = x_BCT.isfinite()
    zeroed_BCT = x_BCT.where(valid_BCT, 0.0)
    mean_BC1 = zeroed_BCT.sum(-1, keepdim=True) / valid_BCT.sum(-1, keepdim=True).clamp(min=1)
    return x_BCT.where(valid_BCT, mean_BC1)


class EEGFrontEnd(nn.Module):
    """Montage, band-pass, decimation, clip and scale of a batch of stored windows.

    Parameters
    ----------
    montage : str
        A key of `hbac.signal.montage.MONTAGES`.
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
    settings : dict
        The constructor's arguments, plain, for a JSON file.

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
        montage: str = "longitudinal_bipolar",
        band: str = "0.5-20",
        n_times: int = WINDOW_SAMPLES,
        sfreq: float = SFREQ,
        order: int = 2,
        causal: bool = False,
        sfreq_out: float | None = None,
        clip_uv: float = 1024.0,
        scale_uv: float = 32.0,
    ) -> None:
        super().__init__()
        if not (clip_uv > 0 and scale_uv > 0):
            raise UserError(f"clip_uv={clip_uv:g}, scale_uv={scale_uv:g}: both must be above 0 microvolts")
        self.settings: dict[str, Any] = {
            "montage": montage,
            "band": str(band),
            "n_times": n_times,
            "sfreq": sfreq,
            "order": order,
            "causal": causal,
            "sfreq_out": sfreq_out,
            "clip_uv": clip_uv,
            "scale_uv": scale_uv,
        }
        self.montage = get_montage(montage)
        self.bandpass = BandPass(band, n_times, sfreq, order, causal, sfreq_out)
        self.n_chans = len(self.montage.derivations)
        self.n_times = self.bandpass.n_times_out
        self.sfreq = self.bandpass.sfreq_out
        self._limit = clip_uv / scale_uv
        needed = list(self.montage.needed)
        self._contiguous = slice(needed[0], needed[-1] + 1) if len(needed) == needed[-1] + 1 - needed[0] else None
        self._constants = Constants(
            {"matrix_DE": self.montage.matrix[:, needed] / scale_uv, "needed_E": torch.tensor(needed)}
        )

    def network_arguments(self) -> dict[str, Any]:
        """Return what a network's constructor has to know of its input: ``n_chans, n_times, sfreq``."""
        return {"n_chans": self.n_chans, "n_times": self.n_times, "sfreq": self.sfreq}

    def forward(self, eeg_BTC: Tensor) -> Tensor:
        """Make a network's input.

        Parameters
        ----------
        eeg_BTC : Tensor
            Shape (B, n_times, 20), channels in the stored order, microvolt, NaN where missing, any floating
            type.

        Returns
        -------
        Tensor
            Shape (B, n_chans, n_times of the output), float32 (float64 for float64), contiguous, in units of
            `scale_uv`, within plus and minus ``clip_uv / scale_uv``.

        Raises
        ------
        ValueError
            If the shape is another one.
        """
        expected = (self.bandpass.n_times, N_CHANNELS)
        if eeg_BTC.ndim != 3 or tuple(eeg_BTC.shape[1:]) != expected:
            raise ValueError(f"windows of shape {tuple(eeg_BTC.shape)}; expected (batch, {expected[0]}, {expected[1]})")
        dtype = torch.float64 if eeg_BTC.dtype == torch.float64 else torch.float32
        n_windows = len(eeg_BTC)
        step = min(_CPU_WINDOWS, n_windows) if eeg_BTC.device.type == "cpu" else n_windows
        x_BDT = eeg_BTC.new_empty((n_windows, self.n_chans, self.n_times), dtype=dtype)
        with full_precision(eeg_BTC):
            for start in range(0, n_windows, max(step, 1)):
                x_BDT[start : start + step] = self._derive(eeg_BTC[start : start + step], dtype)
        return x_BDT

    def _derive(self, eeg_BTC: Tensor, dtype: torch.dtype) -> Tensor:
        matrix_DE = self._constants.get("matrix_DE", eeg_BTC.new_empty(0, dtype=dtype))
        if self._contiguous is not None:
            eeg_BTE = eeg_BTC[..., self._contiguous]
        else:
            eeg_BTE = eeg_BTC.index_select(-1, self._constants.get("needed_E", eeg_BTC))
        x_BEP = eeg_BTC.new_empty((len(eeg_BTC), matrix_DE.shape[1], self.bandpass.n_fft), dtype=dtype)
        middle_BET = x_BEP[..., self.bandpass.middle]
        middle_BET.copy_(eeg_BTE.transpose(1, 2))
        filled_BET = fill_missing(middle_BET)
        if filled_BET is not middle_BET:
            middle_BET.copy_(filled_BET)
        y_BET = self.bandpass.filter_extended(self.bandpass.extend(x_BEP))
        return torch.matmul(matrix_DE, y_BET).clamp_(-self._limit, self._limit)
