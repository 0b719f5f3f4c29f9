"""Experts under a curve, their noise, bias and calibration: in closed form, and on SPaRCNet's twenty raters."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from hbac.evaluation.agreement import agreement, count_votes_by_rater, majority, pairwise, with_majority
from hbac.evaluation.areas import auroc_and_auprc
from hbac.evaluation.experts import Curve, calibration_index, noise_and_bias, under_curve
from hbac.predictions.rater_votes import RaterTable, read_raters
from hbac.vocabulary import CLASSES

# In the order of the classes here: seizure, LPD, GPD, LRDA, GRDA, other.
PUBLISHED = {
    "pairwise": [31.3, 63.8, 64.2, 48.7, 52.0, 43.5],
    "with the network": [25.3, 62.7, 66.8, 54.3, 54.6, 40.0],
    "majority": [52.3, 67.6, 67.3, 53.7, 61.2, 50.4],
    "network and majority": [54.3, 70.2, 68.0, 66.5, 61.8, 49.6],
    "its highest and majority": [60.1, 64.4, 72.9, 68.1, 80.6, 34.3],
    "euroc": [45, 20, 50, 75, 55, 40],
    "euprc": [50, 35, 50, 90, 70, 45],
    "auroc": [0.870, 0.920, 0.961, 0.933, 0.938, 0.814],
    "auprc": [0.253, 0.781, 0.907, 0.767, 0.710, 0.482],
    "tpr": [52, 68, 67, 54, 61, 50],
    "fpr": [7, 7, 4, 7, 7, 16],
    "ppv": [17, 74, 88, 62, 62, 50],
    "calibration": [-7, -4, -1, -7, -3, -11],
}
# Of the paper's hard labels, order Other, SZ, LPD, GPD, LRDA, GRDA: the second-best class is taken where it is nearer.
THETA = np.array(
    [
        [0, 0.0268, 0.0016, 0, 0.0007, 0],
        [0, 0, 0.3476, 0.3242, 0.2916, 0],
        [0, 0.0132, 0, 0.0754, 0.0027, 0],
        [0, 0.333, 0.1615, 0, 0.2917, 0],
        [0, 0.2527, 0.4035, 0.2862, 0, 0],
        [0.4574, 0, 0, 0.0375, 0.0066, 0],
    ]
)


@pytest.fixture(scope="module")
def sparcnet(raters_path) -> RaterTable:
    return read_raters(raters_path)


def second_best(prob_NK: np.ndarray) -> np.ndarray:
    """The paper's rule, fitted by random search on its training data; hbac takes the highest."""
    prob = prob_NK[:, [5, 0, 1, 2, 3, 4]]
    best, second = np.argsort(-prob, axis=1, kind="stable")[:, :2].T
    rows = np.arange(len(prob))
    taken = np.where(prob[rows, second] > prob[rows, best] - THETA[best, second], second, best)
    return np.array([5, 0, 1, 2, 3, 4])[taken]


def test_agreement_of_twenty_experts_is_as_published(sparcnet: RaterTable) -> None:
    votes, prob = sparcnet.votes, sparcnet.probs
    assert prob is not None
    found = agreement(count_votes_by_rater(votes))
    assert (found.rows, found.observed) == (35_740, pytest.approx(0.5136, abs=0.001))
    assert found.fleiss_kappa == pytest.approx(0.4017, abs=0.001)
    assert found.gwet_ac1 == pytest.approx(0.4192, abs=0.001)
    agreed, n_pairs = pairwise(votes)
    assert n_pairs == 376
    with_network, n_with = pairwise(votes, second_best(prob))
    assert n_with == 40
    for name, figure in {
        "pairwise": agreed,
        "with the network": with_network,
        "majority": with_majority(votes).mean(axis=0),
        "network and majority": with_majority(votes, second_best(prob)),
        "its highest and majority": with_majority(votes, prob.argmax(axis=1)),
    }.items():
        np.testing.assert_allclose(figure, np.array(PUBLISHED[name]) / 100, atol=0.005, err_msg=name)


def test_experts_under_the_network_s_curves_are_as_published(sparcnet: RaterTable) -> None:
    votes, prob = sparcnet.votes, sparcnet.probs
    assert prob is not None
    label = majority(count_votes_by_rater(votes))
    for k, name in enumerate(CLASSES):
        found = under_curve(votes, prob[:, k], k, np.arange(len(votes)), n_resamples=10)
        assert found.roc.estimate == pytest.approx(PUBLISHED["euroc"][k], abs=5), name
        assert found.pr.estimate == pytest.approx(PUBLISHED["euprc"][k], abs=5), name
        assert found.roc.low <= found.roc.estimate <= found.roc.high or found.roc.high > found.roc.low
        for point, wanted in ((found.tpr, "tpr"), (found.fpr, "fpr"), (found.ppv, "ppv")):
            assert 100 * point.mean() == pytest.approx(PUBLISHED[wanted][k], abs=0.5), name
        auroc, auprc = auroc_and_auprc(label == k, prob[:, k], np.ones((1, len(votes))))
        assert auroc[0] == pytest.approx(PUBLISHED["auroc"][k], abs=0.002), name
        assert auprc[0] == pytest.approx(PUBLISHED["auprc"][k], abs=0.002), name


def test_calibration_of_twenty_experts_is_as_published(sparcnet: RaterTable) -> None:
    found = calibration_index(sparcnet.votes)
    np.testing.assert_allclose(found.mean(axis=0), PUBLISHED["calibration"], atol=0.5)
    np.testing.assert_allclose(found.min(axis=0), [-64, -61, -55, -65, -65, -94], atol=0.5)
    np.testing.assert_allclose(found.max(axis=0), [24, 35, 47, 33, 71, 58], atol=0.5)


def test_a_point_under_a_curve_of_three_thresholds() -> None:
    """The curve goes through (1/2, 1/2), (1/2, 1) and (1, 1)."""
    truth, score = np.array([True, False, True, False]), np.array([0.9, 0.9, 0.5, 0.1])
    curve = Curve.of(truth, score, np.ones((1, 4)))
    np.testing.assert_allclose(curve.tpr, [[0.5, 1, 1]])
    np.testing.assert_allclose(curve.fpr, [[0.5, 0.5, 1]])
    np.testing.assert_allclose(curve.ppv, [[0.5, 2 / 3, 0.5]])
    # Nearest in FPR is .5, of two points the first, whose TPR is .5; nearest in recall is 1, whose precision is 2/3.
    tpr, fpr, ppv = (
        np.array([values]) for values in ([0.5, 0.6, 0.9, np.nan], [0.4, 0.4, 0.9, 0.1], [0.6, 0.7, 0.7, 0.7])
    )
    roc, pr = curve.over(tpr, fpr, ppv)
    np.testing.assert_equal(roc, [[1, 0, 1, np.nan]])
    np.testing.assert_equal(pr, [[0, 0, 0, np.nan]])


def made_up(n_rows: int, n_raters: int, noise: float, bias: float) -> np.ndarray:
    """Raters of seizure and other: the first has this noise and threshold, the others vote at the row's share."""
    rng = np.random.default_rng(0)
    share = rng.uniform(0.02, 0.98, n_rows)
    votes = np.where(rng.random((n_rows, n_raters)) < share[:, None], 0, 5)
    others = (votes[:, 1:] == 0).mean(axis=1)
    half = 0.5 / (n_raters - 1)
    seen = logit(np.clip(others, half, 1 - half)) + noise * rng.standard_normal(n_rows)
    votes[:, 0] = np.where(seen > bias, 0, 5)
    return votes


@pytest.mark.parametrize(("noise", "bias"), [(0.5, 0.0), (1.5, 1.0), (1.0, -0.7)])
def test_noise_and_threshold_are_found_again(noise: float, bias: float) -> None:
    found_noise, found_bias = noise_and_bias(made_up(6000, 40, noise, bias))
    assert found_noise[0, 0] == pytest.approx(noise, rel=0.08)
    assert found_bias[0, 0] == pytest.approx(bias, abs=0.08)
    assert np.isnan(found_noise[:, 1:5]).all()  # nobody ever says so


def test_calibration_index_of_who_calls_always_never_and_as_the_others() -> None:
    votes = made_up(20_000, 30, 1.0, 0.0)
    rng = np.random.default_rng(1)
    share = (votes[:, 1:] == 0).mean(axis=1)
    votes[:, 0] = np.where(rng.random(len(votes)) < share, 0, 5)
    assert calibration_index(votes)[0, 0] == pytest.approx(0, abs=4)
    votes[:, 0] = 5
    never, always = calibration_index(votes)[0, [0, 5]]  # both corners are in the fit, so that neither is quite 100
    assert never < -90
    assert always > 90
    shifted = expit(logit(share) + 2)  # its area over the diagonal, doubled
    votes[:, 0] = np.where(rng.random(len(votes)) < shifted, 0, 5)
    x = np.linspace(0.0005, 0.9995, 1000)
    area = (expit(logit(x) + 2) - x).mean()
    assert calibration_index(votes)[0, 0] == pytest.approx(200 * area, abs=5)


def test_a_perfect_network_is_over_all_and_one_by_chance_over_none() -> None:
    rng = np.random.default_rng(2)
    truth = rng.random(400) < 0.4
    flip = rng.random((400, 5)) < 0.1
    votes = np.where(truth[:, None] ^ flip, 0, 5)
    patients = np.arange(400) // 4
    best = under_curve(votes, np.where(majority(count_votes_by_rater(votes)) == 0, 0.9, 0.1), 0, patients, 50)
    assert (best.roc.estimate, best.pr.estimate) == (100, 100)
    worst = under_curve(votes, rng.random(400), 0, patients, 50)
    assert (worst.roc.estimate, worst.roc.high, worst.pr.estimate, worst.own_rows) == (0, 0, 0, 0)
    assert best.tpr == pytest.approx([0.9] * 5, abs=0.06)
