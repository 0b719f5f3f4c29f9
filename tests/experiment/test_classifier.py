"""The scikit-learn estimator: its protocol, what it learns, and that patients stay apart."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GroupKFold, cross_validate
from sklearn.utils import estimator_checks as checks

import hbac
from hbac.common.errors import UserError
from hbac.experiment.classifier import Classifier
from hbac.vocabulary import CLASSES
from tests.ensembles import SMALL_NET
from tests.helpers import random_eeg

SMALL = {"overrides": tuple(SMALL_NET), "max_epochs": 1, "batch_size": 6, "n_folds": 2}


@pytest.fixture(scope="module")
def arrays() -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    rng = np.random.default_rng(0)
    eeg = np.stack([random_eeg(10_000, rng, label=i % 6) for i in range(24)])
    return eeg, np.eye(6, dtype=int)[np.arange(24) % 6] * 12 + 1, np.arange(24) // 2


# scikit-learn's own runner leaves out an estimator of arrays of three axes: of its checks these need no table.
# Those of fitting and predicting make one, a row a sample, with any number of classes; here a sample is a window of
# 10,000 x 20 and there are six classes. What they look for is tested below on windows.
CHECKS = (
    checks.check_do_not_raise_errors_in_init_or_set_params,
    checks.check_estimator_cloneable,
    checks.check_estimator_repr,
    checks.check_get_params_invariance,
    checks.check_mixin_order,
    checks.check_no_attributes_set_in_init,
    checks.check_parameters_default_constructible,
    checks.check_set_params,
    checks.check_valid_tag_types,
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_scikit_learns_own_checks(check: Any) -> None:
    check("Classifier", Classifier())


def test_one_network_learns_and_is_copied(arrays: Any) -> None:
    eeg, votes, _ = arrays
    model = hbac.Classifier(**SMALL | {"max_epochs": 3, "lr": 0.01})
    with pytest.raises(NotFittedError):
        model.predict_proba(eeg[:1])
    before = clone(model).set_params(max_epochs=1).fit(eeg, votes).score(eeg, votes)
    prob = model.fit(eeg, votes).predict_proba(eeg[:3])
    assert prob.shape == (3, 6) and np.allclose(prob.sum(1), 1) and len(model.models_) == 1
    assert model.score(eeg, votes) > before
    assert model.predict(eeg[:3]).tolist() == [CLASSES[k] for k in prob.argmax(1)]
    again = clone(model).fit(eeg, votes).predict_proba(eeg[:3])
    assert np.array_equal(prob, again)
    assert np.array_equal(prob, pickle.loads(pickle.dumps(model)).predict_proba(eeg[:3]))


def test_patients_stay_apart(arrays: Any) -> None:
    eeg, votes, patient = arrays
    model = Classifier(**SMALL).fit(eeg, votes, groups=patient)
    assert len(model.models_) == 2
    assert model.oof_kl_ > 0 and np.allclose(model.oof_proba_.sum(1), 1)
    # A window's out-of-fold prediction is that of the network which learnt without its patient.
    own = [network(eeg[:2].astype(np.float16)).numpy() for network in model.models_]
    assert [np.allclose(model.oof_proba_[:2], prob, atol=1e-6) for prob in own].count(True) == 1
    assert np.allclose(model.predict_proba(eeg[:2]), np.mean(own, axis=0), atol=1e-6)


def test_a_second_fit_forgets_the_first(arrays: Any) -> None:
    eeg, votes, patient = arrays
    model = Classifier(**SMALL).fit(eeg, votes, groups=patient).fit(eeg, votes)
    assert not hasattr(model, "oof_proba_") and not hasattr(model, "oof_kl_")


def test_settings_that_it_would_ignore_are_refused(arrays: Any) -> None:
    eeg, votes, _ = arrays
    with pytest.raises(ValueError, match="ema: Classifier does not have it"):
        Classifier(**SMALL | {"overrides": (*SMALL_NET, "ema=0.9")}).fit(eeg, votes)


@pytest.mark.filterwarnings("ignore:EEG in microvolt is expected")
def test_values_beyond_a_store_s_range_are_its_ends(arrays: Any) -> None:
    eeg, votes, _ = arrays
    model, loud = Classifier(**SMALL).fit(eeg, votes), eeg[:2].copy()
    loud[0, :50] = 1e6  # warned of, and predicted
    ends = np.clip(loud, -65504, 65504)
    assert np.array_equal(model.predict_proba(loud), model.predict_proba(ends))


def test_scikit_learn_cross_validates_it_by_patient(arrays: Any) -> None:
    eeg, votes, patient = arrays
    found = cross_validate(Classifier(**SMALL), eeg, votes, groups=patient, cv=GroupKFold(2), error_score="raise")
    assert (found["test_score"] < 0).all() and np.isfinite(found["test_score"]).all()


def test_bad_input_is_named(arrays: Any) -> None:
    eeg, votes, _ = arrays
    with pytest.raises(ValueError, match=r"windows of shape \(24, 20, 10000\)"):
        Classifier().fit(eeg.transpose(0, 2, 1), votes)
    with pytest.raises(ValueError, match="no windows to learn from"):
        Classifier().fit(eeg[:0], votes[:0])
    with pytest.raises(UserError, match="MNE works in volts"):
        Classifier().fit(1e-6 * eeg, votes)
    with pytest.raises(ValueError, match="groups: window 3 has no patient"):
        Classifier().fit(eeg, votes, groups=[0.0, 1.0, 2.0, float("nan"), *range(20)])
    with pytest.raises(ValueError, match="trainer.devices=2: Classifier trains on one"):
        Classifier(**{**SMALL, "overrides": (*SMALL_NET, "trainer.devices=2")}).fit(eeg, votes)
    with pytest.raises(ValueError, match="24 windows, but votes of 3"):
        Classifier().fit(eeg, votes[:3])
    with pytest.raises(ValueError, match="unknown class 'seizures'"):
        Classifier().fit(eeg[:1], ["seizures"])
    with pytest.raises(ValueError, match="each window needs some"):
        Classifier().fit(eeg[:1], np.zeros((1, 6)))
    with pytest.raises(UserError, match="resnet_gru"):
        Classifier(model="resnet_gry").fit(eeg, votes)
    with pytest.raises(ValueError, match="official"):
        Classifier(model="efficientnet").fit(eeg, votes)
