"""Constants follow their input."""

from __future__ import annotations

import copy

import torch

from hbac.signal.constants import Constants


def test_precision_and_device_follow_the_input() -> None:
    third = torch.tensor([1 / 3], dtype=torch.float64)
    constants = Constants({"real": third, "complex": torch.complex(third, third), "index": torch.tensor([3])})
    for dtype in (torch.float64, torch.float32, torch.float16):
        like = torch.zeros(1, dtype=dtype)
        assert torch.equal(constants.get("real", like), third.to(dtype))
        assert constants.get("index", like).dtype == torch.int64
    assert constants.get("real", torch.zeros(1, device="meta")).device.type == "meta"
    assert constants.get("complex", torch.zeros(1)).dtype == torch.complex64
    assert constants.get("complex", third).dtype == torch.complex128
    # Having been rounded for one does not round it for the next.
    assert torch.equal(constants.get("real", third), third)
    assert constants.get("real", third) is constants.get("real", torch.zeros(1, dtype=torch.float64))
    assert copy.deepcopy(constants) is constants
