"""A headless Chromium that says what a page printed on its console and what it asked for."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


class Browser:
    """One tab; `open` forgets what the page before it printed and asked for."""

    def __init__(self, profile: Path) -> None:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
        if not chromium or not driver:
            pytest.skip("no chromium and chromedriver on the PATH (apt-get install chromium chromium-driver)")
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for flag in (*_FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options, Service(driver))
        self.driver.set_script_timeout(60)

    def open(self, path: Path, dark: bool = False, size: tuple[int, int] = (1280, 900)) -> None:
        """Open a file as a reader whose system is light or dark, and wait until it is loaded."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.get("about:blank")
        for log in ("browser", "performance"):
            self.driver.get_log(log)
        everything = {"origin": "file://", "storageTypes": "all"}  # the theme that a test before chose
        self.driver.execute_cdp_cmd("Storage.clearDataForOrigin", everything)
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.driver.set_window_size(*size)
        self.driver.get(path.resolve().as_uri())

    def run(self, script: str, *arguments: object) -> Any:
        """Run JavaScript (``return …``) in the page."""
        return self.driver.execute_script(script, *arguments)

    def wait(self, condition: str, seconds: float = 60) -> None:
        """Wait until a JavaScript expression is true."""
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.driver, seconds, 0.05).until(lambda _: self.run(f"return Boolean({condition})"), condition)

    def click(self, selector: str) -> None:
        """Click what a CSS selector finds first."""
        self.run(
            "document.querySelector(arguments[0]).scrollIntoView({block: 'center', behavior: 'instant'})", selector
        )
        self.driver.find_element("css selector", selector).click()

    def console(self) -> list[str]:
        """Warnings and errors since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("WARNING", "SEVERE")]

    def requests(self) -> list[str]:
        """Addresses that the page has asked for since the last call; those of data in the page itself left out."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
        return [url for url in asked if not url.startswith(("data:", "blob:", "about:"))]

    def screenshot(self, path: Path, *selectors: str) -> Path:
        """Take a picture of the whole page, or of the part from the first of some elements to the last."""
        clip = self._around(selectors) if selectors else self._whole()
        found = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, **clip})
        path.write_bytes(base64.b64decode(found["data"]))
        return path

    def close(self) -> None:
        """End the browser."""
        self.driver.quit()

    def _around(self, selectors: tuple[str, ...]) -> dict[str, Any]:
        corners = """
            const boxes = arguments[0].map(one => document.querySelector(one).getBoundingClientRect());
            const side = (name, most) => most(...boxes.map(box => box[name]));
            return [side("left", Math.min) + scrollX, side("top", Math.min) + scrollY,
                    side("right", Math.max) + scrollX, side("bottom", Math.max) + scrollY];"""
        left, top, right, bottom = self.run(corners, list(selectors))
        x, y, edge = max(0, left - 12), max(0, top - 12), 12  # pixels of the page around it
        return {"clip": {"x": x, "y": y, "width": right + edge - x, "height": bottom + edge - y, "scale": 1}}

    def _whole(self) -> dict[str, Any]:
        content = self.driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
        return {"clip": {"x": 0, "y": 0, "width": content["width"], "height": content["height"], "scale": 1}}
