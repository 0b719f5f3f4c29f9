"""Front-end and network together can be exported, compiled and differentiated."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from hbac.models import EfficientNet, ResNetGRU
from hbac.signal import EEGFrontEnd, ImageFrontEnd, LogSTFT, MelImage, MorletScalogram, Multitaper, RawImage
from tests.signal.recordings import noise


class Model(nn.Module):
    """What maps stored windows to logits."""

    def __init__(self, front_end: nn.Module, network: nn.Module) -> None:
        super().__init__()
        self.front_end, self.network = front_end, network

    def forward(self, *windows: Tensor) -> Tensor:
        logits: Tensor = self.network(self.front_end(*windows))
        return logits


def _signals(montage: str = "longitudinal_bipolar", band: str = "0.5-20", causal: bool = False) -> Model:
    torch.manual_seed(0)
    front_end = EEGFrontEnd(montage, band, causal=causal)
    small = {"filters": 4, "width": 16, "gru_hidden": 8, "depth": 2}
    return Model(front_end, ResNetGRU(**front_end.network_arguments(), **small)).eval()


def _images(sources: str = "both", layout: str = "stack", **image: nn.Module) -> Model:
    torch.manual_seed(0)
    front_end = ImageFrontEnd(sources, image or None, layout, tile_height=32, tile_width=64)
    return Model(front_end, EfficientNet("test_efficientnet", **front_end.network_arguments())).eval()


def _raw() -> Model:
    torch.manual_seed(0)
    front_end = ImageFrontEnd("eeg", {"raw": RawImage("public_8", centres_s=[10])}, "tiles", None, None)
    return Model(front_end, EfficientNet("test_efficientnet", **front_end.network_arguments())).eval()


CASES: dict[str, Callable[[], Model]] = {
    "resnet_gru": _signals,
    "resnet_gru, causal": lambda: _signals("public_8", "1-12", causal=True),
    "efficientnet": _images,
    "efficientnet, tiles": lambda: _images("eeg", "tiles"),
    "efficientnet, any montage": lambda: _images(mel=MelImage("average_reference", height=32)),
    "efficientnet, log_stft": lambda: _images("eeg", stft=LogSTFT(reference="max")),
    "efficientnet, multitaper": lambda: _images("eeg", multitaper=Multitaper(width=64)),
    "efficientnet, raw": _raw,
    "efficientnet, morlet": lambda: _images("eeg", morlet=MorletScalogram(height=32, width=64)),
}


def _windows(model: Model, n: int) -> tuple[Tensor, ...]:
    """Windows of which the first is whole, in the second samples are missing, in the third a channel."""
    eeg_BTC = torch.from_numpy(noise(n)).float().transpose(1, 2).contiguous()
    eeg_BTC[1, 100:200, 4] = float("nan")
    eeg_BTC[2, :, 7] = float("nan")
    official_BRK = torch.rand(n, 300, 400, generator=torch.Generator().manual_seed(0))
    official_BRK[1, :, 100:200] = float("nan")
    return tuple({"eeg": eeg_BTC, "official": official_BRK}[name] for name in model.front_end.sources)  # type: ignore[union-attr]


# timm's scripted activations, and the tracer's own notes on autocast.
quiet = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@quiet
@pytest.mark.parametrize("name", list(CASES))
def test_front_end_and_network_export_for_any_number_of_windows(name: str) -> None:
    model = CASES[name]()
    few, many = _windows(model, 3), _windows(model, 7)
    shapes = (tuple({0: torch.export.Dim("batch")} for _ in few),)
    front_end = Model(model.front_end, nn.Identity())
    with torch.no_grad():
        for whole in (model, front_end):
            exported = torch.export.export(whole, few, dynamic_shapes=shapes).module()
            for windows in (few, many):
                torch.testing.assert_close(exported(*windows), whole(*windows), atol=2e-5, rtol=1e-5)


@quiet
@pytest.mark.parametrize("name", list(CASES))
def test_front_end_and_network_compile(name: str) -> None:
    model = CASES[name]()
    windows = _windows(model, 3)
    torch.compiler.reset()
    # To one graph, but for the GRU, which PyTorch's compiler does not look into: it is called as it is.
    compiled = torch.compile(model, backend="aot_eager", fullgraph="gru" not in name)
    with torch.no_grad():
        torch.testing.assert_close(compiled(*windows), model(*windows), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", list(CASES))
def test_a_gradient_reaches_the_windows_after_a_first_use_without_one(name: str) -> None:
    with torch.inference_mode():
        model = CASES[name]()
        model(*_windows(model, 3))
    model = Model(model.front_end, CASES[name]().network).double().eval()
    windows = tuple(window.double().requires_grad_() for window in _windows(model, 3))
    logits = model(*windows)
    (gradient, *_) = torch.autograd.grad(logits.sum(), windows)
    assert gradient.isfinite().all()
    # A step along the gradient changes the logits as it promises.
    with torch.no_grad():
        step = 1e-4 * gradient / gradient.abs().max()
        moved, *others = windows
        changed = model(moved + step, *others).sum() - model(moved - step, *others).sum()
    assert float(changed) == pytest.approx(float(2 * (gradient * step).sum()), rel=0.05)
    assert float(gradient.abs().sum()) > 0
