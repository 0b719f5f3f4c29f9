"""``operating_points.json``: at which probability an ensemble calls a class, for a recall that one asks for.

The thresholds are of the out-of-fold rows of the population that counts, as all scores of an ensemble. Inference
averages the networks of all folds, which is another predictor: what a threshold really finds has to be looked at where
it is used.
"""

# N row, K class

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import hbac
from hbac.common.errors import UserError
from hbac.common.files import read_json, with_nan, write_json
from hbac.common.shapes import Maybe, check_shape
from hbac.evaluation.bootstrap import N_RESAMPLES, Interval
from hbac.evaluation.operating import OperatingPoint, answered, equal_mass_error, jitter, operating_points
from hbac.predictions.table import NO_ID, PredictionTable
from hbac.vocabulary import CLASSES

OPERATING_FILE = "operating_points.json"
_FORMAT = 1

_INTERVAL = {"estimate": Maybe(float), "low": Maybe(float), "high": Maybe(float)}
_POINT = {
    "recall": float,
    "threshold": {**_INTERVAL, "estimate": float},
    "precision": _INTERVAL,
    "alarms_in_100_negatives": _INTERVAL,
    "threshold_by_fold": {str: float},
}
_SHAPE = {
    "format": int,
    "population": str,
    "rows": int,
    "patients": int,
    "classes": {
        name: {"rows": int, "calibration_error": Maybe(float), "jitter": Maybe(float), "points": [_POINT]}
        for name in CLASSES
    },
    "answered": [{"accuracy": float, "share": _INTERVAL}],
}


@dataclass(frozen=True)
class ClassPoints:
    """What is known of one class."""

    rows: int  # of the class
    calibration_error: float  # `hbac.evaluation.operating.equal_mass_error`
    jitter: float  # `hbac.evaluation.operating.jitter`; NaN where no EEG has two windows
    points: tuple[OperatingPoint, ...]  # by rising recall; none where no row is of the class


@dataclass(frozen=True)
class OperatingPoints:
    """Operating points of all classes."""

    population: str  # the setting: the rows that they are of
    rows: int
    patients: int
    classes: Mapping[str, ClassPoints]  # in the order of `hbac.vocabulary.CLASSES`
    answered: Mapping[float, Interval]  # by accuracy, the share of rows answered so well (`evaluation.operating`)

    @classmethod
    def of(
        cls,
        table: PredictionTable,
        counts: np.ndarray,
        population: str,
        n_resamples: int = N_RESAMPLES,
    ) -> OperatingPoints:
        """Compute those of the rows of out-of-fold predictions that `counts` marks, the `population`."""
        frame = table.frame[counts]
        target_N, prob_NK = table.targets[counts].argmax(axis=1), table.probs[counts]
        patient_N, fold_N = frame["patient_id"].to_numpy(), frame["fold"].to_numpy()
        sub = frame["eeg_sub_id"].to_numpy()
        order_N = frame["label_id"].to_numpy() if (sub == NO_ID).any() else sub
        jitter_K = jitter(prob_NK, frame["eeg_id"].to_numpy(), order_N)
        classes = {}
        for k, name in enumerate(CLASSES):
            positive_N, score_N = target_N == k, prob_NK[:, k]
            points = operating_points(positive_N, score_N, patient_N, fold_N, n_resamples=n_resamples)
            error = equal_mass_error(positive_N, score_N)
            classes[name] = ClassPoints(int(positive_N.sum()), error, float(jitter_K[k]), tuple(points))
        right_N, sure_N = prob_NK.argmax(axis=1) == target_N, prob_NK.max(axis=1)
        shares = answered(right_N, sure_N, patient_N, n_resamples=n_resamples)
        return cls(population, len(frame), len(np.unique(patient_N)), classes, shares)

    def threshold(self, name: str, recall: float) -> float:
        """Return the threshold of a class: a probability of this or more is called the class.

        A `UserError` when no row was of the class, or the recall was not computed.
        """
        points = self.classes[name].points
        if not points:
            raise UserError(f"no operating point of {name}: none of the {self.rows} rows was of this class")
        found = next((point for point in points if abs(point.recall - recall) < 1e-9), None)
        if found is None:
            known = ", ".join(f"{point.recall:g}" for point in points)
            raise UserError(f"no operating point for a recall of {recall:g}; there are those of {known}")
        return found.threshold.estimate

    def write(self, folder: Path) -> Path:
        """Write the file into an ensemble's folder, and return its path; it appears whole or not at all."""
        content = {
            "format": _FORMAT,
            "hbac_version": hbac.__version__,
            "population": self.population,
            "rows": self.rows,
            "patients": self.patients,
            "classes": {
                name: {
                    "rows": found.rows,
                    "calibration_error": found.calibration_error,
                    "jitter": found.jitter,
                    "points": [
                        {
                            "recall": point.recall,
                            "threshold": vars(point.threshold),
                            "precision": vars(point.precision),
                            "alarms_in_100_negatives": vars(point.alarms),
                            "threshold_by_fold": {str(fold): value for fold, value in point.by_fold.items()},
                        }
                        for point in found.points
                    ],
                }
                for name, found in self.classes.items()
            },
            "answered": [{"accuracy": accuracy, "share": vars(share)} for accuracy, share in self.answered.items()],
        }
        path = folder / OPERATING_FILE
        write_json(path, content, sealed=True)
        return path

    @classmethod
    def read(cls, path: str | Path) -> OperatingPoints:
        """Read the file, or that of an ensemble's folder.

        A `UserError` when there is no such file, or it is damaged.
        """
        path = Path(path)
        path = path if path.suffix == ".json" else path / OPERATING_FILE
        if not path.is_file():
            raise UserError(
                f"{path}: no such file; ensembles of earlier versions have no operating points: make it again by "
                f"python -m hbac.ensemble members=[{path.parent}]"
            )
        content = read_json(path, {"format": int})
        if content["format"] != _FORMAT:
            raise UserError(f"{path}: format {content['format']}; this hbac reads format {_FORMAT}")
        check_shape(content, _SHAPE, str(path))
        return cls(
            content["population"],
            content["rows"],
            content["patients"],
            {name: _class_points(content["classes"][name]) for name in CLASSES},
            {entry["accuracy"]: _interval(entry["share"]) for entry in content["answered"]},
        )


def _class_points(entry: Mapping[str, Any]) -> ClassPoints:
    points = [
        OperatingPoint(
            recall=point["recall"],
            threshold=_interval(point["threshold"]),
            precision=_interval(point["precision"]),
            alarms=_interval(point["alarms_in_100_negatives"]),
            by_fold={int(fold): float(value) for fold, value in point["threshold_by_fold"].items()},
        )
        for point in entry["points"]
    ]
    return ClassPoints(
        entry["rows"], with_nan(entry.get("calibration_error")), with_nan(entry.get("jitter")), tuple(points)
    )


def _interval(entry: Mapping[str, Any]) -> Interval:
    return Interval(*(with_nan(entry.get(name)) for name in ("estimate", "low", "high")))
