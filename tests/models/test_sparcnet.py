"""SPaRCNet: the published size, its file, and what it reads of a window."""

from __future__ import annotations

import sys
import types
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hbac.common.errors import UserError
from hbac.models.sparcnet import PUBLISHED_CLASSES, SPaRCNet, published_names
from hbac.vocabulary import CLASSES


def published(seed: int = 0) -> dict[str, Tensor]:
    """Tensors of the published file's names and shapes, which are stated here once more."""
    generator = torch.Generator().manual_seed(seed)
    shapes: dict[str, tuple[int, ...]] = {"features.densenet.conv0": (64, 16, 7)}
    width = 64
    for block in range(1, 8):
        for layer in range(1, 5):
            name = f"features.densenet.denseblock{block}.denselayer{layer}"
            shapes |= {f"{name}.conv1": (128, width, 1), f"{name}.conv2": (32, 128, 3)}
            width += 32
        if block < 7:
            shapes[f"features.densenet.transition{block}.conv"] = (width // 2, width, 1)
            width //= 2
    shapes["classifier.1"] = (6, width)
    tensors = {}
    for name, shape in shapes.items():
        fan_in = torch.Size(shape[1:]).numel()
        tensors[f"{name}.weight"] = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5
        tensors[f"{name}.bias"] = torch.randn(shape[0], generator=generator) * 0.1
    return tensors


def plainly(tensors: dict[str, Tensor], x: Tensor) -> Tensor:
    """What the publication computes of ten seconds at 200 Hz, in the published order of classes."""

    def conv(name: str, x: Tensor, **how: int) -> Tensor:
        return F.conv1d(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"], **how)

    x = F.max_pool1d(F.elu(conv("features.densenet.conv0", x, stride=2, padding=3)), 3, 2, 1)
    for block in range(1, 8):
        for layer in range(1, 5):
            name = f"features.densenet.denseblock{block}.denselayer{layer}"
            x = torch.cat([x, conv(f"{name}.conv2", F.elu(conv(f"{name}.conv1", F.elu(x))), padding=1)], dim=1)
        if block < 7:
            x = F.avg_pool1d(conv(f"features.densenet.transition{block}.conv", F.elu(x)), 2, 2)
    x = F.avg_pool1d(F.relu(x), 7, 3).flatten(1)
    assert x.shape[1] == 255
    return F.linear(x, tensors["classifier.1.weight"], tensors["classifier.1.bias"])


def stored_whole(tensors: dict[str, Tensor], path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Store a network as an object of a class that is not ours, as the published file does."""
    theirs = types.ModuleType("DenseNetClassifier")
    for name in ("DenseNetClassifier", "DenseNetEnconder", "_DenseBlock", "_DenseLayer", "_Transition"):
        kind = type(name, (nn.Sequential,), {"__module__": "DenseNetClassifier"})
        setattr(theirs, name, kind)
    monkeypatch.setitem(sys.modules, "DenseNetClassifier", theirs)

    def conv(name: str) -> nn.Module:
        weight = tensors[f"{name}.weight"]
        layer = nn.Conv1d(weight.shape[1], weight.shape[0], weight.shape[2])
        layer.load_state_dict({"weight": weight, "bias": tensors[f"{name}.bias"]})
        return layer

    dense = nn.Sequential(OrderedDict(conv0=conv("features.densenet.conv0"), elu0=nn.ELU(), pool0=nn.MaxPool1d(3)))
    for block in range(1, 8):
        layers = theirs._DenseBlock()
        for i in range(1, 5):
            name = f"features.densenet.denseblock{block}.denselayer{i}"
            parts = OrderedDict(elu1=nn.ELU(), conv1=conv(f"{name}.conv1"), conv2=conv(f"{name}.conv2"))
            layers.add_module(f"denselayer{i}", theirs._DenseLayer(parts))
        dense.add_module(f"denseblock{block}", layers)
        if block < 7:
            parts = OrderedDict(conv=conv(f"features.densenet.transition{block}.conv"), pool=nn.AvgPool1d(2))
            dense.add_module(f"transition{block}", theirs._Transition(parts))
    dense.add_module("relu8", nn.ReLU())
    classifier = nn.Sequential(nn.Dropout(0.5), nn.Linear(255, 6))
    classifier[1].load_state_dict({kind: tensors[f"classifier.1.{kind}"] for kind in ("weight", "bias")})
    features = theirs.DenseNetEnconder(OrderedDict(densenet=dense))
    network = theirs.DenseNetClassifier(OrderedDict(features=features, classifier=classifier))
    assert network.state_dict().keys() == tensors.keys()
    torch.save(network, path)
    monkeypatch.delitem(sys.modules, "DenseNetClassifier")


def test_parameters_are_counted_as_published() -> None:
    network = SPaRCNet()
    assert sum(p.numel() for p in network.parameters()) == 1_090_859
    assert network.final_layer.in_features == 255
    assert published_names().keys() == network.state_dict().keys()
    assert set(published_names().values()) == published().keys()


@pytest.mark.parametrize("whole", [False, True])
def test_the_published_file_gives_the_published_outputs_in_our_order(
    whole: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors, path = published(), tmp_path / "model_1130.pt"
    if whole:
        stored_whole(tensors, path, monkeypatch)
    else:
        torch.save(tensors, path)
    network = SPaRCNet(pretrained_file=str(path)).eval()
    x = 50 * torch.randn(2, 16, 2000, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        got, wanted = network(x), plainly(tensors, x)
    for ours, name in enumerate(CLASSES):
        torch.testing.assert_close(got[:, ours], wanted[:, PUBLISHED_CLASSES.index(name)], rtol=1e-4, atol=1e-4)
    assert got.std() > 0.1


def test_a_file_that_does_not_fit_whole_is_refused_with_a_count(tmp_path: Path) -> None:
    path = tmp_path / "model_1130.pt"
    tensors = published()
    del tensors["features.densenet.conv0.bias"]
    tensors["classifier.1.weight"] = torch.zeros(5, 255)
    tensors["norm.weight"] = torch.zeros(3)
    torch.save(tensors, path)
    wanted = (
        r"of its 128 tensors 3 don't fit: features.densenet.conv0.bias is missing; "
        r"classifier.1.weight is \(5, 255\), not \(6, 255\); norm.weight is not known"
    )
    with pytest.raises(UserError, match=wanted):
        SPaRCNet(pretrained_file=str(path))
    torch.save(published(), path)
    with pytest.raises(UserError, match=r"SPaRCNet of 18 derivations .* 1 don't fit: .*conv0.weight is \(64, 16, 7\)"):
        SPaRCNet(n_chans=18, pretrained_file=str(path))
    with pytest.raises(UserError, match="no such file"):
        SPaRCNet(pretrained_file=str(tmp_path / "none.pt"))
    torch.save({"epoch": 3}, path)
    with pytest.raises(UserError, match="holds no tensors by their names"):
        SPaRCNet(pretrained_file=str(path))
    path.write_bytes(b"not a file of torch")
    with pytest.raises(UserError, match="cannot be read as weights"):
        SPaRCNet(pretrained_file=str(path))


class Dangerous:
    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return exec, ("raise SystemExit('it was run')",)


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    torch.save({"a": Dangerous()}, tmp_path / "model_1130.pt")
    with pytest.raises(UserError, match="cannot be read as weights"):
        SPaRCNet(pretrained_file=str(tmp_path / "model_1130.pt"))


def test_it_reads_the_central_ten_seconds_of_a_window() -> None:
    network = SPaRCNet().eval()
    x = torch.randn(2, 16, 10_000, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert torch.equal(network(x), network(x[..., 4000:6000]))
        assert not torch.equal(SPaRCNet(crop_s=None).eval()(x), SPaRCNet(crop_s=None).eval()(x[..., 4000:6000]))


def test_training_starts_near_the_uniform_prediction_in_microvolt() -> None:
    torch.manual_seed(0)
    share_BK = SPaRCNet()(50 * torch.randn(4, 16, 2000)).softmax(1)
    assert (share_BK - 1 / 6).abs().max() < 0.1


def test_bad_settings() -> None:
    with pytest.raises(UserError, match=r"a window of 200 samples .* needs 256 \(6.4 s at 40 Hz\)"):
        SPaRCNet(n_times=200, sfreq=40)
    with pytest.raises(UserError, match=r"model.dropout=1: must lie in \[0, 1\)"):
        SPaRCNet(dropout=1)
    with pytest.raises(UserError, match="must be positive"):
        SPaRCNet(crop_s=0)
    with pytest.raises(UserError, match="too short for this network.*sfreq_out=200"):
        SPaRCNet()(torch.zeros(1, 16, 100))
