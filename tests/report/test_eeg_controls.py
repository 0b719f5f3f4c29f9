"""What a reader can do on the EEG page besides turning pages: one page, opened anew for each control."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hbac.data import EEGDataModule
from hbac.labels.recipe import LabelRecipe
from hbac.labels.targets import votes_to_shares
from hbac.predictions import PredictionTable
from hbac.predictions.metadata import TableMetadata
from hbac.predictions.rater_votes import read_opinions, read_raters
from hbac.recordings.datasets import Part
from hbac.report.eeg_page import write_eeg_page
from hbac.signal import EEGFrontEnd
from hbac.vocabulary import CLASSES, ELECTRODES
from tests.browser import Browser
from tests.report.eeg_reader import SHOWN, choose, press

HOSTILE = "<img src=x onerror='window.ran = 1'>"
LIST = "return [...document.querySelectorAll('.eeg-list button')].map(b => Number(b.value))"
FIGURE = "document.getElementById('eeg-figure')"
ROWS = f"return {FIGURE}.data.filter(t => t.type === 'scatter').map(t => t.name)"


@pytest.fixture(scope="module")
def tables(part: Part) -> dict[str, PredictionTable]:
    """The best is nearly right, the other always says GPD."""
    share = votes_to_shares(part.rows)
    gpd = np.where(np.arange(6) == CLASSES.index("gpd"), 0.9, 0.02)
    probs = {"best": (share + 0.02) / 1.12, HOSTILE: np.tile(gpd, (len(share), 1))}
    return {
        name: PredictionTable.from_arrays(part.rows, prob, TableMetadata(name), fold=0) for name, prob in probs.items()
    }


def planted(part: Part, position: np.ndarray) -> tuple[str, list[dict[str, Any] | None]]:
    """T3 from 22 to 24 s spoke for it, O2 at 27 s against; of the last window nothing is known."""
    found = np.zeros((19, 50), int)
    found[ELECTRODES.index("T3"), 22:24], found[ELECTRODES.index("O2"), 27] = 100, -50
    return HOSTILE, [*({"class": "lpd", "most": 0.5, "map": found.tolist()} for _ in position[1:]), None]


@pytest.fixture(scope="module")
def written(part: Part, tables: dict[str, PredictionTable], tmp_path_factory: pytest.TempPathFactory) -> Path:
    windows = pd.DataFrame({"label_id": part.rows["label_id"].to_numpy()[[0, 3, 5, 7]], "why": "worst"})
    return write_eeg_page(tmp_path_factory.mktemp("report"), part, windows, tables, planted)


def text(browser: Browser, name: str) -> str:
    return str(browser.run("return document.getElementById(arguments[0]).textContent", f"eeg-{name}"))


def test_saliency_is_shaded_behind_the_rows_of_the_electrodes_that_spoke(opened: Browser) -> None:
    shades = "return document.getElementById('eeg-figure').data.filter(t => t.name === 'saliency')"
    assert opened.run(shades) == []
    press(opened, "s")
    (shade,) = opened.run(shades)
    z = np.array(shade["z"])
    rows = [name for name in opened.run(ROWS) if name != "EKG"]
    assert z.shape == (len(rows), 50)
    spoke, against = np.argwhere(z > 0), np.argwhere(z < 0)
    assert {rows[i] for i, _ in spoke} == {"F7-T3", "T3-T5"}
    assert {s for _, s in spoke} == {22, 23}
    assert {rows[i] for i, _ in against} == {"T6-O2", "P4-O2"}
    baselines = [
        t["y"] for t in opened.run("return document.getElementById('eeg-figure').layout.yaxis.tickvals.map(y => ({y}))")
    ]
    assert all(low < y < high for low, y, high in zip(shade["y"][:-1], baselines, shade["y"][1:], strict=False))
    assert "spoke for LPD (blue)" in text(opened, "why")
    assert f"in {HOSTILE}, not in best, which has no network at hand:" in text(opened, "why")
    press(opened, "ArrowLeft", shift=True)
    for _ in range(3):
        press(opened, "ArrowRight", shift=True)
    assert "No saliency" in text(opened, "said")
    press(opened, "s")
    assert text(opened, "why") == ""
    assert opened.run("return window.ran ?? null") is None
    assert opened.console() == []


def test_two_clicks_measure_and_escape_forgets(opened: Browser) -> None:
    click = "const f = document.getElementById('eeg-figure'); f.emit('plotly_click', {points: [arguments[0]]})"
    opened.run(click, {"x": 21.5, "customdata": -40, "data": {"name": "T3-T5"}})
    opened.wait(SHOWN)
    assert "T3-T5 at 21.50 s: -40 µV" in text(opened, "measured")
    opened.run(click, {"x": 21.75, "customdata": 60, "data": {"name": "T3-T5"}})
    opened.wait(SHOWN)
    assert text(opened, "measured") == "0.250 s, 4.00 Hz, 100 µV in T3-T5."
    marked = (
        "return document.getElementById('eeg-figure').layout.shapes.filter(s => s.line.dash === 'dot').map(s => s.x0)"
    )
    opened.wait(f"((() => {{ {marked} }})()).length === 2")
    assert opened.run(marked) == [21.5, 21.75]
    press(opened, "Escape")
    assert text(opened, "measured") == ""
    opened.wait(f"((() => {{ {marked} }})()).length === 0")


def test_a_channel_is_hidden_and_has_its_own_gain(opened: Browser) -> None:
    everything = opened.run(ROWS)
    opened.run("document.querySelector('.eeg-channels').open = true")
    choose(opened, "channel", "T3-T5")
    finite = f"{FIGURE}.data.find(t => t.name === 'T3-T5').y.filter(Number.isFinite)"
    swing = f"const y = {finite}; return Math.max(...y) - Math.min(...y)"
    before = opened.run(swing)
    choose(opened, "gain", "0.5")
    assert opened.run(swing) == pytest.approx(before / 2, rel=0.02)
    assert any("T3-T5 ÷2" in label for label in opened.run(f"return {FIGURE}.layout.yaxis.ticktext"))
    press(opened, "h")
    assert opened.run(ROWS) == [name for name in everything if name != "T3-T5"]
    assert "Hidden: T3-T5." in text(opened, "said")
    choose(opened, "channel", "EKG")
    opened.click("#eeg-hide")
    opened.wait(f"{SHOWN} && !document.getElementById('eeg-figure').data.some(t => t.name === 'EKG')")
    opened.click("#eeg-all")
    opened.wait(f"{SHOWN} && document.getElementById('eeg-figure').data.some(t => t.name === 'EKG')")
    assert opened.run(ROWS) == everything
    assert opened.run(swing) == pytest.approx(before)
    choose(opened, "montage", "referential")
    assert "T3" in opened.run("return [...document.getElementById('eeg-channel').options].map(o => o.value)")
    assert opened.console() == []


def test_a_second_opinion_is_a_table_that_raters_and_trainings_read(
    opened: Browser, part: Part, tmp_path: Path
) -> None:
    opened.click("#eeg-classes button[value=lrda]")
    opened.run("document.getElementById('eeg-certainty').value = 55")
    opened.run("document.getElementById('eeg-certainty').dispatchEvent(new Event('change'))")
    press(opened, "ArrowRight", shift=True)
    press(opened, "1")
    press(opened, "ArrowRight", shift=True)
    press(opened, "2")
    press(opened, "2")  # takes it back
    opened.run("document.getElementById('eeg-rater').value = 'Bo, \"the\" reader'")
    path = tmp_path / "said.csv"
    path.write_text(opened.run("return hbacOpinion.csv()"), newline="")
    rows = part.rows.iloc[[0, 3]]
    frame = pd.read_csv(path)
    assert frame["certainty"].tolist() == [55, 55]
    np.testing.assert_allclose(frame["time_s"], rows["eeg_label_offset_seconds"] + 25)
    found = read_raters(path)
    assert found.names == ('Bo, "the" reader',)
    said = dict(zip(found.ids["label_id"], found.votes[:, 0], strict=True))
    assert said == dict(zip(rows["label_id"], [CLASSES.index("lrda"), CLASSES.index("seizure")], strict=True))
    assert found.patients.tolist() == rows.sort_values("label_id")["patient_id"].tolist()
    opinions = read_opinions(path, part.rows)
    recipe = LabelRecipe(opinions_replace=True)
    fold = np.zeros(len(part.rows), int)
    data = EEGDataModule(part, EEGFrontEnd("public_8", "0.5-20"), fold, labels=recipe, opinions=opinions)
    assert data.train_set.labels is not None
    np.testing.assert_allclose(data.train_set.labels.target[[0, 3]], np.eye(6)[[CLASSES.index("lrda"), 0]], atol=1e-6)
    np.testing.assert_allclose(data.train_set.labels.target[1:3], votes_to_shares(part.rows)[1:3], atol=1e-6)
    assert "save 2 as csv" in text(opened, "save")
    listed = "return [...document.querySelectorAll('.eeg-list em')].map(e => e.textContent)"
    assert opened.run(listed) == ["said: LRDA", "said: Seizure"]
    opened.driver.refresh()
    opened.wait(SHOWN)
    assert opened.run(listed) == ["said: LRDA", "said: Seizure"]  # the browser remembers
    opened.click("#eeg-save")
    assert opened.console() == []


def test_the_list_is_of_the_member_that_one_chooses_and_of_its_errors(opened: Browser, part: Part) -> None:
    most = votes_to_shares(part.rows)[[0, 3, 5, 7]].argmax(axis=1)
    choose(opened, "right", "wrong", "input")
    assert opened.run(LIST) == []  # the best is right everywhere
    choose(opened, "member", "1", "input")
    assert opened.run(LIST) == np.flatnonzero(most != CLASSES.index("gpd")).tolist()
    choose(opened, "right", "", "input")
    kl = opened.run("return [...document.querySelectorAll('.eeg-list b')].map(b => Number(b.textContent))")
    assert max(kl) > 1
    choose(opened, "order", "kl", "input")
    assert opened.run("return [...document.querySelectorAll('.eeg-list b')].map(b => Number(b.textContent))") == sorted(
        kl, reverse=True
    )


def test_filters_of_the_list_keep_the_place(opened: Browser) -> None:
    press(opened, "ArrowLeft")
    before = opened.run(f"return {SHOWN}")
    assert before.endswith("10 20")
    choose(opened, "order", "dispute", "input")
    assert opened.run(f"return {SHOWN}") == before


def test_the_ten_minutes_around_are_shown_with_the_middle_marked(opened: Browser) -> None:
    opened.wait("document.querySelector('#eeg-long .main-svg')")
    figure = "document.getElementById('eeg-long')"
    assert opened.run(f"return {figure}.data.map(t => t.name)") == ["LL", "RL", "LP", "RP"]
    assert opened.run(f"return {figure}.data.map(t => [t.z.length, t.z[0].length])") == [[25, 300]] * 4
    marked = opened.run(f"return {figure}.layout.shapes.map(s => [s.x0, s.x1])")
    assert [275, 325] in marked
    assert [295, 305] in marked


def test_on_a_phone_all_controls_are_within_the_screen(browser: Browser, written: Path) -> None:
    browser.open(written, size=(500, 900), dark=True)
    browser.wait(SHOWN)
    browser.run("document.querySelector('.eeg-channels').open = true")
    assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth")
