"""The windows that are shown: the worst, the most disputed, random ones, or those that were named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hbac.common.errors import UserError
from hbac.report.gather import Gathered, gather
from hbac.report.window_choice import choose_windows
from hbac.vocabulary import MANY_VOTES
from tests.predictions.tables import make_table


@pytest.fixture(scope="module")
def found(reported: Path) -> Gathered:
    return gather([reported / "runs"], reported)


def test_a_third_each_and_no_eeg_twice(found: Gathered) -> None:
    chosen = choose_windows(found, 8)
    assert chosen["why"].tolist() == ["worst"] * 3 + ["disputed"] * 3 + ["random"] * 2
    assert chosen["eeg_id"].is_unique
    best = found.joined.divergences[0]
    assert chosen["kl"].iloc[0] == best[found.counts].max() < best.max()  # of the rows that count
    assert (chosen["n_votes"][:3] >= MANY_VOTES).all()
    assert chosen["kl"].iloc[:3].is_monotonic_decreasing


def test_disputed_are_those_of_many_votes(found: Gathered) -> None:
    chosen = choose_windows(found, 9)
    disputed = chosen[chosen["why"] == "disputed"]
    assert (disputed["n_votes"] >= 10).all()
    assert disputed["entropy"].is_monotonic_decreasing
    rows = found.joined.frame["label_id"].isin(disputed["label_id"])
    shares = found.joined.targets[rows]
    entropy = -(shares * np.log(np.maximum(shares, 1e-12))).sum(axis=1)
    np.testing.assert_allclose(sorted(disputed["entropy"]), sorted(entropy))


def test_random_ones_follow_the_seed(found: Gathered) -> None:
    first, same, other = (choose_windows(found, 12, seed=seed)["label_id"].tolist() for seed in (1, 1, 2))
    assert first == same
    assert (first[:8], first[8:] == other[8:]) == (other[:8], False)


def test_more_windows_than_eegs_are_all_eegs(found: Gathered) -> None:
    assert len(choose_windows(found, 1000)) == found.joined.frame["eeg_id"].nunique()
    assert choose_windows(found, 0).empty


def test_named_windows_come_in_their_order(found: Gathered) -> None:
    wanted = found.joined.frame["label_id"].iloc[[5, 2]].tolist()
    chosen = choose_windows(found, 50, label_ids=[*wanted, wanted[0]])
    assert chosen["label_id"].tolist() == wanted
    assert set(chosen["why"]) == {"chosen"}


def test_an_unknown_window_is_named(found: Gathered, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="label_ids: 17, 18: no prediction has such a row"):
        choose_windows(found, 50, label_ids=[17, int(found.joined.frame["label_id"].iloc[0]), 18])
    table = make_table()
    frame = table.frame.assign(label_id=np.int64(-1))
    type(table)(frame, table.metadata).write(tmp_path / "a.parquet")
    with pytest.raises(UserError, match="no label ids"):
        choose_windows(gather([tmp_path / "a.parquet"], tmp_path), 3, label_ids=[5])
