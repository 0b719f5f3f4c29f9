"""What all spectrogram images share: derivations, missing samples, the grid of columns, decibels, averaging.

An image of shape (channels, height, width) has one channel for each of the four regions of the head, the mean
in decibels of the region's four differences, or one for each derivation of a montage; frequency rises with the
row and time with the column. Subclasses say only how power is estimated.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from hbac.common.choices import check_choice
from hbac.common.errors import UserError
from hbac.signal.band import parse_band
from hbac.signal.constants import Constants, full_precision, may_look, portions
from hbac.signal.front_end import around_label, fill_missing_
from hbac.signal.montage import MONTAGES, REGIONS, get_montage
from hbac.vocabulary import N_CHANNELS, SFREQ, WINDOW_SAMPLES

# Legend of tensor names: B window, C stored channel, D derivation, T sample, I image channel, M member of its
# mean, H row (frequency), F frame, W column.

REGIONS_MONTAGE = "regions"

# Derivations at a time on a CPU.
_CPU_DERIVATIONS = 8

# Power below this counts as none, as librosa has it.
_SMALLEST_POWER = 1e-10


@dataclass(eq=False, repr=False)
class SpectrogramImage(nn.Module):
    """Base of the spectrogram images; use a subclass.

    Parameters
    ----------
    montage : str
        ``"regions"`` for the four chains LL, LP, RP, RL, each the mean of its four differences, or a key of
        `hbac.signal.montage.MONTAGES` for one image channel a derivation.
    band : str
        Range of the rows, as `hbac.signal.band.parse_band` reads it.
    n_times, sfreq : int, float
        Samples of the stored window, and their rate in hertz.
    height, width : int
        Rows and columns.
    zoom_s : float or None
        None: columns go over the whole window, a column every ``n_times // width`` samples from the first sample
        on. A number: only over about so many seconds around the centre that the label speaks of.
    floor_db, ceiling_db : float
        Decibels that become −1 and 1; what lies outside is clipped.
    reference : {"fixed", "max"}
        What 0 dB is: 1 µV² (or µV²/Hz, see the subclass), or the largest power of each derivation in its window.

    Attributes
    ----------
    channels : tuple of str
        Their names: regions or derivations.
    """

    montage: str = REGIONS_MONTAGE
    band: str = "0-20"
    n_times: int = WINDOW_SAMPLES
    sfreq: float = SFREQ
    height: int = 128
    width: int = 256
    zoom_s: float | None = None
    floor_db: float = -30.0
    ceiling_db: float = 50.0
    reference: str = "fixed"

    def __post_init__(self) -> None:
        super().__init__()
        n_times, sfreq, height, width, zoom_s = self.n_times, self.sfreq, self.height, self.width, self.zoom_s
        check_choice("reference", self.reference, ("fixed", "max"))
        if not self.floor_db < self.ceiling_db:
            raise UserError(f"floor_db={self.floor_db:g} must be below ceiling_db={self.ceiling_db:g}")
        if not (isinstance(height, int) and isinstance(width, int)) or min(height, width) < 1 or n_times < width:
            raise UserError(f"height={height}, width={width} of n_times={n_times}: at least 1, and a sample a column")
        if zoom_s is not None and not width / sfreq <= zoom_s <= n_times / sfreq:
            raise UserError(
                f"zoom_s={zoom_s:g}: from {width / sfreq:g} s (a sample a column) to the window's {n_times / sfreq:g} s"
            )
        self.settings = {own.name: getattr(self, own.name) for own in fields(self)} | {"band": str(self.band)}
        self.range = parse_band(self.band, sfreq)

        if self.montage == REGIONS_MONTAGE:
            derived = get_montage("chains_16")
            self.channels = tuple(REGIONS)
        else:
            check_choice("montage", self.montage, (REGIONS_MONTAGE, *MONTAGES))
            derived = get_montage(self.montage)
            self.channels = derived.derivations
        self.n_chans = len(self.channels)
        self._members = len(derived.derivations) // self.n_chans

        # The grid of frame centres. The public recipe has one frame more than columns: it counts for the
        # maximum.
        if zoom_s is None:
            self._hop = n_times // width
            self._first_centre = 0
            self._n_frames = 1 + n_times // self._hop
        else:
            self._hop = max(1, round(zoom_s * sfreq / width))
            self._first_centre = (n_times - self._hop * (width - 1)) // 2
            self._n_frames = width
        self._montage_constants = Constants(
            {"matrix_DC": derived.matrix, "used_DC": (derived.matrix != 0).to(torch.float64)} | _pairs(derived.matrix)
        )

    # Elsewhere than on a CPU only memory limits how many windows go together.
    _windows_at_once = 64

    def forward(self, eeg_BCT: Tensor, shift_B: Tensor | None = None) -> Tensor:
        """Make the images (B, n_chans, height, width) of a batch, from −1 to 1; float64 for float64, else float32.

        `eeg_BCT`, of any floating type, is (B, 20, n_times): channels in the stored order, microvolt, NaN where
        missing. `shift_B` is as `hbac.signal.front_end.around_label` takes it: a zoom follows the label.
        """
        if eeg_BCT.ndim != 3 or tuple(eeg_BCT.shape[1:]) != (N_CHANNELS, self.n_times):
            raise ValueError(f"windows of shape {tuple(eeg_BCT.shape)}; expected (batch, {N_CHANNELS}, {self.n_times})")
        dtype = torch.float64 if eeg_BCT.dtype == torch.float64 else torch.float32
        image_BIHW = eeg_BCT.new_empty((eeg_BCT.shape[0], self.n_chans, self.height, self.width), dtype=dtype)
        follows = shift_B is not None and self.zoom_s is not None
        with full_precision(eeg_BCT):
            for some in portions(eeg_BCT, 1, self._windows_at_once):
                x_BDT = self._derive(eeg_BCT[some].to(dtype, memory_format=torch.contiguous_format))
                if follows:
                    x_BDT = around_label(x_BDT, self.n_times, shift_B[some])  # type: ignore[index]
                image_BIHW[some] = self.of_derivations(x_BDT)
        return image_BIHW

    def of_derivations(self, x_BDT: Tensor) -> Tensor:
        """Make the images, as `forward` returns them, of the montage's derivations in µV, (B, D, n_times), no NaN."""
        image_BIHW = x_BDT.new_empty((x_BDT.shape[0], self.n_chans, self.height, self.width))
        # Few derivations at a time keep the temporaries in a CPU's cache, where they are several times as fast.
        channels = max(1, _CPU_DERIVATIONS // self._members) if may_look(x_BDT) else self.n_chans
        with full_precision(x_BDT):
            for some in portions(x_BDT, 1, self._windows_at_once):
                for i in range(0, self.n_chans, channels):
                    power_HBDF = self._power(x_BDT[some, i * self._members : (i + channels) * self._members])
                    image_BIHW[some, i : i + channels] = self._decibels(power_HBDF)
        return image_BIHW

    def _derive(self, eeg_BCT: Tensor) -> Tensor:
        """Form the derivations, missing samples of each at its own mean."""
        if "front_D" in self._montage_constants:  # what is missing in either electrode is missing in their difference
            front_D, back_D = (self._montage_constants.get(name, eeg_BCT) for name in ("front_D", "back_D"))
            return fill_missing_(eeg_BCT.index_select(1, front_D).sub_(eeg_BCT.index_select(1, back_D)))
        matrix_DC = self._montage_constants.get("matrix_DC", eeg_BCT)
        if may_look(eeg_BCT) and bool(eeg_BCT.sum().isfinite()):
            return torch.matmul(matrix_DC, eeg_BCT)
        missing_BCT = ~eeg_BCT.isfinite()
        x_BDT = torch.matmul(matrix_DC, eeg_BCT.masked_fill(missing_BCT, 0.0))
        used_DC = self._montage_constants.get("used_DC", eeg_BCT)
        missing_BDT = torch.matmul(used_DC, missing_BCT.to(x_BDT.dtype)) > 0
        return fill_missing_(x_BDT.masked_fill_(missing_BDT, float("nan")))

    def _power(self, x_BDT: Tensor) -> Tensor:
        """Power of shape (H, B, D, F); rows first, because that is how matrix products come out."""
        raise NotImplementedError

    def _decibels(self, power_HBDF: Tensor) -> Tensor:
        """Clip, average the members of each image channel in decibels, scale to −1 … 1.

        The mean of logarithms is the logarithm of a product, a quarter of the logarithms. Each factor is within
        half the range of 1 or 1e-8 … 1, so that four of them stay within float32.
        """
        n_rows, n_windows, _, n_frames = power_HBDF.shape
        power_HBIMF = power_HBDF.view(n_rows, n_windows, -1, self._members, n_frames)
        middle_db, half_db = (self.ceiling_db + self.floor_db) / 2, (self.ceiling_db - self.floor_db) / 2
        if self.reference == "max":
            zero_BIM = power_HBIMF.amax((0, 4)).clamp(min=_SMALLEST_POWER)
            low_BIM = (zero_BIM * 10 ** (self.floor_db / 10)).clamp_(min=_SMALLEST_POWER)
            power_HBIMF = torch.maximum(power_HBIMF, low_BIM[None, ..., None], out=_reused(power_HBIMF))
            unit_db = 0.0
        else:
            zero_BIM = power_HBIMF.new_full(power_HBIMF.shape[1:4], 10 ** (middle_db / 10))
            power_HBIMF = power_HBIMF.clamp_(10 ** (self.floor_db / 10), 10 ** (self.ceiling_db / 10))
            unit_db = middle_db
        scale_BIM = zero_BIM.reciprocal()
        product_HBIW = power_HBIMF[:, :, :, 0, : self.width] * scale_BIM[..., 0, None]
        for member in range(1, self._members):
            product_HBIW.mul_(power_HBIMF[:, :, :, member, : self.width]).mul_(scale_BIM[..., member, None])
        factor = 10 / (half_db * self._members)
        image_HBIW = product_HBIW.log10_().mul_(factor).add_((unit_db - middle_db) / half_db)
        return image_HBIW.permute(1, 2, 0, 3)

    def _frames(self, x_BDT: Tensor, length: int) -> Tensor:
        """Frames of `length` samples around the grid's centres, zeros beyond the ends: (B * D * F, length)."""
        start = self._first_centre - length // 2
        stop = start + self._hop * (self._n_frames - 1) + length
        left, right = max(0, -start), max(0, stop - x_BDT.shape[-1])
        padded = x_BDT.new_zeros((*x_BDT.shape[:-1], left + x_BDT.shape[-1] + right))
        padded[..., left : left + x_BDT.shape[-1]] = x_BDT
        frames = padded[..., start + left :].unfold(-1, length, self._hop)[..., : self._n_frames, :]
        return frames.reshape(-1, length)


def _reused(x: Tensor) -> Tensor | None:
    """Where a result may be written that is no longer needed as an input; nowhere if a gradient will ask for it."""
    return None if x.requires_grad else x


def _pairs(matrix_DC: Tensor) -> dict[str, Tensor]:
    """Channel numbers of a montage that consists of differences of two channels; empty for any other."""
    plus_DC, minus_DC = matrix_DC == 1, matrix_DC == -1
    if not bool(((plus_DC.sum(1) == 1) & (minus_DC.sum(1) == 1) & ((matrix_DC != 0).sum(1) == 2)).all()):
        return {}
    return {"front_D": plus_DC.int().argmax(1), "back_D": minus_DC.int().argmax(1)}


class FramedPower:
    """Power of many frames at given frequencies: a Fourier transform as two thin matrix products.

    Cosines and sines under a short window, up to a frequency far below Nyquist, span a space of far fewer dimensions
    than the window has samples. Its singular vectors give the transform in two steps, first into that space, then to
    the frequencies, at a third of the arithmetic and to the same rounding: singular values below that of the precision
    are dropped.

    `windows` are float64 (n_windows, length): one window, or several tapers whose powers are summed; they are even or
    odd about the sample `centre`, None for half the length, as of periodic windows.
    """

    # Singular values relative to the largest that are kept, just above the rounding of each precision.
    _TOLERANCE = {torch.float32: 1e-7, torch.float64: 1e-15}  # noqa: RUF012  (a constant)

    def __init__(self, windows: Tensor, frequency_hz: Tensor, sfreq: float, centre: float | None = None) -> None:
        length = windows.shape[-1]
        time_s = (torch.arange(length, dtype=torch.float64) - (length / 2 if centre is None else centre)) / sfreq
        phase = 2 * torch.pi * frequency_hz[:, None] * time_s
        # Every taper is even or odd in time, so cosines and sines under it have separate spaces; one product
        # each.
        parts = [part * window for window in windows for part in (phase.cos(), phase.sin())]
        tensors = {}
        self._ranks: dict[torch.dtype, list[int]] = {}
        factors = [torch.linalg.svd(part, full_matrices=False) for part in parts]
        largest = max(float(values[0]) for _, values, _ in factors)
        for dtype, tolerance in self._TOLERANCE.items():
            kept = [max(1, int((values > tolerance * largest).sum())) for _, values, _ in factors]
            self._ranks[dtype] = kept
            basis = [right[:rank] for (_, _, right), rank in zip(factors, kept, strict=True)]
            tensors[f"basis {dtype}"] = torch.cat(basis)
            for i, ((left, values, _), rank) in enumerate(zip(factors, kept, strict=True)):
                tensors[f"expand {dtype} {i}"] = (left * values)[:, :rank].contiguous()
        self._constants = Constants(tensors)

    def __call__(self, frames_NT: Tensor) -> Tensor:
        """Return the power (H, N) of frames (N, length).

        The windowed transform's squared magnitude, summed over windows.
        """
        dtype = frames_NT.dtype
        coefficients = torch.mm(self._constants.get(f"basis {dtype}", frames_NT), frames_NT.T)
        power_HN: Tensor | None = None
        for i, part in enumerate(torch.split(coefficients, self._ranks[dtype])):
            amplitude_HN = torch.mm(self._constants.get(f"expand {dtype} {i}", frames_NT), part)
            if power_HN is None:
                power_HN = torch.mul(amplitude_HN, amplitude_HN, out=_reused(amplitude_HN))
            else:
                power_HN.addcmul_(amplitude_HN, amplitude_HN)
        assert power_HN is not None
        return power_HN
