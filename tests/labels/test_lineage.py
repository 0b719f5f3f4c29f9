"""Weights and predictions that know a fold's patients are refused."""

from __future__ import annotations

import pytest

from hbac.common.errors import UserError
from hbac.labels.lineage import TrainedOn, as_plain, check_unseen, lineage_of

HERE, ELSEWHERE = "a" * 64, "b" * 64


def run(fold: int = 1, fold_hash: str = HERE, dataset: str = "HMS") -> TrainedOn:
    return TrainedOn("member-12345678", fold, fold_hash, dataset)


def test_a_run_that_held_the_fold_out_is_welcome() -> None:
    check_unseen("init_from=x", [run()], 1, HERE, "HMS")


@pytest.mark.parametrize(
    ("lineage", "message"),
    [
        ([run(fold=2)], r"init_from=x: member-12345678, fold 2, was trained on patients of fold 1.*use its fold 1"),
        ([run(fold_hash=ELSEWHERE)], r"fold 1, was trained with another fold table \(bbbbbbbbbbbb, not aaaaaaaaaaaa\)"),
        ([run(), run(fold=0)], r"fold 0, was trained on patients of fold 1"),  # what it began with itself
    ],
)
def test_a_run_that_saw_the_fold_s_patients_is_refused(lineage: list[TrainedOn], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_unseen("init_from=x", lineage, 1, HERE, "HMS")


def test_simulated_patients_are_no_recorded_ones() -> None:
    check_unseen("init_from=x", [run(2, ELSEWHERE, "Synthetic")], 1, HERE, "HMS")


def test_a_lineage_survives_json_and_says_each_run_once() -> None:
    plain = as_plain([run(), run(2), run()])
    assert len(plain) == 2
    assert lineage_of({"member": "m", "lineage": plain}) == [run(), run(2)]


def test_a_model_that_does_not_say() -> None:
    with pytest.raises(UserError, match="old-1: does not say which runs went into it"):
        lineage_of({"member": "old-1", "fold": 0})
