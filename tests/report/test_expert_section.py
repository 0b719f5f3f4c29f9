"""The sections on experts and on operating points: what counts of votes say, what named raters add, what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hbac.common.errors import UserError
from hbac.evaluation.agreement import agreement
from hbac.predictions.rater_votes import RaterTable, read_raters
from hbac.report.expert_section import experts
from hbac.report.gather import Gathered, gather
from hbac.report.operating_section import operating
from hbac.report.page import render
from hbac.vocabulary import CLASSES, CONSENSUS_NAMES, PROB_COLUMNS


@pytest.fixture(scope="module")
def found(reported: Path) -> Gathered:
    return gather([reported / "runs", reported / "ensembles" / "two"], reported)


@pytest.fixture(scope="module")
def raters(found: Gathered, tmp_path_factory: pytest.TempPathFactory) -> RaterTable:
    """Four raters, each of whom says what most said in four windows of five, and else the class after it."""
    frame, rng = found.joined.frame, np.random.default_rng(0)
    label = found.joined.targets.argmax(axis=1)
    said = {f"rater_{who}": (label + (rng.random(len(label)) < 0.2)) % 6 for who in ("a", "b", "c", "<i>d")}
    names = {who: [CLASSES[k] for k in votes] for who, votes in said.items()}
    path = tmp_path_factory.mktemp("raters") / "votes.csv"
    pd.DataFrame({"label_id": frame["label_id"], **names}).iloc[::-1].to_csv(path, index=False)
    return read_raters(path)


def test_counts_say_how_far_experts_agree_and_that_more_needs_names(found: Gathered) -> None:
    shown = experts(found)
    counts = np.rint(found.joined.targets * found.joined.n_votes[:, None]).astype(int)
    row = shown["agreement"].rows[0]
    of = agreement(counts[found.counts])
    assert row == ["rows with 10 or more votes", f"{of.rows:,}", *(f"{v:.3f}" for v in list(vars(of).values())[1:])]
    text = render("experts", {"it": shown})
    assert shown["named"] is None
    assert "need\nnamed raters" in text
    assert "under the ROC curve" not in text


def test_named_raters_are_matched_by_label_id(found: Gathered, raters: RaterTable) -> None:
    shown = experts(replace(found, raters=raters))["named"]
    assert (shown["n_raters"], shown["who"], shown["n_rows"]) == (4, found.names[0], f"{len(found.joined.frame)}")
    assert len(shown["under"].rows) == len(CLASSES)
    majority = dict(zip(("what", *CONSENSUS_NAMES), shown["agreement"].rows[2], strict=True))
    assert float(majority["LPD"]) > 60
    assert shown["raters"]["calibration index"].spec["data"][0]["y"] == ["a", "b", "c", "&lt;i&gt;d"]
    text = render("experts", {"it": experts(replace(found, raters=raters))})
    assert "<i>d" not in text


def test_raters_of_other_windows_need_predictions_of_their_own(found: Gathered, raters: RaterTable) -> None:
    other = replace(raters, ids=raters.ids.assign(label_id=raters.ids["label_id"] + 10**8))
    with pytest.raises(UserError, match=r"raters=votes: none of its rows is one of .* label_id, .* …_prob"):
        experts(replace(found, raters=other))
    own = replace(other, probs=np.full((len(other.votes), 6), 1 / 6))
    assert experts(replace(found, raters=own))["named"]["who"] == "votes"


def test_a_report_of_nothing_but_raters_and_a_network(raters: RaterTable, tmp_path: Path) -> None:
    frame = pd.DataFrame({f"rater_{j}": votes for j, votes in enumerate(np.where(raters.votes == 5, 0, 1).T)})
    path = tmp_path / "both.parquet"
    frame.assign(**dict.fromkeys(PROB_COLUMNS, 1 / 6)).to_parquet(path)
    found = gather([], tmp_path, population="all", raters=read_raters(path))
    assert found.names == ("both",)
    assert found.joined.targets.sum() == pytest.approx(len(frame))
    assert experts(found)["named"]["who"] == "both"


def test_operating_points_are_shown_of_the_best_and_of_ensembles(found: Gathered) -> None:
    shown = operating(found)
    assert next(iter(shown["shown"])) == found.labels[0]
    assert {label.split("  ")[1] for label in shown["shown"]} >= set(found.ensembles)
    best = shown["shown"][found.labels[0]]
    named = [name for name in CONSENSUS_NAMES if any(row[0] == name for row in best["points"].rows)]
    assert [row[0] for row in best["points"].rows] == [name for name in named for _ in range(3)]
    assert "alarms in 100 negatives" in render("operating-points", {"it": shown})
