from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from sklearn.datasets import load_sample_image

from hbac.common.errors import UserError
from hbac.models.backbone import make_backbone
from hbac.models.efficientnet import EfficientNet
from hbac.models.pretrained import convert_weights, packaged_weights

TINY = "test_efficientnet"


def ported(renamed: bool = True) -> dict[str, torch.Tensor]:
    """A network's state as another port of it has it: all tensors in the same order, under other names."""
    torch.manual_seed(7)
    state = timm.create_model(TINY, num_classes=1000).state_dict()
    return {f"_port.{i}" if renamed else name: tensor for i, (name, tensor) in enumerate(state.items())}


def converted(path: Path, backbone: str, out: Path) -> int:
    wanted = make_backbone(backbone, 3, 0.0, False, None).state_dict()
    convert_weights(path, backbone, wanted, out)
    return len(wanted)


@pytest.mark.parametrize("renamed", [True, False])
def test_converted_weights_fill_the_network(tmp_path, renamed):
    torch.save(ported(renamed), tmp_path / "port.pth")
    out = tmp_path / "weights" / "tiny.safetensors"
    assert converted(tmp_path / "port.pth", TINY, out) == len(ported()) - 2  # all but the classifier's
    network = EfficientNet(TINY, in_chans=3, pretrained_file=str(out))
    original = ported(renamed=False)
    assert all(torch.equal(tensor, original[name]) for name, tensor in network.backbone.state_dict().items())


def test_a_full_disk_is_one_message(tmp_path, small_disk):
    torch.save(ported(), tmp_path / "port.pth")
    disk = small_disk("100k")
    with pytest.raises(UserError, match="tiny.safetensors: cannot be written: No space left on device"):
        converted(tmp_path / "port.pth", TINY, disk / "tiny.safetensors")
    assert list(disk.iterdir()) == []


def test_what_does_not_fit_is_counted_and_nothing_is_written(tmp_path):
    state = ported()
    names = list(state)
    shorter = {name: state[name] for name in names[:-5]}
    other = state | {names[0]: torch.zeros(3, 3)}
    longer = state | {"more": torch.zeros(1)}
    for given, message in (
        (shorter, f"of its {len(names) - 2} tensors 3 don't fit: .* is missing"),
        (other, "1 don't fit: conv_stem.weight is"),
        (longer, "1 don't fit: more is not known"),
        ({"a": 3}, "holds no tensors by their names"),
    ):
        torch.save(given, tmp_path / "port.pth")
        with pytest.raises(UserError, match=message):
            converted(tmp_path / "port.pth", TINY, tmp_path / "out" / "tiny.safetensors")
    assert not (tmp_path / "out").exists()


def test_code_in_a_file_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "ran",))  # type: ignore[return-value]

    (tmp_path / "port.pth").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(UserError, match="cannot be read as weights"):
        converted(tmp_path / "port.pth", TINY, tmp_path / "tiny.safetensors")
    assert not (tmp_path / "ran").exists()


def test_packaged_weights_recognise_a_palace_and_a_daisy(tmp_path):
    source = packaged_weights()
    out = tmp_path / "lite0.safetensors"
    assert converted(source, "tf_efficientnet_lite0", out) == 294
    network = timm.create_model("tf_efficientnet_lite0").eval()
    stored = torch.load(source, weights_only=True)
    network.load_state_dict(
        load_file(out) | {f"classifier.{name}": stored[f"_fc.{name}"] for name in ("weight", "bias")}
    )
    for picture, imagenet_class in (("china.jpg", 698), ("flower.jpg", 985)):
        x_BCHW = torch.from_numpy(load_sample_image(picture).copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        x_BCHW = F.interpolate(x_BCHW[..., :427, 106:533], (224, 224), mode="bicubic", antialias=True)
        with torch.no_grad():
            assert network(x_BCHW).argmax().item() == imagenet_class
