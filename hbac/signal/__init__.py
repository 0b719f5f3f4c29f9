"""Pure torch: montages, band-pass and decimation, spectrogram images, augmentations.

Everything here is a function or a `torch.nn.Module` without learnt parameters that works on a whole batch on the
model's device. Nothing here knows Lightning, Hydra or pandas.
"""

from hbac.signal.augment import RawAugment
from hbac.signal.augment_image import ImageAugment, Mixup
from hbac.signal.augment_signal import SignalAugment
from hbac.signal.band import BandPass, parse_band
from hbac.signal.chance import row_keys
from hbac.signal.front_end import EEGFrontEnd
from hbac.signal.fusion_front_end import FusionFrontEnd
from hbac.signal.image_front_end import ImageFrontEnd, RegionSwap
from hbac.signal.mel import MelImage
from hbac.signal.montage import get_montage
from hbac.signal.official import OfficialImage
from hbac.signal.raw_image import RawImage
from hbac.signal.scalogram import MorletScalogram
from hbac.signal.stft import LogSTFT, Multitaper
from hbac.signal.tiles import ImageLayout
from hbac.signal.zoom_inside import ZoomInside

__all__ = [
    "BandPass",
    "EEGFrontEnd",
    "FusionFrontEnd",
    "ImageAugment",
    "ImageFrontEnd",
    "ImageLayout",
    "LogSTFT",
    "MelImage",
    "Mixup",
    "MorletScalogram",
    "Multitaper",
    "OfficialImage",
    "RawAugment",
    "RawImage",
    "RegionSwap",
    "SignalAugment",
    "ZoomInside",
    "get_montage",
    "parse_band",
    "row_keys",
]
