"""The EEG itself as a picture: every derivation folded into rows, for networks that were made for photographs.

A row holds every tenth sample (`rows_per_derivation`), the next row the samples after those, so that no sample is
lost, time runs from left to right, and a kernel of a few pixels sees a few neighbouring derivations over some tenths of
a second. No spectrogram is made: the second team of the HMS competition had most of its weight on such networks.

References
----------
Second place of the Kaggle competition "HMS - Harmful Brain Activity Classification" (2024), write-up 492254; the
centre beneath the whole window is from the seventh place.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hbac.common.errors import UserError
from hbac.signal.constants import arguments
from hbac.signal.front_end import EEGFrontEnd, around_label
from hbac.vocabulary import SFREQ, WINDOW_SAMPLES

# Legend of tensor names: B window, C stored channel, D derivation, T sample, H row, W column.


class RawImage(nn.Module):
    """Filtered derivations of a window of EEG, each folded into rows.

    Row r of a derivation holds its samples r, r + R, r + 2 R, … of R rows; the columns are R samples wide. Beneath
    them come, for each of `centres_s`, so many seconds around the middle of the window, folded in the same way into
    as many columns, and so drawn out. The 50 seconds of 16 derivations become 160 x 1000 pixels (tiles, one below
    another).

    Parameters
    ----------
    montage : str or sequence of str
        As `EEGFrontEnd` takes it; it decides which derivations meet in a kernel.
    band : str
        As `hbac.signal.band.parse_band` reads it.
    n_times : int
        Samples of the stored window.
    sfreq : float
        Their rate in hertz.
    rows_per_derivation : int
        Rows that the whole window takes; must divide its samples.
    centres_s : sequence of float, or float
        Stretches around the middle of the window, in seconds, that are shown again beneath.
    sfreq_out : float or None
        Rate in hertz of the samples that are folded; None for what the band needs.
    notch : {None, 50, 60, "auto"}
        As `EEGFrontEnd` takes it.
    clip_uv, scale_uv : float
        Derivations are clipped to plus and minus so many microvolts; microvolts that become 1.

    Attributes
    ----------
    n_chans : int
        Derivations.
    channels : tuple of str
        Their names.
    height, width : int
        Rows and columns of a derivation's picture.
    reversed_rows : tuple of int
        Order of the rows that, with the columns from last to first, shows a window backwards.

    Raises
    ------
    UserError
        If a setting of the front-end cannot be, the rows do not divide the samples, or a centre fits no whole row.

    Examples
    --------
    >>> RawImage()(torch.randn(2, 20, 10000)).shape
    torch.Size([2, 16, 10, 1000])
    >>> RawImage(rows_per_derivation=20, centres_s=[30, 10])(torch.randn(2, 20, 10000)).shape
    torch.Size([2, 16, 36, 500])
    """

    def __init__(
        self,
        montage: str | Sequence[str] = "alternating_16",
        band: str = "0.5-20",
        n_times: int = WINDOW_SAMPLES,
        sfreq: float = SFREQ,
        rows_per_derivation: int = 10,
        centres_s: Sequence[float] | float = (),
        sfreq_out: float | None = SFREQ,
        notch: float | str | None = None,
        clip_uv: float = 1024.0,
        scale_uv: float = 32.0,
    ) -> None:
        super().__init__()
        centres_s = [float(s) for s in ([centres_s] if isinstance(centres_s, int | float) else centres_s)]
        self.settings = arguments(locals()) | {"band": str(band)}
        self._signal = EEGFrontEnd(
            montage, band, n_times, sfreq, sfreq_out=sfreq_out, notch=notch, clip_uv=clip_uv, scale_uv=scale_uv
        )
        self.channels = self._signal.montage.derivations
        self.n_chans = len(self.channels)
        length, rate = self._signal.n_times, self._signal.sfreq
        if rows_per_derivation < 1 or length % rows_per_derivation:
            fitting = ", ".join(str(n) for n in range(1, 41) if length % n == 0)
            raise UserError(
                f"rows_per_derivation={rows_per_derivation}: must divide the {length} samples of a window at "
                f"{rate:g} Hz; up to 40 there are {fitting}"
            )
        self.width = length // rows_per_derivation
        rows = [rows_per_derivation]
        for seconds in centres_s:
            rows.append(round(seconds * rate / self.width))
            if not 1 <= rows[-1] < rows_per_derivation:
                raise UserError(
                    f"centres_s={seconds:g}: must be at least one row of {self.width} samples and less than the whole "
                    f"window, from {self.width / rate:g} to {(length - self.width) / rate:g} s"
                )
        self._rows = rows
        self.height = sum(rows)
        firsts = [sum(rows[:i]) for i in range(len(rows))]
        self.reversed_rows = tuple(first + n - 1 - i for first, n in zip(firsts, rows, strict=True) for i in range(n))

    def forward(self, eeg_BCT: Tensor, shift_B: Tensor | None = None) -> Tensor:
        """Make pictures (B, n_chans, height, width), in units of `scale_uv`, of what `SpectrogramImage.forward` takes.

        The centres follow the label.
        """
        x_BDT = self._signal(eeg_BCT.transpose(1, 2))
        if shift_B is not None:
            shift_B = (shift_B * (self._signal.sfreq / self.settings["sfreq"])).round().long()
        shown = [x_BDT] + [around_label(x_BDT, rows * self.width, shift_B) for rows in self._rows[1:]]
        folded = [x.unflatten(-1, (self.width, n)).transpose(-1, -2) for x, n in zip(shown, self._rows, strict=True)]
        return torch.cat(folded, dim=-2)
