"""Spectrogram images for networks that read pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from hbac.common.errors import UserError
from hbac.data.base import WindowDataModule
from hbac.recordings.datasets import Part
from hbac.signal.image_front_end import ImageFrontEnd
from hbac.signal.raw_image import RawImage


class SpectrogramDataModule(WindowDataModule):
    """Images: ``raw`` augmentation of electrodes, ``image`` augmentation of each picture, layout, ``mixup``.

    Spectrograms of the EEG are made on the model's device from the raw windows, whatever band and montage; official
    ones are read as the data set has them, in training as for the test part, and only if `sources` says so.

    Where ``raw`` exchanges left and right electrodes of a window, the regions of its official spectrogram are exchanged
    as well; ``image`` reverses the time of both or of none. `sources`, ``eeg``, ``official`` or ``both``, must be that
    of the front-end. `settings` are those of `WindowDataModule`.
    """

    STAGES = ("raw", "image", "mixup")

    def __init__(
        self, part: Part, front_end: ImageFrontEnd | None = None, sources: str = "both", **settings: Any
    ) -> None:
        images = ImageFrontEnd(sources=sources) if front_end is None else front_end
        wanted = getattr(images, "settings", {}).get("sources")
        if wanted != sources:
            raise UserError(f"data.sources={sources}: the front-end makes its images from {wanted or 'signals'}")
        super().__init__(part, images, **settings)

    @property
    def images(self) -> ImageFrontEnd:
        """The front-end."""
        return cast(ImageFrontEnd, self.front_end)

    def features(self, windows: Mapping[str, Tensor]) -> Tensor:
        """Make the pictures, not yet laid out: (batch, channels of all pictures, frequency, time)."""
        given = (windows[name] for name in self.images.sources)
        return torch.cat(list(self.images.images(*given, shift_B=windows.get("shift")).values()), dim=1)

    def finish(self, features: Tensor, key_B: Tensor | None) -> Tensor:
        """Augment each picture, and lay them out: (batch, channels, frequency, time)."""
        sizes = [len(cast("tuple[str, ...]", picture.channels)) for picture in self.images.pictures.values()]
        images = dict(zip(self.images.pictures, torch.split(features, sizes, dim=1), strict=True))
        if key_B is not None and "image" in self.augment:
            # Of raw signals, which fold into rows; other people's augmentations may know nothing of them.
            rows = {name: (p.reversed_rows,) for name, p in self.images.pictures.items() if isinstance(p, RawImage)}
            images = {name: self.augment["image"](x, key_B, *rows.get(name, ())) for name, x in images.items()}
        return self.images.compose(images)
