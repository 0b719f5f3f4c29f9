"""Spectrogram images for networks that read pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from hbac.data.base import WindowDataModule
from hbac.errors import UserError
from hbac.recordings.datasets import Part
from hbac.signal.image_front_end import ImageFrontEnd, RegionSwap


class SpectrogramDataModule(WindowDataModule):
    """Images: ``raw`` augmentation of electrodes, ``image`` augmentation of each picture, layout, ``mixup``.

    Spectrograms of the EEG are made on the model's device from the raw windows, whatever band and montage; official
    ones are read as the data set has them, in training as for the test part.

    Where ``raw`` exchanges left and right electrodes of a window, the regions of its official spectrogram are exchanged
    as well; ``image`` reverses the time of both or of none.

    Parameters
    ----------
    part : Part
        The data set's part. Its official spectrograms are read only if `sources` says so; those that are missing count
        as NaN if the data set masks them.
    front_end : ImageFrontEnd, optional
        Makes the images; one with its defaults where absent.
    sources : str
        ``eeg``, ``official`` or ``both``: what the images show. Must be that of `front_end`.
    **settings
        Further arguments of `WindowDataModule`.

    Raises
    ------
    UserError
        When `sources` is not what the front-end reads.
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
        self.images = images
        raw = self.augment.get("raw")
        self.swap = RegionSwap(raw.settings["swap_p"]) if raw is not None else RegionSwap()

    def augmented_input(self, windows: Mapping[str, Tensor], key_B: Tensor) -> Tensor:
        """Make images of a training batch.

        Parameters
        ----------
        windows : mapping of str to Tensor
            With ``eeg`` (batch, 10000, 20), ``official`` (batch, 300, 400), or both.
        key_B : Tensor
            Keys of the rows.

        Returns
        -------
        Tensor
            Shape (batch, channels, frequency, time).
        """
        windows = dict(windows)
        if "eeg" in windows and "raw" in self.augment:
            windows["eeg"] = self.augment["raw"](windows["eeg"], key_B)
        if "official" in windows:
            windows["official"] = self.swap(windows["official"], key_B)
        images = self.images.images(*windows.values())
        if "image" in self.augment:
            images = {name: self.augment["image"](image, key_B) for name, image in images.items()}
        return self.images.compose(images)
