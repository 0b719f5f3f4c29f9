"""Loss and metrics in closed form; precision."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hbac.common.errors import UserError
from hbac.evaluation.metric import kl_by_population, kl_divergence
from hbac.models import EfficientNet, ResNetGRU
from hbac.models.population_head import PopulationHead
from hbac.training import Classifier
from hbac.training.metrics import PopulationKL
from hbac.training.precision import choose_precision
from hbac.vocabulary import CLASSES


def classifier(**settings: float) -> Classifier:
    return Classifier(nn.Linear(3, 6), torch.optim.AdamW, **settings)  # type: ignore[arg-type]


def batch(target: torch.Tensor, weight: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
    return {"target": target, "weight": torch.ones(len(target)) if weight is None else weight}


def test_the_loss_is_the_metric() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(40, 6, generator=generator)
    target = torch.rand(40, 6, generator=generator).softmax(1)
    loss = classifier().loss(logits, batch(target))
    expected = kl_divergence(target.double().numpy(), logits.double().softmax(1).numpy())
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_uniform_logits_against_one_vote_cost_log_six() -> None:
    loss = classifier().loss(torch.zeros(2, 6), batch(torch.eye(6)[:2]))
    assert float(loss) == pytest.approx(math.log(6), rel=1e-6)


def test_weights_count_rows() -> None:
    logits, target = torch.zeros(2, 6), torch.stack([torch.eye(6)[0], torch.full((6,), 1 / 6)])
    loss = classifier().loss(logits, batch(target, torch.tensor([3.0, 1.0])))
    assert float(loss) == pytest.approx(0.75 * math.log(6), rel=1e-6)


def test_population_kl_equals_the_table_s() -> None:
    rng = np.random.default_rng(0)
    target, prob = rng.dirichlet(np.ones(6), 50), rng.dirichlet(np.ones(6), 50)
    votes = rng.integers(1, 20, 50)
    metric = PopulationKL()
    for part in np.array_split(np.arange(50), 4):
        metric.update(*(torch.tensor(x[part]) for x in (np.log(prob), target, votes.astype(float))))
    values = {name: float(value) for name, value in metric.compute().items()}
    expected = kl_by_population(target, prob, votes)
    assert values["kl"] == pytest.approx(expected["all"], rel=1e-5)
    assert values["kl_up_to_7"] == pytest.approx(expected["up_to_7"], rel=1e-5)
    assert values["kl_10_or_more"] == pytest.approx(expected["10_or_more"], rel=1e-5)
    for population in ("", "_up_to_7", "_10_or_more"):
        parts = sum(values[f"kl_{name}{population}"] for name in CLASSES)
        assert parts == pytest.approx(values[f"kl{population}"], rel=1e-5)
    assert len(values) == 3 * (1 + 6)


def test_population_kl_keeps_its_digits_in_mixed_precision() -> None:
    generator = torch.Generator().manual_seed(0)
    log_prob = torch.randn(64, 6, generator=generator).log_softmax(dim=1)
    target = torch.rand(64, 6, generator=generator)
    target /= target.sum(dim=1, keepdim=True)
    votes = torch.full((64,), 12)
    plain, mixed = PopulationKL(), PopulationKL()
    plain.update(log_prob, target, votes)
    with torch.autocast("cpu", torch.bfloat16):
        mixed.update(log_prob, target, votes)
    assert mixed.compute()["kl"].item() == plain.compute()["kl"].item()


def test_a_class_without_votes_costs_nothing_even_where_its_probability_underflows() -> None:
    metric = PopulationKL()
    metric.update(torch.tensor([[0.0, *[-torch.inf] * 5]]), torch.eye(6)[:1], torch.tensor([3.0]))
    assert float(metric.compute()["kl"]) == 0.0


def test_population_kl_leaves_out_what_has_no_rows() -> None:
    metric = PopulationKL()
    metric.update(torch.zeros(1, 6).log_softmax(1), torch.eye(6)[:1], torch.tensor([3.0]))
    assert "kl_10_or_more" not in metric.compute()


@pytest.mark.parametrize("name", ["32-true", "bf16-mixed", "16-mixed"])
def test_precision_passes_on(name: str) -> None:
    assert choose_precision(name) == name


def test_precision_auto_on_a_cpu_is_float32_whatever_its_instructions() -> None:
    assert choose_precision("auto", "cpu") == "32-true"


@pytest.mark.parametrize("name", ["fast", "bf16-true"])
def test_precision_there_is_not(name: str) -> None:
    with pytest.raises(UserError, match=rf"unknown trainer.precision '{name}'; there are: auto, 32-true"):
        choose_precision(name)


def test_each_layer_learns_at_its_rate() -> None:
    network = ResNetGRU(n_chans=2, n_times=400, filters=4, depth=3, width=16, gru_hidden=8)
    task = Classifier(network, partial(torch.optim.SGD, lr=0.1), lr_decay=0.5)
    optimizer = task.configure_optimizers()
    rates = {id(weight): group["lr"] for group in optimizer.param_groups for weight in group["params"]}
    assert [rates[id(next(layer.parameters()))] for layer in network.layers()] == pytest.approx(
        [0.1 / 32, 0.1 / 16, 0.1 / 8, 0.1 / 4, 0.1 / 2, 0.1]
    )


@pytest.mark.parametrize("lr_decay", [1.0, 0.9999, 0.5])
@pytest.mark.parametrize("head", [False, True])
def test_weight_decay_spares_normalisations_and_biases_whatever_the_groups(lr_decay: float, head: bool) -> None:
    torch.manual_seed(0)
    small: Any = {"n_chans": 2, "n_times": 400, "filters": 4, "depth": 2, "width": 16, "gru_hidden": 8}
    network: nn.Module = ResNetGRU(**small)
    if head:
        network = PopulationHead(network, "many_votes")
    make = partial(torch.optim.AdamW, lr=0.1, weight_decay=0.5)
    task = Classifier(network, make, lr_decay=lr_decay, population_head=head)
    optimizer = task.configure_optimizers()
    before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    for weight in network.parameters():
        weight.grad = torch.zeros_like(weight)
    optimizer.step()  # without a gradient nothing but decay moves anything
    moved = {name for name, weight in network.named_parameters() if not torch.equal(weight, before[name])}
    assert moved == {name for name, weight in network.named_parameters() if weight.ndim > 1 and "bias" not in name}


def test_the_network_is_compiled_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    network, asked = nn.Linear(3, 6), []

    def compiled(self: nn.Module, mode: str) -> None:
        asked.append(mode)
        self._compiled_call_impl = lambda x: 2 * self._call_impl(x)

    monkeypatch.setattr(nn.Module, "compile", compiled)
    x = torch.ones(2, 3)
    for setting, mode in ((False, None), (True, "default"), ("max-autotune", "max-autotune")):
        network._compiled_call_impl = None
        task = Classifier(network, torch.optim.AdamW, compile=setting)
        task.setup("fit")
        assert asked[-1:] == ([mode] if mode else [])
        assert torch.equal(task(x), (2 if mode else 1) * network._call_impl(x))


def test_a_compiler_that_fails_is_done_without_and_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: nn.Module, mode: str) -> None:
        self._compiled_call_impl = lambda x: (_ for _ in ()).throw(RuntimeError("no compiler: g++ is missing\nmore"))

    monkeypatch.setattr(nn.Module, "compile", broken)
    task = Classifier(nn.Linear(3, 6), torch.optim.AdamW, compile="max-autotune")
    task.setup("fit")
    for _ in range(2):
        assert torch.equal(task(torch.ones(2, 3)), task.network._call_impl(torch.ones(2, 3)))
    assert caplog.messages == [
        "compile=max-autotune does not work here, the network is trained without: no compiler: g++ is missing"
    ]
    with pytest.raises(RuntimeError, match="shapes"):
        task(torch.ones(2, 4))


@pytest.mark.parametrize(
    ("network", "decay", "message"),
    [
        (nn.Linear(3, 6), 0.0, "must be above 0 and at most 1"),
        (nn.Linear(3, 6), 0.5, "Linear does not say what its layers are"),
        (EfficientNet("test_efficientnet", backbone_lr_factor=0.1), 0.5, "exclude one another"),
    ],
)
def test_rates_that_cannot_be(network: nn.Module, decay: float, message: str) -> None:
    with pytest.raises(UserError, match=rf"task.lr_decay={decay}.*{message}"):
        Classifier(network, torch.optim.AdamW, lr_decay=decay)
