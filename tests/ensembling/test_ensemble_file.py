"""ensemble.json: written, moved, read, refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hbac.common.errors import UserError
from hbac.common.files import read_json
from hbac.ensembling.blends import Arithmetic, LogLinear
from hbac.ensembling.compound import Augmented, Mixture
from hbac.ensembling.ensemble_file import Ensemble, Member
from hbac.ensembling.refined import Refined
from hbac.ensembling.stacking import Stacked
from hbac.evaluation.bootstrap import Interval


def make_ensemble(root: Path, blend=None) -> Ensemble:
    members = tuple(
        Member(
            name, tuple(root / "runs" / name / f"fold{k}" for k in range(2)), root / "e" / f"{name}.parquet", "c", 0.5
        )
        for name in ("a", "b")
    )
    return Ensemble(
        members=members,
        method="convex",
        blend=blend or Arithmetic(np.array([0.25, 0.75])),
        nested=Interval(0.46, 0.44, 0.48),
        in_sample=Interval(0.45, float("nan"), float("nan")),
        fold_hash="f",
        data_fingerprint="d",
        dropped=("c",),
        extras={"rows": 3},
    )


def test_moves_with_its_runs(tmp_path: Path):
    path = make_ensemble(tmp_path / "old").write(tmp_path / "old" / "e")
    assert path == tmp_path / "old" / "e" / "ensemble.json"
    content = json.loads(path.read_text())
    assert content["members"][0]["runs"] == ["../runs/a/fold0", "../runs/a/fold1"]
    assert content["members"][1]["table"] == "b.parquet"
    assert content["blend"] == {"kind": "arithmetic", "weights": [0.25, 0.75]}
    assert content["score"]["nested"] == {"kl": 0.46, "low": 0.44, "high": 0.48}
    assert content["score"]["in_sample"]["low"] is None
    (tmp_path / "old").rename(tmp_path / "new")
    ensemble = Ensemble.read(tmp_path / "new" / "e")
    assert ensemble.members[0].runs[1] == tmp_path / "new" / "runs" / "a" / "fold1"
    assert ensemble.nested == Interval(0.46, 0.44, 0.48)
    assert ensemble.dropped == ("c",)
    assert ensemble.extras == {"rows": 3}
    probs = np.random.default_rng(0).dirichlet(np.ones(6), (2, 4))
    np.testing.assert_allclose(ensemble.apply(probs), 0.25 * probs[0] + 0.75 * probs[1])


def test_every_kind_of_blend_survives_the_file(tmp_path: Path):
    rng = np.random.default_rng(1)
    probs = rng.dirichlet(np.ones(6), (2, 9))
    log_linear = LogLinear(rng.normal(size=(2, 6)), rng.normal(size=6))
    wider = LogLinear(rng.normal(size=(3, 6)), rng.normal(size=6))
    shapes = {"centre": 34, "scale": 34, "hidden_weights": (34, 5), "hidden_bias": 5, "output": (39, 6)}
    refined = Refined(wider, **{name: rng.uniform(0.5, 1, shape) for name, shape in shapes.items()})
    mean = Arithmetic(np.array([0.5, 0.5]))
    for blend in (
        log_linear,
        Mixture([log_linear, mean], np.array([0.3, 0.7])),
        Stacked(rng.normal(size=(2, 6, 6)), rng.normal(size=6)),
        Augmented(np.array([[0.4, 0.6]]), refined),
    ):
        make_ensemble(tmp_path, blend).write(tmp_path)
        again = Ensemble.read(tmp_path / "ensemble.json")
        np.testing.assert_array_equal(again.apply(probs), blend.apply(probs))
        spread = again.blend.spread(np.array([3, 1]), 4)
        assert spread.used.tolist() == [False, True, False, True]
        more = np.stack([probs[0], probs[1], probs[0], probs[0]])
        np.testing.assert_allclose(spread.apply(more), blend.apply(probs), atol=1e-6)
        np.testing.assert_allclose(spread.restrict(spread.used).apply(probs[[1, 0]]), blend.apply(probs), atol=1e-6)


def test_log_linear_of_one_weight_is_the_geometric_mean():
    probs = np.random.default_rng(2).dirichlet(np.full(6, 3.0), (3, 20))
    blended = LogLinear(np.full((3, 6), 1 / 3), np.zeros(6)).apply(probs)
    geometric = np.exp(np.log(probs).mean(axis=0))
    np.testing.assert_allclose(blended, geometric / geometric.sum(axis=1, keepdims=True), atol=1e-6)


def test_wrong_files_are_named(tmp_path: Path):
    with pytest.raises(UserError, match=r"ensemble\.json: no such ensemble file"):
        Ensemble.read(tmp_path)
    path = make_ensemble(tmp_path).write(tmp_path)
    good = read_json(path)
    for change, message in (
        ({"format": 9}, "format 9"),
        ({"blend": {"kind": "magic"}}, "unknown kind 'magic'"),
        ({"blend": {"kind": "arithmetic"}}, "damaged description"),
        ({"blend": {"kind": "arithmetic", "weights": [1.0]}}, "2 members, but the blend is one of 1"),
        ({"blend": {"kind": "arithmetic", "weights": [float("nan"), 1.0]}}, "blend: its numbers make no probabilities"),
        ({"blend": {"kind": "log_linear", "weights": [[1.0] * 5] * 2, "bias": [0.0] * 6}}, "do not fit together"),
        ({"blend": {"kind": "log_linear", "weights": [[1e999] * 6] * 2, "bias": [0.0] * 6}}, "make no probabilities"),
        ({"blend": []}, r"blend is \[\], must be an object"),
        ({"members": None}, "members is None, must be a list"),
        ({"members": [{"name": "a"}]}, r"members\[0\].runs is missing, must be a list"),
        ({"score": {}}, "score.nested is missing, must be an object"),
        ({"score": 1}, "score is 1, must be an object"),
        ({"dropped": [3]}, r"dropped\[0\] is 3, must be text"),
        ({"extras": "x"}, "extras is 'x', must be an object"),
    ):
        path.write_text(json.dumps(good | change))
        with pytest.raises(UserError, match=rf"ensemble\.json: .*{message}"):
            Ensemble.read(path)
    path.write_text(json.dumps(good)[:-40])
    with pytest.raises(UserError, match="not a JSON file"):
        Ensemble.read(path)
    path.write_text("[" * 100_000)
    with pytest.raises(UserError, match="not a JSON file"):
        Ensemble.read(path)
    path.write_text(json.dumps(good | {"format": 10**6}).replace("1000000", "1" * 5_000))
    with pytest.raises(UserError, match="not a JSON file"):
        Ensemble.read(path)
    path.write_text(json.dumps(good))
    with pytest.raises(UserError, match="ensemble of 2 members, but probabilities of 3"):
        Ensemble.read(path).apply(np.ones((3, 1, 6)))


def test_any_flipped_bit_is_named(tmp_path: Path) -> None:
    path = make_ensemble(tmp_path).write(tmp_path)
    content = path.read_bytes()
    good = repr(Ensemble.read(path))
    for place in np.random.default_rng(1).integers(0, 8 * len(content), 300).tolist():
        spoiled = bytearray(content)
        spoiled[place // 8] ^= 1 << place % 8
        path.write_bytes(spoiled)
        try:
            found = repr(Ensemble.read(path))
        except UserError as error:
            assert str(path) in str(error)
        else:
            assert found == good  # the name of the hash was hit, and nothing else


def test_an_edited_file_is_read_without_its_hash(tmp_path: Path) -> None:
    path = make_ensemble(tmp_path).write(tmp_path)
    content = json.loads(path.read_text())
    content["fold_hash"] = "mine"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="damaged, or edited by hand"):
        Ensemble.read(path)
    del content["sha256"]
    path.write_text(json.dumps(content))
    assert Ensemble.read(path).fold_hash == "mine"
