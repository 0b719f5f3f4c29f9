"""Reading one window after another: with the mouse, with the keys after the mouse, and blind."""

from __future__ import annotations

import pytest

from tests.browser import Browser
from tests.report.eeg_reader import SHOWN, press, shown

LISTED = "return [...document.querySelectorAll('.eeg-list button')].map(b => [...b.children].map(e => e.textContent))"
TEXT = "return document.getElementById(arguments[0]).textContent"
POINT = """
const f = document.getElementById('eeg-figure'), {xaxis, yaxis} = f._fullLayout, box = f.getBoundingClientRect();
const t = f.data.find(t => t.name === 'T4-T6'), i = t.x.findIndex(x => x >= arguments[0] - 1e-9);
return [box.left + xaxis.l2p(t.x[i]) + xaxis._offset, box.top + yaxis.l2p(t.y[i]) + yaxis._offset, t.customdata[i]];
"""


def mouse(browser: Browser, seconds: float, click: bool = True) -> float:
    """Move the mouse to a trace at a time, and click there; returns the microvolts of that point."""
    x, y, uv = browser.run(POINT, seconds)
    steps = [("mouseMoved", x - 4), ("mouseMoved", x)] + click * [("mousePressed", x), ("mouseReleased", x)]
    for kind, at in steps:
        event = {"type": kind, "x": at, "y": y, "button": "none" if kind == "mouseMoved" else "left", "clickCount": 1}
        browser.driver.execute_cdp_cmd("Input.dispatchMouseEvent", event)
    return float(uv)


def test_the_mouse_says_time_and_microvolts_and_measures(opened: Browser) -> None:
    opened.run("window.scrollTo({top: 0, behavior: 'instant'})")
    label = "[...document.querySelectorAll('#eeg-figure .hoverlayer text')].map(t => t.textContent).join()"
    uv = mouse(opened, 22, click=False)
    opened.wait(f"{label}.startsWith('T4-T6  ')")
    said, _, seconds = opened.run(f"return {label}").removeprefix("T4-T6  ").replace("  ", " ").split(" ")[:3]
    assert float(seconds) == pytest.approx(22, abs=0.05)
    assert float(said.replace("\u2212", "-")) == pytest.approx(uv, abs=25)
    mouse(opened, 22)
    opened.wait(f"({TEXT.removeprefix('return ')}).startsWith('T4-T6 at ')".replace("arguments[0]", "'eeg-measured'"))
    mouse(opened, 22.5)
    opened.wait("document.getElementById('eeg-measured').textContent.includes('Hz')")
    apart, frequency = opened.run(TEXT, "eeg-measured").split(" s, ")
    assert float(apart) == pytest.approx(0.5, abs=0.06)
    assert float(frequency.split(" Hz")[0]) == pytest.approx(1 / float(apart), rel=0.01)
    measured = "document.getElementById('eeg-measured').getBoundingClientRect().bottom"
    assert opened.run(f"return {measured} < document.getElementById('eeg-figure').getBoundingClientRect().top")
    opened.run("document.querySelector('.eeg-channels').open = true")
    opened.click("#eeg-clear")
    opened.wait("document.getElementById('eeg-measured').textContent === ''")


def test_buttons_turn_pages_and_a_list_shows_the_saliency(opened: Browser) -> None:
    opened.click("#eeg-earlier")
    opened.wait(SHOWN)
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
