"""The EEG page in Chromium: what its controls and keys do, its list, votes and files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import entropy

from hbac.common.errors import UserError
from hbac.evaluation.metric import kl_rows
from hbac.labels.targets import votes_to_shares
from hbac.predictions import PredictionTable
from hbac.predictions.metadata import TableMetadata
from hbac.recordings.datasets import Part
from hbac.report.eeg_page import page_index, write_eeg_page
from hbac.vocabulary import CLASSES, CONSENSUS_NAMES, VOTE_COLUMNS
from tests.browser import Browser
from tests.report.eeg_reader import SHOWN, choose, press, shown

DEFAULTS = ["longitudinal_bipolar", "0.5", "70", "0"]  # no mains in what is simulated


def test_it_opens_without_errors_and_asks_for_nothing_but_its_files(opened: Browser, windows: pd.DataFrame) -> None:
    asked = opened.requests()
    assert opened.console() == []
    assert all(url.startswith("file://") for url in asked)
    first, second = windows["label_id"].tolist()[:2]
    scripts = {
        "eeg_signals.js",
        "eeg_sheet.js",
        "eeg_votes.js",
        "eeg_opinion.js",
        "eeg_drawing.js",
        "eeg_page.js",
        "report.js",
        "plotly.min.js",
        f"{first}.js",
    }
    assert {Path(url).name for url in asked} - {f"{second}.js"} == {"eeg.html", "report.css", "eeg.css", *scripts}
    assert shown(opened) == [str(first), *DEFAULTS, "20", "30"]


def test_keys_and_buttons_go_from_window_to_window_and_page_to_page(opened: Browser, windows: pd.DataFrame) -> None:
    first, second, third, _ = map(str, windows["label_id"])
    press(opened, "ArrowRight", shift=True)
    assert shown(opened)[0] == second
    opened.click("#eeg-next")
    opened.wait(SHOWN)
    assert shown(opened)[0] == third
    press(opened, "ArrowRight")
    assert shown(opened) == [third, *DEFAULTS, "30", "40"]
    for _ in range(3):
        press(opened, "ArrowRight")
    assert shown(opened)[-2:] == ["40", "50"]
    for _ in range(5):
        press(opened, "ArrowLeft", shift=True)
    assert shown(opened) == [first, *DEFAULTS, "20", "30"]
    assert opened.run("return document.getElementById('eeg-back').disabled")
    assert opened.run("return location.hash") == f"#{first}"


def test_every_control_keeps_the_place(opened: Browser, windows: pd.DataFrame) -> None:
    first = str(windows["label_id"][0])
    press(opened, "ArrowLeft")
    changes = {"montage": "referential", "low": "5", "high": "15", "notch": "50", "sensitivity": "30"}
    for name, value in changes.items():
        choose(opened, name, value)
        assert shown(opened)[-2:] == ["10", "20"]
    assert shown(opened) == [first, "referential", "5", "15", "50", "10", "20"]
    choose(opened, "span", "5")
    assert shown(opened)[-2:] == ["12.5", "17.5"]
    choose(opened, "span", "20")
    assert shown(opened)[-2:] == ["5", "25"]
    choose(opened, "span", "50")
    choose(opened, "span", "10")
    assert shown(opened)[-2:] == ["20", "30"]


def test_keys_change_what_readers_change(opened: Browser) -> None:
    def value(name: str) -> str:
        return str(opened.run("return document.getElementById(arguments[0]).value", f"eeg-{name}"))

    press(opened, "ArrowUp")
    assert value("sensitivity") == "5"
    for _ in range(12):
        press(opened, "ArrowDown")
    assert value("sensitivity") == "50"
    for key, shift, name, wanted in [
        ("m", False, "montage", "transverse_bipolar"),
        ("M", True, "montage", "longitudinal_bipolar"),
        ("f", False, "high", "0"),
        ("F", True, "high", "70"),
        ("l", False, "low", "1"),
        ("n", False, "notch", "0"),
        ("n", False, "notch", "50"),
    ]:
        press(opened, key, shift)
        assert value(name) == wanted
    assert shown(opened)[4] == "50"
    press(opened, "ArrowRight")
    press(opened, "c")
    assert shown(opened)[-2:] == ["20", "30"]
    visible = "return document.getElementById('eeg-keys').offsetHeight > 0"
    assert not opened.run(visible)
    top = "return document.getElementById('eeg-figure').offsetTop"
    before = opened.run(top)
    press(opened, "?")
    assert opened.run(visible)
    assert opened.run(top) == before  # they lie over the picture
    press(opened, "Escape")
    assert not opened.run(visible)
    for there in (True, False):
        opened.click("#eeg-help")
        assert opened.run(visible) == there
    assert opened.console() == []


def test_the_list_is_filtered_sorted_and_searched(opened: Browser, part: Part) -> None:
    def listed() -> list[int]:
        return [
            int(at) for at in opened.run("return [...document.querySelectorAll('.eeg-list button')].map(b => b.value)")
        ]

    def want(name: str, value: str) -> None:
        change = "const s = document.getElementById(arguments[0]); s.value = arguments[1];"
        opened.run(f"{change} s.dispatchEvent(new Event('input'))", f"eeg-{name}", value)
        opened.wait(SHOWN)

    rows = part.rows.iloc[[0, 3, 5, 7]]
    shares, n_votes = votes_to_shares(rows), rows[list(VOTE_COLUMNS)].to_numpy().sum(axis=1)
    want("class", CLASSES[shares[2].argmax()])
    assert listed() == np.flatnonzero(shares.argmax(axis=1) == shares[2].argmax()).tolist()
    want("class", "")
    want("population", "10 or more votes")
    assert listed() == np.flatnonzero(n_votes >= 10).tolist()
    assert shown(opened)[0] == str(rows["label_id"].to_numpy()[listed()[0]])
    want("population", "")
    want("order", "dispute")
    assert listed() == np.argsort(-entropy(shares, axis=1), kind="stable").tolist()
    want("search", str(rows["label_id"].iloc[3]))
    assert listed() == [3]
    assert shown(opened)[0] == str(rows["label_id"].iloc[3])
    want("search", "none")
    assert listed() == []
    assert opened.console() == []


def test_a_phone_shows_the_picture_and_nothing_sticks_out(browser: Browser, written: Path) -> None:
    browser.open(written, size=(500, 900))
    browser.wait(SHOWN)
    assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth")
    figure = "document.getElementById('eeg-figure')"
    assert browser.run(f"return {figure}._fullLayout._size.w / {figure}.clientWidth") > 0.8


def test_a_link_to_a_window(browser: Browser, written: Path, windows: pd.DataFrame) -> None:
    browser.open(written)
    browser.wait(SHOWN)
    browser.run("location.hash = arguments[0]", str(windows["label_id"][2]))
    browser.wait(f"{SHOWN}?.startsWith('{windows['label_id'][2]} ')")
    assert browser.run("return document.querySelector('[aria-current=true]').value") == "2"


def test_the_list_says_why_and_how_bad(opened: Browser, part: Part, tables: dict[str, PredictionTable]) -> None:
    headings = opened.run("return [...document.querySelectorAll('.eeg-list h2')].map(h => h.textContent)")
    assert headings == ["highest KL", "at random", "because"]
    words = opened.run(
        "return [...document.querySelectorAll('.eeg-list button span:nth-of-type(1)')].map(e => e.textContent)"
    )
    assert words == [CONSENSUS_NAMES[k] for k in votes_to_shares(part.rows)[[0, 3, 5, 7]].argmax(axis=1)]
    kl = opened.run("return [...document.querySelectorAll('.eeg-list b')].map(b => b.textContent)")
    best = tables["ensemble"]
    assert kl == [f"{kl:.2f}" for kl in kl_rows(best.targets, best.probs)[[0, 3, 5, 7]]]


def test_votes_and_predictions_are_bars(opened: Browser, part: Part, tables: dict[str, PredictionTable]) -> None:
    heads = "return [...document.querySelectorAll('.eeg-member .eeg-head span')].map(e => e.textContent)"
    widths = "return [...document.querySelectorAll(arguments[0])].map(i => parseFloat(i.style.width))"
    assert opened.run(heads) == ["experts", "ensemble", "a <member>"]  # the half does not have this row
    stacks = np.array(opened.run(widths, ".eeg-stack i")).reshape(-1, 6)
    probs = [votes_to_shares(part.rows)[0], tables["ensemble"].probs[0], tables["a <member>"].probs[0]]
    np.testing.assert_allclose(stacks, 100 * np.array(probs), atol=0.01)
    np.testing.assert_allclose(opened.run(widths, ".eeg-bar i")[::2], stacks[0])
    press(opened, "ArrowRight", shift=True)
    press(opened, "ArrowRight", shift=True)
    assert opened.run(heads)[-1] == "half"


def test_a_window_whose_file_is_gone_or_damaged_is_named(
    browser: Browser, part: Part, windows: pd.DataFrame, tables: dict[str, PredictionTable], tmp_path: Path
) -> None:
    path = write_eeg_page(tmp_path, part, windows[:1], tables)
    (file,) = (tmp_path / "eeg").glob("*.js")
    whole = file.read_bytes()
    lost = "could not be loaded: it belongs beside this page"
    damaged = "is damaged: make this page again"
    # A digit of a step, a letter of the packed signal, the window's number, the brackets: still a script, or none.
    places = [
        whole.index(b"steps_uv") + 12,
        len(whole) // 2,
        len("hbacEEG.arrived("),
        whole.index(b","),
        len(whole) - 3,
    ]
    for bit in (None, *[8 * place for place in places], *np.random.default_rng(0).integers(8 * len(whole), size=5)):
        file.unlink()
        if bit is not None:
            spoiled = bytearray(whole)
            spoiled[bit // 8] ^= 1 << int(bit) % 8
            file.write_bytes(spoiled)
        browser.open(path)
        browser.wait("document.getElementById('eeg-said').textContent")
        said = browser.run("return document.getElementById('eeg-said').textContent")
        assert said == f"eeg/{file.name} {lost if bit is None else damaged}"
        file.touch()


def test_windows_that_are_not_there(part: Part, tables: dict[str, PredictionTable], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no windows"):
        write_eeg_page(tmp_path, part, pd.DataFrame({"label_id": [], "why": []}), tables)
    with pytest.raises(UserError, match="train part has no label_id 17"):
        write_eeg_page(tmp_path, part, pd.DataFrame({"label_id": [17], "why": ["chosen"]}), tables)
    nameless = pd.DataFrame({"label_id": [-1], "eeg_id": [3], "eeg_sub_id": [0], "why": ["worst"]})
    with pytest.raises(UserError, match="train part has no eeg_id 3, eeg_sub_id 0"):
        write_eeg_page(tmp_path, part, nameless, tables)
    assert not list(tmp_path.iterdir())


def test_tables_of_other_code_may_have_no_label_ids(
    part: Part, windows: pd.DataFrame, tables: dict[str, PredictionTable]
) -> None:
    other = PredictionTable(tables["ensemble"].frame.assign(label_id=-1), TableMetadata("other"))
    rows = part.rows[part.rows["label_id"].isin(windows["label_id"])]
    with_ids, without = (page_index(rows, ["worst"] * 4, {"one": table}) for table in (tables["ensemble"], other))
    assert with_ids == without
    assert all(window["kl"] is not None for window in without["windows"])


def test_a_window_is_small(written: Path) -> None:
    assert max(path.stat().st_size for path in (written.parent / "eeg").glob("*.js")) < 300_000
