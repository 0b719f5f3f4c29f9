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

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hbac.common.errors import UserError
from hbac.signal.chance import draw
from hbac.signal.constants import Constants, arguments, may_look
from hbac.signal.montage import channel_mirror
from hbac.vocabulary import CHANNELS, ELECTRODES, POSITIONS

# Legend of tensor names: B window (row), T sample, C stored channel, N thing to choose from.

# float16 ends at 65504; what a gain would push beyond stays a number instead of becoming a missing sample.
_LARGEST_HALF = 65000.0

# What each change of electrodes leaves to chance.
_RAW_NUMBERS: dict[str, dict[str, int]] = {
    "spread": {"spread": 1, "spread how": len(ELECTRODES) ** 2},
    "swap": {},
    "gain": {"gain": 1},
    "drop": {"drop count": 1, "drop which": len(ELECTRODES)},
}
_NEAR = 0.6  # of the head's radius: so far away an electrode counts 1/e of one at the same place


def check_probabilities(settings: dict[str, Any]) -> None:
    """Check that all settings whose names end in ``_p`` are numbers from 0 to 1."""
    for name, value in settings.items():
        if name.endswith("_p") and not (isinstance(value, int | float) and 0 <= value <= 1):
            raise UserError(f"{name}={value}: a probability, from 0 to 1")


def draw_changes(
    key_B: Tensor, settings: Mapping[str, Any], numbers: Mapping[str, Mapping[str, int]]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Draw all that some changes leave to chance, by the rows' keys.

    `settings` has the probability of each change, as ``swap_p``; `numbers` says for each, as ``swap``, what it draws
    numbers for, and how many (`hbac.signal.chance.draw`). Returned are, for each change of a probability above 0, which
    rows undergo it, bool (B,), and the numbers of these changes for all rows, from [0, 1), (B, how many).
    """
    possible = [name for name in numbers if settings[f"{name}_p"]]
    purposes: dict[str, int] = {}
    for name in possible:
        purposes |= {f"{name}?": 1, **numbers[name]}
    drawn = draw(key_B, purposes)
    return {name: drawn[f"{name}?"][:, 0] < settings[f"{name}_p"] for name in possible}, drawn


def change_rows(
    x: Tensor, chosen_B: Tensor, change: Callable[[Tensor, Tensor | slice], Tensor], mine: bool = False
) -> Tensor:
    """Apply a change to the chosen rows of a batch (B, …), which is written to only where it is the caller's (`mine`).

    `change` takes some rows of `x` and their places in the batch, an index to look up what was drawn for them. Returned
    is `x` itself if no row was chosen and it lies on a CPU: there only the chosen rows are computed; on other devices
    all of them are, since counting the chosen ones would make the device wait.
    """
    if may_look(x):
        rows_B = chosen_B.nonzero().flatten()
        if len(rows_B) == 0:
            return x
        changed = change(x.index_select(0, rows_B), rows_B).to(x.dtype)
        return x.index_copy_(0, rows_B, changed) if mine else x.index_copy(0, rows_B, changed)
    return torch.where(chosen_B.view(-1, *[1] * (x.ndim - 1)), change(x, slice(None)).to(x.dtype), x)


def some_of(count_B1: Tensor, which_BN: Tensor, most: int) -> Tensor:
    """Choose some of n things for each row, one to `most` of them; bool (B, n).

    `count_B1` and `which_BN` are numbers from [0, 1): how many are chosen, and which.
    """
    rank_BN = which_BN.argsort(1).argsort(1)
    return rank_BN < 1 + (count_B1 * most).long()


class RawAugment(nn.Module):
    """Augment stored windows, electrode by electrode, before any front-end.

    Parameters
    ----------
    swap_p : float
        Probability of exchanging left and right, electrode for electrode. Labels stay: no class is of one side.
    drop_p : float
        Probability of losing one to `drop_max` channels: all their samples become missing, which the front-ends fill.
    drop_max : int
        See there.
    gain_p : float
        Probability of another amplitude.
    gain_low, gain_high : float
        Factors between which it is drawn, evenly in its logarithm.
    spread_p, spread_max : float
        Another head: with this probability, each electrode also records some of its neighbours, with either sign and
        in sum nothing, so that what all have in common stays. How much is drawn evenly from 0 to `spread_max`.

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
        spread_p: float = 0.0,
        spread_max: float = 0.5,
    ) -> None:
        super().__init__()
        self.settings = arguments(locals())
        check_probabilities(self.settings)
        if not 1 <= drop_max < len(ELECTRODES):
            raise UserError(f"drop_max={drop_max}: from 1 to {len(ELECTRODES) - 1} of {len(ELECTRODES)} electrodes")
        if not 0 < gain_low <= gain_high:
            raise UserError(f"gain_low={gain_low:g}, gain_high={gain_high:g}: above 0, the lower one first")
        if not spread_max > 0:
            raise UserError(f"spread_max={spread_max:g}: above 0")
        # In float32, so that a gain has the same bits wherever it is computed.
        self._gain_span = float(torch.tensor(gain_high / gain_low).log())
        # Left and right are blocks of neighbours in the stored order; to copy blocks is four times as fast as to
        # pick channel after channel.
        mirror = channel_mirror().tolist()
        place_E2 = torch.tensor([POSITIONS[name] for name in ELECTRODES])
        near_EE = torch.exp(-((torch.cdist(place_E2, place_E2) / _NEAR) ** 2))
        self._constants = Constants({"mirror_C": channel_mirror(), "near_EE": near_EE})
        starts = [c for c in range(len(mirror)) if c == 0 or mirror[c] != mirror[c - 1] + 1]
        ends = [*starts[1:], len(mirror)]
        self._blocks = [slice(mirror[start], mirror[end - 1] + 1) for start, end in zip(starts, ends, strict=True)]

    @torch.no_grad()
    def forward(self, eeg_BTC: Tensor, key_B: Tensor) -> Tensor:
        """Change a batch (B, T, 20) of stored windows, NaN where missing, by the rows' keys; it is not written to."""
        chosen, drawn = draw_changes(key_B, self.settings, _RAW_NUMBERS)
        if "spread" in chosen:
            spread_BCC = self._spread(drawn)
            eeg_BTC = change_rows(eeg_BTC, chosen["spread"], lambda eeg, rows: _mixed(eeg, spread_BCC[rows]))
        if "swap" in chosen:
            eeg_BTC = change_rows(
                eeg_BTC, chosen["swap"], lambda eeg, _: torch.cat([eeg[..., block] for block in self._blocks], 2)
            )
        if "gain" in chosen:
            gain_B = self._gains(drawn)
            limit = _largest(eeg_BTC.dtype)
            eeg_BTC = change_rows(
                eeg_BTC,
                chosen["gain"],
                lambda eeg, rows: (eeg * gain_B[rows, None, None].to(eeg.dtype)).clamp_(-limit, limit),
            )
        if "drop" in chosen:
            lost_BC = self._lost(drawn)
            eeg_BTC = change_rows(
                eeg_BTC, chosen["drop"], lambda eeg, rows: eeg.masked_fill(lost_BC[rows, None, :], float("nan"))
            )
        return eeg_BTC

    @torch.no_grad()
    def mixing(self, key_B: Tensor) -> Tensor:
        """Return the changes as matrices (B, 20, 20), for what is linear in channels and fills missing ones with 0.

        A channel that is missing there records its neighbours where they spread; in `forward` it stays missing.
        """
        chosen, drawn = draw_changes(key_B, self.settings, _RAW_NUMBERS)
        eye_CC = torch.eye(len(CHANNELS), device=key_B.device)
        mixing_BCC = eye_CC.expand(len(key_B), -1, -1)
        if "spread" in chosen:
            mixing_BCC = torch.where(chosen["spread"][:, None, None], self._spread(drawn), mixing_BCC)
        if "swap" in chosen:
            swapped_BCC = mixing_BCC.index_select(1, self._constants.get("mirror_C", eye_CC))
            mixing_BCC = torch.where(chosen["swap"][:, None, None], swapped_BCC, mixing_BCC)
        if "gain" in chosen:
            mixing_BCC = mixing_BCC * self._gains(drawn).where(chosen["gain"], 1.0)[:, None, None]
        if "drop" in chosen:
            lost_BC = self._lost(drawn) & chosen["drop"][:, None]
            mixing_BCC = mixing_BCC.masked_fill(lost_BC[:, :, None], 0.0)
        return mixing_BCC

    def _spread(self, drawn: Mapping[str, Tensor]) -> Tensor:
        n = len(ELECTRODES)
        how_BEE = (2 * drawn["spread how"].view(-1, n, n) - 1) * self._constants.get("near_EE", drawn["spread how"])
        how_BEE = how_BEE - how_BEE.mean(2, keepdim=True)
        much_B11 = drawn["spread"][:, :, None] * self.settings["spread_max"]
        more = len(CHANNELS) - n
        spread_BCC: Tensor = F.pad(much_B11 * how_BEE, (0, more, 0, more))
        return spread_BCC + torch.eye(len(CHANNELS), device=spread_BCC.device)

    def _gains(self, drawn: Mapping[str, Tensor]) -> Tensor:
        factor_B: Tensor = self.settings["gain_low"] * (drawn["gain"][:, 0] * self._gain_span).exp()
        return factor_B

    def _lost(self, drawn: Mapping[str, Tensor]) -> Tensor:
        lost_BE = some_of(drawn["drop count"], drawn["drop which"], self.settings["drop_max"])
        return F.pad(lost_BE, (0, len(CHANNELS) - len(ELECTRODES)))


def _mixed(eeg_BTC: Tensor, mixing_BCC: Tensor) -> Tensor:
    """Mix channels by matrices (B, to, from); missing samples stay missing, and add nothing to others."""
    whole = eeg_BTC if eeg_BTC.dtype == torch.float64 else eeg_BTC.float()
    mixed_BTC = torch.matmul(whole.nan_to_num(0.0), mixing_BCC.to(whole.dtype).transpose(1, 2))
    limit = _largest(eeg_BTC.dtype)
    return mixed_BTC.clamp_(-limit, limit).masked_fill_(eeg_BTC.isnan(), float("nan"))


def _largest(dtype: torch.dtype) -> float:
    return _LARGEST_HALF if dtype == torch.float16 else float("inf")
