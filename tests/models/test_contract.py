"""What every network in hbac.models promises, whatever it is made of."""

from __future__ import annotations

import copy
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import hbac.models
from hbac.models import (
    MODELS,
    ConvSqueezeformer,
    EfficientNet,
    EfficientNet1d,
    Fusion,
    PublicResNetGRU,
    ResNetGRU,
    SPaRCNet,
    Volume,
    WaveNet2d,
)
from hbac.vocabulary import N_CLASSES

# A small instance of each: how to make it for so many channels and classes, and the shape of one window.
Make = Callable[[int, int], nn.Module]
SMALL: dict[type[nn.Module], tuple[Make, Callable[[int], tuple[int, ...]]]] = {
    ResNetGRU: (
        lambda n_chans, n_outputs: ResNetGRU(
            n_chans=n_chans, n_times=400, n_outputs=n_outputs, filters=4, depth=3, width=16, gru_hidden=8
        ),
        lambda n_chans: (n_chans, 400),
    ),
    EfficientNet: (
        lambda n_chans, n_outputs: EfficientNet(
            "test_efficientnet", in_chans=n_chans, n_outputs=n_outputs, pooling="gem"
        ),
        lambda n_chans: (n_chans, 64, 96),
    ),
    PublicResNetGRU: (
        lambda n_chans, n_outputs: PublicResNetGRU(
            n_chans=n_chans, n_times=200, n_outputs=n_outputs, filters=8, depth=4, gru_hidden=8
        ),
        lambda n_chans: (n_chans, 200),
    ),
    SPaRCNet: (
        lambda n_chans, n_outputs: SPaRCNet(n_chans=n_chans, n_times=512, n_outputs=n_outputs),
        lambda n_chans: (n_chans, 512),
    ),
    EfficientNet1d: (
        lambda n_chans, n_outputs: EfficientNet1d(
            n_chans=n_chans, n_times=200, n_outputs=n_outputs, stem_width=8, widths=(8, 16), kernels=(3, 5), depth=1
        ),
        lambda n_chans: (n_chans, 200),
    ),
    ConvSqueezeformer: (
        lambda n_chans, n_outputs: ConvSqueezeformer(
            n_chans=n_chans, n_times=320, n_outputs=n_outputs, width=16, n_blocks=1, conv_kernel=5
        ),
        lambda n_chans: (n_chans, 320),
    ),
    Volume: (
        lambda n_chans, n_outputs: Volume(
            "test_efficientnet", in_chans=n_chans, n_outputs=n_outputs, width=8, depth=1, head_width=16
        ),
        lambda n_chans: (n_chans, 32, 64),
    ),
    WaveNet2d: (
        lambda n_chans, n_outputs: WaveNet2d(
            n_chans=n_chans,
            n_times=256,
            n_outputs=n_outputs,
            widths=(4, 16),
            depths=(4, 2),
            columns=64,
            backbone="test_efficientnet",
        ),
        lambda n_chans: (n_chans, 256),
    ),
    Fusion: (
        lambda n_chans, n_outputs: Fusion(
            {
                "signal": SMALL[ResNetGRU][0](n_chans, n_outputs),
                "picture": SMALL[EfficientNet][0](n_chans, n_outputs),
            },
            {"signal": (n_chans, 400), "picture": (n_chans, 32, 40)},
            n_outputs,
            auxiliary=0.5,
        ),
        lambda n_chans: (n_chans * (400 + 32 * 40),),
    ),
}

every_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)


def make(model: type[nn.Module], n_chans: int = 5, n_outputs: int = N_CLASSES) -> nn.Module:
    torch.manual_seed(3)
    return SMALL[model][0](n_chans, n_outputs)


def windows(model: type[nn.Module], n: int, n_chans: int = 5) -> Tensor:
    return torch.randn(n, *SMALL[model][1](n_chans), generator=torch.Generator().manual_seed(7))


def test_every_network_is_on_the_list():
    found = set()
    for info in pkgutil.iter_modules(hbac.models.__path__):
        module = importlib.import_module(f"hbac.models.{info.name}")
        for _, thing in inspect.getmembers(module, inspect.isclass):
            ours = thing.__module__ == module.__name__ and issubclass(thing, nn.Module)
            if ours and "self.final_layer" in inspect.getsource(thing):
                found.add(thing)
    assert found == set(MODELS)
    assert set(SMALL) == set(MODELS)


@every_model
def test_constructor_speaks_the_fields_words(model):
    parameters = inspect.signature(model).parameters
    assert parameters["n_outputs"].default == N_CLASSES
    assert {"n_chans", "in_chans", "branches"} & set(parameters)
    assert not any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters.values())
    assert isinstance(make(model).final_layer, nn.Linear)


@every_model
@pytest.mark.parametrize("n_outputs", [2, N_CLASSES])
def test_logits_have_a_row_for_each_window(model, n_outputs):
    logits_BK = make(model, n_outputs=n_outputs)(windows(model, 3))
    assert logits_BK.shape == (3, n_outputs)
    assert torch.isfinite(logits_BK).all()


@every_model
@pytest.mark.parametrize("n_chans", [1, 2, 3, 8, 18, 20])
def test_any_number_of_channels(model, n_chans):
    assert make(model, n_chans=n_chans)(windows(model, 2, n_chans)).shape == (2, N_CLASSES)


@every_model
def test_a_windows_logits_do_not_depend_on_its_batch(model):
    network, x = make(model).eval(), windows(model, 6)
    with torch.no_grad():
        # Away from initial statistics and from the flat start of the last layer, where differences could hide.
        network.train()(10 * x)
        nn.init.normal_(network.final_layer.weight)
        network.eval()
        together = network(x)
        alone = torch.cat([network(x[i : i + 1]) for i in range(len(x))])
        other_company = network(torch.cat([x[:1], 100 * x[3:]]))[:1]
    assert together.std() > 0.1
    torch.testing.assert_close(alone, together, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(other_company, together[:1], rtol=1e-5, atol=1e-5)


@every_model
def test_a_single_window_can_be_trained_on(model):
    network = make(model)
    network(windows(model, 1)).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


@every_model
def test_gradient_reaches_every_parameter(model):
    network = make(model)
    network(windows(model, 4))[:, 0].sum().backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert without == []


@every_model
def test_training_starts_near_the_uniform_prediction(model):
    share_BK = make(model)(windows(model, 8)).softmax(dim=1)
    assert (share_BK - 1 / N_CLASSES).abs().max() < 0.1


@every_model
def test_safetensors_round_trip_gives_the_same_logits(model, tmp_path: Path):
    network, x = make(model), windows(model, 2)
    network(x)  # moves the running statistics
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    torch.manual_seed(99)
    other = SMALL[model][0](5, N_CLASSES)
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert torch.equal(other.eval()(x), network.eval()(x))


@every_model
def test_deep_copy_is_equal_and_apart(model):
    network, x = make(model).eval(), windows(model, 2)
    twin = copy.deepcopy(network)
    assert torch.equal(twin(x), network(x))
    before = network(x)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1.0)
    assert torch.equal(network(x), before)


@every_model
def test_same_seed_same_weights(model):
    first, second = make(model).state_dict(), make(model).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


@every_model
def test_bfloat16_autocast_agrees_with_float32(model):
    network, x = make(model).eval(), windows(model, 2)
    nn.init.normal_(network.final_layer.weight)
    expected = network(x)
    with torch.autocast("cpu", torch.bfloat16):
        got = network(x)
    assert (got.float() - expected).abs().max() < 0.05 * expected.abs().max()
    network.train()
    with torch.autocast("cpu", torch.bfloat16):
        network(x).float().log_softmax(dim=1).mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


# timm's scripted activations, and the tracer's own notes on autocast.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@every_model
def test_it_exports_for_any_number_of_windows(model: type[nn.Module]) -> None:
    network = make(model).eval()
    exported = torch.export.export(
        network, (windows(model, 3),), dynamic_shapes=({0: torch.export.Dim("batch")},)
    ).module()
    for n in (3, 5):
        torch.testing.assert_close(exported(windows(model, n)), network(windows(model, n)), atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@every_model
def test_it_compiles(model: type[nn.Module]) -> None:
    """To one graph, but for a GRU, which PyTorch's compiler does not look into: it is called as it is."""
    network, x = make(model).eval(), windows(model, 2)
    nn.init.normal_(network.final_layer.weight)
    whole = not any(isinstance(module, nn.GRU) for module in network.modules())
    torch.compiler.reset()
    with torch.no_grad():
        compiled = torch.compile(network, backend="aot_eager", fullgraph=whole)(x)
        torch.testing.assert_close(compiled, network(x), atol=1e-5, rtol=1e-5)


@every_model
def test_evaluation_is_deterministic(model: type[nn.Module]) -> None:
    network, x = make(model).eval(), windows(model, 2)
    assert torch.equal(network(x), network(x))


@every_model
def test_its_layers_have_every_weight_once(model: type[nn.Module]) -> None:
    network = make(model)
    layers = [id(weight) for layer in network.layers() for weight in layer.parameters()]  # type: ignore[operator]
    assert len(network.layers()) > 3  # type: ignore[operator]
    assert sorted(layers) == sorted(id(weight) for weight in network.parameters())


def rhythms(model: type[nn.Module], n: int) -> tuple[Tensor, Tensor]:
    """Windows of six rhythms at any phase in noise, and which one each has."""
    generator = torch.Generator().manual_seed(5)
    x = 0.3 * windows(model, n)
    class_N = torch.arange(n) % N_CLASSES
    length = x.shape[-1]
    phase = torch.rand(n, generator=generator)
    cycles = (class_N + 1) * length / 40
    rhythm_NT = torch.sin(2 * torch.pi * (cycles[:, None] * torch.arange(length) / length + phase[:, None]))
    return x + rhythm_NT.view(n, *[1] * (x.ndim - 2), length), class_N


@pytest.mark.slow
@every_model
def test_it_learns_64_windows_by_heart(model: type[nn.Module]) -> None:
    network = make(model)
    x, class_N = rhythms(model, 64)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    kl, chance = torch.tensor(torch.inf), torch.Generator().manual_seed(1)
    for step in range(400):
        order_N = torch.randperm(len(x), generator=chance)  # as loaders have it; Fusion goes by the place in a batch
        loss = nn.functional.cross_entropy(network.train()(x[order_N]), class_N[order_N])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        if step % 10 == 9:
            with torch.no_grad():
                kl = nn.functional.cross_entropy(network.eval()(x), class_N)  # of one-hot targets the KL
            if kl < 0.05:
                break
    assert kl < 0.05
