from __future__ import annotations

import sys
import warnings

import pytest
import torch
from safetensors.torch import save_file

from hbac.common.errors import UserError
from hbac.models.braindecode import NETWORKS, NON_COMMERCIAL, Braindecode
from hbac.vocabulary import N_CLASSES

pytestmark = pytest.mark.filterwarnings("ignore")  # braindecode's own
HEAVY = ("EEGPT", "EEGInceptionMI")


@pytest.fixture(scope="module", autouse=True)
def _braindecode():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("braindecode.models")


def test_no_network_is_asked_for_and_none_forbidden():
    import braindecode.models as theirs

    assert not set(NETWORKS) & set(NON_COMMERCIAL)
    assert all(hasattr(theirs, name) for name in (*NETWORKS, *NON_COMMERCIAL))


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in HEAVY else n for n in NETWORKS])
def test_ten_seconds_become_logits_and_train(name):
    torch.manual_seed(0)
    network = Braindecode(name, n_chans=18, n_times=2000, sfreq=200.0)
    logits_BK = network(torch.randn(2, 18, 2000))
    assert logits_BK.shape == (2, N_CLASSES)
    assert logits_BK.isfinite().all()
    logits_BK[:, 0].sum().backward()
    reached = [p.grad is not None and bool(p.grad.abs().max() > 0) for p in network.parameters() if p.requires_grad]
    assert sum(reached) > len(reached) / 2  # of some a part is fixed: filters, tokens of their pretraining
    layers = [id(weight) for layer in network.layers() for weight in layer.parameters()]
    assert sorted(layers) == sorted(id(weight) for weight in network.parameters())


def test_the_middle_is_read_and_nothing_else():
    network = Braindecode("ShallowFBCSPNet", n_chans=3, n_times=800, sfreq=40.0, crop_s=10.0).eval()
    x = torch.randn(2, 3, 800)
    changed = x.clone()
    changed[..., :200] = 7
    changed[..., 600:] = 7
    assert network.n_times == 400
    assert torch.equal(network(x), network(changed))


def test_weights_are_loaded_whole_or_not_at_all(tmp_path):
    torch.manual_seed(1)
    settings = {"n_chans": 4, "n_times": 400}
    original = Braindecode("EEGSimpleConv", **settings).network.state_dict()
    save_file({name: tensor.contiguous() for name, tensor in original.items()}, tmp_path / "all.safetensors")
    loaded = Braindecode("EEGSimpleConv", pretrained_file=str(tmp_path / "all.safetensors"), **settings).network
    body = [name for name in original if not name.startswith("final_layer.")]
    assert len(body) > 10
    assert all(torch.equal(loaded.state_dict()[name], original[name]) for name in body)
    save_file({f"model.{name}": original[name].contiguous() for name in body}, tmp_path / "renamed.safetensors")
    with pytest.raises(UserError, match=f"of its {len(body)} tensors .* is missing"):
        Braindecode("EEGSimpleConv", pretrained_file=str(tmp_path / "renamed.safetensors"), **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "EEGNett"}, "model.name=EEGNett: no such network here; choose EEGNet"),
        ({"name": "EEGMiner"}, "its licence forbids commercial use"),
        ({"name": "REVE"}, "no such network here"),  # it fetches a file when it is made
        ({"args": {"growth": 3}}, r"model.args.growth: EEGNet has no such argument; it has n_chans"),
        ({"args": {"n_times": 3}}, "model.args.n_times"),
        ({"args": {"drop_prob": {"a": 1}}}, "must be a plain value"),
        ({"n_times": 20}, "cannot be made for 18 derivations of 20 samples at 40 Hz"),
        ({"crop_s": 0.0}, "model.crop_s=0.0: must be positive"),
    ],
)
def test_what_cannot_be_is_refused(settings, message):
    with pytest.raises(UserError, match=message):
        Braindecode(**({"name": "EEGNet"} | settings))


def test_without_braindecode_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "braindecode.models", None)
    with pytest.raises(UserError, match="needs braindecode: pip install 'braindecode>=1.8'"):
        Braindecode("EEGNet")
