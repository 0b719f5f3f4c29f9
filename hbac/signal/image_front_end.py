"""From the stored windows to what a network on pictures reads: spectrograms, laid out on one image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hbac.common.choices import check_choice
from hbac.common.errors import UserError
from hbac.signal.augment import change_rows, check_probabilities, draw_changes
from hbac.signal.constants import Constants
from hbac.signal.mel import MelImage
from hbac.signal.montage import REGION_MIRROR
from hbac.signal.official import N_FREQUENCIES, OfficialImage
from hbac.signal.raw_image import RawImage
from hbac.signal.spectrogram_image import SpectrogramImage
from hbac.signal.tiles import ImageLayout
from hbac.signal.zoom_inside import ZoomInside
from hbac.vocabulary import SPECTROGRAM_REGIONS

# Legend of tensor names: B window, R row of an official spectrogram, K its column, I image channel, H row (frequency),
# W column (time).

#: What can be read of a window, in the order in which front-ends take it.
SOURCES = ("eeg", "official")
_CHOICES = {"eeg": ("eeg",), "official": ("official",), "both": SOURCES}


class ImageFrontEnd(nn.Module):
    """Pictures of the EEG, of the official 10-minute spectrograms, or of both, as one image.

    Parameters
    ----------
    sources : {"eeg", "official", "both"}
        What the image shows.
    image : mapping of str to SpectrogramImage, ZoomInside or RawImage, or None
        Images made from the EEG, by a name each; several show the same EEG in several ways (the whole window and
        its centre, say). None: the mel image at the tiles' size. Not used for ``official``.
    layout : {"stack", "tiles"}
        Each picture a channel of its own, or all side by side in one plane, as in the public recipe.
    tile_height, tile_width : int or None
        Pixels of each picture: frequencies and times. 128 x 256 is the public size; less makes training possible on
        a CPU. None: the size that the pictures of the EEG have themselves.
    in_chans : int
        Equal channels of the ``tiles`` layout; not used for ``stack``, nor where there are differences.
    differences : sequence of {"others", "neighbours"}
        Further channels of the ``tiles`` layout, which show each spectrogram minus the mean of other ones: see
        `hbac.signal.ImageLayout`.

    Attributes
    ----------
    in_chans, height, width : int
        Shape of the finished image.
    layout : ImageLayout
        Says where on it each picture lies.

    Examples
    --------
    >>> front_end = ImageFrontEnd(tile_height=64, tile_width=128)
    >>> front_end(torch.zeros(2, 10000, 20, dtype=torch.float16), torch.ones(2, 300, 400)).shape
    torch.Size([2, 8, 64, 128])
    """

    def __init__(
        self,
        sources: str = "both",
        image: Mapping[str, SpectrogramImage | ZoomInside | RawImage] | None = None,
        layout: str = "stack",
        tile_height: int | None = 128,
        tile_width: int | None = 256,
        in_chans: int = 3,
        differences: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.sources = _CHOICES[check_choice("sources", sources, _CHOICES)]
        self.settings: dict[str, Any] = {
            "sources": sources,
            "layout": layout,
            "tile_height": tile_height,
            "tile_width": tile_width,
            "in_chans": in_chans,
            "differences": list(differences),
        }
        pictures: dict[str, nn.Module] = {}
        if "official" in self.sources:
            pictures["official"] = OfficialImage()  # first, that is left in the public layout
        if "eeg" in self.sources:
            made = (
                {"mel": MelImage(height=tile_height or 128, width=tile_width or 256)} if image is None else dict(image)
            )
            if not made or "official" in made:
                raise UserError(f"front_end.image={list(made)}: at least one picture, and none named official")
            pictures |= made
        self.pictures = nn.ModuleDict(pictures)
        self._size = (_side("height", tile_height, pictures), _side("width", tile_width, pictures))
        channels = {name: picture.channels for name, picture in pictures.items()}
        if differences and any(isinstance(picture, RawImage) for picture in pictures.values()):
            raise UserError(f"front_end.differences=[{','.join(differences)}]: only of spectrograms; set it to []")
        self.layout = ImageLayout(layout, list(pictures), channels, *self._size, in_chans, differences)  # type: ignore[arg-type]
        self.in_chans, self.height, self.width = self.layout.n_chans, self.layout.height, self.layout.width

    def network_arguments(self) -> dict[str, Any]:
        """Return what a network's constructor has to know of its input: ``in_chans``."""
        return {"in_chans": self.in_chans}

    def images(self, *windows: Tensor, shift_B: Tensor | None = None) -> dict[str, Tensor]:
        """Make the pictures at the size that they have on the image: (B, its channels, height and width of a tile).

        Windows come one for each of `sources`, of any floating type, NaN where missing: EEG (B, 10000, 20) in
        microvolt, official spectrograms (B, 300, 400), power. `shift_B` says by how many samples each window of EEG was
        moved away from its label, which zooms follow.
        """
        if len(windows) != len(self.sources):
            raise ValueError(f"{len(windows)} tensors of windows for the sources {', '.join(self.sources)}")
        given = dict(zip(self.sources, windows, strict=True))
        if "eeg" in given:
            given["eeg"] = given["eeg"].transpose(1, 2)
        moved = () if shift_B is None else (shift_B,)
        return {
            name: self._sized(picture(given["official"]) if name == "official" else picture(given["eeg"], *moved))
            for name, picture in self.pictures.items()
        }

    def _sized(self, image_BIHW: Tensor) -> Tensor:
        # Here and not in the layout, so that augmentations of the pictures have no more pixels to change than are seen.
        if tuple(image_BIHW.shape[-2:]) == self._size:
            return image_BIHW
        return F.interpolate(image_BIHW, self._size, mode="bilinear", antialias=True, align_corners=False)

    def compose(self, images: Mapping[str, Tensor]) -> Tensor:
        """Lay pictures, as `images` returns them, out to (B, in_chans, height, width)."""
        x_BIHW: Tensor = self.layout(images)
        return x_BIHW

    def forward(self, *windows: Tensor, shift_B: Tensor | None = None) -> Tensor:
        """Make a network's input, (B, in_chans, height, width), of what `images` takes.

        Float64 for float64, else float32.
        """
        return self.compose(self.images(*windows, shift_B=shift_B))


def _side(side: str, chosen: int | None, pictures: Mapping[str, nn.Module]) -> int:
    """Height or width of the tiles: as chosen, or that of the EEG's pictures; samples are no pixels to interpolate."""
    sizes = {name: int(getattr(picture, side)) for name, picture in pictures.items() if name != "official"}
    if chosen is None and len(set(sizes.values())) != 1:
        found = ", ".join(f"{name} {size}" for name, size in sizes.items()) or "no picture of the EEG"
        raise UserError(f"front_end.tile_{side}=null: needs pictures of one {side}, found {found}; set it to a number")
    size = next(iter(sizes.values())) if chosen is None else chosen
    for name, own in sizes.items():
        if isinstance(pictures[name], RawImage) and own != size:
            raise UserError(
                f"front_end.tile_{side}={size}: the {side} of {name} is {own}, a pixel a sample, and cannot be "
                f"another; set it to null (or change rows_per_derivation)"
            )
    return size


def official_mirror() -> Tensor:
    """Return the permutation, int64 (400,), of an official spectrogram's columns that exchanges left and right."""
    partners = [SPECTROGRAM_REGIONS.index(REGION_MIRROR[region]) for region in SPECTROGRAM_REGIONS]
    first_K1 = torch.tensor(partners)[:, None] * N_FREQUENCIES
    return (first_K1 + torch.arange(N_FREQUENCIES)).flatten()


class RegionSwap(nn.Module):
    """Exchange left and right regions of official spectrograms, with a probability from 0 to 1.

    The choice of a row is that of `hbac.signal.RawAugment` with the same probability, so that EEG and official
    spectrogram of a window are exchanged together or not at all.

    Examples
    --------
    >>> from hbac.signal.chance import row_keys
    >>> RegionSwap(1.0)(torch.arange(400.0).expand(1, 300, 400), row_keys(0, 0, torch.arange(1)))[0, 0, 0]
    tensor(100.)
    """

    def __init__(self, swap_p: float = 0.0) -> None:
        super().__init__()
        check_probabilities({"swap_p": swap_p})
        self.swap_p = swap_p
        self._constants = Constants({"mirror_K": official_mirror()})

    @torch.no_grad()
    def forward(self, power_BRK: Tensor, key_B: Tensor) -> Tensor:
        """Change a batch of spectrograms (B, rows, 400), columns in the stored order, by the rows' keys.

        It is not written to.
        """
        chosen, _ = draw_changes(key_B, {"swap_p": self.swap_p}, {"swap": {}})
        if not chosen:
            return power_BRK
        mirror_K = self._constants.get("mirror_K", power_BRK)
        return change_rows(power_BRK, chosen["swap"], lambda power, _: power.index_select(2, mirror_K))
