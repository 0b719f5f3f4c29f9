"""Bands by name or in hertz, and one FFT that filters *and* decimates to what the band needs.

The Butterworth filter that `scipy.signal.butter` designs is here a multiplication of the spectrum: forward and
backward (zero-phase: the squared magnitude, as `sosfiltfilt`) or once (causal: the complex response, as
`sosfilt`). Cutting the same spectrum off at the band's edge decimates as `scipy.signal.resample` does, after
the filter, so that mains and its harmonics cannot alias into the band. Working from the poles stays exact at
0.5 Hz, where the transfer-function form (``ba``) loses its digits.

References
----------
Butterworth design, bilinear transform and forward-backward filtering: Oppenheim & Schafer, "Discrete-Time
Signal Processing"; Gustafsson 1996, "Determining the initial states in forward-backward filtering",
doi:10.1109/78.492552. Clinical bands: Kane et al. 2017, "A revised glossary of terms most commonly used by
clinical electroencephalographers", doi:10.1016/j.cnp.2017.07.002.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import scipy.signal
import torch
from torch import Tensor, nn

from hbac.common.choices import check_choice
from hbac.common.errors import UserError
from hbac.signal.constants import Constants, full_precision
from hbac.signal.mains import MAINS_HZ, NOTCHES, MainsFinder, notch_filter
from hbac.vocabulary import SFREQ, WINDOW_SAMPLES

# Legend of tensor names: B window, C channel, T sample, P padded sample, S frequency bin.


@dataclass(frozen=True)
class Band:
    """A range of frequencies."""

    low_hz: float  # 0 for a low-pass
    high_hz: float  # the Nyquist frequency for a high-pass
    name: str  # how the user wrote it

    def __str__(self) -> str:
        return f"{self.low_hz:.15g}-{self.high_hz:.15g}"


#: Clinical bands in hertz. The edges are the glossary's (delta starts at 0.1 Hz there; below 0.5 Hz scalp EEG
#: is mostly sweat and movement, and readers filter it away). ``broad`` is what readers look at; ``public`` is
#: the band of the public ResNet1D-GRU.
CLINICAL_BANDS: dict[str, tuple[float, float]] = {
    "delta": (0.5, 4.0),
    "theta": (4.0, 8.0),
    "alpha": (8.0, 13.0),
    "beta": (13.0, 30.0),
    "gamma": (30.0, 80.0),
    "broad": (0.5, 70.0),
    "public": (0.5, 20.0),
}

_NUMBER = r"\d+(?:\.\d*)?|\.\d+"
_RANGE = re.compile(rf"\s*({_NUMBER})\s*[-–]\s*({_NUMBER})\s*(?:hz)?\s*", re.IGNORECASE)
_HOW = "write low-high in hertz, as 0.5-20 (0 as low edge: low-pass only), or one of " + ", ".join(CLINICAL_BANDS)


def parse_band(text: object, sfreq: float = SFREQ) -> Band:
    """Read a band as a user writes it.

    Parameters
    ----------
    text : str or Band
        ``"low-high"`` in hertz, or a clinical name of `CLINICAL_BANDS`; a `Band` is checked and returned.
    sfreq : float
        Sampling rate of the signal in hertz; the upper edge may not lie above half of it.

    Returns
    -------
    Band
        With ``0 <= low_hz < high_hz <= sfreq / 2``.

    Raises
    ------
    UserError
        If the text is not a band, the edges are the wrong way round, or the upper one is above Nyquist.

    Examples
    --------
    >>> parse_band("0.5-20")
    Band(low_hz=0.5, high_hz=20.0, name='0.5-20')
    >>> parse_band("alpha").high_hz
    13.0
    """
    if isinstance(text, Band):
        low, high, name = text.low_hz, text.high_hz, text.name
    else:
        name = str(text).strip()
        match = _RANGE.fullmatch(name)
        if match:
            low, high = float(match[1]), float(match[2])
        elif re.fullmatch(r"[A-Za-z_]+", name):
            try:
                low, high = CLINICAL_BANDS[check_choice("band", name.lower(), CLINICAL_BANDS)]
            except UserError as error:
                raise UserError(f"band={name}: {error} Or {_HOW.split(', or one')[0]}.") from None
        else:
            raise UserError(f"band={name}: not a band; {_HOW}")
    nyquist = sfreq / 2
    if high > nyquist:
        raise UserError(
            f"band={name}: {high:g} Hz is above the Nyquist frequency of the recordings, {nyquist:g} Hz "
            f"(half of {sfreq:g} Hz); the upper edge may be {nyquist:g} at most"
        )
    if low >= high:
        swapped = f"; did you mean {high:g}-{low:g}?" if low > high else ""
        raise UserError(f"band={name}: the lower edge must be below the upper one, found {low:g} and {high:g}{swapped}")
    return Band(low, high, name)


def _is_smooth(number: int) -> bool:
    """Whether 2, 3, 5 and 7 are its only prime factors: lengths that every FFT library is fast at."""
    for prime in (2, 3, 5, 7):
        while number % prime == 0:
            number //= prime
    return number == 1


_RATIOS = sorted({Fraction(p, q) for q in range(1, 201) if _is_smooth(q) for p in range(1, q + 1) if _is_smooth(p)})


def _decimation(band: Band, n_times: int, sfreq: float, sfreq_out: float | None) -> Fraction:
    """Ratio of output to input rate."""
    needed = Fraction(2 * band.high_hz / sfreq).limit_denominator(100_000)
    if sfreq_out is None:
        enough = [ratio for ratio in _RATIOS if ratio >= needed] or [Fraction(1)]
        # A whole number of samples is worth up to a tenth more of them.
        whole = [ratio for ratio in enough if (ratio * n_times).denominator == 1 and ratio <= enough[0] * 11 / 10]
        return (whole or enough)[0]
    ratio = Fraction(sfreq_out / sfreq).limit_denominator(1000)
    if not needed <= ratio <= 1:
        raise UserError(
            f"sfreq_out={sfreq_out:g}: the band {band} needs an output rate from {2 * band.high_hz:g} Hz "
            f"(twice its upper edge) to {sfreq:g} Hz (that of the recordings)"
        )
    return ratio


def _butterworth(band: Band, sfreq: float, order: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Zeros, poles and gain of a band's filter; a low-pass or high-pass at the ends of the spectrum."""
    is_highpass = band.low_hz > 1e-6  # a period of eleven days; poles nearer to 1 than that are 1 in floating point
    if is_highpass and band.high_hz < sfreq / 2:
        return scipy.signal.butter(order, [band.low_hz, band.high_hz], "bandpass", fs=sfreq, output="zpk")
    if is_highpass:
        return scipy.signal.butter(order, band.low_hz, "highpass", fs=sfreq, output="zpk")
    if band.high_hz < sfreq / 2:
        return scipy.signal.butter(order, band.high_hz, "lowpass", fs=sfreq, output="zpk")
    return np.empty(0), np.empty(0), 1.0


def _rise(length: int) -> Tensor:
    """Rise from 0 to 1 along half a period of a cosine."""
    phase = torch.arange(1, length + 1, dtype=torch.float64) * (math.pi / max(length, 1))
    return (1 - phase.cos()) / 2


class BandPass(nn.Module):
    """Filter to a band and decimate to what the band needs, in one FFT.

    The window is extended at both ends before the FFT (by its mirror image in time; when causal by repeating its end
    points) such that the ends meet, and cropped after, so that its end does not run into its beginning. Samples within
    about a second of the edges depend on that extension, as they do in any filter. scipy's `sosfiltfilt` turns the
    mirror image upside down as well, which makes a step of twice whatever mains or muscle the end point happens to
    hold: against the filter run over a longer recording, the first quarter of a second of real windows was wrong by 55
    µV that way and by 9 µV this way (median over windows, root mean square).

    The output has `n_times_out` samples at `sfreq_out` hertz.

    Parameters
    ----------
    band : str or Band
        As `parse_band` reads it.
    n_times, sfreq : int, float
        Samples of the window, and their rate in hertz.
    order : int
        Order of the Butterworth filter as scipy counts it.
    causal : bool
        False: zero phase, the filter runs forward and backward (−6 dB at the edges) and nothing is shifted in time.
        True: it runs forward once (−3 dB) and delays what it passes.
    sfreq_out : float or None
        Output rate in hertz, from twice the upper edge to `sfreq`; None for the lowest rate from twice the upper
        edge that gives a length without large prime factors.
    notch : {None, 50, 60, "auto"}
        Frequency in hertz of mains that is taken out with its harmonics, 2 Hz wide; ``auto``: what is found in each
        window (the last but one axis are its channels), if any. Of use where the band reaches so high.
    pad_s : float or None
        Length of the extension at each side in seconds; None for eleven time constants of the filter's slowest
        mode, which leaves 2e-5 of it.

    Examples
    --------
    >>> bandpass = BandPass("0.5-20")
    >>> bandpass(torch.zeros(1, 18, 10000)).shape, bandpass.sfreq_out
    (torch.Size([1, 18, 2000]), 40.0)
    """

    def __init__(
        self,
        band: str | Band,
        n_times: int = WINDOW_SAMPLES,
        sfreq: float = SFREQ,
        order: int = 2,
        causal: bool = False,
        sfreq_out: float | None = None,
        notch: float | str | None = None,
        pad_s: float | None = None,
    ) -> None:
        super().__init__()
        self.band = parse_band(band, sfreq)
        if order < 1 or n_times < 2:
            raise UserError(f"order={order}, n_times={n_times}: order must be at least 1 and n_times at least 2")
        self.n_times = n_times
        self.order = order
        self.causal = causal
        ratio = _decimation(self.band, n_times, sfreq, sfreq_out)
        self.sfreq_out = float(sfreq * ratio)
        self.n_times_out = math.ceil(n_times * ratio)

        if notch not in NOTCHES:
            raise UserError(f"notch={notch}: null, 50, 60 or auto")
        if notch == "auto" and min(n_times / sfreq, sfreq / 64) < 2:
            raise UserError("notch=auto: mains is found in windows of at least 2 s, sampled at 128 Hz or more")
        filters = [_butterworth(self.band, sfreq, order)]
        filters += [notch_filter(hz, sfreq) for hz in MAINS_HZ if notch in (hz, "auto")]
        if pad_s is None:
            # Of all modes: the share that is left of it after a sample.
            slowest = max(np.abs(poles).max(initial=0.0) for _, poles, _ in filters)
            pad_s = 11 / -math.log(slowest) / sfreq if slowest > 0 else 0.0
        # The buffer that is transformed: an extension on the left, the window, at least as long an extension on the
        # right. With a ratio of p / q, cutting the spectrum keeps p of every q samples, and output sample 0 is input
        # sample 0 only if the window begins, and the buffer ends, at a multiple of q. More blocks of q are added on the
        # right until the lengths of both transforms have no large prime factor.
        pad = min(math.ceil(pad_s * sfreq), n_times - 1)
        step = ratio.denominator
        self._left = math.ceil(pad / step) * step
        blocks = math.ceil((self._left + n_times + pad) / step)
        while not _is_smooth(blocks * step) and not _is_smooth(blocks):
            blocks += 1
        self.n_fft = blocks * step
        self._n_fft_out = blocks * ratio.numerator
        self._left_out = self._left // step * ratio.numerator

        n_bins = self._n_fft_out // 2 + 1
        frequency_hz = np.arange(n_bins) * sfreq / self.n_fft
        responses = [scipy.signal.freqz_zpk(z, p, np.array([k]), frequency_hz, fs=sfreq)[1] for z, p, k in filters]
        response, *notches = responses if causal else [np.abs(response) ** 2 for response in responses]
        # One response, or for each window that of what is found in it: none, 50 or 60 Hz.
        if notch == "auto":
            response = np.stack([response, *(response * notch for notch in notches)])
        elif notches:
            response = response * notches[0]
        self._find_mains = MainsFinder(self.n_fft, sfreq) if notch == "auto" else None
        if self._n_fft_out < self.n_fft:
            response = response * float(ratio)  # the inverse transform divides by its own, shorter length
            if self._n_fft_out % 2 == 0:
                response[..., -1] *= 2  # the bin at the new Nyquist frequency stands for +f and -f
        right = self.n_fft - self._left - n_times
        self._constants = Constants(
            {
                "response_S": torch.from_numpy(response),
                "left_ramp": _rise(self._left).flip(0),
                "right_ramp": _rise(right),
            }
        )

    def extend(self, x_BCP: Tensor) -> Tensor:
        """Fill the ends of a buffer (..., n_fft) in place from its middle, which starts at `middle`."""
        # Outward from the window: its mirror image (none when causal), as far as it goes; then the last value repeated.
        start, stop = self._left, self._left + self.n_times
        left, right = min(self._left, self.n_times - 1), min(self.n_fft - stop, self.n_times - 1)
        if self.causal:
            left = right = 0
        else:
            x_BCP[..., start - left : start] = x_BCP[..., start + 1 : start + 1 + left].flip(-1)
            x_BCP[..., stop : stop + right] = x_BCP[..., stop - 1 - right : stop - 1].flip(-1)
        x_BCP[..., : start - left] = x_BCP[..., start - left : start - left + 1]
        x_BCP[..., stop + right :] = x_BCP[..., stop + right - 1 : stop + right]
        # To the transform the end is followed by the beginning: let the two meet, or the jump rings at the band's
        # edge. Each extension takes half of the jump, rising like a cosine from 0 beside the window, which itself is
        # left alone.
        jump = x_BCP[..., :1] - x_BCP[..., -1:]
        share = 0.0 if self.causal else 0.5  # a causal filter must not learn from its left side what is to come
        if share:
            x_BCP[..., :start] -= share * jump * self._constants.get("left_ramp", x_BCP)
        x_BCP[..., stop:] += (1 - share) * jump * self._constants.get("right_ramp", x_BCP)
        return x_BCP

    @property
    def middle(self) -> slice:
        """Where the window lies in the buffer that `extend` and `filter_extended` take."""
        return slice(self._left, self._left + self.n_times)

    def filter_extended(self, x_BCP: Tensor) -> Tensor:
        """Filter and decimate a window already extended to (..., n_fft); (..., C, n_fft) where mains is to be found.

        Returned is a view, (..., n_times_out), into a longer tensor.
        """
        response_S = self._constants.get("response_S", x_BCP)
        x_BCS = torch.fft.rfft(x_BCP)
        if self._find_mains is not None:
            response_S = response_S[self._find_mains(x_BCS)].unsqueeze(-2)
        x_BCS = x_BCS[..., : response_S.shape[-1]] * response_S
        y_BCP: Tensor = torch.fft.irfft(x_BCS, self._n_fft_out)
        return y_BCP[..., self._left_out : self._left_out + self.n_times_out]

    def forward(self, x_BCT: Tensor) -> Tensor:
        """Filter and decimate (..., n_times), any real type, without NaN; (..., C, n_times) where mains is to be found.

        Returned is (..., n_times_out), contiguous, float64 for float64 and float32 otherwise, in the input's unit.
        """
        if x_BCT.shape[-1] != self.n_times:
            raise ValueError(f"a window of {x_BCT.shape[-1]} samples; this BandPass was made for {self.n_times}")
        dtype = torch.float64 if x_BCT.dtype == torch.float64 else torch.float32
        with full_precision(x_BCT):
            x_BCP = x_BCT.new_empty((*x_BCT.shape[:-1], self.n_fft), dtype=dtype)
            x_BCP[..., self.middle] = x_BCT
            return self.filter_extended(self.extend(x_BCP)).contiguous()
