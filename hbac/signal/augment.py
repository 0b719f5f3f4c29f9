"""Augmentations of EEG, batched on the device, each row by its own chance.

There are two modules, for the two places where things can happen to a window. `RawAugment` works on electrodes
before the front-end, where left and right can be exchanged and channels lost as they are at the bedside, and
serves networks on signals and on images alike. `SignalAugment` works on the front-end's output, which has the
fewest samples. Both take the rows' keys (`hbac.signal.chance.row_keys`): the same row of the same epoch is
changed in the same way whatever the batch. Every probability is 0 unless given, and with all at 0 the input is
handed back as it is.

References
----------
What helped on this task: public write-ups of the HMS competition. Review of EEG augmentation: Rommel et al.
2022, "Data augmentation for learning predictive models on EEG", doi:10.1088/1741-2552/aca220.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hbac.common.errors import UserError
from hbac.signal.chance import happens, uniforms
from hbac.signal.constants import Constants
from hbac.signal.montage import channel_mirror
from hbac.vocabulary import CHANNELS, ELECTRODES

# Legend of tensor names: B window (row), T sample, C stored channel, N thing to choose from.

# float16 ends at 65504; what a gain would push beyond stays a number instead of becoming a missing sample.
_LARGEST_HALF = 65000.0


def check_probabilities(settings: dict[str, Any]) -> None:
    """Check all settings whose names end in ``_p``.

    Parameters
    ----------
    settings : dict
        Names and values.

    Raises
    ------
    UserError
        If one is not a number from 0 to 1.
    """
    for name, value in settings.items():
        if name.endswith("_p") and not (isinstance(value, int | float) and 0 <= value <= 1):
            raise UserError(f"{name}={value}: a probability, from 0 to 1")


def change_rows(x: Tensor, chosen_B: Tensor, change: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Apply a change to the chosen rows of a batch.

    Parameters
    ----------
    x : Tensor
        Shape (B, ...); never written to.
    chosen_B : Tensor
        Bool, shape (B,).
    change : callable
        Takes some rows of `x` and their numbers in the batch, to look up what was drawn for them, and returns
        them changed.

    Returns
    -------
    Tensor
        As `x`; `x` itself if no row was chosen and it lies on a CPU. There only the chosen rows are computed;
        on other devices all of them are, since counting the chosen ones would make the device wait.
    """
    if x.device.type == "cpu":
        rows_B = chosen_B.nonzero().flatten()
        if len(rows_B) == 0:
            return x
        return x.index_copy(0, rows_B, change(x.index_select(0, rows_B), rows_B).to(x.dtype))
    all_B = torch.arange(len(x), device=x.device)
    return torch.where(chosen_B.view(-1, *[1] * (x.ndim - 1)), change(x, all_B).to(x.dtype), x)


def some_of(key_B: Tensor, purpose: str, n: int, most: int) -> Tensor:
    """Choose some of n things for each row.

    Parameters
    ----------
    key_B : Tensor
        The rows' keys.
    purpose : str
        What for.
    n : int
        How many things there are.
    most : int
        One to so many of them are chosen.

    Returns
    -------
    Tensor
        Bool, shape (B, n).
    """
    count_B1 = 1 + (uniforms(key_B, f"{purpose} count") * most).long()
    rank_BN = uniforms(key_B, f"{purpose} which", n).argsort(1).argsort(1)
    return rank_BN < count_B1


class RawAugment(nn.Module):
    """Augment stored windows, electrode by electrode, before any front-end.

    Parameters
    ----------
    swap_p : float
        Probability of exchanging left and right, electrode for electrode. Labels stay: no class is of one side.
    drop_p : float
        Probability of losing channels: all their samples become missing, which the front-ends fill.
    drop_max : int
        One to so many electrodes are lost.
    gain_p : float
        Probability of another amplitude.
    gain_low, gain_high : float
        Factors between which it is drawn, evenly in its logarithm.

    Attributes
    ----------
    settings : dict
        The constructor's arguments, plain, for a JSON file.

    Raises
    ------
    UserError
        If a probability or range cannot be.

    Examples
    --------
    >>> from hbac.signal.chance import row_keys
    >>> augment = RawAugment(swap_p=0.5, gain_p=0.5)
    >>> augment(torch.randn(3, 400, 20), row_keys(0, 0, torch.arange(3))).shape
    torch.Size([3, 400, 20])
    """

    def __init__(
        self,
        swap_p: float = 0.0,
        drop_p: float = 0.0,
        drop_max: int = 3,
        gain_p: float = 0.0,
        gain_low: float = 0.3,
        gain_high: float = 3.0,
    ) -> None:
        super().__init__()
        self.settings: dict[str, Any] = {
            "swap_p": swap_p,
            "drop_p": drop_p,
            "drop_max": drop_max,
            "gain_p": gain_p,
            "gain_low": gain_low,
            "gain_high": gain_high,
        }
        check_probabilities(self.settings)
        if not 1 <= drop_max < len(ELECTRODES):
            raise UserError(f"drop_max={drop_max}: from 1 to {len(ELECTRODES) - 1} of {len(ELECTRODES)} electrodes")
        if not 0 < gain_low <= gain_high:
            raise UserError(f"gain_low={gain_low:g}, gain_high={gain_high:g}: above 0, the lower one first")
        # Left and right are blocks of neighbours in the stored order; to copy blocks is four times as fast as to
        # pick channel after channel.
        mirror = channel_mirror().tolist()
        self._constants = Constants({"mirror_C": channel_mirror()})
        starts = [c for c in range(len(mirror)) if c == 0 or mirror[c] != mirror[c - 1] + 1]
        ends = [*starts[1:], len(mirror)]
        self._blocks = [slice(mirror[start], mirror[end - 1] + 1) for start, end in zip(starts, ends, strict=True)]

    @torch.no_grad()
    def forward(self, eeg_BTC: Tensor, key_B: Tensor) -> Tensor:
        """Change a batch.

        Parameters
        ----------
        eeg_BTC : Tensor
            Shape (B, T, 20), channels in the stored order, microvolt, NaN where missing; not written to.
        key_B : Tensor
            The rows' keys, int64, shape (B,), on the same device.

        Returns
        -------
        Tensor
            As `eeg_BTC`.
        """
        s = self.settings
        if s["swap_p"]:
            eeg_BTC = change_rows(
                eeg_BTC,
                happens(key_B, "swap", s["swap_p"]),
                lambda eeg, _: torch.cat([eeg[..., block] for block in self._blocks], 2),
            )
        if s["gain_p"]:
            gain_B = self._gains(key_B)
            limit = _LARGEST_HALF if eeg_BTC.dtype == torch.float16 else float("inf")
            eeg_BTC = change_rows(
                eeg_BTC,
                happens(key_B, "gain", s["gain_p"]),
                lambda eeg, rows: (eeg * gain_B[rows, None, None].to(eeg.dtype)).clamp_(-limit, limit),
            )
        if s["drop_p"]:
            lost_BC = self._lost(key_B, eeg_BTC.shape[2])
            eeg_BTC = change_rows(
                eeg_BTC,
                happens(key_B, "drop", s["drop_p"]),
                lambda eeg, rows: eeg.masked_fill(lost_BC[rows, None, :], float("nan")),
            )
        return eeg_BTC

    @torch.no_grad()
    def mixing(self, key_B: Tensor) -> Tensor:
        """Return the same changes as matrices, for what is linear in the channels and fills missing ones with 0.

        Parameters
        ----------
        key_B : Tensor
            The rows' keys, int64, shape (B,).

        Returns
        -------
        Tensor
            Float32, shape (B, 20, 20): the changed channels as sums of the stored ones.
        """
        s = self.settings
        n_C = len(CHANNELS)
        eye_CC = torch.eye(n_C, device=key_B.device)
        mixing_BCC = eye_CC.expand(len(key_B), n_C, n_C)
        if s["swap_p"]:
            swap_CC = eye_CC[self._constants.get("mirror_C", eye_CC)]
            mixing_BCC = torch.where(happens(key_B, "swap", s["swap_p"])[:, None, None], swap_CC, mixing_BCC)
        if s["gain_p"]:
            factor_B = self._gains(key_B).where(happens(key_B, "gain", s["gain_p"]), 1.0)
            mixing_BCC = mixing_BCC * factor_B[:, None, None]
        if s["drop_p"]:
            lost_BC = self._lost(key_B, n_C) & happens(key_B, "drop", s["drop_p"])[:, None]
            mixing_BCC = mixing_BCC.masked_fill(lost_BC[:, :, None], 0.0)
        return mixing_BCC

    def _gains(self, key_B: Tensor) -> Tensor:
        span = torch.tensor(self.settings["gain_high"] / self.settings["gain_low"]).log()
        return self.settings["gain_low"] * (uniforms(key_B, "gain")[:, 0] * span).exp()  # type: ignore[no-any-return]

    def _lost(self, key_B: Tensor, n_C: int) -> Tensor:
        lost_BE = some_of(key_B, "drop", len(ELECTRODES), self.settings["drop_max"])
        return F.pad(lost_BE, (0, n_C - len(ELECTRODES)))
