"""The data module of networks with several branches: each branch's input, joined."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from hbac.data.base import WindowDataModule


class FusionDataModule(WindowDataModule):
    """Windows for several branches: ``raw`` augmentation of electrodes, the front-ends, ``mixup``.

    What happens to electrodes happens to all branches alike; left and right of official spectrograms are exchanged with
    them. Its parameters are those of `WindowDataModule`.
    """

    def features(self, windows: Mapping[str, Tensor]) -> Tensor:
        """Return what the branches' front-ends make, (batch, numbers of all branches)."""
        moved = {"shift_B": windows["shift"]} if "shift" in windows else {}
        x_BN: Tensor = self.front_end(*(windows[name] for name in self.sources), **moved)
        return x_BN

    def finish(self, features: Tensor, key_B: Tensor | None) -> Tensor:
        """Return them as they are."""
        return features
