"""Chains of electrodes as the depth of a volume: a timm backbone reads each chain, 3-d convolutions all together.

Every chain's spectrograms are one picture, seen by the same weights; what the backbone finds in them is stacked along a
new axis, the chains, over which convolutions let neighbouring regions and both sides of the head meet.
"""

# Shapes: B window, C image channel, R chain, H frequency, W time, F feature, K class

from __future__ import annotations

import torch
from torch import Tensor, nn

from hbac.models.backbone import backbone_layers, check_backbone_settings, make_backbone, make_input_norm
from hbac.models.parts import chains_of, check_counts, check_shares, start_uniform
from hbac.models.rates import ParameterGroup, layerwise_groups
from hbac.vocabulary import N_CLASSES


class Volume(nn.Module):
    """A timm backbone for each chain, residual 3-d convolutions over chains, frequencies and times, a linear head.

    Parameters
    ----------
    backbone : str
        A model of timm, as `hbac.models.EfficientNet` takes it; reads pictures of one channel.
    in_chans : int
        Pictures, one a derivation, chain after chain: the layout ``stack`` of the montage ``chains_16``.
    n_outputs : int
        Classes.
    n_chains : int or None
        Chains that the pictures stand in, equally many in each, one below another. None: four where that divides their
        number, else each picture is a chain of its own.
    width : int
        Features of the 3-d convolutions.
    depth : int
        Residual 3-d convolutions.
    head_width : int
        Features that are pooled, by their mean and their maximum.
    dropout : float
        Share of the pooled features that are dropped before the last layer, 0 to 1.
    drop_path : float
        As `hbac.models.EfficientNet` takes it.
    pretrained, pretrained_file, input_norm, backbone_lr_factor
        As `hbac.models.EfficientNet` takes them.

    References
    ----------
    After the 2.5-D network of tattaka, fourth place of the Kaggle competition "HMS - Harmful Brain Activity
    Classification" (2024); sizes of the 3-d part are ours.

    Examples
    --------
    >>> Volume(backbone="test_efficientnet", in_chans=16)(torch.zeros(2, 16, 32, 64)).shape
    torch.Size([2, 6])
    """

    def __init__(
        self,
        backbone: str = "efficientnet_b0",
        in_chans: int = 16,
        n_outputs: int = N_CLASSES,
        n_chains: int | None = None,
        width: int = 128,
        depth: int = 3,
        head_width: int = 512,
        dropout: float = 0.5,
        drop_path: float = 0.0,
        pretrained: bool = False,
        pretrained_file: str | None = None,
        input_norm: str = "batch",
        backbone_lr_factor: float = 0.5,
    ) -> None:
        super().__init__()
        check_counts({"in_chans": in_chans, "n_outputs": n_outputs, "width": width})
        check_counts({"depth": depth, "head_width": head_width})
        check_shares({"dropout": dropout, "drop_path": drop_path})
        n_chains = chains_of(in_chans, n_chains, otherwise=in_chans, what="pictures, one a derivation")
        check_backbone_settings(input_norm, backbone_lr_factor)
        self.in_chans, self.n_outputs, self.n_chains = in_chans, n_outputs, n_chains
        self.backbone_lr_factor = backbone_lr_factor

        self.backbone = make_backbone(backbone, 1, drop_path, pretrained, pretrained_file)
        self.input_norm = make_input_norm(input_norm, in_chans, self.backbone.pretrained_cfg)
        self.narrow = nn.Sequential(
            nn.Conv2d(self.backbone.head_hidden_size, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.across = nn.Sequential(*(Residual3d(width) for _ in range(depth)))
        self.widen = nn.Sequential(nn.Conv3d(width, head_width, 1, bias=False), nn.BatchNorm3d(head_width), nn.ReLU())
        self.head_dropout = nn.Dropout(dropout)
        self.final_layer = nn.Linear(head_width, n_outputs)
        start_uniform(self.final_layer)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Map pictures (window, derivation, frequency, time), without NaN, to logits (window, class)."""
        # The derivations of a chain one below another, and the chains as windows of their own.
        tall_BRHW = self.input_norm(x_BCHW).unflatten(1, (self.n_chains, -1)).flatten(2, 3)
        f_NFHW = self.narrow(self.backbone(tall_BRHW.flatten(0, 1).unsqueeze(1)))
        f_BFRHW = f_NFHW.unflatten(0, (-1, self.n_chains)).transpose(1, 2)
        f_BFRHW = self.widen(self.across(f_BFRHW))
        pooled_BF = f_BFRHW.mean((2, 3, 4)) + f_BFRHW.amax((2, 3, 4))
        logits_BK: Tensor = self.final_layer(self.head_dropout(pooled_BF))
        return logits_BK

    def parameter_groups(self, lr: float) -> list[ParameterGroup]:
        """Return the optimiser's groups: `lr` for what is ours, ``lr * backbone_lr_factor`` for the backbone."""
        ours = nn.ModuleList([self.narrow, self.across, self.widen, self.final_layer])
        return layerwise_groups([self.backbone, ours], lr, decay=self.backbone_lr_factor)

    def layers(self) -> list[nn.Module]:
        """Return what has weights, from input to output: the backbone's parts, 3-d convolutions, head."""
        return [*backbone_layers(self.backbone), self.narrow, *self.across, self.widen, self.final_layer]


class Residual3d(nn.Module):
    """A 3 x 3 x 3 convolution over chains, frequencies and times, added to what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm3d(width)

    def forward(self, x_BFRHW: Tensor) -> Tensor:
        """Return the same shape."""
        return torch.relu(x_BFRHW + self.norm(self.conv(x_BFRHW)))
