"""Layouts, on images whose content says where it came from."""

from __future__ import annotations

import json

import pytest
import torch

from hbac.common.errors import UserError
from hbac.signal.mel import MelImage
from hbac.signal.montage import channel_mirror, get_montage
from hbac.signal.tiles import ImageLayout
from tests.signal.mirrored import mirror_of
from tests.signal.recordings import noise

REGIONS = ("LL", "LP", "RP", "RL")
VALUE = {("official", name): 10.0 + i for i, name in enumerate(REGIONS)} | {
    ("eeg", name): 20.0 + i for i, name in enumerate(REGIONS)
}


def _images(height: int = 128, width: int = 256) -> dict[str, torch.Tensor]:
    """Each pixel holds its source and region, and rises along time by 0.5."""
    ramp = torch.linspace(0, 0.5, width)
    return {
        source: torch.stack([VALUE[source, name] + ramp.expand(height, width) for name in REGIONS])[None]
        for source in ("official", "eeg")
    }


def test_public_tiles() -> None:
    image = ImageLayout()(_images())
    assert image.shape == (1, 3, 512, 512)
    assert torch.equal(image[:, 0], image[:, 1])
    assert torch.equal(image[:, 0], image[:, 2])
    corners = image[0, 0, ::128, ::256]
    assert corners.tolist() == [[10, 20], [11, 21], [12, 22], [13, 23]]


@pytest.mark.parametrize("kind", ["tiles", "stack"])
@pytest.mark.parametrize("sources", [("official", "eeg"), ("eeg",), ("eeg", "official")])
def test_every_tile_holds_what_the_table_says(kind: str, sources: tuple[str, ...]) -> None:
    layout = ImageLayout(kind, sources, in_chans=1)
    image = layout(_images())
    assert image.shape == (1, layout.n_chans, layout.height, layout.width)
    assert len(layout.tiles) == 4 * len(sources)
    for tile in layout.tiles:
        part = layout.part(image, tile)
        assert part.shape == (1, 1, 128, 256)
        assert part.min() == VALUE[tile.source, tile.channel]
    assert image.numel() == len(layout.tiles) * 128 * 256


def test_mirror_of_the_image_is_the_image_of_the_swapped_recording() -> None:
    eeg = torch.from_numpy(noise(1))
    for montage, names in (("regions", REGIONS), ("transverse_bipolar", get_montage("transverse_bipolar").derivations)):
        mel = MelImage(montage, height=64, width=128)
        layout = ImageLayout("stack", ["eeg"], {"eeg": names}, tile_height=64, tile_width=128)
        of_swapped = layout({"eeg": mel(eeg[:, channel_mirror()])})
        torch.testing.assert_close(of_swapped, mirror_of(layout({"eeg": mel(eeg)}), layout))


def test_tiles_are_brought_to_size() -> None:
    layout = ImageLayout(tile_height=32, tile_width=64)
    image = layout(_images() | {"official": _images(100, 256)["official"]})
    assert image.shape == (1, 3, 128, 128)
    for tile in layout.tiles:
        assert layout.part(image, tile).mean() == pytest.approx(VALUE[tile.source, tile.channel] + 0.25, abs=0.01)
    checker = torch.ones(1, 4, 128, 256)
    checker[..., ::2] = -1
    small = ImageLayout("stack", ["eeg"], tile_height=32, tile_width=64)({"eeg": checker})
    assert small.abs().max() < 0.1  # averaged, not subsampled


def test_sources_of_several_sizes_and_settings() -> None:
    layout = ImageLayout("tiles", ["eeg", "zoom"], {"zoom": ["LL", "RL"]}, in_chans=1, tile_height=8, tile_width=8)
    again = ImageLayout(**json.loads(json.dumps(layout.settings)))
    images = {"eeg": torch.ones(2, 4, 8, 8), "zoom": 2 * torch.ones(2, 2, 8, 8)}
    image = again(images)
    assert image.shape == (2, 1, 32, 16)
    assert image[0, 0, ::8, ::8].tolist() == [[1, 2], [1, 2], [1, 0], [1, 0]]


def test_errors() -> None:
    with pytest.raises(UserError, match="unknown layout 'tile'; there are: tiles, stack"):
        ImageLayout("tile")
    with pytest.raises(UserError, match="sources=\\[\\]: at least one"):
        ImageLayout(sources=[])
    with pytest.raises(UserError, match="unknown source in channels 'ecg'"):
        ImageLayout(channels={"ecg": ["LL"]})
    with pytest.raises(UserError, match="tile_height=0"):
        ImageLayout(tile_height=0)
    with pytest.raises(ValueError, match="no images of source 'eeg'; given: official"):
        ImageLayout()({"official": _images()["official"]})
    with pytest.raises(ValueError, match="source 'eeg' has 3 channels"):
        ImageLayout("stack", ["eeg"])({"eeg": torch.zeros(1, 3, 8, 8)})
