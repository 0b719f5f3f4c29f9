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

    def augmented_input(self, windows: Mapping[str, Tensor], key_B: Tensor) -> Tensor:
        """Make signals of a training batch.

        Parameters
        ----------
        windows : mapping of str to Tensor
            With ``eeg`` (batch, 10000, 20).
        key_B : Tensor
            Keys of the rows.

        Returns
        -------
        Tensor
            Shape (batch, derivations, samples).
        """
        eeg_BTC = windows["eeg"]
        if "raw" in self.augment:
            eeg_BTC = self.augment["raw"](eeg_BTC, key_B)
        x_BDT: Tensor = self.front_end(eeg_BTC)
        if "signal" in self.augment:
            x_BDT = self.augment["signal"](x_BDT, key_B)
        return x_BDT
