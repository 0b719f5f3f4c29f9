"""What a reader does on the EEG page, in Chromium."""

from __future__ import annotations

from tests.browser import Browser

SHOWN = "document.documentElement.dataset.eeg"
TRACES = """
const lines = document.getElementById('eeg-figure').data.filter(trace => trace.type === 'scatter');
return lines.map(line => [line.name, Array.from(line.x), Array.from(line.customdata, v => isNaN(v) ? null : v),
    Array.from(line.y, v => isNaN(v) ? null : v), line.line.color]);
"""


def choose(browser: Browser, name: str, value: str, event: str = "change") -> None:
    change = "const s = document.getElementById(arguments[0]); s.value = arguments[1];"
    browser.run(f"{change} s.dispatchEvent(new Event(arguments[2]))", f"eeg-{name}", value, event)
    browser.wait(SHOWN)


def press(browser: Browser, key: str, shift: bool = False) -> None:
    event = "new KeyboardEvent('keydown', {key: arguments[0], shiftKey: arguments[1], bubbles: true})"
    browser.run(f"document.body.dispatchEvent({event})", key, shift)
    browser.wait(SHOWN)


def shown(browser: Browser) -> list[str]:
    """Window, montage, filters, notch and seconds that are shown, once the page is drawn."""
    browser.wait(SHOWN)
    return str(browser.run(f"return {SHOWN}")).split()
