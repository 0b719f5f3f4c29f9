"""Augmentations of spectrogram images, and mixtures of windows of any kind.

As in `hbac.signal.augment`, each row is changed by its own chance, which follows from its key alone.

References
----------
Masks: Park et al. 2019, "SpecAugment", doi:10.21437/Interspeech.2019-2680. Mixtures: Zhang et al. 2018, "mixup:
beyond empirical risk minimization", doi:10.48550/arXiv.1710.09412.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hbac.common.errors import UserError
from hbac.signal.augment import change_rows, check_probabilities, draw_changes, some_of
from hbac.signal.constants import arguments

# Legend of tensor names: B window (row), I image channel, H row (frequency), W column (time), K class.


class ImageAugment(nn.Module):
    """Augment spectrogram images of shape (B, channels, frequency, time), before they are laid out.

    Parameters
    ----------
    reverse_p : float
        Probability of running time backward (a horizontal flip).
    time_mask_p, time_mask_max : float
        Probability of masking columns, and the largest share of them that a mask covers.
    frequency_mask_p, frequency_mask_max : float
        The same of rows.
    n_masks : int
        Masks of each kind.
    mask_value : float
        What masked pixels become.
    zero_p, zero_max : float, int
        Probability of silencing pictures (regions or derivations), one to so many of them.
    band_p, band_low_max, band_high_max : float
        Probability of a narrower band of one to `zero_max` pictures: rows at both ends are masked, at most these
        shares of them below and above.

    Examples
    --------
    >>> from hbac.signal.chance import row_keys
    >>> augment = ImageAugment(reverse_p=0.5, time_mask_p=1.0)
    >>> augment(torch.ones(2, 4, 128, 256), row_keys(0, 0, torch.arange(2))).shape
    torch.Size([2, 4, 128, 256])
    """

    def __init__(
        self,
        reverse_p: float = 0.0,
        time_mask_p: float = 0.0,
        time_mask_max: float = 0.15,
        frequency_mask_p: float = 0.0,
        frequency_mask_max: float = 0.15,
        n_masks: int = 1,
        mask_value: float = 0.0,
        zero_p: float = 0.0,
        zero_max: int = 8,
        band_p: float = 0.0,
        band_low_max: float = 0.05,
        band_high_max: float = 0.5,
    ) -> None:
        super().__init__()
        self.settings = arguments(locals())
        check_probabilities(self.settings)
        for name in ("time_mask_max", "frequency_mask_max", "band_low_max", "band_high_max"):
            if not 0 < self.settings[name] <= 1:
                raise UserError(f"{name}={self.settings[name]}: a share, above 0 and at most 1")
        for name in ("n_masks", "zero_max"):
            if self.settings[name] < 1:
                raise UserError(f"{name}={self.settings[name]}: at least 1")

    @torch.no_grad()
    def forward(self, image_BIHW: Tensor, key_B: Tensor, reversed_rows: Sequence[int] | None = None) -> Tensor:
        """Change a batch (B, channels, frequency, time), which is not written to, by the rows' keys.

        Sources of the same window that share a time axis are changed alike when they come with the same keys.
        `reversed_rows` is the order of the picture's rows in a window that runs backwards, where it is another one
        (`hbac.signal.RawImage`).
        """
        s = self.settings
        n_I, n_H = image_BIHW.shape[1:3]
        numbers = {
            "reverse": {},
            **{name: {name: 2 * s["n_masks"]} for name in ("time_mask", "frequency_mask")},
            "band": {"band": 2, "band count": 1, "band which": n_I},
            "zero": {"zero count": 1, "zero which": n_I},
        }
        chosen, drawn = draw_changes(key_B, s, numbers)
        if "reverse" in chosen:
            rows_H = slice(None) if reversed_rows is None else torch.tensor(reversed_rows, device=image_BIHW.device)
            image_BIHW = change_rows(image_BIHW, chosen["reverse"], lambda image, _: image.flip(-1)[:, :, rows_H])
        for name, axis in (("time_mask", -1), ("frequency_mask", -2)):
            if name in chosen:
                masked_BN = self._masked(drawn[name], s[f"{name}_max"], image_BIHW.shape[axis])
                masked_BIN = (masked_BN & chosen[name][:, None])[:, None]
                image_BIHW = image_BIHW.masked_fill(masked_BIN.unsqueeze(-3 - axis), s["mask_value"])
        most = min(s["zero_max"], n_I)
        if "band" in chosen:
            low_B1, high_B1 = torch.split(n_H * drawn["band"], 1, dim=1)
            row_H = torch.arange(n_H, device=image_BIHW.device)
            lost_BH = (row_H < s["band_low_max"] * low_B1) | (row_H >= n_H - s["band_high_max"] * high_B1)
            some_BI = some_of(drawn["band count"], drawn["band which"], most) & chosen["band"][:, None]
            image_BIHW = image_BIHW.masked_fill((some_BI[..., None] & lost_BH[:, None])[..., None], s["mask_value"])
        if "zero" in chosen:
            some_BI = some_of(drawn["zero count"], drawn["zero which"], most) & chosen["zero"][:, None]
            image_BIHW = image_BIHW.masked_fill(some_BI[..., None, None], s["mask_value"])
        return image_BIHW

    def _masked(self, drawn_BM: Tensor, share: float, length: int) -> Tensor:
        """Where along an axis the masks of each row lie: a width from 0 to the longest, then a place for it."""
        longest = max(1, round(share * length))
        width_BM1, place_BM1 = torch.split(drawn_BM[..., None], self.settings["n_masks"], dim=1)
        width_BM1 = (width_BM1 * (longest + 1)).long()
        start_BM1 = (place_BM1 * (length - width_BM1 + 1)).long()
        position_N = torch.arange(length, device=drawn_BM.device)
        masked_BN: Tensor = ((position_N >= start_BM1) & (position_N < start_BM1 + width_BM1)).any(1)
        return masked_BN


class Mixup(nn.Module):
    """Mix windows and their targets with those of partners.

    Whether and how much a row is mixed follows from its key; who its partner is, the loader decides
    (`hbac.data.epoch.EpochShuffle`), so that neither depends on the rest of the batch.

    Parameters
    ----------
    mix_p : float
        Probability of a mixture.
    share_max : float
        Largest share of the partner, drawn evenly from 0; at most one half, so that a row stays mostly itself.

    Examples
    --------
    >>> from hbac.signal.chance import row_keys
    >>> x_BCT, target_BK, key_B = torch.randn(4, 18, 100), torch.eye(6)[:4], row_keys(0, 0, torch.arange(4))
    >>> x, target = Mixup(mix_p=1.0)(x_BCT, target_BK, key_B, (x_BCT.flip(0), target_BK.flip(0)))
    >>> target.sum(1).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """

    def __init__(self, mix_p: float = 0.0, share_max: float = 0.5) -> None:
        super().__init__()
        self.settings = arguments(locals())
        check_probabilities(self.settings)
        if not 0 < share_max <= 0.5:
            raise UserError(f"share_max={share_max}: the partner's largest share, above 0 and at most 0.5")

    @torch.no_grad()
    def forward(
        self, x: Tensor, target_BK: Tensor, key_B: Tensor, partner: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Mix windows (B, ...) and targets (B, K) with those of their partners, by the same shares.

        Which follow from the keys.
        """
        chosen, drawn = draw_changes(key_B, self.settings, {"mix": {"mix": 1}})
        if not chosen:
            return x, target_BK
        share_B = drawn["mix"][:, 0] * self.settings["share_max"] * chosen["mix"]
        share = share_B.view(-1, *[1] * (x.ndim - 1)).to(x.dtype)
        return torch.lerp(x, partner[0], share), torch.lerp(target_BK, partner[1], share_B[:, None].to(target_BK.dtype))
