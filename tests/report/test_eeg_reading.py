"""Reading one window after another: with the mouse, with the keys after the mouse, and blind."""

from __future__ import annotations

import time

import pytest

from tests.browser import Browser
from tests.report.eeg_reader import SHOWN, choose, press, shown

LISTED = "return [...document.querySelectorAll('.eeg-list button')].map(b => [...b.children].map(e => e.textContent))"
LABEL = "[...document.querySelectorAll('#eeg-figure .hoverlayer text')].map(t => t.textContent).join()"
POINT = """
const f = document.getElementById('eeg-figure'), {xaxis, yaxis} = f._fullLayout, box = f.getBoundingClientRect();
const t = f.data.find(t => t.name === 'T4-T6'), i = t.x.findIndex(x => x >= arguments[0] - 1e-9);
return [box.left + xaxis.l2p(t.x[i]) + xaxis._offset, box.top + yaxis.l2p(t.y[i]) + yaxis._offset, t.customdata[i]];
"""


def point_at(browser: Browser, seconds: float) -> float:
    """Move the mouse to a trace at a time, until the page says what is there; returns the microvolts of that point."""
    x, y, uv = browser.run(POINT, seconds)
    there = f"({LABEL}.startsWith('T4-T6  ') && Math.abs(Number({LABEL}.split(' ').at(-2)) - {seconds}) < 0.06)"
    for at, expected in ((x - 40, f"!{there}"), (x, there)):  # a label of an earlier move says nothing of this one
        event = {"type": "mouseMoved", "x": at, "y": y, "button": "none"}
        browser.driver.execute_cdp_cmd("Input.dispatchMouseEvent", event)
        browser.wait(expected)
    return float(uv)


def click_at(browser: Browser, seconds: float) -> None:
    point_at(browser, seconds)
    x, y, _ = browser.run(POINT, seconds)
    for kind in ("mousePressed", "mouseReleased"):
        event = {"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1}
        browser.driver.execute_cdp_cmd("Input.dispatchMouseEvent", event)


def test_the_mouse_says_time_and_microvolts_and_measures(opened: Browser) -> None:
    opened.run("window.scrollTo({top: 0, behavior: 'instant'})")
    uv = point_at(opened, 22)
    said = opened.run(f"return {LABEL}").split("  ")[1]
    assert float(said.removesuffix(" µV").replace("\u2212", "-")) == pytest.approx(uv, abs=25)
    measured = "document.getElementById('eeg-measured')"
    click_at(opened, 22)
    # Only when the mark is drawn: a click meanwhile hits a picture that is being put in another's place.
    drawn = "(document.getElementById('eeg-figure')._fullLayout.shapes || []).some(s => Math.abs(s.x0 - 22) < 0.12)"
    opened.wait(f"{measured}.textContent.startsWith('T4-T6 at ') && {drawn}")
    time.sleep(0.5)  # within 0.3 s Plotly takes two clicks for a double one
    click_at(opened, 22.5)
    opened.wait(f"{measured}.textContent.includes('Hz')")
    apart, frequency = opened.run(f"return {measured}.textContent").split(" s, ")
    assert float(apart) == pytest.approx(0.5, abs=0.12)
    assert float(frequency.split(" Hz")[0]) == pytest.approx(1 / float(apart), rel=0.01)
    top = "document.getElementById('eeg-figure').getBoundingClientRect().top"
    assert opened.run(f"return {measured}.getBoundingClientRect().bottom < {top}")
    opened.run("document.querySelector('.eeg-channels').open = true")
    opened.click("#eeg-clear")
    opened.wait(f"{measured}.textContent === ''")


def test_buttons_turn_pages_and_a_list_shows_the_saliency(opened: Browser) -> None:
    opened.click("#eeg-earlier")
    assert shown(opened)[-2:] == ["10", "20"]
    for _ in range(2):
        opened.click("#eeg-later")
        opened.wait(SHOWN)
    assert shown(opened)[-2:] == ["30", "40"]
    assert opened.run("return document.getElementById('eeg-saliency').offsetHeight") == 0  # none of any window


def test_keys_are_the_page_s_again_after_the_mouse(opened: Browser) -> None:
    opened.click("#eeg-certainty")
    opened.driver.switch_to.active_element.send_keys("2")
    opened.wait("document.querySelector('#eeg-classes [aria-pressed=true]')?.value === 'lpd'")
    before = shown(opened)
    opened.driver.switch_to.active_element.send_keys("\ue014")  # right: of the slider
    assert shown(opened) == before
    opened.click("#eeg-rater")
    opened.driver.switch_to.active_element.send_keys("m3\n")
    assert shown(opened) == before
    assert opened.run("return document.querySelector('#eeg-classes [aria-pressed=true]').value") == "lpd"
    opened.driver.switch_to.active_element.send_keys("3")
    opened.wait("document.querySelector('#eeg-classes [aria-pressed=true]')?.value === 'gpd'")
    opened.driver.refresh()
    opened.wait(SHOWN)
    assert opened.run("return document.getElementById('eeg-rater').value") == "m3"


def test_who_reads_blind_sees_what_others_said_afterwards(opened: Browser) -> None:
    votes = "return document.getElementById('eeg-votes').offsetHeight"
    known = opened.run(LISTED)
    assert opened.run(votes) > 0
    press(opened, "b")
    assert opened.run(votes) == 0
    assert [line[1] for line in opened.run(LISTED)] == ["?"] * 4
    assert [line[4] for line in opened.run(LISTED)] == [""] * 4
    press(opened, "4")
    assert opened.run(votes) > 0
    first, *others = opened.run(LISTED)
    assert first == [*known[0], "said: LRDA"]
    assert [line[1] for line in others] == ["?"] * 3
    press(opened, "ArrowRight", shift=True)
    assert opened.run(votes) == 0
    opened.click("#eeg-blind")
    opened.wait("document.getElementById('eeg-votes').offsetHeight > 0")
    assert [line[:5] for line in opened.run(LISTED)] == known
    assert opened.console() == []


def test_the_page_below_stays_where_it_is_from_window_to_window(opened: Browser) -> None:
    top = "return document.getElementById('eeg-figure').getBoundingClientRect().top + window.scrollY"
    places = set()
    for _ in range(4):
        places.add(round(opened.run(top)))
        press(opened, "ArrowRight", shift=True)
    assert len(places) == 1


def test_paper_says_what_the_controls_do_on_a_screen(opened: Browser) -> None:
    line = "return document.getElementById('eeg-settings').innerText"
    choose(opened, "low", "1")
    choose(opened, "sensitivity", "10")
    assert opened.run("return document.getElementById('eeg-settings').offsetHeight") == 0
    opened.run("window.dispatchEvent(new Event('beforeprint'))")
    assert opened.run(line).startswith("longitudinal bipolar, low filter 1 Hz, high filter 70 Hz, 10 µV/mm, EKG ")
    assert opened.run("return document.querySelector('.eeg-tools').offsetHeight") == 0
