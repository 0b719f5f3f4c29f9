"""A spectrogram whose middle columns are drawn out: what the label speaks of, finer than what is around it.

References
----------
Third place of the Kaggle competition "HMS - Harmful Brain Activity Classification" (2024), write-up 492471.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hbac.common.errors import UserError
from hbac.signal.constants import arguments
from hbac.signal.front_end import EEGFrontEnd, around_label
from hbac.signal.spectrogram_image import REGIONS_MONTAGE, SpectrogramImage
from hbac.vocabulary import SFREQ, WINDOW_SAMPLES

# Legend of tensor names: B window, C stored channel, D derivation, T sample, I image channel, H row (frequency), W
# column.


class ZoomInside(nn.Module):
    """Spectrograms of filtered derivations, in which a finer one of the centre takes the place of the middle columns.

    The centre is that of what the label speaks of: where a window was moved away from it (``labels.jitter_s``), other
    samples are drawn out, and other columns give way. The filter comes first, because the short frames of a zoom cannot
    tell a slow drift from anything else.

    Parameters
    ----------
    whole, centre : SpectrogramImage
        How the window and the samples around its centre are shown: of any kind, at one height and with one montage;
        ``n_times`` of the centre says how many samples it shows.
    montage : str
        That of both.
    band : str
        To which derivations are filtered, as `hbac.signal.band.parse_band` reads it.
    n_times, sfreq : int, float
        Samples of the stored window, and their rate in hertz.
    replaced : float
        Share of the columns of the whole that give way, above 0 and below 1.
    clip_uv : float
        Derivations are clipped to plus and minus so many microvolts.

    Examples
    --------
    >>> from hbac.signal import MelImage
    >>> whole, centre = MelImage(height=32, width=100), MelImage(height=32, width=100, n_times=2000)
    >>> ZoomInside(whole, centre, montage="regions")(torch.randn(2, 20, 10000)).shape
    torch.Size([2, 4, 32, 180])
    """

    def __init__(
        self,
        whole: SpectrogramImage,
        centre: SpectrogramImage,
        montage: str = "alternating_16",
        band: str = "0.5-20",
        n_times: int = WINDOW_SAMPLES,
        sfreq: float = SFREQ,
        replaced: float = 0.2,
        clip_uv: float = 1024.0,
    ) -> None:
        super().__init__()
        settings = arguments(locals()) | {"band": str(band)}
        self.settings = {name: value for name, value in settings.items() if name not in ("whole", "centre")}
        for name, part in (("whole", whole), ("centre", centre)):
            if not isinstance(part, SpectrogramImage) or part.zoom_s is not None:
                raise UserError(f"{name}: a spectrogram with zoom_s=null")
            if part.montage != montage:
                raise UserError(f"{name}.montage={part.montage}: must be montage={montage}")
        if whole.n_times != n_times or not centre.n_times < n_times or whole.height != centre.height:
            raise UserError(
                f"centre.n_times={centre.n_times}, centre.height={centre.height}: fewer samples than the window's "
                f"{n_times}, and the height of the whole, {whole.height}"
            )
        self._replaced = 2 * int(replaced * whole.width / 2)
        if not 0 < self._replaced < whole.width:
            raise UserError(f"replaced={replaced:g}: a share of the {whole.width} columns, above 0 and below 1")
        self.whole, self.centre = whole, centre
        derivations = "chains_16" if montage == REGIONS_MONTAGE else montage
        self._signal = EEGFrontEnd(derivations, band, n_times, sfreq, sfreq_out=sfreq, clip_uv=clip_uv, scale_uv=1.0)
        self.n_chans, self.channels, self.height = whole.n_chans, whole.channels, whole.height
        self.width = whole.width - self._replaced + centre.width

    def forward(self, eeg_BCT: Tensor, shift_B: Tensor | None = None) -> Tensor:
        """Make the images of a batch, as `SpectrogramImage.forward` does."""
        x_BDT = self._signal(eeg_BCT.transpose(1, 2))
        whole_BIHW = self.whole.of_derivations(x_BDT)
        centre_BIHW = self.centre.of_derivations(around_label(x_BDT, self.centre.n_times, shift_B))
        n_whole, n_centre, n_replaced = self.whole.width, self.centre.width, self._replaced
        first = n_whole // 2 - n_replaced // 2
        if shift_B is None:
            left, right = whole_BIHW[..., :first], whole_BIHW[..., first + n_replaced :]
            return torch.cat([left, centre_BIHW, right], dim=-1)
        moved_B = (shift_B / (self.whole.n_times // n_whole)).round().long()
        first_B1 = (first - moved_B).clamp_(0, n_whole - n_replaced)[:, None]
        # Columns of whole and centre side by side, in the order in which they are shown.
        column_W = torch.arange(self.width, device=x_BDT.device)
        after_BW = torch.where(column_W < first_B1 + n_centre, n_whole - first_B1, n_replaced - n_centre)
        source_BW = column_W + torch.where(column_W < first_B1, 0, after_BW)
        both_BIHV = torch.cat([whole_BIHW, centre_BIHW], dim=-1)
        return both_BIHV.gather(3, source_BW[:, None, None].expand(-1, self.n_chans, self.height, -1))
