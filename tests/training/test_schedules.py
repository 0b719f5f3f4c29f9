"""The rate after each step, of each schedule; when Lightning steps them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from hbac.common.errors import UserError
from hbac.training import Classifier
from hbac.training.quiet import quiet
from hbac.training.schedules import (
    constant,
    cosine_restarts,
    one_cycle,
    reduce_on_plateau,
    stepwise,
    warmup_cosine,
)


def rates(make: Callable[..., Any], total_steps: int, **settings: Any) -> list[float]:
    """The rate of each step of a run, and the one it ends with; the peak is 2."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    schedule = make(optimizer, total_steps, **settings)
    seen = []
    for _ in range(total_steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return [*seen, optimizer.param_groups[0]["lr"]]


def test_warm_up_and_cosine() -> None:
    rate = rates(warmup_cosine, 100, warmup=0.1, final=0.01)
    assert rate[0] == pytest.approx(0.2)
    assert rate[9] == rate[10] == pytest.approx(2.0)
    assert rate[55] == pytest.approx(2.0 * (0.01 + 0.99 * 0.5))
    assert rate[100] == pytest.approx(0.02)
    assert all(a <= b for a, b in itertools.pairwise(rate[:11]))
    assert all(a >= b for a, b in itertools.pairwise(rate[10:]))


def test_one_cycle() -> None:
    rate = rates(one_cycle, 101, warmup=0.4, first=0.05, final=0.001)
    top = max(range(101), key=rate.__getitem__)
    assert rate[0] == pytest.approx(0.1)
    assert rate[top] == pytest.approx(2.0, rel=1e-3)
    assert top == pytest.approx(40, abs=1)
    assert rate[100] == pytest.approx(0.002)
    assert all(a < b for a, b in itertools.pairwise(rate[: top + 1]))
    assert all(a > b for a, b in itertools.pairwise(rate[top:101]))


@pytest.mark.parametrize("total_steps", [1, 2, 3])
@pytest.mark.parametrize("make", [warmup_cosine, one_cycle, stepwise, cosine_restarts, constant])
def test_the_shortest_runs(make: Callable[..., Any], total_steps: int) -> None:
    assert all(0 < rate <= 2.0 for rate in rates(make, total_steps))


def test_stepwise() -> None:
    rate = rates(stepwise, 40, milestones=[0.5, 0.75], factor=0.1)
    assert rate[:20] == [2.0] * 20
    assert rate[20:30] == pytest.approx([0.2] * 10)
    assert rate[30:] == pytest.approx([0.02] * 11)


def test_cosine_restarts() -> None:
    rate = rates(cosine_restarts, 40, cycles=4, lowest=0.0)
    expected = [1 + math.cos(math.pi * step / 10) for step in range(10)]
    assert rate[:40] == pytest.approx(4 * expected)


def test_constant() -> None:
    assert rates(constant, 5) == [2.0] * 6


def test_plateau_waits_and_then_lowers() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    schedule = reduce_on_plateau(optimizer, 0, factor=0.5, patience=1, lowest=0.4)
    seen = []
    for kl in (1.0, 0.9, 0.9, 0.95, 0.91, 0.92, 0.93, 0.94, 0.95):
        schedule.step(kl)
        seen.append(optimizer.param_groups[0]["lr"])
    assert seen == [2.0, 2.0, 2.0, 1.0, 1.0, 0.5, 0.5, 0.4, 0.4]


def test_each_parameter_group_keeps_its_own_peak() -> None:
    for make in (warmup_cosine, one_cycle):
        parameters = [torch.zeros(1, requires_grad=True) for _ in range(2)]
        optimizer = torch.optim.SGD([{"params": [p], "lr": lr} for p, lr in zip(parameters, (2.0, 0.5), strict=True)])
        schedule = make(optimizer, 20)
        for _ in range(20):
            first, second = (group["lr"] for group in optimizer.param_groups)
            assert first == pytest.approx(4 * second)
            optimizer.step()
            schedule.step()


@pytest.mark.parametrize(
    ("make", "settings", "words"),
    [
        (warmup_cosine, {"warmup": 1.0}, "schedule.warmup=1.0"),
        (one_cycle, {"warmup": 0.0}, "schedule.warmup=0.0"),
        (one_cycle, {"final": 0.0}, "schedule.final=0.0"),
        (stepwise, {"milestones": [0.7, 0.5]}, r"schedule.milestones=\[0.7, 0.5\]"),
        (stepwise, {"milestones": [10, 20]}, "shares of the run"),
        (cosine_restarts, {"cycles": 0}, "schedule.cycles=0"),
        (reduce_on_plateau, {"factor": 1.0}, "schedule.factor=1.0"),
    ],
)
def test_bad_settings(make: Callable[..., Any], settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        rates(make, 10, **settings)


class Rows(L.LightningDataModule):
    """Ten batches of four rows to train on, one to validate on."""

    batch_size = 4

    def rows(self, n: int) -> list[dict[str, Tensor]]:
        generator = torch.Generator().manual_seed(n)
        target = torch.rand(n, 6, generator=generator).softmax(1)
        x = torch.randn(n, 3, generator=generator)
        others = {"weight": torch.ones(()), "n_votes": torch.ones(()), "row": torch.tensor(0)}
        return [{"x": x[i], "target": target[i], **others} for i in range(n)]

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.rows(40), batch_size=4)  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.rows(4), batch_size=4)  # type: ignore[arg-type]


class Rates(L.Callback):
    """Remembers the rate of each batch."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        self.seen.append(trainer.optimizers[0].param_groups[0]["lr"])


def trained(schedule: Callable[..., Any], callbacks: list[L.Callback] | None = None, **settings: Any) -> list[float]:
    """The rate of each batch of three epochs."""
    quiet()
    torch.manual_seed(0)
    watch = Rates()
    trainer = L.Trainer(
        max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False, enable_model_summary=False,
        enable_progress_bar=False, num_sanity_val_steps=0, callbacks=[watch, *(callbacks or [])], **settings,
    )  # fmt: skip
    trainer.fit(Classifier(nn.Linear(3, 6), partial(torch.optim.SGD, lr=2.0), schedule), Rows())
    return watch.seen


def test_a_schedule_is_stepped_once_for_each_batch() -> None:
    rate = trained(partial(stepwise, milestones=[0.5], factor=0.1))
    assert rate == pytest.approx([2.0] * 15 + [0.2] * 15)


def test_a_schedule_counts_steps_of_the_optimiser_when_gradients_are_accumulated() -> None:
    # 10 batches make 3 steps (4 + 4 + 2 batches) an epoch, 9 in all: the fifth batch has had one.
    straight = rates(warmup_cosine, 9, warmup=0.34)
    seen = trained(partial(warmup_cosine, warmup=0.34), accumulate_grad_batches=4)
    steps = [3 * epoch + i for epoch in range(3) for i in (0, 0, 0, 0, 1, 1, 1, 1, 2, 2)]
    assert seen == pytest.approx([straight[step] for step in steps])


def test_a_plateau_is_asked_once_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Classifier, "on_validation_epoch_end", lambda self: self.log("val/kl_10_or_more", 1.0))
    rate = trained(partial(reduce_on_plateau, factor=0.5, patience=0))
    assert rate == [2.0] * 20 + [1.0] * 10  # the first value is the best so far, the second is not better
