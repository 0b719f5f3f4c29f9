"""Whose labels weights have seen: the check that stands between a fold and whatever was trained before it.

A network that begins with another one's weights, or learns from its predictions, inherits the patients which that one
was trained on. When one of them is in the fold that is validated on, the score of the fold is worth nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hbac.common.errors import UserError


@dataclass(frozen=True)
class TrainedOn:
    """What one training run has seen: every fold but one."""

    member: str  # the config without its fold
    fold: int  # that was held out
    fold_hash: str
    dataset: str  # HMS or Synthetic


def lineage_of(model: Mapping[str, Any]) -> list[TrainedOn]:
    """Read all that went into weights, as ``model.json`` or an entry of a prediction table's ``models`` says."""
    try:
        return [TrainedOn(**run) for run in model["lineage"]]
    except (KeyError, TypeError):
        raise UserError(
            f"{model.get('member', 'a model')}: does not say which runs went into it (`lineage`); train it again with "
            "this version of hbac"
        ) from None


def as_plain(lineage: Iterable[TrainedOn]) -> list[dict[str, Any]]:
    """Turn a lineage into what JSON can hold, without repetition."""
    return [asdict(run) for run in dict.fromkeys(lineage)]


def check_unseen(setting: str, lineage: Iterable[TrainedOn], fold: int, fold_hash: str, dataset: str) -> None:
    """Refuse weights or predictions that know a fold's validation patients, or of which that cannot be ruled out.

    `setting` says for the message what brought them. Simulated patients are no patients of a recorded data set.
    """
    for run in lineage:
        if run.dataset != dataset:
            continue
        if run.fold_hash != fold_hash:
            raise UserError(
                f"{setting}: {run.member}, fold {run.fold}, was trained with another fold table "
                f"({run.fold_hash[:12]}, not {fold_hash[:12]}): it may have seen patients of this fold {fold}; "
                "train it with this data set, labels.n_folds and labels.seed"
            )
        if run.fold != fold:
            raise UserError(
                f"{setting}: {run.member}, fold {run.fold}, was trained on patients of fold {fold}, which is to be "
                f"validated on; use its fold {fold}"
            )
