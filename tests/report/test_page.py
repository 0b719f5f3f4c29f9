"""A page opens from the disk without a network, and its figures follow the theme."""

from __future__ import annotations

from pathlib import Path

import plotly.graph_objects as go
import pytest
from jinja2 import ChoiceLoader, DictLoader, UndefinedError

from hbac.report.page import Picture, Table, _templates, render, write_page
from tests.browser import Browser

DRAWN = "document.documentElement.dataset.drawn"
INK = "return document.querySelector('.js-plotly-plot').layout.font.color"
LINE = "return document.querySelector('.js-plotly-plot').data[0].line.color"


@pytest.fixture(autouse=True)
def page_of_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    """A template that shows nothing but a choice among pictures or texts."""
    text = """{% extends "page.html.j2" %}{% from "parts.html.j2" import choice, picture %}
{% block title %}{{ title }}{% endblock %}
{% block content %}{% call(it) choice("which", options) %}{{ it if it is string else picture(it) }}{% endcall %}
{% endblock %}"""
    loader = ChoiceLoader([DictLoader({"test.html.j2": text}), _templates().loader])
    monkeypatch.setattr(_templates(), "loader", loader)


@pytest.fixture
def two_figures(tmp_path: Path) -> Path:
    line = {"color": "var(--series-0)"}
    made = [go.Figure(go.Scatter(x=[0, 1], y=[y, 2], name="</script>", line=line)) for y in (0, 1)]
    options = {"first": Picture(made[0], 200), "second": Picture(made[1], 200)}
    return write_page(tmp_path / "index.html", "test", {"title": "A <title>", "options": options})


def test_it_opens_without_errors_and_asks_for_nothing_but_files(browser: Browser, two_figures: Path) -> None:
    browser.open(two_figures)
    browser.wait(DRAWN)
    asked = browser.requests()
    assert browser.console() == []
    assert {Path(url).name for url in asked} == {"index.html", "plotly.min.js", "report.css", "report.js"}
    assert all(url.startswith("file://") for url in asked)
    assert browser.run("return document.querySelector('h1').textContent") == "A <title>"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_figures_follow_the_system_and_the_button(browser: Browser, two_figures: Path, dark: bool) -> None:
    light, night = ("#1d2126", "#1f5fa8"), ("#e4e7ea", "#6aa7ea")
    browser.open(two_figures, dark=dark)
    browser.wait(DRAWN)
    assert (browser.run(INK), browser.run(LINE)) == (night if dark else light)
    browser.click("#theme")
    assert (browser.run(INK), browser.run(LINE)) == (light if dark else night)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_paper_is_light_and_narrow_and_then_the_screen_is_as_before(
    browser: Browser, two_figures: Path, dark: bool
) -> None:
    width = "return document.querySelector('.main-svg').getBoundingClientRect().width"
    browser.open(two_figures, dark=dark)
    browser.wait(DRAWN)
    before = [browser.run(INK), browser.run(LINE), browser.run(width)]
    assert before[2] > 1000
    look = f"[{INK}, {LINE}, {width}]".replace("return ", "")
    browser.run(f"window.addEventListener('beforeprint', () => {{ window.printed = {look}; }})")
    browser.driver.execute_cdp_cmd("Page.printToPDF", {})
    ink, line, width_px = browser.run("return window.printed")
    assert (ink, line) == ("#1d2126", "#1f5fa8")
    assert 500 < width_px <= 680
    browser.wait(f"{width.removeprefix('return ')} === {before[2]}")
    assert [browser.run(INK), browser.run(LINE)] == before[:2]
    assert browser.console() == []


def test_one_of_several_panels_is_shown_and_drawn_when_chosen(browser: Browser, two_figures: Path) -> None:
    count = "return document.querySelectorAll('.js-plotly-plot').length"
    browser.open(two_figures)
    browser.wait(DRAWN)
    assert browser.run(count) == 1
    browser.click("button[value='which-1']")
    browser.wait("document.querySelectorAll('.js-plotly-plot').length === 2")
    shown = "return [...document.querySelectorAll('.option')].map(panel => panel.offsetHeight > 0)"
    assert browser.run(shown) == [False, True]
    assert browser.run("return document.querySelector('[aria-pressed=true]').textContent") == "second"


def test_many_panels_are_chosen_from_a_list(browser: Browser, tmp_path: Path) -> None:
    options = {str(i): f"panel {i}" for i in range(7)}
    browser.open(write_page(tmp_path / "index.html", "test", {"title": "many", "options": options}))
    browser.run("const s = document.querySelector('select'); s.value = 'which-4'; s.dispatchEvent(new Event('change'))")
    assert "panel 4" in browser.run("return document.querySelector('main').innerText")
    assert "panel 0" not in browser.run("return document.querySelector('main').innerText")


def test_files_beside_a_page_are_written_once(two_figures: Path) -> None:
    (two_figures.parent / "report.css").write_text("mine")
    values = {"title": "another", "options": {"only": "one"}}
    write_page(two_figures.with_name("other.html"), "test", values, ["eeg.css"])
    assert (two_figures.parent / "report.css").read_text() == "mine"
    assert (two_figures.parent / "plotly.min.js").stat().st_size > 1e6
    assert (two_figures.parent / "eeg.css").is_file()


def test_cells_are_text() -> None:
    template = _templates().get_template("parts.html.j2")
    made = template.module.table(Table(["name", "KL"], [["<b>", 1.5]], numbers=[1], classes=["strong"]))
    assert "&lt;b&gt;" in made
    assert '<td class="number">1.5</td>' in made
    assert '<tr class="strong">' in made


def test_a_value_that_a_template_lacks_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="options"):
        render("test", {"title": "nothing"})
