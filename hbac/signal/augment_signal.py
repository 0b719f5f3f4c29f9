"""Augmentations of the EEG front-end's output: derivations, filtered and decimated.

As in `hbac.signal.augment`, each row is changed by its own chance, which follows from its key alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hbac.common.errors import UserError
from hbac.signal.augment import change_rows, check_probabilities, draw_changes, some_of
from hbac.signal.chance import row_keys, uniforms
from hbac.signal.constants import Constants, arguments, may_look
from hbac.vocabulary import CENTRAL_S

# Legend of tensor names: B window (row), T sample, D derivation, S frequency bin.

_NOISE_LENGTH = 1 << 18
# Of what a spectrum's gain over the octaves is made: a level, half a cosine, a whole one, …, and what each counts.
_COSINES = (0.5, 1.0, 0.7, 0.5, 0.4)
_COSINES_FROM_HZ, _COSINES_TO_HZ = 0.5, 20.0

# Hands out what was drawn for a purpose, for the rows that are changed.
Drawn = Callable[[str], Tensor]


class SignalAugment(nn.Module):
    """Augment the front-end's output, whose rate is `sfreq`; each change has its probability.

    Parameters
    ----------
    sfreq : float
        In hertz.
    reverse_p, polarity_p : float
        Time runs backward; all derivations change their sign.
    zero_p, zero_max : float, int
        One to so many derivations are silenced.
    band_p, band_low_hz, band_high_hz : float
        A narrower band: its lower edge rises to at most the first, its upper one falls to at least the second, both
        drawn evenly (zero-phase Butterworth magnitudes of order 2).
    stop_p, stop_width_hz : float
        A band of this full width at half depth is taken out; its centre is drawn evenly below half of `sfreq`.
    spectrum_p, spectrum_max_db : float
        Another spectrum: a smooth gain over frequency, drawn as five cosines of the octaves from 0.5 Hz to 20 Hz whose
        amplitudes are at most so many decibels, and less for the finer ones.
    stretch_p, stretch_max : float
        Time runs faster or slower around the window's middle, by at most this share (linear interpolation).
    shift_p, shift_max_s : float
        A shift in time, so far to either side; what is uncovered is filled with the mirror image of the signal's end.
    cut_p, cut_max_s : float
        A stretch of time, so long at most, is silenced in all derivations.
    noise_p, noise_max : float
        White noise, its standard deviation, in units of the signal, drawn evenly from 0.
    centre_p, centre_s : float
        All but so many seconds in the middle are lost, as recordings of ten seconds have no more: what is around
        becomes nothing, its mirror image or its repetition, each in a third.

    Examples
    --------
    >>> from hbac.signal.chance import row_keys
    >>> augment = SignalAugment(sfreq=40.0, reverse_p=0.5, zero_p=0.5)
    >>> augment(torch.randn(3, 18, 2000), row_keys(0, 0, torch.arange(3))).shape
    torch.Size([3, 18, 2000])
    """

    def __init__(
        self,
        sfreq: float = 40.0,
        reverse_p: float = 0.0,
        polarity_p: float = 0.0,
        zero_p: float = 0.0,
        zero_max: int = 8,
        band_p: float = 0.0,
        band_low_hz: float = 2.0,
        band_high_hz: float = 8.0,
        stop_p: float = 0.0,
        stop_width_hz: float = 2.0,
        spectrum_p: float = 0.0,
        spectrum_max_db: float = 6.0,
        stretch_p: float = 0.0,
        stretch_max: float = 0.15,
        shift_p: float = 0.0,
        shift_max_s: float = 2.0,
        cut_p: float = 0.0,
        cut_max_s: float = 5.0,
        noise_p: float = 0.0,
        noise_max: float = 0.1,
        centre_p: float = 0.0,
        centre_s: float = CENTRAL_S,
    ) -> None:
        super().__init__()
        self.settings = arguments(locals())
        check_probabilities(self.settings)
        if zero_max < 1:
            raise UserError(f"zero_max={zero_max}: at least 1 derivation")
        if not 0 <= band_low_hz < band_high_hz:
            raise UserError(f"band_low_hz={band_low_hz:g} must be from 0 to below band_high_hz={band_high_hz:g}")
        most = ("spectrum_max_db", "stretch_max", "shift_max_s", "cut_max_s", "noise_max")
        for name in ("sfreq", "stop_width_hz", "centre_s", *most):
            if not self.settings[name] > 0:
                raise UserError(f"{name}={self.settings[name]}: above 0")
        if stretch_max > 1:
            raise UserError(f"stretch_max={stretch_max:g}: at most 1, which is twice as fast")
        self._constants = Constants({"noise": _normals(_NOISE_LENGTH)} if noise_p else {})

    @torch.no_grad()
    def forward(self, x_BDT: Tensor, key_B: Tensor) -> Tensor:
        """Change a batch (B, D, T), floating point, by the rows' keys (B,); it is not written to."""
        n_D = x_BDT.shape[1]
        # What belongs to the recording comes before what is lost of it.
        changes: dict[str, tuple[Callable[[Tensor, Drawn], Tensor], dict[str, int]]] = {
            "shift": (self._shift, {"shift": 1}),
            "stretch": (self._stretch, {"stretch": 1}),
            "spectrum": (self._colour, {"spectrum": len(_COSINES)}),
            "centre": (self._keep_centre, {"centre": 1}),
            "reverse": (lambda x, _: x.flip(-1), {}),
            "polarity": (lambda x, _: -x, {}),
            "band": (self._narrow, {"band": 2}),
            "stop": (self._stop, {"stop": 1}),
            "noise": (self._add_noise, {"noise": 1, "noise start": n_D}),
            "zero": (self._silence, {"zero count": 1, "zero which": n_D}),
            "cut": (self._cut, {"cut": 2}),
        }
        chosen, drawn = draw_changes(key_B, self.settings, {name: numbers for name, (_, numbers) in changes.items()})
        given_BDT = x_BDT
        for name, chosen_B in chosen.items():

            def change(x: Tensor, rows: Tensor | slice, name: str = name) -> Tensor:
                return changes[name][0](x, lambda purpose: drawn[purpose][rows])

            x_BDT = change_rows(x_BDT, chosen_B, change, mine=x_BDT is not given_BDT)
        return x_BDT

    def _shift(self, x_BDT: Tensor, drawn: Drawn) -> Tensor:
        n = x_BDT.shape[-1]
        most = min(round(self.settings["shift_max_s"] * self.settings["sfreq"]), n - 1)
        shift_B = (drawn("shift")[:, 0] * (2 * most + 1)).long() - most
        if may_look(x_BDT) and 2 * most < n:  # stretches are copied many times as fast as single samples
            rows = []
            for x_DT, shift in zip(x_BDT, shift_B.tolist(), strict=True):
                before, behind = max(shift, 0), max(-shift, 0)
                rows.append(F.pad(x_DT[:, behind : n - before], (before, behind), "reflect"))
            return torch.stack(rows)
        source_BT = _mirrored(torch.arange(n, device=x_BDT.device) - shift_B[:, None], n)
        shifted: Tensor = x_BDT.gather(2, source_BT[:, None, :].expand_as(x_BDT))
        return shifted

    def _stretch(self, x_BDT: Tensor, drawn: Drawn) -> Tensor:
        n = x_BDT.shape[-1]
        speed_B1 = ((2 * drawn("stretch") - 1) * math.log1p(self.settings["stretch_max"])).exp()
        middle = (n - 1) / 2
        source_BT = _mirrored((torch.arange(n, device=x_BDT.device) - middle) * speed_B1 + middle, n)
        before_BT = source_BT.floor().clamp(0, max(n - 2, 0))
        after_B1T = (source_BT - before_BT)[:, None, :].to(x_BDT.dtype)
        index_BDT = before_BT.long()[:, None, :].expand_as(x_BDT)
        stretched: Tensor = torch.lerp(
            x_BDT.gather(2, index_BDT), x_BDT.gather(2, (index_BDT + 1).clamp(max=n - 1)), after_B1T
        )
        return stretched

    def _colour(self, x_BDT: Tensor, drawn: Drawn) -> Tensor:
        db_BC = (2 * drawn("spectrum") - 1) * self.settings["spectrum_max_db"]

        def gain(hz_S: Tensor) -> Tensor:
            octaves = math.log2(_COSINES_TO_HZ / _COSINES_FROM_HZ)
            place_S = ((hz_S.clamp(min=_COSINES_FROM_HZ) / _COSINES_FROM_HZ).log2() / octaves).clamp(max=1)
            db_BS = db_BC.new_zeros(())
            for number, share in enumerate(_COSINES):
                db_BS = db_BS + share * db_BC[:, number, None] * (torch.pi * number * place_S).cos()
            return torch.pow(10.0, db_BS / 20)

        return self._filter(x_BDT, gain)

    def _keep_centre(self, x_BDT: Tensor, drawn: Drawn) -> Tensor:
        n = x_BDT.shape[-1]
        kept = max(1, round(self.settings["centre_s"] * self.settings["sfreq"]))
        if kept >= n:
            return x_BDT
        first = (n - kept) // 2
        after_T = torch.arange(n, device=x_BDT.device) - first
        twice_T = after_T % (2 * kept)
        mirrored_T = torch.where(twice_T < kept, twice_T, 2 * kept - 1 - twice_T)
        kind_B1 = (3 * drawn("centre")).long()
        source_BT = first + torch.where(kind_B1 == 1, mirrored_T, after_T % kept)
        filled = x_BDT.gather(2, source_BT[:, None, :].expand_as(x_BDT))
        lost_BT = (kind_B1 == 0) & ((after_T < 0) | (after_T >= kept))
        return filled.masked_fill(lost_BT[:, None, :], 0.0)

    def _narrow(self, x_BDT: Tensor, drawn: Drawn) -> Tensor:
        s = self.settings
        u_B2 = drawn("band")
        low_B1 = u_B2[:, :1] * s["band_low_hz"]
        high_B1 = s["band_high_hz"] + u_B2[:, 1:] * max(s["sfreq"] / 2 - s["band_high_hz"], 0.0)

        def gain(hz_S: Tensor) -> Tensor:
            highpass_BS: Tensor = 1 + (low_B1 / hz_S.clamp(min=1e-6)) ** 4
            lowpass_BS: Tensor = 1 + (hz_S / high_B1) ** 4
            return 1 / (highpass_BS * lowpass_BS)

        return self._filter(x_BDT, gain)

    def _stop(self, x_BDT: Tensor, drawn: Drawn) -> Tensor:
        s = self.settings
        centre_B1 = drawn("stop") * (s["sfreq"] / 2)
        return self._filter(x_BDT, lambda hz_S: 1 - 0.5 ** ((hz_S - centre_B1) / (s["stop_width_hz"] / 2)) ** 2)

    def _filter(self, x_BDT: Tensor, gain: Callable[[Tensor], Tensor]) -> Tensor:
        n = x_BDT.shape[-1]
        pad = min(n - 1, n // 8)
        whole = x_BDT if x_BDT.dtype == torch.float64 else x_BDT.float()  # no FFT of any length in half precision
        extended = F.pad(whole, (pad, pad), mode="reflect")
        spectrum_BDS = torch.fft.rfft(extended)
        hz_S = torch.arange(spectrum_BDS.shape[-1], device=x_BDT.device) * (self.settings["sfreq"] / extended.shape[-1])
        filtered: Tensor = torch.fft.irfft(spectrum_BDS * gain(hz_S)[:, None, :], extended.shape[-1])
        return filtered[..., pad : pad + n]

    def _add_noise(self, x_BDT: Tensor, drawn: Drawn) -> Tensor:
        noise = self._constants.get("noise", x_BDT)
        # Each derivation gets a stretch of its own; the view of all stretches is copied row by row.
        stretches = noise.unfold(0, x_BDT.shape[-1], 1)
        start_N = (drawn("noise start").flatten() * len(stretches)).long()
        noise_BDT = stretches.index_select(0, start_N).view(x_BDT.shape)
        size_B11 = drawn("noise")[:, :, None] * self.settings["noise_max"]
        noisy: Tensor = x_BDT + size_B11 * noise_BDT
        return noisy

    def _silence(self, x_BDT: Tensor, drawn: Drawn) -> Tensor:
        most = min(self.settings["zero_max"], x_BDT.shape[1])
        return x_BDT.masked_fill(some_of(drawn("zero count"), drawn("zero which"), most)[..., None], 0.0)

    def _cut(self, x_BDT: Tensor, drawn: Drawn) -> Tensor:
        n = x_BDT.shape[-1]
        u_B2 = drawn("cut")
        length_B1 = u_B2[:, :1] * min(self.settings["cut_max_s"] * self.settings["sfreq"], n)
        start_B1 = u_B2[:, 1:] * (n - length_B1)
        t_T = torch.arange(n, device=x_BDT.device)
        silent_BT = (t_T >= start_B1) & (t_T < start_B1 + length_B1)
        return x_BDT.masked_fill(silent_BT[:, None, :], 0.0)


def _mirrored(place: Tensor, n: int) -> Tensor:
    """Bring places before the first of n samples, or behind the last, back into them, as by a mirror at that end."""
    return (n - 1) - ((n - 1) - place.abs()).abs()


def _normals(n: int) -> Tensor:
    """Make standard normal numbers, always the same ones, by the method of Box and Muller."""
    u_2N = uniforms(row_keys(0, 0, torch.arange(2)), "normals", n // 2).double()
    radius, angle = (-2 * (1 - u_2N[0]).log()).sqrt(), 2 * torch.pi * u_2N[1]
    return torch.cat([radius * angle.cos(), radius * angle.sin()])
