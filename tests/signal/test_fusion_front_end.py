from __future__ import annotations

import pytest
import torch

from hbac.common.errors import UserError
from hbac.signal import EEGFrontEnd, FusionFrontEnd, ImageFrontEnd, MelImage


def test_it_joins_what_each_front_end_makes() -> None:
    signal = EEGFrontEnd(montage="public_8")
    picture = ImageFrontEnd("eeg", {"mel": MelImage(height=16, width=32)}, tile_height=16, tile_width=32)
    official = ImageFrontEnd("official", tile_height=16, tile_width=32)
    front_end = FusionFrontEnd({"official": official, "signal": signal, "picture": picture})
    assert front_end.sources == ("eeg", "official")
    assert front_end.shapes == {"official": (4, 16, 32), "signal": (8, 2000), "picture": (4, 16, 32)}
    told = front_end.network_arguments()
    assert told["branches"]["signal"] == {"n_chans": 8, "n_times": 2000, "sfreq": 40.0}
    torch.manual_seed(0)
    eeg, power = 30 * torch.randn(2, 10000, 20), torch.rand(2, 300, 400)
    parts = torch.split(front_end(eeg, power), [4 * 16 * 32, 8 * 2000, 4 * 16 * 32], dim=1)
    for part, alone in zip(parts, (official(power), signal(eeg), picture(eeg)), strict=True):
        assert torch.equal(part, alone.flatten(1))


def test_a_zoom_follows_the_label_in_a_branch() -> None:
    zoom = ImageFrontEnd("eeg", {"z": MelImage(height=16, width=32, zoom_s=10)}, tile_height=16, tile_width=32)
    eeg, shift_B = 30 * torch.randn(2, 10000, 20), torch.tensor([400, -700])
    joined = FusionFrontEnd({"signal": EEGFrontEnd(), "picture": zoom})(eeg, shift_B=shift_B)
    assert torch.equal(joined[:, 18 * 2000 :], zoom(eeg, shift_B=shift_B).flatten(1))
    assert not torch.allclose(joined[:, 18 * 2000 :], zoom(eeg).flatten(1), atol=0.1)


def test_one_branch_is_none() -> None:
    with pytest.raises(UserError, match=r"front_end.branches=\['signal'\]: two or more"):
        FusionFrontEnd({"signal": EEGFrontEnd()})
