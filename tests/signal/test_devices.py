"""Everything runs on another device than the CPU without ever asking it for a value.

The ``meta`` device computes shapes only: a tensor that is moved to the CPU, or whose value decides a branch, is an
error there, as it would be a silent stall of the queue on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hbac.signal import (
    EEGFrontEnd,
    ImageAugment,
    ImageLayout,
    LogSTFT,
    MelImage,
    Mixup,
    MorletScalogram,
    Multitaper,
    OfficialImage,
    RawAugment,
    SignalAugment,
    row_keys,
)


def _meta(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def _keys() -> Tensor:
    return row_keys(0, 0, _meta(3, dtype=torch.int64))


SIGNAL = SignalAugment(
    reverse_p=0.5, polarity_p=0.5, zero_p=0.5, band_p=0.5, stop_p=0.5, shift_p=0.5, cut_p=0.5, noise_p=0.5, centre_p=0.5
)
CASES: dict[str, tuple[Callable[[], Tensor], tuple[int, ...]]] = {
    "front-end": (lambda: EEGFrontEnd()(_meta(3, 10_000, 20, dtype=torch.float16)), (3, 18, 2000)),
    "causal": (lambda: EEGFrontEnd("public_8", "1-12", causal=True)(_meta(3, 10_000, 20)), (3, 8, 1200)),
    "mixing": (
        lambda: EEGFrontEnd()(_meta(3, 10_000, 20), RawAugment(0.5, 0.5, 3, 0.5).mixing(_keys())),
        (3, 18, 2000),
    ),
    "mel": (lambda: MelImage()(_meta(3, 20, 10_000, dtype=torch.float16)), (3, 4, 128, 256)),
    "mel montage": (lambda: MelImage("public_8", height=32)(_meta(3, 20, 10_000)), (3, 8, 32, 256)),
    "stft": (lambda: LogSTFT()(_meta(3, 20, 10_000)), (3, 4, 128, 256)),
    "multitaper": (lambda: Multitaper()(_meta(3, 20, 10_000)), (3, 4, 128, 256)),
    "scalogram": (lambda: MorletScalogram()(_meta(9, 20, 10_000)), (9, 4, 128, 256)),
    "official": (lambda: OfficialImage()(_meta(3, 300, 400, dtype=torch.float16)), (3, 4, 128, 256)),
    "layout": (lambda: ImageLayout(sources=["eeg"])({"eeg": _meta(3, 4, 128, 256)}), (3, 3, 512, 256)),
    "raw": (lambda: RawAugment(0.5, 0.5, 3, 0.5)(_meta(3, 1000, 20), _keys()), (3, 1000, 20)),
    "signal": (lambda: SIGNAL(_meta(3, 18, 2000), _keys()), (3, 18, 2000)),
    "image": (lambda: ImageAugment(0.5, 0.5, 0.2, 0.5)(_meta(3, 4, 128, 256), _keys()), (3, 4, 128, 256)),
    "mixup": (
        lambda: Mixup(0.5)(_meta(3, 18, 2000), _meta(3, 6), _keys(), (_meta(3, 18, 2000), _meta(3, 6)))[0],
        (3, 18, 2000),
    ),
}


@pytest.mark.parametrize("name", list(CASES))
def test_no_value_leaves_the_device(name: str) -> None:
    make, shape = CASES[name]
    result = make()
    assert result.device.type == "meta"
    assert tuple(result.shape) == shape
    assert result.dtype == torch.float32
