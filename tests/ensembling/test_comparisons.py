"""The report's figures against scikit-learn's, and its comparisons on cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from hbac.ensembling.comparisons import (
    compare,
    compare_with_best,
    disagreement,
    leave_one_out,
    score_table,
)
from hbac.ensembling.methods import fit_nested
from hbac.ensembling.nested import BlendData
from hbac.evaluation.areas import auroc_and_auprc
from hbac.evaluation.calibration import expected_calibration_error
from hbac.evaluation.metric import kl_by_class, kl_by_population, kl_rows
from hbac.predictions.join import join_tables
from hbac.vocabulary import CLASSES
from tests.ensembling.standin import make_standin


@pytest.fixture(scope="module")
def standin():
    return make_standin(n_rows=1500, n_members=4, seed=6)


@pytest.fixture(scope="module")
def scores(standin):
    probs = {"a": standin.probs[0].astype(float), "b": standin.probs[1].astype(float)}
    probs = {name: p / p.sum(axis=1, keepdims=True) for name, p in probs.items()}
    table = score_table(
        standin.targets, probs, standin.n_votes, standin.patient_id, n_resamples=300, n_resamples_rank=60
    )
    return probs, table


def test_equal_scikit_learn(standin, scores):
    probs, table = scores
    label = standin.targets.argmax(axis=1)
    one_hot = np.eye(6)[label]
    for name, prob in probs.items():
        predicted = prob.argmax(axis=1)
        expected = {
            "log_loss": metrics.log_loss(label, prob, labels=range(6)),
            "accuracy": metrics.accuracy_score(label, predicted),
            "balanced_accuracy": metrics.balanced_accuracy_score(label, predicted),
            "auroc": metrics.roc_auc_score(label, prob, multi_class="ovr", average="macro"),
            "auprc": metrics.average_precision_score(one_hot, prob, average="macro"),
            "ece": expected_calibration_error(standin.targets, prob),
        }
        for metric, value in expected.items():
            assert table.loc[name, metric] == pytest.approx(value, rel=1e-9), metric


def test_kl_parts(standin, scores):
    probs, table = scores
    for name, prob in probs.items():
        for population, value in kl_by_population(standin.targets, prob, standin.n_votes).items():
            assert table.loc[name, f"kl_{population}"] == pytest.approx(value)
        parts = [table.loc[name, f"kl_class_{c}"] for c in CLASSES]
        np.testing.assert_allclose(parts, list(kl_by_class(standin.targets, prob).values()))
        assert sum(parts) == pytest.approx(table.loc[name, "kl_all"])
        for population in ("up_to_7", "10_or_more"):
            parts = [table.loc[name, f"kl_class_{c}_{population}"] for c in CLASSES]
            assert sum(parts) == pytest.approx(table.loc[name, f"kl_{population}"])


def test_a_population_s_metrics_are_those_of_its_rows(standin, scores):
    probs, table = scores
    many = standin.n_votes >= 10
    label = standin.targets[many].argmax(axis=1)
    for name, prob in probs.items():
        expected = metrics.accuracy_score(label, prob[many].argmax(axis=1))
        assert table.loc[name, "accuracy_10_or_more"] == pytest.approx(expected)
        areas = metrics.roc_auc_score(label, prob[many], multi_class="ovr", average="macro")
        assert table.loc[name, "auroc_10_or_more"] == pytest.approx(areas)


def test_every_figure_has_its_interval(scores):
    _, table = scores
    figures = [column for column in table.columns if not column.endswith(("_low", "_high"))]
    assert len(figures) == 3 + 3 * (6 + 6)  # KL, then the others on each vote population
    for figure in figures:
        assert (table[f"{figure}_low"] < table[f"{figure}_high"]).all(), figure
        if figure != "ece":  # a biased statistic: a resample has more of it
            assert table[figure].between(table[f"{figure}_low"], table[f"{figure}_high"]).all(), figure


@pytest.mark.parametrize("ties", [False, True])
def test_areas_equal_scikit_learn_with_weights_and_ties(ties):
    rng = np.random.default_rng(0)
    positive, score = rng.random(300) < 0.3, rng.random(300)
    if ties:
        score = np.round(score, 1)
    weights = rng.integers(0, 4, (5, 300)).astype(float)
    auroc, auprc = auroc_and_auprc(positive, score, weights)
    for r in range(5):
        assert auroc[r] == pytest.approx(metrics.roc_auc_score(positive, score, sample_weight=weights[r]))
        assert auprc[r] == pytest.approx(metrics.average_precision_score(positive, score, sample_weight=weights[r]))
    none, _ = auroc_and_auprc(positive, score, positive[None].astype(float))
    assert np.isnan(none[0])


def test_intervals_of_rank_metrics_come_from_patients(standin, scores):
    """By hand: resample patients, take all of their rows, let scikit-learn score them."""
    probs, table = scores
    label, prob = standin.targets.argmax(axis=1), probs["a"]
    rng = np.random.default_rng(0)
    rows_of = {p: np.flatnonzero(standin.patient_id == p) for p in np.unique(standin.patient_id)}
    patients = list(rows_of)
    by_hand = []
    for _ in range(60):
        rows = np.concatenate([rows_of[p] for p in rng.choice(patients, len(patients))])
        by_hand.append(metrics.roc_auc_score(label[rows], prob[rows], multi_class="ovr", average="macro"))
    low, high = np.quantile(by_hand, [0.025, 0.975])
    width = table.loc["a", "auroc_high"] - table.loc["a", "auroc_low"]
    assert width == pytest.approx(high - low, rel=0.5)


def test_comparison_with_the_best():
    rng = np.random.default_rng(1)
    patient = np.arange(600) // 4
    hard = rng.gamma(1, 1, 600)
    kl = np.stack([hard + 0.1 + 0.01 * rng.normal(size=600), hard, hard + 0.3 * rng.normal(size=600)])
    kl[2] -= kl[2].mean() - hard.mean() - 0.001  # worse by next to nothing
    table = compare_with_best(kl, ["worse", "best", "alike"], patient).set_index("name")
    assert table.index[0] == "best"
    assert table.loc["best", ["difference", "low", "high"]].tolist() == [0, 0, 0]
    assert table.loc["worse", "difference"] == pytest.approx(0.1, abs=0.002)
    assert table.loc["worse", "low"] > 0.09
    assert table.loc["alike", "low"] < 0 < table.loc["alike", "high"]


def test_disagreement_is_zero_for_the_same_and_log_two_for_opposites():
    a, b = np.eye(6)[[0, 1, 2]], np.eye(6)[[3, 4, 5]]
    c = a.copy()
    c[0] = np.nan
    table = disagreement({"a": a, "b": b, "c": c})
    np.testing.assert_allclose(table.to_numpy(), np.log(2) * np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]]), atol=1e-12)


def test_leave_one_out_finds_who_adds(standin):
    """The member that alone knows the last third, and a copy that adds nothing."""
    n = len(standin.fold)
    blind = np.full((n, 6), 1 / 6)
    good = 0.7 * standin.truth + 0.3 / 6
    third = (np.arange(n) % 3 == 0)[:, None]
    probs = np.stack([np.where(third, blind, good), np.where(third, good, blind), np.where(third, blind, good)])
    data = BlendData(probs.astype(np.float32), standin.targets, standin.fold)
    table = leave_one_out(data, ("most", "rest", "copy"), standin.patient_id).set_index("name")
    assert table.index[0] == "rest"
    assert table.loc["rest", "low"] > 0.01
    assert table.loc["copy", "gain"] == pytest.approx(0, abs=1e-5)
    without = fit_nested(BlendData(data.probs[[0, 2]], data.targets, data.fold), "convex")["convex"].nested
    whole = fit_nested(data, "convex")["convex"].nested
    expected = (kl_rows(standin.targets, without) - kl_rows(standin.targets, whole)).mean()
    assert table.loc["rest", "gain"] == pytest.approx(expected, abs=1e-6)


def test_compare_with_a_member_that_lacks_rows(standin):
    tables = standin.tables()[:3]
    short = type(tables[2])(tables[2].frame.iloc[::2], tables[2].metadata)
    joined = join_tables([*tables[:2], short], on_missing="renormalise")
    data = BlendData(joined.probs, joined.targets, joined.fold, joined.present)
    fit = fit_nested(data, "convex")["convex"]
    report = compare(joined, data, fit, "all", n_resamples=50, n_resamples_rank=10)
    names = {"ensemble", *(t.metadata.member for t in tables)}
    assert set(report["scores"].index) == names
    assert set(report["against_best"]["name"]) == names
    assert set(report["leave_one_out"]["name"]) == names - {"ensemble"}
    assert report["disagreement"].shape == (4, 4)
    assert report["scores"].loc["ensemble", "kl_all"] == pytest.approx(fit.nested_kl)
    expected = kl_rows(short.targets, short.probs).mean()
    assert report["scores"].loc[short.metadata.member, "kl_all"] == pytest.approx(expected, abs=1e-6)
    assert not report["scores"].isna().any(axis=None)
