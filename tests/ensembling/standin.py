"""A stand-in for real out-of-fold tables: correlated, miscalibrated members of known quality, with a known best blend.

What real tables have and plain random numbers lack: patients whose rows are alike, two vote populations with
other class shares and other agreement (so that whoever learned from both is too sure of the hard rows, those with
many votes, and mends a good part of that by a temperature and six biases), groups of members that share their
errors, members that are good at some classes only, members trained for the one population, and folds whose
networks each have quirks of their own. Under ``truth="latent"`` the votes follow a latent state that the members see
through noise (no blend is exactly right, as in life); under ``"convex"`` and ``"log_linear"`` they are drawn
from a blend of the members with known weights, whose score therefore is the best possible one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from hbac.evaluation.metric import kl_rows
from hbac.predictions.metadata import TableMetadata
from hbac.predictions.table import PredictionTable
from hbac.vocabulary import VOTE_COLUMNS

# name, members, noise, noise by class, row-to-row noise spread, sharpness, seen through few-vote training
GROUPS = (
    ("image", 9, 0.52, (1.3, 0.8, 0.9, 1.3, 1.2, 1.0), 0.4, 0.70, 0.5),
    ("eeg", 10, 0.46, (0.8, 1.1, 1.0, 0.9, 1.1, 1.0), 0.5, 0.75, 0.5),
    ("both", 6, 0.40, (1.0, 0.9, 0.9, 1.0, 0.9, 1.0), 0.4, 0.80, 0.5),
    ("many", 5, 0.40, (1.0, 1.0, 0.9, 1.0, 1.0, 0.9), 0.4, 0.85, 0.15),
    ("weak", 3, 1.1, (1.0, 1.5, 1.0, 1.5, 1.0, 1.0), 0.6, 0.60, 0.5),
)
FEW_PRIOR = np.log([0.24, 0.13, 0.16, 0.18, 0.22, 0.07])
MANY_PRIOR = np.log([0.05, 0.18, 0.12, 0.08, 0.09, 0.48])
FEW_AGREE, MANY_AGREE = 2.6, 1.2  # how far the experts agree: inverse temperature of the votes


@dataclass(frozen=True)
class StandIn:
    """Members (members, rows, 6), targets and ids; `truth` is the distribution the votes were drawn from."""

    names: tuple[str, ...]
    probs: np.ndarray
    targets: np.ndarray
    truth: np.ndarray
    n_votes: np.ndarray
    fold: np.ndarray
    patient_id: np.ndarray
    weights: np.ndarray | None  # of the planted blend

    @property
    def floor(self) -> float:
        """Score of whoever knows the truth."""
        return float(kl_rows(self.targets, self.truth).mean())

    def tables(self) -> list[PredictionTable]:
        """The same as prediction tables."""
        n = len(self.targets)
        rows = pd.DataFrame(
            {
                "eeg_id": 10_000 + np.arange(n),
                "eeg_sub_id": 0,
                "spectrogram_id": 700_000 + np.arange(n),
                "patient_id": self.patient_id,
                "label_id": 5_000_000 + 3 * np.arange(n),
            }
            | {column: np.rint(self.targets[:, k] * self.n_votes) for k, column in enumerate(VOTE_COLUMNS)}
        )
        known = {"fold_hash": "standin", "data_fingerprint": "standin", "n_folds": int(self.fold.max()) + 1}
        return [
            PredictionTable.from_arrays(rows, prob, TableMetadata(name, config_hash=name, **known), self.fold)
            for name, prob in zip(self.names, self.probs.astype(np.float64), strict=True)
        ]


def softmax(logits: np.ndarray) -> np.ndarray:
    logits = logits - logits.max(axis=-1, keepdims=True)
    e = np.exp(logits)
    return e / e.sum(axis=-1, keepdims=True)


def make_standin(
    n_rows: int = 21_490, n_members: int = 33, n_folds: int = 5, truth: str = "latent", seed: int = 0
) -> StandIn:
    """Draw a stand-in; about 11 rows a patient as in the real tables."""
    rng = np.random.default_rng([seed, 7])
    n_patients = max(n_rows // 11, 2 * n_folds)
    share = rng.gamma(0.5, 1.0, n_patients) + 0.02
    patient = np.sort(
        np.concatenate([np.arange(n_patients), rng.choice(n_patients, n_rows - n_patients, p=share / share.sum())])
    )
    fold_of_patient = rng.permutation(n_patients) % n_folds
    many_of_patient = rng.random(n_patients) < 0.3
    many = np.where(rng.random(n_rows) < 0.85, many_of_patient[patient], rng.random(n_rows) < 0.3)
    n_votes = np.where(many, rng.integers(10, 21, n_rows), rng.choice([1, 2, 3, 3, 3, 4, 5, 7], n_rows))

    prior = np.where(many[:, None], MANY_PRIOR, FEW_PRIOR)
    state = prior + 1.4 * rng.standard_normal((n_patients, 6))[patient] + 1.4 * rng.standard_normal((n_rows, 6))
    hidden = softmax(np.where(many, MANY_AGREE, FEW_AGREE)[:, None] * state)

    visible = state + 0.7 * _noise(rng, patient, n_patients)  # what nobody sees, nobody can blend away

    fold = fold_of_patient[patient]
    groups = [group for group in GROUPS for _ in range(group[1])]
    groups = [groups[(m * len(groups)) // n_members % len(groups)] for m in range(n_members)]
    shared = {name: _noise(rng, patient, n_patients) for name, *_ in GROUPS}
    spread = {group[0]: rng.lognormal(0, group[4], (n_rows, 1)) for group in GROUPS}
    blind = 0.5 * FEW_PRIOR + 0.5 * MANY_PRIOR
    probs = np.empty((n_members, n_rows, 6), dtype=np.float32)
    for m, (name, _, noise, by_class, _, sharpness, few) in enumerate(groups):
        level = noise * rng.lognormal(0, 0.15) * np.asarray(by_class) * spread[name]
        error = 0.75 * shared[name] + 0.66 * _noise(rng, patient, n_patients)
        seen = visible + level * error
        # what a network trained on such input answers: the posterior, nearer to the prior where it sees little
        known = 3.9 / (4.5 + level**2)
        belief = few * 2 * blind + (1 - 2 * few) * MANY_PRIOR + known * (seen - prior) + known * 0.7 * (prior - blind)
        quirk = 0.15 * rng.standard_normal((n_folds, 6))[fold]
        bias = 0.25 * rng.standard_normal(6)
        heat = sharpness * rng.lognormal(0, 0.15) * rng.lognormal(0, 0.08, (n_folds, 1))[fold]
        agree = 2 * few * (0.5 * FEW_AGREE + 0.5 * MANY_AGREE) + (1 - 2 * few) * MANY_AGREE
        probs[m] = softmax(agree * heat * belief + quirk + bias)
    weights = None
    if truth in ("convex", "log_linear"):
        weights = np.zeros(n_members)
        chosen = rng.choice(n_members, min(6, n_members), replace=False)
        weights[chosen] = rng.dirichlet(np.full(len(chosen), 3.0))
        if truth == "convex":
            hidden = np.einsum("m,mnk->nk", weights, probs.astype(np.float64))
        else:
            hidden = softmax(1.2 * np.einsum("m,mnk->nk", weights, np.log(np.maximum(probs, 1e-12))))
    votes = rng.multinomial(n_votes, hidden / hidden.sum(axis=1, keepdims=True))
    names = tuple(f"{groups[m][0]}-{m:02d}" for m in range(n_members))
    targets = votes / n_votes[:, None]
    return StandIn(names, probs, targets, hidden, n_votes, fold.astype(np.int16), 40 + patient, weights)


def _noise(rng: np.random.Generator, patient: np.ndarray, n_patients: int) -> np.ndarray:
    """Errors, half of whose variance a patient's rows share."""
    return 0.7 * rng.standard_normal((n_patients, 6))[patient] + 0.7 * rng.standard_normal((len(patient), 6))
