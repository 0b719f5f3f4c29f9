"""ResNet1D-GRU: what each moment of the EEG looks like, and then how the moments follow one another.

The public network of the HMS competition reads the raw samples twice, with residual convolutions and, beside
them, with a bidirectional GRU; nearly all of its time goes into the GRU's thousands of steps. Here the GRU
comes after the convolutions and reads their features, some thirty steps a window: on a CPU more than ten times
the windows a second (benchmarks/resnet_gru.py), at a larger width. What else makes it fast on a CPU is
commented where it happens.
"""

# Shapes: B window, C derivation, T sample, F feature, S step, K class; _BF1S is an image of height 1

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hbac.common.errors import UserError
from hbac.models.parts import check_counts, check_length, check_shares, start_uniform
from hbac.vocabulary import CENTRAL_S, N_CLASSES


class ResNetGRU(nn.Module):
    """Multi-kernel stem, pre-activation residual blocks, bidirectional GRU over their features, linear head.

    The head sees the last states of the GRU (the whole window) and the mean and maximum over the steps of the
    window's centre, which is what the experts' votes are about. All of it works at any window length: the steps
    grow with the window, the head doesn't, and weights trained at one length run at another.

    Batch normalisation, not group normalisation: statistics of the training set keep the amplitude of a window,
    which tells patterns from background, where those of the window itself would remove it.

    Parameters
    ----------
    n_chans : int
        Derivations (rows of the input).
    n_times : int
        Samples of a window; only checked against the shortest that the network can read.
    n_outputs : int
        Classes.
    sfreq : float
        Rate of the input in hertz. Decides with `step_s` how often the blocks halve the rate.
    kernels : sequence of int
        Lengths in samples of the stem's parallel convolutions, odd or even.
    filters : int
        Features of each of them; the stem has ``filters * len(kernels)``.
    stem_pool : int
        Factor of the maximum pool behind the stem, which itself has stride 2.
    depth : int
        Residual blocks.
    width : int
        Features of each block; multiples of 16 suit the vector units.
    block_kernel : int
        Odd length of the convolutions in the blocks.
    step_s : float
        Longest duration of one step of the GRU, in seconds: blocks halve the rate as long as it isn't exceeded.
    gru_hidden : int
        Hidden units of each direction.
    gru_layers : int
        Stacked GRU layers.
    compress : bool
        Take the inverse hyperbolic sine of the input first: linear below 1, logarithmic above. Recordings differ by
        a factor of ten in amplitude, and artefacts by a hundred; without it they decide the batch statistics.
    centre_s : float
        Seconds around the middle of the window that the head looks at closely.
    dropout : float
        Share of features that are dropped within blocks (whole features, the same over time), 0 to 1.
    head_dropout : float
        Share of values that are dropped before the last layer, 0 to 1.

    References
    ----------
    Residual blocks: He et al. (2016), Identity mappings in deep residual networks,
    doi:10.1007/978-3-319-46493-0_38.
    GRU: Cho et al. (2014), Learning phrase representations using RNN encoder-decoder, doi:10.3115/v1/D14-1179.
    The network it descends from: public ResNet1D-GRU notebooks of the Kaggle competition "HMS - Harmful Brain
    Activity Classification" (2024).

    Examples
    --------
    >>> ResNetGRU(n_chans=18, n_times=2000)(torch.zeros(4, 18, 2000)).shape
    torch.Size([4, 6])
    """

    def __init__(
        self,
        n_chans: int = 18,
        n_times: int = 2000,
        n_outputs: int = N_CLASSES,
        sfreq: float = 40.0,
        kernels: Sequence[int] = (3, 5, 7, 9),
        filters: int = 16,
        stem_pool: int = 4,
        depth: int = 5,
        width: int = 64,
        block_kernel: int = 3,
        step_s: float = 1.6,
        gru_hidden: int = 64,
        gru_layers: int = 1,
        compress: bool = True,
        centre_s: float = CENTRAL_S,
        dropout: float = 0.1,
        head_dropout: float = 0.2,
    ) -> None:
        super().__init__()
        counts = {
            "n_chans": n_chans, "n_outputs": n_outputs, "filters": filters, "stem_pool": stem_pool,
            "depth": depth, "width": width, "gru_hidden": gru_hidden, "gru_layers": gru_layers,
        }  # fmt: skip
        check_counts(counts)
        if not kernels or min(kernels) < 2:
            raise UserError(f"model.kernels={list(kernels)}: needs one or more lengths of at least 2 samples")
        if block_kernel < 1 or block_kernel % 2 == 0:
            raise UserError(f"model.block_kernel={block_kernel}: must be odd")
        check_shares({"dropout": dropout, "head_dropout": head_dropout})
        for name, seconds in {"sfreq": sfreq, "step_s": step_s, "centre_s": centre_s}.items():
            if not seconds > 0:
                raise UserError(f"model.{name}={seconds}: must be positive")
        self.n_chans, self.n_times, self.n_outputs, self.sfreq = n_chans, n_times, n_outputs, float(sfreq)
        self.compress, self.centre_s = compress, centre_s

        self.stem = MultiKernelConv(n_chans, filters, kernels, stride=2)
        self.stem_pool = stem_pool
        n_features = filters * len(kernels)
        stride = 2 * stem_pool
        blocks = []
        for _ in range(depth):
            pool = 2 if 2 * stride <= step_s * sfreq else 1
            blocks.append(ResidualBlock(n_features, width, block_kernel, pool, dropout))
            n_features, stride = width, stride * pool
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(width)
        self.gru = nn.GRU(
            width,
            gru_hidden,
            gru_layers,
            batch_first=True,
            dropout=dropout if gru_layers > 1 else 0.0,
            bidirectional=True,
        )
        self.head_dropout = nn.Dropout(head_dropout)
        self.final_layer = nn.Linear(2 * gru_hidden + 2 * (width + 2 * gru_hidden), n_outputs)
        self.min_times = 2 * stride  # two steps: batch normalisation of a single window has more than one value
        self._check_length(n_times)
        self._initialise()

    def forward(self, x_BCT: Tensor) -> Tensor:
        """Map windows (window, derivation, sample), of about unit size and without NaN, to logits (window, class)."""
        self._check_length(x_BCT.shape[2])
        # Channels-last images of height 1: on a CPU their pooling takes a quarter of the time that PyTorch's
        # 1-d pooling takes, convolutions are as fast, and the GRU reads (step, feature) rows without a copy.
        x_BC1T = x_BCT.unsqueeze(2).contiguous(memory_format=torch.channels_last)
        if self.compress:
            x_BC1T = asinh(x_BC1T)
        f_BF1S = self.stem(x_BC1T)
        f_BF1S = self.blocks(F.max_pool2d(f_BF1S, (1, self.stem_pool)))
        f_BSF = F.relu(self.norm(f_BF1S)).squeeze(2).transpose(1, 2)
        states_BSF, last_DBF = self.gru(f_BSF)
        n_steps = f_BSF.shape[1]
        centre = min(1.0, self.centre_s * self.sfreq / x_BCT.shape[2])
        n_centre = max(1, round(n_steps * centre))
        start = (n_steps - n_centre) // 2
        both_BSF = torch.cat([f_BSF, states_BSF], dim=2)[:, start : start + n_centre]
        pooled = [both_BSF.mean(dim=1), both_BSF.amax(dim=1), last_DBF[-2], last_DBF[-1]]
        logits_BK: Tensor = self.final_layer(self.head_dropout(torch.cat(pooled, dim=1)))
        return logits_BK

    def layers(self) -> list[nn.Module]:
        """Return what has weights, from input to output: stem, blocks, GRU, head."""
        return [self.stem, *self.blocks, nn.ModuleList([self.norm, self.gru]), self.final_layer]

    def _check_length(self, n_times: int) -> None:
        check_length(n_times, self.min_times, self.sfreq, "; lower depth, stem_pool or step_s")

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        for name, weight in self.gru.named_parameters():
            if "weight_hh" in name:
                for gate in weight.chunk(3):
                    nn.init.orthogonal_(gate)
            elif "weight_ih" in name:
                nn.init.xavier_uniform_(weight)
            else:
                nn.init.zeros_(weight)
        start_uniform(self.final_layer)


def asinh(x: Tensor) -> Tensor:
    """Return the inverse hyperbolic sine of numbers whose squares are finite.

    On a CPU `torch.asinh` goes from number to number; written in operations that do not, it takes a sixth of the time.
    """
    if x.device.type != "cpu" or x.requires_grad or torch.compiler.is_compiling():
        return x.asinh()
    size = x.abs()
    square = size * size
    below = (square + 1).sqrt_().add_(1)
    # log(size + sqrt(size² + 1)), without the loss of digits near 0.
    return square.div_(below).add_(size).log1p_().copysign_(x)


class MultiKernelConv(nn.Module):
    """Parallel convolutions of several lengths over (B, C, 1, T), joined on the feature axis.

    The kernels are centred on one another in a single convolution of the longest length: one pass over the
    input in place of one for each kernel and a copy that joins them. The output has `filters` features of each, and
    ``ceil(T / stride)`` samples or, for an even longest kernel, up to one more.
    """

    def __init__(self, n_chans: int, filters: int, kernels: Sequence[int], stride: int) -> None:
        super().__init__()
        self.weights = nn.ParameterList(torch.empty(filters, n_chans, int(k)) for k in kernels)
        for weight in self.weights:
            nn.init.kaiming_normal_(weight, nonlinearity="relu")
        self.longest = max(int(k) for k in kernels)
        self.stride = stride

    def forward(self, x_BC1T: Tensor) -> Tensor:
        """Return (B, filters * kernels, 1, about T / stride)."""
        padded = []
        for weight in self.weights:
            missing = self.longest - weight.shape[2]
            padded.append(F.pad(weight, (missing // 2, missing - missing // 2)))
        joined = torch.cat(padded).unsqueeze(2)
        return F.conv2d(x_BC1T, joined, stride=(1, self.stride), padding=(0, self.longest // 2))


class ResidualBlock(nn.Module):
    """Maximum pool, then norm-activation-convolution twice, added to what came in.

    The pool comes first (the public network pools last): the convolutions then run at the lower rate, at half
    the cost. Whole features are dropped between them, because consecutive steps are too alike for dropping single
    values to do much, and because drawing one value a feature costs nothing.
    """

    def __init__(self, n_in: int, n_out: int, kernel: int, pool: int, dropout: float) -> None:
        super().__init__()
        size, padding = (1, kernel), (0, kernel // 2)
        self.pool = nn.MaxPool2d((1, pool)) if pool > 1 else nn.Identity()
        self.norm1 = nn.BatchNorm2d(n_in)
        self.conv1 = nn.Conv2d(n_in, n_out, size, padding=padding, bias=False)
        self.norm2 = nn.BatchNorm2d(n_out)
        self.dropout = nn.Dropout2d(dropout)
        self.conv2 = nn.Conv2d(n_out, n_out, size, padding=padding, bias=False)
        self.shortcut = nn.Conv2d(n_in, n_out, 1, bias=False) if n_in != n_out else nn.Identity()

    def forward(self, x_BF1S: Tensor) -> Tensor:
        """Return (B, n_out, 1, S // pool)."""
        x_BF1S = self.pool(x_BF1S)
        f_BF1S = self.conv1(F.relu(self.norm1(x_BF1S)))
        f_BF1S = self.conv2(self.dropout(F.relu(self.norm2(f_BF1S))))
        out_BF1S: Tensor = f_BF1S + self.shortcut(x_BF1S)
        return out_BF1S
