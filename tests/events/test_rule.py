"""Events are what the rule says, whatever the table looks like."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hbac.events.rule import EVENT_CLASSES, EventRule, find_events, hours, smoothed
from hbac.vocabulary import CLASSES, PROB_COLUMNS
from tests.events.courses import course_of

PLAIN = EventRule(smooth=False)
SEQUENCES = st.lists(st.sampled_from((*CLASSES, "")), min_size=2, max_size=60)


def spans(events: pd.DataFrame) -> list[tuple[str, float, float]]:
    rows = events[["class", "onset", "duration"]].itertuples(index=False, name=None)
    return [(name, round(onset, 6), round(duration, 6)) for name, onset, duration in rows]


def test_an_event_lasts_from_the_first_step_to_the_last() -> None:
    table = course_of(["other"] * 5 + ["seizure"] * 10 + ["other"] * 5 + ["lpd"] * 6 + ["other"])
    assert spans(find_events(table, PLAIN)) == [("seizure", 10, 20), ("lpd", 40, 12)]


def test_what_is_short_is_no_event_and_what_is_near_is_one() -> None:
    short, held, gap = ["gpd"] * 4, ["gpd"] * 5, ["other"] * 5  # 8 s, 10 s, 10 s
    assert spans(find_events(course_of(short), PLAIN)) == []
    assert spans(find_events(course_of([*short, *gap, *short]), PLAIN)) == []  # two flickers are no event of 26 s
    assert spans(find_events(course_of([*held, *gap, *short]), PLAIN)) == [("gpd", 0, 10)]
    assert spans(find_events(course_of([*held, *gap, *held]), PLAIN)) == [("gpd", 0, 30)]
    assert len(find_events(course_of([*held, *gap, "other", *held]), PLAIN)) == 2
    joined = replace(PLAIN, held_s=0)
    assert spans(find_events(course_of([*short, *gap, *short]), joined)) == [("gpd", 0, 26)]
    assert find_events(course_of([*short, *gap, "other", *short]), joined).empty


def test_statistics_are_those_of_the_event_s_steps() -> None:
    course = course_of(["other", *["lrda"] * 6, "other"])
    course.frame.loc[3, list(PROB_COLUMNS)] = np.eye(6, dtype=np.float32)[3]
    (event,) = find_events(course, PLAIN).to_dict("records")
    assert event["max_prob"] == 1.0
    assert event["peak"] == 7.0
    assert event["mean_prob"] == pytest.approx((5 * 0.9 + 1) / 6)
    spread = -(0.9 * np.log(0.9) + 5 * 0.02 * np.log(0.02))
    assert event["entropy"] == pytest.approx(5 * spread / 6)


def test_a_gap_ends_an_event_where_it_is_longer_than_what_is_joined() -> None:
    seizure = ["seizure"] * 6
    assert spans(find_events(course_of([*seizure, *[""] * 5, *seizure]), PLAIN)) == [("seizure", 0, 34)]
    assert spans(find_events(course_of([*seizure, *[""] * 6, *seizure]), PLAIN)) == [
        ("seizure", 0, 12),
        ("seizure", 24, 12),
    ]


def test_a_threshold_of_its_own_for_each_class_and_overlaps_where_they_are_low() -> None:
    table = course_of(["lpd"] * 6, sure=0.5)  # 0.1 for each of the others
    rule = EventRule({"lpd": 0.5, "seizure": 0.1, "gpd": 0.11}, smooth=False)
    assert sorted(spans(find_events(table, rule))) == [("lpd", 0, 12), ("seizure", 0, 12)]


@given(SEQUENCES)
@settings(max_examples=30, deadline=None)
def test_events_are_long_apart_and_in_order(classes) -> None:
    events = find_events(course_of(classes), EventRule())
    assert (events["duration"] >= 10).all()
    assert events["onset"].is_monotonic_increasing
    assert set(events["class"]) <= set(EVENT_CLASSES)
    ends = events["onset"] + events["duration"]
    assert ((events["onset"] >= 0) & (ends <= 2 * len(classes))).all()
    for name, own in events.groupby("class"):
        assert ((own["onset"] - (own["onset"] + own["duration"]).shift()).dropna() > 10).all(), name


@given(SEQUENCES)
@settings(max_examples=30, deadline=None)
def test_without_joining_the_events_are_the_runs_of_a_class(classes) -> None:
    found = spans(find_events(course_of(classes), EventRule(smooth=False, held_s=0, join_s=0, least_s=0)))
    runs = []
    for i, name in enumerate(classes):
        if name in EVENT_CLASSES:
            if i and classes[i - 1] == name:
                runs[-1] = (name, runs[-1][1], runs[-1][2] + 2.0)
            else:
                runs.append((name, 2.0 * i, 2.0))
    assert found == runs


@given(st.lists(st.integers(-1, 5), min_size=1, max_size=40), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_smoothing_is_that_of_a_walk_from_the_first_step_to_the_last(classes, seed) -> None:
    rng = np.random.default_rng(seed)
    prob = rng.dirichlet(np.ones(6), len(classes)) * 0.4 + 0.6 * np.eye(6)[classes]
    prob[np.array(classes) < 0] = np.nan
    walked = prob.copy()
    for i in range(1, len(prob) - 1):
        before, here, after = walked[i - 1 : i + 2].argmax(axis=1)
        if before == after and here != before and not np.isnan(walked[i - 1 : i + 2]).any():
            walked[i] = (walked[i - 1] + walked[i + 1]) / 2
    np.testing.assert_allclose(smoothed(prob), walked)


def test_hours_add_up_to_what_was_recorded() -> None:
    table = course_of(["seizure"] * 900 + ["other"] * 900 + [""] * 900)
    found = hours(table, EventRule())
    assert found["likeliest"].to_dict() == pytest.approx({**dict.fromkeys(CLASSES, 0.0), "seizure": 0.5, "other": 0.5})
    assert found["expected"].sum() == pytest.approx(1.0)
    assert found.loc["seizure", "expected"] == pytest.approx(0.5 * 0.9 + 0.5 * 0.02)


def test_of_nothing_recorded_there_is_nothing() -> None:
    for course in (course_of([""] * 3), course_of([])):
        assert find_events(course, EventRule()).empty
        assert hours(course, EventRule())["likeliest"].sum() == 0


def test_steps_of_any_length_and_smoothing_only_of_short_ones() -> None:
    classes = ["lpd", "lpd", "gpd", "lpd", "lpd"]
    rule = replace(EventRule(), join_s=0)
    assert spans(find_events(course_of(classes, 10.0), rule)) == [("lpd", 0, 50)]
    assert spans(find_events(course_of(classes, 12.0), rule)) == [("lpd", 0, 24), ("gpd", 24, 12), ("lpd", 36, 24)]
