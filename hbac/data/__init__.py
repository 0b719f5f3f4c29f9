"""LightningDataModules: each hands the model its ready input."""

from hbac.data.eeg import EEGDataModule

__all__ = ["EEGDataModule"]
