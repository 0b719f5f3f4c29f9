"""Raw EEG windows for networks that read signals."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from hbac.data.base import WindowDataModule


class EEGDataModule(WindowDataModule):
    """Signals: ``raw`` augmentation of electrodes, the front-end, ``signal`` augmentation of derivations, ``mixup``.

    Its parameters are those of `WindowDataModule`.
    """

    STAGES = ("raw", "signal", "mixup")

    def features(self, windows: Mapping[str, Tensor]) -> Tensor:
        """Filter and derive.

        Parameters
        ----------
        windows : mapping of str to Tensor
            With ``eeg`` (batch, 10000, 20).

        Returns
        -------
        Tensor
            Shape (batch, derivations, samples).
        """
        x_BDT: Tensor = self.front_end(windows["eeg"])
        return x_BDT

    def finish(self, features: Tensor, key_B: Tensor | None) -> Tensor:
        """Augment the derivations.

        Parameters
        ----------
        features : Tensor
            Shape (batch, derivations, samples).
        key_B : Tensor or None
            Keys of the rows; None: nothing is augmented.

        Returns
        -------
        Tensor
            The same shape.
        """
        if key_B is None or "signal" not in self.augment:
            return features
        x_BDT: Tensor = self.augment["signal"](features, key_B)
        return x_BDT
