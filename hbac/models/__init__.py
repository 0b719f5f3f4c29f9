"""Networks in pure torch, one architecture a file; `MODELS` is the list that the contract tests run over.

Each takes plain keyword arguments, of which ``n_outputs`` and, for signals, ``n_chans, n_times, sfreq`` are
named as in braindecode; ``forward(x)`` gives logits (window, class); the last layer is ``final_layer``. `Braindecode`
stands apart: what it wraps has a last layer and a start of its own.
"""

from hbac.models.braindecode import Braindecode
from hbac.models.conv_squeezeformer import ConvSqueezeformer
from hbac.models.efficientnet import EfficientNet
from hbac.models.efficientnet_1d import EfficientNet1d
from hbac.models.fusion import Fusion
from hbac.models.public_resnet_gru import PublicResNetGRU
from hbac.models.resnet_gru import ResNetGRU
from hbac.models.sparcnet import SPaRCNet
from hbac.models.volume import Volume
from hbac.models.wavenet_2d import WaveNet2d

MODELS = (
    ResNetGRU,
    EfficientNet,
    PublicResNetGRU,
    SPaRCNet,
    EfficientNet1d,
    ConvSqueezeformer,
    Volume,
    WaveNet2d,
    Fusion,
)

__all__ = [
    "MODELS",
    "Braindecode",
    "ConvSqueezeformer",
    "EfficientNet",
    "EfficientNet1d",
    "Fusion",
    "PublicResNetGRU",
    "ResNetGRU",
    "SPaRCNet",
    "Volume",
    "WaveNet2d",
]
