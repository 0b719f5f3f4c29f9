"""The page of a recording in a browser: all of it at once, and of the EEG only what is shown."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.signal import butter, sosfiltfilt

from hbac.events.rule import EventRule, find_events
from hbac.predictions.course import Course, RecordingFacts
from hbac.report.recording_page import write_recording_page
from hbac.vocabulary import CHANNELS, SFREQ
from tests.browser import Browser
from tests.events.courses import course_of
from tests.helpers import random_eeg

HOSTILE = """'"><img src=x onerror="window.ran=1"></script><script>window.ran=2</script>.edf"""
MINUTES = 12
READY = "document.documentElement.dataset.overview && document.documentElement.dataset.eeg"


@pytest.fixture(scope="module")
def eeg() -> np.ndarray:
    x = random_eeg(round(60 * MINUTES * SFREQ), np.random.default_rng(0), nan_share=0)
    x += np.linspace(-300, 300, len(CHANNELS), dtype=np.float32)
    x[round(300 * SFREQ) : round(345 * SFREQ)] = np.nan
    return x


@pytest.fixture(scope="module")
def course() -> Course:
    """A seizure at 2:00 for 40 s, a gap from 5:00 to 5:45, LPDs at 8:20 for 60 s."""
    classes = ["other"] * (30 * MINUTES)
    classes[60:80], classes[150:172], classes[250:280] = ["seizure"] * 20, [""] * 22, ["lpd"] * 30
    return course_of(classes)


@pytest.fixture(scope="module")
def page(eeg: np.ndarray, course: Course, tmp_path_factory: pytest.TempPathFactory) -> Path:
    facts = RecordingFacts(
        HOSTILE, "0" * 64, 60.0 * MINUTES, 256.0, interpolated=("T5",), gaps=((300.0, 45.0),), notes=(HOSTILE,),
        patient="Secret",
    )  # fmt: skip
    rule = EventRule()
    hostile = replace(course, ensemble=HOSTILE)
    blocks = np.array_split(eeg, 7)
    folder = tmp_path_factory.mktemp("recording")
    return write_recording_page(folder, hostile, facts, rule, find_events(course, rule), blocks)


def shown(browser: Browser) -> list[str]:
    return str(browser.run("return document.documentElement.dataset.eeg")).split()


def test_it_opens_from_the_disk_and_reads_only_the_minutes_it_shows(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.wait(READY)
    asked = {Path(url).name for url in browser.requests()}
    scripts = {"eeg_signals.js", "eeg_sheet.js", "recording_overview.js", "recording_page.js", "report.js"}
    assert asked == {"index.html", "report.css", "eeg.css", "plotly.min.js", *scripts, "1.js", "2.js"}
    assert browser.console() == []
    assert shown(browser)[-2:] == ["118", "128"]  # two seconds before the first event
    listed = "return [...document.querySelectorAll('.eeg-list a')].map(a => [a.hash, a.innerText.split(/\\s+/)[0]])"
    links = browser.run(listed)
    assert links == [["#s=118.0", "Seizure"], ["#s=498.0", "LPD"]]
    browser.click(".eeg-list li:nth-child(2) a")
    browser.wait("document.documentElement.dataset.eeg.endsWith('498 508')")
    assert {Path(url).name for url in browser.requests()} == {"8.js"}


def test_no_text_of_a_file_becomes_a_part_of_it(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.wait(READY)
    assert browser.run("return window.ran ?? null") is None
    assert browser.run("return document.querySelectorAll('img').length") == 0
    assert browser.run("return document.querySelector('h1').textContent") == HOSTILE
    assert "Secret" not in page.read_text()
    assert browser.console() == []


def test_keys_buttons_slider_and_overview_move_through_the_hours(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.wait(READY)
    for act, at in (
        ("document.getElementById('eeg-later').click()", 128),
        ("document.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowLeft'}))", 118),
        ("document.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight', shiftKey: true}))", 498),
        ("document.getElementById('eeg-back').click()", 118),
        ("const at = document.getElementById('eeg-at'); at.value = 60; at.dispatchEvent(new Event('input'))", 60),
        ("location.hash = '#s=700'", 700),
        ("location.hash = '#s=99999'", 710),
    ):
        browser.run(act)
        browser.wait(f"document.documentElement.dataset.eeg.endsWith(' {at} {at + 10}')")
    place = browser.run(
        "const div = document.getElementById('overview'), axis = div._fullLayout.xaxis;"
        "div.scrollIntoView({block: 'start', behavior: 'instant'});"
        "return [axis._offset + axis.l2p(5), div.getBoundingClientRect().left, div.getBoundingClientRect().top]"
    )
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.actions.action_builder import ActionBuilder

    actions = ActionChains(browser.driver)
    ActionBuilder(browser.driver)
    actions.w3c_actions.pointer_action.move_to_location(round(place[0] + place[1]), round(place[2] + 60))
    actions.w3c_actions.pointer_action.click()
    actions.perform()
    browser.wait("Math.abs(Number(document.documentElement.dataset.eeg.split(' ').at(-2)) - 295) < 3")
    assert browser.console() == []


def test_tiles_are_joined_without_a_seam_and_gaps_stay_gaps(browser: Browser, page: Path, eeg: np.ndarray) -> None:
    browser.open(page)
    browser.wait(READY)
    script = """const done = arguments[arguments.length - 1];
        hbacEEG.stretch(3, 6).then(async (found) => {
          const raw = [...found.raw[8]], own = [...(await hbacEEG.electrodes(found, 0.5, 15, []))[8]];
          done([raw, own, found.gaps.Fz]);
        });"""
    raw, filtered, gaps = browser.driver.execute_async_script(script)
    assert gaps == [[12_000, 16_500]]  # from 120 s of these minutes on, at 100 Hz
    there = eeg[round(180 * SFREQ) : round(420 * SFREQ), CHANNELS.index("Fz")].astype(float)
    level = np.median(eeg[: round(60 * SFREQ), CHANNELS.index("Fz")])
    before = slice(0, round(118 * SFREQ))
    wanted = sosfiltfilt(butter(2, [0.5, 15], "bandpass", fs=SFREQ, output="sos"), there[before] - level)
    np.testing.assert_allclose(np.array(filtered)[500:11_000], wanted[::2][500:11_000], atol=1.5)
    smooth = sosfiltfilt(butter(8, 35, fs=SFREQ, output="sos"), there[before] - level)
    assert np.std(np.array(raw)[100:11_500] - smooth[::2][100:11_500]) < 2.0


def test_a_damaged_minute_is_named(browser: Browser, page: Path) -> None:
    tile = page.parent / "eeg" / "2.js"  # of the first event, at which it opens
    whole = tile.read_bytes()
    spoiled = bytearray(whole)
    spoiled[whole.index(b"steps_uv") + 13] ^= 1
    tile.write_bytes(spoiled)
    try:
        browser.open(page)
        browser.wait("document.getElementById('eeg-said').textContent")
        said = browser.run("return document.getElementById('eeg-said').textContent")
    finally:
        tile.write_bytes(whole)
    assert said == "eeg/2.js is damaged: make this page again"


def test_the_overview_tells_what_the_table_says(browser: Browser, page: Path, course: Course) -> None:
    browser.open(page)
    browser.wait(READY)
    stack = browser.run(
        "const areas = document.getElementById('overview').data.filter(trace => trace.stackgroup);"
        "return areas.map(area => [area.name, [...area.y], area.fillpattern?.shape ?? ''])"
    )
    assert [name for name, _, _ in stack] == ["Seizure", "LPD", "GPD", "LRDA", "GRDA", "Other", "not recorded"]
    assert [shape for _, _, shape in stack] == [""] * 6 + ["/"]
    total = np.array([values for _, values, _ in stack])
    np.testing.assert_allclose(total.sum(axis=0), 1, atol=0.02)  # steps of 1/254
    np.testing.assert_array_equal(total[-1][:-1], course.frame["other_prob"].isna())
    cells = browser.run(
        "const rows = [...document.querySelectorAll('.recording-hours tbody tr')];"
        "return rows.map(row => [...row.cells].map(cell => cell.innerText.trim()))"
    )
    assert [row[0] for row in cells] == ["Seizure", "LPD", "GPD", "LRDA", "GRDA", "Other"]
    assert cells[0][1:] == ["0.01", "0.01", "1", "0:00:40", "0.50"]
    assert cells[5][3:] == ["", "", ""]


def test_a_start_that_was_asked_for_is_told_as_time_of_day(
    browser: Browser, course: Course, eeg: np.ndarray, tmp_path: Path
) -> None:
    facts = RecordingFacts("a.edf", "0" * 64, 60.0 * MINUTES, 200.0, start=datetime(2024, 2, 3, 23, 59, 0))
    events = find_events(course, EventRule())
    browser.open(write_recording_page(tmp_path, course, facts, EventRule(), events, [eeg]))
    browser.wait(READY)
    assert (
        browser.run("return document.getElementById('eeg-title').textContent")
        == "0:01:58 (00:00:58) to 0:02:08 (00:01:08)"
    )
    assert "Begun 2024-02-03 23:59:00" in browser.run("return document.querySelector('main p').textContent")


def test_a_recording_without_events_and_shorter_than_a_page(browser: Browser, eeg: np.ndarray, tmp_path: Path) -> None:
    course = course_of(["other"] * 3)
    events = pd.DataFrame(find_events(course, EventRule()))
    facts = RecordingFacts("a.edf", "0" * 64, 7.0, 200.0)
    browser.open(write_recording_page(tmp_path, course, facts, EventRule(), events, [eeg[: round(7 * SFREQ)]]))
    browser.wait(READY)
    assert shown(browser)[-2:] == ["0", "7"]
    assert browser.run("return document.querySelectorAll('.eeg-list li').length") == 0
    assert browser.console() == []


def test_on_a_phone_nothing_is_wider_than_the_screen(browser: Browser, page: Path) -> None:
    browser.open(page, size=(420, 900))
    browser.wait(READY)
    assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth")
    assert not re.search(r"https?://", " ".join(browser.requests()))
