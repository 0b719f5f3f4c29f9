"""A scikit-learn estimator around one training, for arrays: ``hbac.Classifier().fit(eeg, votes, groups=patient)``."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from omegaconf import OmegaConf
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from hbac.common.commands import override
from hbac.evaluation.metric import kl_rows
from hbac.labels.folds import make_folds
from hbac.recordings.converting import to_float16
from hbac.recordings.datasets import Part
from hbac.runs.model import Model
from hbac.signal.plausible import check_windows
from hbac.vocabulary import CLASSES, MANY_VOTES, N_CHANNELS, N_CLASSES, VOTE_COLUMNS, WINDOW_SAMPLES

# N window, T sample, C channel, K class

_BATCH = 32  # windows that are predicted at a time
# What `_train` does without.
_OF_COMMANDS = ("init_from", "ema", "patience", "callbacks", "labels.pseudo", "labels.opinions")


class Classifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A network of hbac as scikit-learn's tools take it.

    Arrays in place of a data set: what a run's folder, resuming, loggers and sweeps are for, the commands have. The
    training itself is that of ``python -m hbac.train`` with the same settings.

    Parameters
    ----------
    model : str
        The network, as ``python -m hbac.prepare list=models`` lists them, of those that read EEG alone.
    band : str
        ``low-high`` in hertz, or a clinical name.
    montage : str
        Of `hbac.signal.montage.MONTAGES`.
    n_folds : int
        Networks that `fit` trains where it is given patients, each without those of its fold.
    max_epochs : int
        Passes over the windows.
    batch_size : int
        Windows in a batch.
    lr : float or None
        Learning rate; None for the network's own.
    seed : int
        Of the weights at the start, the order of the windows, and the folds.
    overrides : sequence of str
        Further settings, as they are typed behind ``python -m hbac.train``: ``("model.filters=8",)``.
    verbose : bool
        Whether Lightning's progress bar is shown.

    Attributes
    ----------
    models_ : list of hbac.runs.model.Model
        The networks; `predict_proba` is their mean.
    classes_ : ndarray of str, shape (6,)
        `hbac.vocabulary.CLASSES`.
    oof_proba_ : ndarray, shape (n_windows, 6)
        Where patients were given: of each window what the network says that never saw its patient.
    oof_kl_ : float
        Their mean divergence from the shares of votes, in nats.

    Examples
    --------
    >>> from sklearn.base import clone
    >>> clone(Classifier(band="1-12")).get_params()["band"]
    '1-12'
    """

    def __init__(
        self,
        model: str = "resnet_gru",
        band: str = "0.5-20",
        montage: str = "longitudinal_bipolar",
        n_folds: int = 5,
        max_epochs: int = 15,
        batch_size: int = 32,
        lr: float | None = None,
        seed: int = 0,
        overrides: Sequence[str] = (),
        verbose: bool = False,
    ) -> None:
        self.model = model
        self.band = band
        self.montage = montage
        self.n_folds = n_folds
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.seed = seed
        self.overrides = overrides
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.three_d_array, tags.input_tags.allow_nan = False, True, True
        tags.target_tags.two_d_labels = True
        return tags

    def fit(self, X: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None) -> Classifier:
        """Train.

        Parameters
        ----------
        X : array, shape (n_windows, 10000, 20)
            EEG in microvolt at 200 Hz, channels as in `hbac.vocabulary.CHANNELS`, NaN where missing.
        y : array, shape (n_windows, 6) or (n_windows,)
            The experts' votes: how many for each class, or their shares (which then count as ten votes); or the name of
            one class.
        groups : array, shape (n_windows,), optional
            The patient of each window. With it `n_folds` networks are trained, each without the patients of its fold;
            without it one network, on all windows.

        Returns
        -------
        Classifier
            Itself.

        Raises
        ------
        ValueError
            When an array has another shape or values that cannot be, or a setting is wrong (`UserError`).
        """
        eeg_NTC, votes_NK = _windows(X), _votes(y)
        if len(eeg_NTC) != len(votes_NK):
            raise ValueError(f"{len(eeg_NTC)} windows, but votes of {len(votes_NK)}")
        if not len(eeg_NTC):
            raise ValueError("no windows to learn from")
        check_windows(torch.from_numpy(eeg_NTC))
        rows = _rows(votes_NK, groups)
        part = _part(eeg_NTC, rows)
        self.classes_ = np.array(CLASSES)
        self.n_features_in_ = N_CHANNELS
        for name in ("oof_proba_", "oof_kl_"):  # of an earlier fit
            if hasattr(self, name):
                delattr(self, name)
        if groups is None:
            self.models_ = [self._train(part, np.zeros(len(rows), np.int64), 1)]
            return self
        fold_N = make_folds(rows, self.n_folds, self.seed).fold_of(rows["patient_id"]).astype(np.int64)
        self.models_ = [self._train(part, fold_N, fold) for fold in range(self.n_folds)]
        self.oof_proba_ = np.empty((len(rows), N_CLASSES))
        for fold, model in enumerate(self.models_):
            self.oof_proba_[fold_N == fold] = _predict(model, eeg_NTC[fold_N == fold])
        self.oof_kl_ = -_score(votes_NK, self.oof_proba_)
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Predict the shares of the experts' votes on windows as `fit` takes them.

        Returns
        -------
        ndarray, shape (n_windows, 6)
            Each row sums to 1; columns as `classes_`.
        """
        check_is_fitted(self, "models_")
        eeg_NTC = _windows(X)
        prob_NK: NDArray[np.float64] = np.mean([_predict(model, eeg_NTC) for model in self.models_], axis=0)
        return prob_NK

    def predict(self, X: ArrayLike) -> NDArray[np.str_]:
        """Predict the class, of `classes_`, that most experts would vote for; windows as `fit` takes them."""
        prob_NK = self.predict_proba(X)
        return cast("NDArray[np.str_]", self.classes_[prob_NK.argmax(axis=1)])

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the negative KL divergence, so that more is better: the competition's metric, in nats.

        Windows and votes are as `fit` takes them; each counts `sample_weight` (n_windows,) times.
        """
        return _score(_votes(y), self.predict_proba(X), sample_weight)

    def _settings(self, outputs: str) -> list[str]:
        rate = [] if self.lr is None else [override("optimizer.lr", self.lr)]
        return [
            override("model", self.model),
            override("band", self.band),
            override("montage", self.montage),
            override("seed", self.seed),
            override("trainer.max_epochs", self.max_epochs),
            override("data.batch_size", self.batch_size),
            *rate,
            *self.overrides,
            "logger=csv",
            "dataset=hms",
            "dataset.root=none",
            override("outputs", outputs),
        ]

    def _train(self, part: Part, fold_N: NDArray[np.int64], fold: int) -> Model:
        from hbac.cli.launch import composed
        from hbac.common.instantiate import build
        from hbac.experiment.fitting import interrupts, make_trainer
        from hbac.experiment.job import make_job, make_task
        from hbac.training.callbacks import SeedSteps, StopWhereNotFinite

        with tempfile.TemporaryDirectory(prefix="hbac-") as outputs:
            cfg = composed(self._settings(outputs))
            if build(cfg.front_end, "front_end", cfg.allow).sources != ("eeg",) or cfg.stages:
                raise ValueError(f"model={self.model}: reads official spectrograms, or has stages; take the commands")
            if ignored := [key for key in _OF_COMMANDS if OmegaConf.select(cfg, key)]:
                raise ValueError(f"{ignored[0]}: Classifier does not have it; take the commands")
            job = make_job(cfg)
            if job.n_devices > 1:  # each further device would run the caller's script once more
                raise ValueError(f"trainer.devices={job.n_devices}: Classifier trains on one; take the commands")
            (stage,) = job.stages
            augment = {
                name: build(node, "augment", cfg.allow) for name, node in cfg.augment.items() if node is not None
            }
            data = build(
                cfg.data, "data", cfg.allow, part=part, front_end=job.front_end, fold_of_row=fold_N, fold=fold,
                labels=stage.labels, augment=augment, seed=stage.seed, cache=None, resident="none",
            )  # fmt: skip
            # Nothing is chosen by the rows that are held out, so that they need not be looked at in between.
            silent = {"logger": False, "enable_checkpointing": False, "limit_val_batches": 0, "num_sanity_val_steps": 0}
            watched = [SeedSteps(stage.seed), StopWhereNotFinite()]
            trainer = make_trainer(stage, job, enable_progress_bar=self.verbose, callbacks=watched, **silent)
            task = make_task(stage, job)
            with interrupts():
                trainer.fit(task, data)
            facts = {"network": job.config["model"], "front_end": job.config["front_end"], "fold": fold}
        return Model(job.front_end.cpu().eval(), job.network.cpu().eval(), facts)


def _windows(X: ArrayLike) -> NDArray[np.float32]:
    eeg_NTC = np.asarray(X, dtype=np.float32)
    if eeg_NTC.ndim != 3 or eeg_NTC.shape[1:] != (WINDOW_SAMPLES, N_CHANNELS):
        raise ValueError(f"windows of shape {eeg_NTC.shape}; expected (windows, {WINDOW_SAMPLES}, {N_CHANNELS})")
    return eeg_NTC


def _votes(y: ArrayLike) -> NDArray[np.float64]:
    given = np.asarray(y)
    if given.ndim == 1 and given.dtype.kind in "UO":
        names = [str(name) for name in given]
        if unknown := sorted(set(names) - set(CLASSES)):
            raise ValueError(f"y: unknown class {unknown[0]!r}; there are {', '.join(CLASSES)}")
        given = np.eye(N_CLASSES)[[CLASSES.index(name) for name in names]]
    if given.ndim != 2 or given.shape[1] != N_CLASSES or given.dtype.kind not in "iuf":
        raise ValueError(
            f"y of shape {given.shape}; expected votes (windows, {N_CLASSES}) or names of classes (windows,)"
        )
    votes_NK = given.astype(np.float64)
    total_N = votes_NK.sum(axis=1)
    if not np.isfinite(votes_NK).all() or (votes_NK < 0).any() or (total_N <= 0).any():
        raise ValueError("y: votes must be 0 or more, and each window needs some")
    shares = bool(np.allclose(total_N, 1))
    return votes_NK * MANY_VOTES if shares else votes_NK


def _rows(votes_NK: NDArray[np.float64], groups: ArrayLike | None) -> pd.DataFrame:
    """Write the label rows of windows, each a recording of its own."""
    number_N = np.arange(len(votes_NK))
    patient_N = number_N
    if groups is not None:
        given = np.asarray(groups)
        if (unknown := pd.isna(given)).any():
            raise ValueError(f"groups: window {int(np.argmax(unknown))} has no patient")
        patient_N = np.unique(given.astype(str) if given.dtype == object else given, return_inverse=True)[1]
        if len(patient_N) != len(votes_NK):
            raise ValueError(f"groups of {len(patient_N)} windows; there are {len(votes_NK)}")
    ids = dict.fromkeys(("label_id", "eeg_id", "spectrogram_id"), number_N)
    frame = pd.DataFrame(ids | {"patient_id": patient_N})
    frame[list(VOTE_COLUMNS)] = votes_NK
    return frame


class _Windows:
    """Windows in memory, where a store is expected."""

    content = "arrays"

    def __init__(self, eeg_NTC: NDArray[np.float32]) -> None:
        self.eeg_NTC = eeg_NTC
        self.ids, self.lengths = np.arange(len(eeg_NTC)), np.full(len(eeg_NTC), WINDOW_SAMPLES)

    def copy_windows(self, ids: NDArray[np.int64], starts: NDArray[np.int64], n_rows: int) -> NDArray[np.float16]:
        return to_float16(self.eeg_NTC[ids])


def _part(eeg_NTC: NDArray[np.float32], rows: pd.DataFrame) -> Part:
    recordings = SimpleNamespace(rows=rows, eeg_starts=lambda: np.zeros(len(rows), np.int64), part="train")
    return cast("Part", SimpleNamespace(rows=rows, eeg=_Windows(eeg_NTC), recordings=recordings, fingerprint="arrays"))


def _predict(model: Model, eeg_NTC: NDArray[np.float32]) -> NDArray[np.float64]:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # Through float16, as a store keeps what networks learn from.
    batches = torch.split(torch.from_numpy(to_float16(eeg_NTC)), _BATCH)
    prob_NK: NDArray[np.float64] = torch.cat([model(batch.to(device)).cpu() for batch in batches]).double().numpy()
    return prob_NK


def _score(votes_NK: NDArray[np.float64], prob_NK: NDArray[np.float64], weight: ArrayLike | None = None) -> float:
    kl_N = kl_rows(votes_NK / votes_NK.sum(axis=1, keepdims=True), prob_NK)
    return -float(np.average(kl_N, weights=None if weight is None else np.asarray(weight, float)))
