"""Raw EEG windows for networks that read signals."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from hbac.data.base import WindowDataModule
from hbac.signal.augment import RawAugment
from hbac.signal.front_end import EEGFrontEnd


class EEGDataModule(WindowDataModule):
    """Signals: ``raw`` augmentation of electrodes, the front-end, ``signal`` augmentation of derivations, ``mixup``.

    Its parameters are those of `WindowDataModule`.
    """

    STAGES = ("raw", "signal", "mixup")

    def augment_raw(self, windows: Mapping[str, Tensor], key_B: Tensor) -> dict[str, Tensor]:
        """Change the electrodes, or add ``mixing`` (batch, 20, 20): the front-end then does it, at no cost."""
        mixing_BCC = self._mixing(key_B)
        return super().augment_raw(windows, key_B) if mixing_BCC is None else {**windows, "mixing": mixing_BCC}

    def _mixing(self, key_B: Tensor | None) -> Tensor | None:
        """Say how the front-end is to change the electrodes, where it can."""
        raw = self.augment.get("raw")
        mixes = isinstance(raw, RawAugment) and isinstance(self.front_end, EEGFrontEnd) and key_B is not None
        return raw.mixing(key_B) if mixes else None  # type: ignore[union-attr]

    def before_cache(self) -> list[str]:
        """Return ``raw``, unless it can follow the filter."""
        follows = isinstance(self.augment.get("raw"), RawAugment) and isinstance(self.front_end, EEGFrontEnd)
        return [] if follows else super().before_cache()

    def to_cache(self, windows: Mapping[str, Tensor]) -> Tensor:
        """Filter and decimate all channels."""
        if not isinstance(self.front_end, EEGFrontEnd):
            return super().to_cache(windows)
        return self.front_end.filter(windows["eeg"])

    def from_cache(self, cached: Tensor, key_B: Tensor | None) -> Tensor:
        """Change electrodes and derive."""
        if not isinstance(self.front_end, EEGFrontEnd):
            return super().from_cache(cached, key_B)
        return self.front_end.derive(cached, self._mixing(key_B))

    def features(self, windows: Mapping[str, Tensor]) -> Tensor:
        """Filter and derive: (batch, derivations, samples)."""
        if "mixing" in windows and self.augment["raw"].settings["spread_p"]:
            # Electrodes that the montage leaves out have a part in it, too.
            x_BDT: Tensor = self.front_end.derive(self.front_end.filter(windows["eeg"]), windows["mixing"])  # type: ignore[operator]
        else:
            x_BDT = self.front_end(*(windows[name] for name in ("eeg", "mixing") if name in windows))
        return x_BDT

    def finish(self, features: Tensor, key_B: Tensor | None) -> Tensor:
        """Augment the derivations."""
        if key_B is None or "signal" not in self.augment:
            return features
        x_BDT: Tensor = self.augment["signal"](features, key_B)
        return x_BDT
