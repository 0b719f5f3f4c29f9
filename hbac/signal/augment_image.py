"""Augmentations of spectrogram images, and mixtures of windows of any kind.

As in `hbac.signal.augment`, each row is changed by its own chance, which follows from its key alone.

References
----------
Masks: Park et al. 2019, "SpecAugment", doi:10.21437/Interspeech.2019-2680. Mixtures: Zhang et al. 2018, "mixup:
beyond empirical risk minimization", doi:10.48550/arXiv.1710.09412.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from hbac.common.errors import UserError
from hbac.signal.augment import change_rows, check_probabilities
from hbac.signal.chance import happens, uniforms

# Legend of tensor names: B window (row), I image channel, H row (frequency), W column (time), K class.


def _torchaudio_mask() -> Callable[..., Tensor]:
    try:
        from torchaudio.functional import mask_along_axis
    except (
        ImportError,
        OSError,
        RuntimeError,
    ) as error:  # a wheel for CUDA beside a torch without, or for another CUDA
        raise UserError(
            "augment: time and frequency masks need torchaudio, which cannot be imported here "
            f"({error}); install the torchaudio that pairs with torch {torch.__version__} "
            "(pip install torchaudio, from the same index as torch), or set time_mask_p=0 and frequency_mask_p=0"
        ) from error
    function: Callable[..., Tensor] = mask_along_axis
    return function


class ImageAugment(nn.Module):
    """Augment spectrogram images of shape (B, channels, frequency, time), before they are laid out.

    Parameters
    ----------
    reverse_p : float
        Probability of running time backward (a horizontal flip).
    time_mask_p : float
        Probability of masking columns.
    time_mask_max : float
        Largest share of the columns that a mask covers.
    frequency_mask_p : float
        Probability of masking rows.
    frequency_mask_max : float
        Largest share of the rows that a mask covers.
    n_masks : int
        Masks of each kind.
    mask_value : float
        What masked pixels become.

    Attributes
    ----------
    settings : dict
        The constructor's arguments, plain, for a JSON file.

    Raises
    ------
    UserError
        If a probability or range cannot be, or torchaudio is needed and not there.

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
    ) -> None:
        super().__init__()
        self.settings: dict[str, Any] = {
            "reverse_p": reverse_p,
            "time_mask_p": time_mask_p,
            "time_mask_max": time_mask_max,
            "frequency_mask_p": frequency_mask_p,
            "frequency_mask_max": frequency_mask_max,
            "n_masks": n_masks,
            "mask_value": mask_value,
        }
        check_probabilities(self.settings)
        for name in ("time_mask_max", "frequency_mask_max"):
            if not 0 < self.settings[name] <= 1:
                raise UserError(f"{name}={self.settings[name]}: a share, above 0 and at most 1")
        if n_masks < 1:
            raise UserError(f"n_masks={n_masks}: at least 1")
        if time_mask_p or frequency_mask_p:
            _torchaudio_mask()  # better now than in the middle of an epoch

    @torch.no_grad()
    def forward(self, image_BIHW: Tensor, key_B: Tensor) -> Tensor:
        """Change a batch.

        Parameters
        ----------
        image_BIHW : Tensor
            Shape (B, channels, frequency, time); not written to. Sources of the same window that share a time
            axis are changed alike when they come with the same keys.
        key_B : Tensor
            The rows' keys, int64, shape (B,), on the same device.

        Returns
        -------
        Tensor
            As `image_BIHW`.
        """
        s = self.settings
        if s["reverse_p"]:
            chosen_B = happens(key_B, "reverse", s["reverse_p"])
            image_BIHW = change_rows(image_BIHW, chosen_B, lambda image, _: image.flip(-1))
        for name, axis in (("time_mask", -1), ("frequency_mask", -2)):
            if s[f"{name}_p"]:
                chosen_B = happens(key_B, name, s[f"{name}_p"])
                masks = self._masks(key_B, name, image_BIHW.shape[axis])
                masks = masks[:, None, None, :] if axis == -1 else masks[:, None, :, None]
                masks = masks & chosen_B[:, None, None, None]
                image_BIHW = image_BIHW.masked_fill(masks, s["mask_value"])
        return image_BIHW

    def _masks(self, key_B: Tensor, name: str, length: int) -> Tensor:
        """Draw masks of shape (B, length) with torchaudio, whose generator gets each row's own number."""
        mask_along_axis = _torchaudio_mask()
        longest = max(1, round(self.settings[f"{name}_max"] * length))
        seeds = (uniforms(key_B, name)[:, 0] * (1 << 24)).long().tolist()
        open_BT = torch.ones(len(seeds), 1, length)
        with torch.random.fork_rng(devices=[]):
            for row, seed in enumerate(seeds):
                torch.default_generator.manual_seed(seed)
                for _ in range(self.settings["n_masks"]):
                    open_BT[row] = mask_along_axis(open_BT[row], longest, 0.0, 1)
        return (open_BT[:, 0] == 0).to(key_B.device)


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

    Attributes
    ----------
    settings : dict
        The constructor's arguments, plain, for a JSON file.

    Raises
    ------
    UserError
        If a number cannot be.

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
        self.settings: dict[str, Any] = {"mix_p": mix_p, "share_max": share_max}
        check_probabilities(self.settings)
        if not 0 < share_max <= 0.5:
            raise UserError(f"share_max={share_max}: the partner's largest share, above 0 and at most 0.5")

    @torch.no_grad()
    def forward(
        self, x: Tensor, target_BK: Tensor, key_B: Tensor, partner: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Mix a batch.

        Parameters
        ----------
        x : Tensor
            Shape (B, ...), signals or images.
        target_BK : Tensor
            Shape (B, K), shares.
        key_B : Tensor
            The rows' keys, int64, shape (B,), on the same device.
        partner : tuple of Tensor
            Windows and targets of the partners, shaped as `x` and `target_BK`.

        Returns
        -------
        tuple of Tensor
            Windows and targets, both mixed with the same shares.
        """
        if not self.settings["mix_p"]:
            return x, target_BK
        share_B = uniforms(key_B, "mix")[:, 0] * self.settings["share_max"]
        share_B = share_B * happens(key_B, "mix", self.settings["mix_p"])
        share = share_B.view(-1, *[1] * (x.ndim - 1)).to(x.dtype)
        return torch.lerp(x, partner[0], share), torch.lerp(target_BK, partner[1], share_B[:, None].to(target_BK.dtype))
