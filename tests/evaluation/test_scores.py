"""Every metric equals scikit-learn's, on each vote population, whole and per class."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from hbac.evaluation.metric import kl_divergence
from hbac.evaluation.scores import scores
from hbac.labels.targets import POPULATIONS
from hbac.vocabulary import CLASSES


@pytest.fixture
def table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    votes = rng.multinomial(1, [1 / 6] * 6, 300) + rng.multinomial(4, [0.3, 0.2, 0.1, 0.1, 0.1, 0.2], 300)
    prob = rng.dirichlet(np.ones(6), 300)
    return votes / 5, 0.5 * prob + 0.5 * votes / 5, rng.integers(1, 20, 300)


def test_all_metrics_are_those_of_scikit_learn(table: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    target, prob, n_votes = table
    found = scores(target, prob, n_votes)
    assert list(found) == list(POPULATIONS)
    for name, population in POPULATIONS.items():
        inside = population.contains(n_votes)
        t, p, values = target[inside], prob[inside], found[name]
        truth, guess = t.argmax(1), p.argmax(1)
        assert values["rows"] == inside.sum()
        assert values["kl"] == pytest.approx(kl_divergence(t, p))
        assert values["kl"] == pytest.approx(sum(values["classes"][c]["kl"] for c in CLASSES))
        assert values["log_loss"] == pytest.approx(metrics.log_loss(truth, p, labels=range(6)))
        assert values["accuracy"] == pytest.approx(metrics.accuracy_score(truth, guess))
        assert values["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(truth, guess))
        macro = {"average": "macro", "multi_class": "ovr"}
        assert values["auroc"] == pytest.approx(metrics.roc_auc_score(truth, p, **macro))
        assert values["auprc"] == pytest.approx(metrics.average_precision_score(np.eye(6)[truth], p, average="macro"))
        recall = metrics.recall_score(truth, guess, average=None)
        assert [values["classes"][c]["recall"] for c in CLASSES] == pytest.approx(recall.tolist())


def test_what_is_not_defined_is_none(table: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    target, prob, _ = table
    few = scores(target[:3], prob[:3], np.array([3, 3, 3]))
    assert few["10_or_more"] == {"rows": 0}
    absent = [c for k, c in enumerate(CLASSES) if k not in target[:3].argmax(1)]
    assert all(few["all"]["classes"][c]["auroc"] is None for c in absent)
