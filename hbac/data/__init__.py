"""LightningDataModules: each hands the model its ready input."""

from hbac.data.branches import FusionDataModule
from hbac.data.eeg import EEGDataModule
from hbac.data.spectrogram import SpectrogramDataModule

__all__ = ["EEGDataModule", "FusionDataModule", "SpectrogramDataModule"]
