"""A map of the logits for each vote population: nothing at first, its own rows' alone, saved with the run."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import hbac
from hbac.common.errors import UserError
from hbac.ensembling.ensemble_file import Ensemble
from hbac.inference.networks import Networks
from hbac.models import ResNetGRU
from hbac.models.population_head import PopulationHead
from hbac.runs.model import load_run
from hbac.training import Classifier
from tests.helpers import write_hms_layout
from tests.test_commands import SMALL_NET, command

SMALL = {"n_chans": 2, "n_times": 400, "filters": 4, "depth": 3, "width": 16, "gru_hidden": 8}


def head_of_noise(population: str = "many_votes") -> PopulationHead:
    torch.manual_seed(0)
    head = PopulationHead(nn.Linear(3, 6), population)
    nn.init.normal_(head.log_scale)
    nn.init.normal_(head.bias)
    return head


def test_it_is_the_network_itself_at_the_start() -> None:
    network = nn.Linear(3, 6)
    head, x = PopulationHead(network, "many_votes"), torch.randn(5, 3)
    votes = torch.tensor([1.0, 7.0, 10.0, 12.0, 0.0])
    assert torch.equal(head(x), network(x))
    assert torch.equal(head(x, votes), network(x))
    assert sum(weight.numel() for weight in head.parameters()) - sum(w.numel() for w in network.parameters()) == 14


def test_votes_choose_the_map_in_training_and_the_population_in_prediction() -> None:
    many, few = head_of_noise("many_votes"), head_of_noise("few_votes")
    x, votes = torch.randn(4, 3), torch.tensor([1.0, 7.0, 10.0, 28.0])
    torch.testing.assert_close(many(x, votes), torch.cat([few(x[:2]), many(x[2:])]))
    torch.testing.assert_close(few(x, votes), many(x, votes))
    expected = many.network(x) * many.log_scale[1].exp() + many.bias[1]
    torch.testing.assert_close(many(x), expected)
    torch.testing.assert_close(few(x, torch.zeros(4)), few(x))  # rows without votes, as those of a test part


def test_rows_with_few_votes_teach_their_map_and_the_features() -> None:
    head = head_of_noise()
    task = Classifier(head, torch.optim.AdamW, population_head=True)
    batch = {
        "x": torch.randn(6, 3),
        "target": torch.eye(6),
        "weight": torch.ones(6),
        "n_votes": torch.full((6,), 3.0),
    }
    task.loss(task(batch["x"], batch["n_votes"]), batch).backward()
    assert head.log_scale.grad is not None and head.bias.grad is not None and head.network.weight.grad is not None
    assert head.log_scale.grad[0] != 0 and head.log_scale.grad[1] == 0
    assert head.bias.grad[0].abs().min() > 0 and head.bias.grad[1].abs().max() == 0
    assert head.network.weight.grad.abs().max() > 0


@pytest.mark.parametrize("decay", [0.5, 1.0])
def test_every_weight_learns_once(decay: float) -> None:
    head = PopulationHead(ResNetGRU(**SMALL), "many_votes")
    optimizer = Classifier(
        head, partial(torch.optim.SGD, lr=0.1), lr_decay=decay, population_head=True
    ).configure_optimizers()
    learnt = [id(weight) for group in optimizer.param_groups for weight in group["params"]]
    assert sorted(learnt) == sorted(id(weight) for weight in head.parameters())


def test_it_learns_how_sure_each_population_may_be() -> None:
    """One and the same input; experts agree on it with few votes, and do not with many."""
    head = PopulationHead(nn.Linear(1, 6), "many_votes")
    optimizer = torch.optim.Adam(head.parameters(), lr=0.1)
    x, votes = torch.ones(2, 1), torch.tensor([3.0, 12.0])
    target = torch.stack([torch.eye(6)[2], torch.tensor([0.1, 0.1, 0.4, 0.2, 0.1, 0.1])])
    for _ in range(300):
        optimizer.zero_grad()
        F.kl_div(head(x, votes).log_softmax(1), target, reduction="batchmean").backward()
        optimizer.step()
    torch.testing.assert_close(head(x)[0].softmax(0), target[1], atol=0.01, rtol=0)
    assert head(x, votes)[0].softmax(0)[2] > 0.95


def test_where_no_protocol_is_known_both_maps_have_a_say() -> None:
    both, x = head_of_noise("all"), torch.randn(4, 3)
    each = [head_of_noise(population)(x).softmax(1) for population in ("few_votes", "many_votes")]
    torch.testing.assert_close(both(x).softmax(1), (each[0] + each[1]) / 2)
    votes = torch.tensor([3.0, 20.0, 0.0, 0.0])
    voted = torch.stack([each[0][0], each[1][1], *both(x).softmax(1)[2:]])
    torch.testing.assert_close(both(x, votes).softmax(1), voted)


def test_a_population_that_there_is_not() -> None:
    with pytest.raises(UserError, match="unknown population 'some_votes'; there are: few_votes, many_votes, all"):
        PopulationHead(nn.Linear(3, 6), "some_votes")


def test_it_goes_with_the_run_to_every_prediction(tmp_path: Path) -> None:
    root = write_hms_layout(tmp_path / "data", n_eegs=16, seed=1)
    line = ["hbac.train", "dataset=hms", f"dataset.root={root}", "labels.n_folds=2", "logger=csv", *SMALL_NET]
    command(tmp_path, *line, "task.population_head=true", "optimizer.lr=0.1", "blend=mean", "-m", "fold=0,1")
    (run,) = tmp_path.glob("outputs/runs/*/fold0")
    model = load_run(run)
    assert isinstance(model.network, PopulationHead) and model.network.population == "many_votes"
    assert (model.network.log_scale != 0).all()
    windows = np.random.default_rng(0).normal(0, 20, (2, 10_000, 20)).astype(np.float32)
    (sweep,) = tmp_path.glob("outputs/sweeps/*")
    loaded = hbac.load(sweep)
    torch.testing.assert_close(
        loaded(windows), torch.stack([load_run(folder)(windows) for folder in run.parent.glob("fold*")]).mean(0)
    )
    ensemble = Ensemble.read(sweep)
    batch = {"eeg": torch.from_numpy(windows), "row": torch.arange(2)}
    by_many, by_few = (Networks.of(ensemble, "cpu", "32-true", population=name) for name in (None, "few_votes"))
    assert by_many.hashes != by_few.hashes
    assert not torch.allclose(by_many.predict(batch), by_few.predict(batch), atol=1e-3)
    command(tmp_path, "hbac.infer", "dataset=hms", f"dataset.root={root}", "logger=csv", "split=few_votes", "out=few")
    by_both = Networks.of(ensemble, "cpu", "32-true", population="all")
    assert by_both.hashes not in (by_many.hashes, by_few.hashes)
    torch.testing.assert_close(by_both.predict(batch), (by_many.predict(batch) + by_few.predict(batch)) / 2)
    command(tmp_path, *line, "task.population_head=true", "population=all", "fold=0", "outputs=both")
    (of_both,) = tmp_path.glob("both/runs/*/fold0")
    trained = load_run(of_both).network
    assert isinstance(trained, PopulationHead) and trained.population == "all"
