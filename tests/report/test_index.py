"""The report as a reader has it: in Chromium, its figures drawn, its numbers those of the tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hbac.common.errors import UserError
from hbac.evaluation.bootstrap import bootstrap_interval
from hbac.evaluation.scores import confusion_matrix
from hbac.report.gather import Gathered, gather
from hbac.report.index import SECTIONS, write_report
from tests.browser import Browser

DRAWN = "document.documentElement.dataset.drawn"
TEXT = "return document.querySelector(arguments[0]).innerText"


@pytest.fixture(scope="module")
def found(reported: Path) -> Gathered:
    return gather([reported / "runs", reported / "ensembles" / "two"], reported)


@pytest.fixture(scope="module")
def index(found: Gathered, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(found, tmp_path_factory.mktemp("made") / "report", command="python -m hbac.report")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_opens_draws_all_and_asks_for_nothing_but_files(browser: Browser, index: Path, dark: bool) -> None:
    browser.open(index, dark=dark)
    browser.wait(DRAWN)
    assert browser.console() == []
    asked = browser.requests()
    assert all(url.startswith("file://") for url in asked)
    assert {Path(url).name for url in asked} == {"index.html", "plotly.min.js", "report.css", "report.js"}
    assert browser.run("return [...document.querySelectorAll('h2')].map(h => h.textContent)") == list(SECTIONS)
    visible = "[...document.querySelectorAll('.figure')].filter(div => !div.closest('[hidden]'))"
    assert browser.run(f"return {visible}.every(div => div.querySelector('.main-svg'))")
    assert browser.run(f"return {visible}.length") >= 9


def test_every_panel_can_be_chosen_and_draws_its_figure(browser: Browser, index: Path) -> None:
    browser.open(index)
    browser.wait(DRAWN)
    browser.run("for (const button of document.querySelectorAll('.choice > button')) button.click()")
    browser.run(
        "for (const list of document.querySelectorAll('.choice > select')) for (const option of list.options)"
        " { list.value = option.value; list.dispatchEvent(new Event('change')); }"
    )
    browser.wait("document.querySelectorAll('.figure').length === document.querySelectorAll('.js-plotly-plot').length")
    browser.click("#theme")
    assert browser.console() == []


def test_nothing_sticks_out_of_a_narrow_screen(browser: Browser, index: Path) -> None:
    browser.open(index, size=(500, 900))
    browser.wait(DRAWN)
    assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth")


def test_no_column_of_a_table_sticks_out_of_the_paper(browser: Browser, index: Path) -> None:
    browser.open(index)
    browser.wait(DRAWN)
    wide = "return [...document.querySelectorAll('.scroll > table')].map(t => t.offsetWidth)"
    assert max(browser.run(wide)) > 700
    browser.run("window.dispatchEvent(new Event('beforeprint'))")
    assert max(browser.run(wide)) <= 680


def test_names_do_not_take_the_room_of_a_chart_on_a_phone(browser: Browser, index: Path, found: Gathered) -> None:
    browser.open(index, size=(500, 900))
    browser.wait(DRAWN)
    ticks = (
        "return [...document.querySelectorAll('#ranking .js-plotly-plot .ytick text')].map(tick => tick.textContent)"
    )
    assert sorted(browser.run(ticks)) == [str(rank) for rank in range(1, len(found.names) + 1)]
    shares = browser.run(
        "return [...document.querySelectorAll('.js-plotly-plot')].map(div => div._fullLayout._size.w / div.clientWidth)"
    )
    assert min(shares) > 0.6


def test_the_ranking_has_scores_and_intervals(browser: Browser, index: Path, found: Gathered) -> None:
    browser.open(index)
    lines = browser.run("return [...document.querySelectorAll('#ranking tbody tr')].map(line => line.innerText)")
    best = found.joined.divergences[0]
    interval = bootstrap_interval(best, found.joined.patient_id)
    assert found.names[0] in lines[0]
    assert f"{interval.estimate:.4f}\n[{interval.low:.4f}, {interval.high:.4f}]" in lines[0]
    many = found.joined.n_votes >= 10
    interval = bootstrap_interval(best[many], found.joined.patient_id[many])
    assert f"{interval.estimate:.4f}\n[{interval.low:.4f}, {interval.high:.4f}]" in lines[0]
    assert [name in line for name, line in zip(found.names, lines, strict=False)] == [True] * 4
    assert "Bayes floor" in lines[5]
    assert "0.1000" in lines[5]


def test_the_curves_are_folds_and_their_mean(browser: Browser, index: Path) -> None:
    browser.open(index)
    browser.wait(DRAWN)
    script = "return document.querySelector('#learning-curves .js-plotly-plot').calcdata.map(t => t.map(p => p.y))"
    traces = browser.run(script)
    assert len(traces) == 3 * (2 + 1)
    np.testing.assert_allclose(traces[2], np.mean(traces[:2], axis=0), rtol=1e-6)
    assert len(traces[2]) == 4


def test_the_confusion_matrix_is_of_the_best(browser: Browser, index: Path, found: Gathered) -> None:
    browser.open(index)
    browser.wait(DRAWN)
    shown = browser.run("return document.querySelector('#confusion .js-plotly-plot').data[0].text")
    many = found.counts
    counts = confusion_matrix(found.joined.targets[many], found.joined.probs[0, many])
    assert [[int(n or 0) for n in line] for line in shown] == counts.tolist()


def test_what_was_run_has_hashes_settings_and_commands(browser: Browser, index: Path, found: Gathered) -> None:
    browser.open(index)
    browser.run("for (const d of document.querySelectorAll('details')) d.open = true")
    text = browser.run(TEXT, "#what-was-run")
    meta = next(iter(found.members.values()))
    for expected in (meta.fold_hash, meta.data_fingerprint, meta.config_hash, "hydra-core", "band: 0.5-40"):
        assert expected in text
    assert "python -m hbac.train fold=1" in text
    assert "python -m hbac.infer ensemble=" in text


def test_a_report_takes_the_place_of_a_report_and_of_nothing_else(found: Gathered, tmp_path: Path) -> None:
    out = tmp_path / "report"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    for name in ("thesis.txt", "index.html"):  # a site of the user's has an index.html too
        (out / "thesis.txt").rename(out / name)
        with pytest.raises(UserError, match=f"{name}': something else than hbac.report wrote"):
            write_report(found, out)
        assert {path.name: path.read_text() for path in out.iterdir()} == {name: "mine"}
        (out / name).rename(out / "thesis.txt")
    (out / "thesis.txt").unlink()
    write_report(found, out, command="one")
    written = {path.name for path in out.iterdir()}
    write_report(found, out, command="other")
    assert "<code>other</code>" in (out / "index.html").read_text()
    assert {path.name for path in out.iterdir()} == written
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_a_report_that_fails_leaves_nothing(found: Gathered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Gathered) -> dict[str, object]:
        raise RuntimeError("halfway")

    monkeypatch.setitem(SECTIONS, "Disagreement", fail)
    with pytest.raises(RuntimeError, match="halfway"):
        write_report(found, tmp_path / "report")
    assert list(tmp_path.iterdir()) == []


def test_tables_are_sorted_saved_and_filtered_by_member(browser: Browser, index: Path, found: Gathered) -> None:
    browser.open(index)
    browser.wait(DRAWN)
    names = "return [...document.querySelectorAll('#ranking table')[0].tBodies[0].rows].filter(row => !row.hidden)"
    names += ".map(row => row.cells[1].textContent)"
    ranked = browser.run(names)
    head = "[...document.querySelectorAll('#ranking th button')].find(b => b.textContent === 'KL up to 7 votes')"
    few = found.joined.n_votes <= 7
    wanted = [found.names[j] for j in np.argsort(np.nanmean(found.joined.divergences[:, few], axis=1))]
    browser.run(f"{head}.click()")
    assert [name for name in browser.run(names) if name in wanted] == wanted
    browser.run(f"{head}.click()")
    assert [name for name in browser.run(names) if name in wanted] == wanted[::-1]
    saved = browser.run("return hbac.csv(document.querySelector('#ranking table'))").splitlines()
    assert len(saved) == 1 + len(ranked)
    assert saved[0].split(",")[:3] == ["", "name", "kind"]
    browser.run(
        "const f = document.getElementById('members'); f.value = 'ENSEMBLE'; f.dispatchEvent(new Event('input'))"
    )
    assert [name for name in browser.run(names) if name in wanted] == ["ensemble two"]
    assert len(browser.run("return hbac.csv(document.querySelector('#ranking table'))").splitlines()) < len(saved)
    assert browser.console() == []


def test_a_watched_report_is_read_again(found: Gathered, tmp_path: Path) -> None:
    index = write_report(found, tmp_path / "watched", refresh_s=10)
    assert '<meta http-equiv="refresh" content="10">' in index.read_text()
