"""EfficientNet, or any other backbone of timm, on spectrogram images.

The images come normalised from the front-end; what is left for the network is what its weights expect of them.
"""

# Shapes: B window, C image channel, H frequency, W time, F feature, K class

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hbac.common.choices import check_choice
from hbac.common.errors import UserError
from hbac.models.backbone import backbone_layers, check_backbone_settings, make_backbone, make_input_norm, own_size
from hbac.models.parts import GeM, check_counts, check_shares, start_uniform
from hbac.models.rates import ParameterGroup, layerwise_groups
from hbac.vocabulary import N_CLASSES

POOLINGS = ("average", "gem")


class EfficientNet(nn.Module):
    """A timm backbone between an input normalisation and a linear head.

    Parameters
    ----------
    backbone : str
        A model of timm, with or without the tag of its weights: ``efficientnet_b0``,
        ``tf_efficientnetv2_s.in21k_ft_in1k``.
    in_chans : int
        Channels of the images. Pretrained weights of the first convolution are repeated over them and scaled,
        as timm does; with one channel they are summed, which equals three equal channels.
    n_outputs : int
        Classes.
    pooling : {"average", "gem"}
        Mean over the feature map, or the generalised mean, whose exponent is learned: between mean and maximum.
    dropout : float
        Share of the pooled features that are dropped before the last layer, 0 to 1.
    drop_path : float
        Share of the residual branches that are dropped in the last block; linearly fewer before, 0 to 1.
    pretrained : bool
        Start from timm's weights, from its cache or else from the network.
    pretrained_file : str or None
        Start from this safetensors file with timm's names for the backbone's weights; needs no network.
    input_norm : {"batch", "unit_range", "none"}
        Pretrained weights expect channels of about mean 0 and deviation 1. ``batch`` brings any image there by the
        mean and deviation that each channel has over the training data; ``unit_range`` is for images from 0 to 1,
        and applies the mean and deviation that belong to the weights; ``none`` is for images that are there already.
    backbone_lr_factor : float
        Learning rate of the backbone over that of the head, for `parameter_groups`; below 1 keeps what pretrained
        weights know.
    channels_last : bool
        Compute in channels-last memory format: 1.1 to 1.6 times as fast on a CPU (benchmarks/efficientnet.py),
        and what GPUs want for float16 and bfloat16. The results are the same.
    image_size : sequence of int or None
        Height and width that the images are brought to, bilinearly. None: as they come, or, for a backbone that was
        made for one size (``maxvit_tiny_rw_224``), that size.

    Raises
    ------
    UserError
        For an unknown backbone, one that gives no map of features or cannot read that size, settings out of range, and
        pretrained weights that cannot be had or do not fit. It never starts from random weights when asked for
        pretrained ones.

    References
    ----------
    Tan and Le (2019), EfficientNet: rethinking model scaling for convolutional neural networks, arXiv:1905.11946.
    Generalised mean: Radenović et al. (2019), Fine-tuning CNN image retrieval with no human annotation,
    doi:10.1109/TPAMI.2018.2846566.
    Weights and backbones: Wightman (2019), PyTorch image models, doi:10.5281/zenodo.4414861.

    Examples
    --------
    >>> EfficientNet(backbone="test_efficientnet", in_chans=4)(torch.zeros(2, 4, 64, 64)).shape
    torch.Size([2, 6])
    """

    def __init__(
        self,
        backbone: str = "efficientnet_b0",
        in_chans: int = 8,
        n_outputs: int = N_CLASSES,
        pooling: str = "average",
        dropout: float = 0.2,
        drop_path: float = 0.0,
        pretrained: bool = False,
        pretrained_file: str | None = None,
        input_norm: str = "batch",
        backbone_lr_factor: float = 1.0,
        channels_last: bool = True,
        image_size: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        check_counts({"in_chans": in_chans, "n_outputs": n_outputs})
        check_shares({"dropout": dropout, "drop_path": drop_path})
        check_choice("model.pooling", pooling, POOLINGS)
        check_backbone_settings(input_norm, backbone_lr_factor)
        self.in_chans, self.n_outputs = in_chans, n_outputs
        self.backbone_lr_factor, self.channels_last = backbone_lr_factor, channels_last

        if image_size is not None and (len(image_size) != 2 or min(image_size) < 1):
            raise UserError(f"model.image_size={list(image_size)}: height and width, such as [224,224]")
        self.image_size = own_size(backbone) if image_size is None else list(image_size)
        self.backbone = make_backbone(backbone, in_chans, drop_path, pretrained, pretrained_file, self.image_size)
        self.input_norm = make_input_norm(input_norm, in_chans, self.backbone.pretrained_cfg)
        self.pool = GeM() if pooling == "gem" else nn.AdaptiveAvgPool2d(1)
        self.head_dropout = nn.Dropout(dropout)
        self.final_layer = nn.Linear(self.backbone.head_hidden_size, n_outputs)
        start_uniform(self.final_layer)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Map images (window, channel, frequency, time), without NaN, to logits (window, class)."""
        if self.image_size is not None and list(x_BCHW.shape[-2:]) != self.image_size:
            x_BCHW = F.interpolate(x_BCHW, self.image_size, mode="bilinear", antialias=True, align_corners=False)
        if self.channels_last:
            # The weights stay as they are: a convolution follows the format of its input, and
            # safetensors files hold contiguous tensors only.
            x_BCHW = x_BCHW.contiguous(memory_format=torch.channels_last)
        map_BFHW = self.backbone(self.input_norm(x_BCHW))
        logits_BK: Tensor = self.final_layer(self.head_dropout(self.pool(map_BFHW).flatten(1)))
        return logits_BK

    def parameter_groups(self, lr: float) -> list[ParameterGroup]:
        """Return the optimiser's groups: `lr` for the head, ``lr * backbone_lr_factor`` for the backbone."""
        return layerwise_groups([self.backbone, self._head()], lr, decay=self.backbone_lr_factor)

    def layers(self) -> list[nn.Module]:
        """Return what has weights, from input to output: the backbone's stem and stages, the head."""
        return [*backbone_layers(self.backbone), self._head()]

    def _head(self) -> nn.Module:
        return nn.ModuleList([self.pool, self.final_layer])
