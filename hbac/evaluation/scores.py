"""Every metric of a prediction table, on every vote population, whole and per class."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hbac.evaluation.calibration import expected_calibration_error
from hbac.evaluation.metric import kl_terms
from hbac.labels.targets import POPULATIONS
from hbac.vocabulary import CLASSES

# N row, K class

Floats = npt.NDArray[np.floating]


def scores(target_NK: Floats, prob_NK: Floats, n_votes_N: npt.ArrayLike) -> dict[str, dict[str, Any]]:
    """Score predictions by every metric, on every vote population, whole and per class.

    Parameters
    ----------
    target_NK, prob_NK : ndarray, shape (rows, 6)
        Vote shares, and predicted probabilities.
    n_votes_N : array_like of int, shape (rows,)
        Number of votes of each row.

    Returns
    -------
    dict of str to dict
        By population: ``rows``; ``kl``, ``log_loss``, ``accuracy``, ``balanced_accuracy``, ``auroc``, ``auprc``
        (macro, one class against the rest), ``ece``; and ``classes`` with ``rows``, ``kl`` (the class's part of the
        whole), ``recall``, ``precision``, ``auroc``, ``auprc`` of each class. All but KL take the class with most votes
        for the truth (ties: the first). None where a figure is not defined, as the AUROC of a class that nobody has.

    Examples
    --------
    >>> found = scores(np.eye(6), np.full((6, 6), 1 / 6), [3, 3, 3, 12, 12, 12])
    >>> round(found["10_or_more"]["kl"], 4), found["up_to_7"]["classes"]["other"]["rows"]
    (1.7918, 0)
    """
    n_votes = np.asarray(n_votes_N)
    return {
        name: _scores_of(target_NK[inside], prob_NK[inside])
        for name, population in POPULATIONS.items()
        for inside in [population.contains(n_votes)]
    }


def confusion_matrix(target_NK: Floats, prob_NK: Floats) -> npt.NDArray[np.int64]:
    """Count which class was predicted where the experts saw which (ties: the first), by scikit-learn; rows by truth.

    Examples
    --------
    >>> confusion_matrix(np.eye(2)[[0, 0, 1]], np.array([[0.9, 0.1], [0.3, 0.7], [0.2, 0.8]])).tolist()
    [[1, 1], [0, 1]]
    """
    from sklearn import metrics  # a second of imports that most commands do without

    labels = np.arange(target_NK.shape[1])
    return np.asarray(metrics.confusion_matrix(target_NK.argmax(axis=1), prob_NK.argmax(axis=1), labels=labels))


def _scores_of(target_NK: Floats, prob_NK: Floats) -> dict[str, Any]:
    from sklearn.metrics import average_precision_score, roc_auc_score

    n = len(target_NK)
    if not n:
        return {"rows": 0}
    label_N, guess_N = target_NK.argmax(axis=1), prob_NK.argmax(axis=1)
    of_label_N = np.clip(prob_NK[np.arange(n), label_N], np.finfo(np.float64).eps, 1)
    kl_K = kl_terms(target_NK, prob_NK).mean(axis=0)
    classes: dict[str, dict[str, Any]] = {}
    for k, name in enumerate(CLASSES):
        is_k, said_k = label_N == k, guess_N == k
        both_sides = 0 < is_k.sum() < n
        classes[name] = {
            "rows": int(is_k.sum()),
            "kl": float(kl_K[k]),
            "recall": _share(is_k & said_k, is_k),
            "precision": _share(is_k & said_k, said_k),
            "auroc": float(roc_auc_score(is_k, prob_NK[:, k])) if both_sides else None,
            "auprc": float(average_precision_score(is_k, prob_NK[:, k])) if both_sides else None,
        }
    return {
        "rows": n,
        "kl": float(kl_K.sum()),
        "log_loss": float(-np.log(of_label_N).mean()),
        "accuracy": float((label_N == guess_N).mean()),
        "balanced_accuracy": _mean([entry["recall"] for entry in classes.values()]),
        "auroc": _mean([entry["auroc"] for entry in classes.values()]),
        "auprc": _mean([entry["auprc"] for entry in classes.values()]),
        "ece": expected_calibration_error(target_NK, prob_NK),
        "classes": classes,
    }


def _share(hits: npt.NDArray[np.bool_], of: npt.NDArray[np.bool_]) -> float | None:
    return float(hits.sum() / of.sum()) if of.any() else None


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
