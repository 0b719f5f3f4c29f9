from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file, save_file
from torch import nn

from hbac.common.errors import UserError
from hbac.models.efficientnet import EfficientNet
from hbac.signal import ImageFrontEnd

TINY = "test_efficientnet"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as timm publishes them: three input channels, with a classifier."""
    torch.manual_seed(42)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(timm.create_model(TINY, num_classes=1000).state_dict(), path)
    return path


def test_b0_has_timms_parameters_and_our_head():
    network = EfficientNet(in_chans=8, pooling="gem")
    timms = timm.create_model("efficientnet_b0", in_chans=8, num_classes=6)
    assert sum(p.numel() for p in network.parameters()) == sum(p.numel() for p in timms.parameters()) + 1
    assert network(torch.randn(1, 8, 64, 128)).shape == (1, 6)


def test_average_pooling_equals_timms_own_classifier():
    torch.manual_seed(0)
    timms = timm.create_model(TINY, in_chans=4, num_classes=6).eval()
    network = EfficientNet(TINY, in_chans=4, input_norm="none").eval()
    state = {k: v for k, v in timms.state_dict().items() if not k.startswith("classifier")}
    network.backbone.load_state_dict(state)
    network.final_layer.load_state_dict(timms.classifier.state_dict())
    x = torch.randn(2, 4, 64, 96)
    torch.testing.assert_close(network(x), timms(x), rtol=1e-4, atol=1e-5)


def test_channels_last_gives_the_same_logits_and_contiguous_weights():
    network = EfficientNet(TINY, in_chans=4, channels_last=True).eval()
    plain = EfficientNet(TINY, in_chans=4, channels_last=False).eval()
    plain.load_state_dict(network.state_dict())
    x = torch.randn(2, 4, 64, 96)
    seen = []
    for each in (network, plain):
        each.backbone.register_forward_hook(lambda _, given, got: seen.extend([given[0], got]))
    torch.testing.assert_close(network(x), plain(x), rtol=1e-4, atol=1e-5)
    assert [y.is_contiguous(memory_format=torch.channels_last) for y in seen] == [True, True, False, False]
    assert all(tensor.is_contiguous() for tensor in network.state_dict().values())


@pytest.mark.parametrize("in_chans", [1, 3, 4, 8])
def test_file_fills_the_whole_backbone_and_adapts_the_stem(weights, in_chans):
    network = EfficientNet(TINY, in_chans=in_chans, pretrained_file=str(weights))
    stored = load_file(weights)
    state = network.backbone.state_dict()
    assert all(torch.equal(state[key], stored[key]) for key in state if key != "conv_stem.weight")
    stem, original = state["conv_stem.weight"], stored["conv_stem.weight"]
    if in_chans == 1:
        torch.testing.assert_close(stem, original.sum(dim=1, keepdim=True))
    else:
        repeated = original.repeat(1, 3, 1, 1)[:, :in_chans]
        torch.testing.assert_close(stem, repeated * (3 / in_chans))


def test_one_channel_equals_three_equal_ones(weights):
    grey = EfficientNet(TINY, in_chans=1, pretrained_file=str(weights), input_norm="none").eval()
    colour = EfficientNet(TINY, in_chans=3, pretrained_file=str(weights), input_norm="none").eval()
    x = torch.randn(2, 1, 64, 64)
    torch.testing.assert_close(grey.backbone(x), colour.backbone(x.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-5)


def test_file_of_our_own_channels_is_taken_as_it_is(tmp_path):
    torch.manual_seed(1)
    donor = timm.create_model(TINY, in_chans=5, num_classes=0)
    save_file(donor.state_dict(), tmp_path / "five.safetensors")
    network = EfficientNet(TINY, in_chans=5, pretrained_file=str(tmp_path / "five.safetensors"))
    assert torch.equal(network.backbone.conv_stem.weight, donor.conv_stem.weight)


def test_file_without_some_weights_is_refused(weights, tmp_path):
    stored = load_file(weights)
    del stored["blocks.1.0.bn1.weight"]
    save_file(stored, tmp_path / "hole.safetensors")
    with pytest.raises(UserError, match=r"isn't for .*1 don't fit: blocks\.1\.0\.bn1\.weight is missing"):
        EfficientNet(TINY, pretrained_file=str(tmp_path / "hole.safetensors"))


def test_file_of_another_network_is_refused(weights):
    with pytest.raises(UserError, match=r"isn't for test_resnet; .* is missing; …"):
        EfficientNet("test_resnet", pretrained_file=str(weights))


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        EfficientNet(TINY, pretrained_file=str(tmp_path / "none.safetensors"))
    pickled = tmp_path / "weights.pth"
    torch.save({}, pickled)
    with pytest.raises(UserError, match=r"must be a \.safetensors file"):
        EfficientNet(TINY, pretrained_file=str(pickled))
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"\xff" * 40)
    with pytest.raises(UserError, match="no readable safetensors"):
        EfficientNet(TINY, pretrained_file=str(broken))


@pytest.mark.parametrize(
    "error",
    [
        LocalEntryNotFoundError("cannot find the requested files in the local cache"),
        ConnectionError("no route to host"),
        RuntimeError("No pretrained weights exist for test_efficientnet."),
    ],
)
def test_weights_out_of_reach_are_an_error_not_a_random_start(monkeypatch, error):
    original = timm.create_model

    def unreachable(name: str, **settings: object) -> nn.Module:
        if settings.get("pretrained"):
            raise error
        return original(name, **settings)

    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(UserError, match=r"pretrained=true: .*neither in the cache.*pretrained_file=PATH") as caught:
        EfficientNet(TINY, pretrained=True)
    assert str(error) in str(caught.value)


def test_weights_that_timm_does_not_publish():
    with pytest.raises(UserError, match="pretrained=true"):
        EfficientNet("efficientnet_b6", pretrained=True)


def test_other_failures_of_timm_are_not_hidden(monkeypatch):
    original = timm.create_model

    def broken(name: str, **settings: object) -> nn.Module:
        if settings.get("pretrained"):
            raise KeyError("a bug")
        return original(name, **settings)

    monkeypatch.setattr(timm, "create_model", broken)
    with pytest.raises(KeyError):
        EfficientNet(TINY, pretrained=True)


def test_pretrained_weights_come_through_timm(monkeypatch):
    original = timm.create_model
    donor = original(TINY, in_chans=4, num_classes=0, global_pool="")

    def cached(name: str, **settings: object) -> nn.Module:
        if settings.pop("pretrained", False):
            assert settings["in_chans"] == 4
            return donor
        return original(name, **settings)

    monkeypatch.setattr(timm, "create_model", cached)
    network = EfficientNet(TINY, in_chans=4, pretrained=True)
    assert all(torch.equal(a, b) for a, b in zip(network.backbone.parameters(), donor.parameters(), strict=True))


@pytest.mark.parametrize(
    ("backbone", "own"),
    [
        ("maxvit_rmlp_pico_rw_256", [256, 256]),
        pytest.param("maxvit_tiny_rw_224", [224, 224], marks=pytest.mark.slow),
        pytest.param("caformer_s18", None, marks=pytest.mark.slow),
    ],
)
def test_transformers_with_stages_read_our_layouts(backbone: str, own: list[int] | None) -> None:
    front_end = ImageFrontEnd("eeg", layout="tiles", tile_height=16, tile_width=64)
    network = EfficientNet(backbone, in_chans=front_end.in_chans)
    assert network.image_size == own
    image = front_end(30 * torch.randn(2, 10_000, 20))
    assert image.shape == (2, 3, 64, 64)
    logits = network(image)
    assert logits.shape == (2, 6)
    logits.logsumexp(1).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_images_are_brought_to_the_size_that_was_chosen() -> None:
    torch.manual_seed(0)
    network = EfficientNet("maxvit_rmlp_pico_rw_256", in_chans=1, image_size=[64, 96]).eval()
    nn.init.normal_(network.final_layer.weight)
    x = torch.rand(2, 1, 128, 96)
    brought = nn.functional.interpolate(x, (64, 96), mode="bilinear", antialias=True)
    with torch.no_grad():
        assert torch.equal(network(x), network(brought))
        assert not torch.allclose(network(x), network(x.flip(-1)))


@pytest.mark.parametrize("backbone", ["test_resnet", "test_convnext", "mobilenetv3_small_050"])
@pytest.mark.parametrize("pooling", ["average", "gem"])
def test_any_convolutional_backbone(backbone, pooling):
    network = EfficientNet(backbone, in_chans=2, pooling=pooling)
    assert network(torch.randn(2, 2, 64, 96)).shape == (2, 6)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"backbone": "eficientnet_b0"}, r"no such model; near ones are .*efficientnet_b0"),
        ({"backbone": "tf_efficientnet_b0_ns"}, r"timm calls it tf_efficientnet_b0\.ns_jft_in1k today"),
        ({"backbone": "efficientnet_b0.nope"}, r"no such weights; there are .*efficientnet_b0\.ra_in1k"),
        ({"backbone": "vit_tiny_patch16_224"}, r"no \(window, feature, height, width\) map; .* maxvit_tiny_rw_224"),
        ({"image_size": [224]}, r"model.image_size=\[224\]: height and width"),
        ({"backbone": "maxvit_rmlp_pico_rw_256", "image_size": [64, 80]}, r"image_size=\[64,80\]: .* multiples of 32"),
        ({"pooling": "max"}, "there are: average, gem"),
        ({"input_norm": "imagenet"}, "there are: batch, unit_range, none"),
        ({"dropout": 1.0}, r"model\.dropout=1\.0"),
        ({"drop_path": -0.1}, r"model\.drop_path=-0\.1"),
        ({"in_chans": 0}, r"model\.in_chans=0"),
        ({"backbone_lr_factor": 0.0}, "must be positive"),
        ({"backbone": "vgg11", "drop_path": 0.1}, "has no drop-path"),
    ],
)
def test_settings_out_of_range(setting, message):
    with pytest.raises(UserError, match=message):
        EfficientNet(**{"backbone": TINY, **setting})


def test_drop_path_reaches_the_blocks():
    network = EfficientNet("efficientnet_b0", in_chans=1, drop_path=0.2)
    rates = [m.drop_prob for m in network.modules() if type(m).__name__ == "DropPath"]
    assert max(rates) == pytest.approx(0.2, rel=0.1)
    assert rates == sorted(rates)


def test_batch_input_norm_brings_any_image_to_mean_0_and_deviation_1():
    network = EfficientNet(TINY, in_chans=2)
    x = torch.randn(16, 2, 32, 32) * torch.tensor([0.3, 40.0])[:, None, None] + torch.tensor([-0.6, 9.0])[:, None, None]
    normed = network.input_norm(x)
    torch.testing.assert_close(normed.mean(dim=(0, 2, 3)), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(normed.std(dim=(0, 2, 3)), torch.ones(2), atol=1e-3, rtol=0)
    assert not list(network.input_norm.parameters())


def test_unit_range_applies_the_weights_statistics():
    network = EfficientNet(TINY, in_chans=3, input_norm="unit_range")
    mean, std = (0.485 + 0.456 + 0.406) / 3, (0.229 + 0.224 + 0.225) / 3
    x = torch.rand(1, 3, 4, 4)
    torch.testing.assert_close(network.input_norm(x), (x - mean) / std)


def test_parameter_groups_cover_everything_once_at_two_rates():
    network = EfficientNet(TINY, in_chans=2, pooling="gem", backbone_lr_factor=0.1)
    groups = network.parameter_groups(1e-2)
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in network.parameters())
    rate_of = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert all(rate_of[id(p)] == pytest.approx(1e-3) for p in network.backbone.parameters())
    assert rate_of[id(network.final_layer.weight)] == rate_of[id(network.pool.p)] == 1e-2


def test_hub_that_is_offline_is_explained(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="neither in the cache"):
        EfficientNet(TINY, pretrained=True)
