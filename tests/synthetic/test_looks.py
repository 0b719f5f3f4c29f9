"""An EEG looks like its evidence: clear, faint, or between two classes; only where its labels are, if need be."""

from __future__ import annotations

import numpy as np
import pytest

from hbac.synthetic.fields import lateral_fields, with_mirror
from hbac.synthetic.head import BIPOLAR, lateralisation
from hbac.synthetic.labels import Evidence
from hbac.synthetic.looks import Shown, Wish, show
from hbac.synthetic.patient import draw_patient
from hbac.synthetic.patterns import Periodic, Rhythmic
from hbac.synthetic.recording import Rendered, draw_session, render, stands_out
from hbac.synthetic.seizures import Seizure
from hbac.vocabulary import CLASSES

SFREQ = 200.0


def wish(label: str, second: str, ambiguity: float, start_s: float = 300.0, stop_s: float = 310.0) -> Wish:
    other = CLASSES.index(second)
    return Wish(Evidence(CLASSES.index(label), other, ambiguity, 0.0, np.eye(6)[other]), start_s, stop_s)


def shown(wanted: Wish, seed: int) -> Shown:
    rng = np.random.default_rng(seed)
    return show(rng, draw_patient(rng), wanted, 0.0, 620.0, 0.0)


def window(wanted: Wish, seed: int) -> Rendered:
    rng = np.random.default_rng(seed)
    session = draw_session(rng, draw_patient(rng), [wanted], 620.0)
    return render(rng, session, wanted.start_s - 20, 10000, SFREQ)


def energy_in_the_centre(rendered: Rendered) -> float:
    """How far the patterns stand out in the central 10 s over the whole recording without them."""
    part = sum((layer.fields.T @ layer.waves for layer in rendered.layers), np.zeros((19, 10000), dtype=np.float32))
    rest = rendered.eeg[:19] - part
    centre = slice(4000, 6000)
    return stands_out((BIPOLAR @ part)[:, centre], (BIPOLAR @ rest)[:, centre], SFREQ)


def test_standing_out_is_a_ratio() -> None:
    rng = np.random.default_rng(0)
    t = np.arange(4000) / SFREQ
    part = np.zeros((18, 4000), dtype=np.float32)
    part[:5] = 20 * np.sin(2 * np.pi * 1.5 * t)
    noise = np.repeat(rng.standard_normal((18, 500)).astype(np.float32), 8, axis=1) * 9.5
    once = stands_out(part, noise, SFREQ)
    assert once == pytest.approx(2.0, rel=0.1)
    assert stands_out(3 * part, noise, SFREQ) == pytest.approx(3 * once, rel=1e-5)
    assert stands_out(0 * part, noise, SFREQ) == 0


@pytest.mark.parametrize("label", ["seizure", "lpd", "gpd", "lrda", "grda"])
def test_a_faint_pattern_stands_out_less_than_a_clear_one(label: str) -> None:
    clear = [energy_in_the_centre(window(wish(label, "other", 0.02), seed)) for seed in range(12)]
    found = [window(wish("other", label, 0.15), seed) for seed in range(16)]
    # The others are as tall, but short or irregular.
    faint = [
        energy_in_the_centre(r) for r in found if any(e.most < np.inf for layer in r.layers for e in layer.episodes)
    ]
    assert len(faint) >= 3
    assert np.median(clear) > 1.5 * np.median(faint)
    assert np.mean(np.array(clear) > 0.8) >= 0.8


@pytest.mark.parametrize("label", ["lpd", "gpd", "lrda", "grda"])
def test_a_clear_pattern_is_in_every_labelled_window(label: str) -> None:
    wanted = wish(label, "other", 0.02, 200.0, 320.0)
    for seed in range(15):
        episodes = shown(wanted, seed).episodes
        assert len({id(e.pattern) for e in episodes}) == 1
        for first in range(200, 311, 10):
            on = sum(max(0.0, min(e.stop_s, first + 10) - max(e.start_s, first)) for e in episodes)
            assert on > 1.5


@pytest.mark.parametrize(
    ("label", "kind"),
    [("seizure", Seizure), ("lpd", Periodic), ("gpd", Periodic), ("lrda", Rhythmic), ("grda", Rhythmic)],
)
def test_classes_are_what_they_are_called(label: str, kind: type) -> None:
    patterns = [shown(wish(label, "other", 0.0), seed).episodes[0].pattern for seed in range(20)]
    assert all(isinstance(pattern, kind) for pattern in patterns)
    if label != "seizure":
        lateral = np.array([abs(pattern.lateral) for pattern in patterns])
        assert np.mean((lateral > 0.34) == label.startswith("l")) >= 0.9


def test_between_one_side_and_both_the_other_side_takes_part() -> None:
    for label, second in (("lpd", "gpd"), ("gpd", "lpd"), ("lrda", "grda")):
        patterns = [shown(wish(label, second, 0.45), seed).episodes[0].pattern for seed in range(12)]
        assert np.median([abs(pattern.lateral) for pattern in patterns]) == pytest.approx(0.34, abs=0.08)


@pytest.mark.parametrize("lateral", [0.2, 0.34, 0.5])
def test_a_mirror_image_makes_a_field_as_lateral_as_wanted(lateral: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        fields, gains, _ = lateral_fields(rng, draw_patient(rng))
        alone = abs(lateralisation(np.stack(fields[:2]) * np.array(gains[:2])[:, None]))
        stack, strengths, lags = with_mirror(fields, gains, lateral)
        assert len(stack) == len(strengths) == len(lags) == 4
        assert abs(lateralisation(stack * strengths[:, None])) == pytest.approx(min(lateral, alone), abs=0.02)


def test_between_discharges_and_delta_both_are_there() -> None:
    for seed in range(6):
        kinds = {type(e.pattern) for e in shown(wish("lpd", "lrda", 0.45), seed).episodes}
        assert kinds == {Periodic, Rhythmic}


def test_between_discharges_and_a_seizure_the_rate_is_near_two_and_a_half() -> None:
    rates = [shown(wish("gpd", "seizure", 0.45), seed).episodes[0].pattern.rate_hz for seed in range(20)]
    assert np.median(rates) == pytest.approx(2.5, abs=0.25)
    seizures = [shown(wish("seizure", "gpd", 0.4), seed).episodes[0].pattern for seed in range(10)]
    assert {pattern.kind for pattern in seizures if isinstance(pattern, Seizure)} == {"discharges"}


def test_a_seizure_is_on_for_all_labelled_rows() -> None:
    for seed in range(20):
        seizure = shown(wish("seizure", "other", 0.0, 200.0, 260.0), seed).episodes[0]
        assert seizure.start_s < 204
        assert seizure.stop_s > 256


def test_other_is_more_than_calm() -> None:
    found = [shown(wish("other", "grda", 0.0), seed).episodes for seed in range(60)]
    assert 0.2 < np.mean([not episodes for episodes in found]) < 0.55
    irregular = [
        e.pattern
        for episodes in found
        for e in episodes[:1]
        if isinstance(e.pattern, Rhythmic) and e.pattern.unrest > 0.5
    ]
    assert len(irregular) >= 6


def test_most_recordings_have_mains_between_one_and_three_hundred_microvolts() -> None:
    level = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        patient = draw_patient(rng)
        session = draw_session(rng, patient, [wish("other", "grda", 0.0)], 620.0)
        level.append(np.median(session.recorder.mains_uv) / np.sqrt(2))
    assert np.mean((np.array(level) > 3) & (np.array(level) < 200)) > 0.6
