"""Nothing that a file brings (members, folders, settings, commands, consensus) becomes a part of a page."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from hbac.ensembling.build import build_ensemble
from hbac.ensembling.collect import collect
from hbac.predictions import PredictionTable
from hbac.recordings.datasets import HMS, Part
from hbac.report.gather import Gathered, gather
from hbac.report.index import write_report
from hbac.report.window_choice import choose_windows
from tests.browser import Browser

NAMES = (
    "<!--<script>x",
    """</script><script>window.ran = 1</script><img src=x onerror="window.ran = 2">""",
    """'"><a href="javascript:window.ran = 3">a</a>&lt;%{y}{{ 7 * 7 }}""",
)
OTHERS = "[...document.querySelectorAll('img, a, script')].map(e => e.getAttribute('href') || e.getAttribute('src'))"


@pytest.fixture(scope="module")
def hostile(reported: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Gathered, Part]:
    """The runs of ``reported`` under other names, with settings, commands and a folder of the same kind."""
    outputs = tmp_path_factory.mktemp("hostile")
    tables = []
    for folder, name in zip(sorted((reported / "runs").iterdir()), NAMES, strict=True):
        copied = outputs / "runs" / f"<img src=x onerror='window.ran = 4'> {len(tables)}"
        shutil.copytree(folder, copied)
        for run in copied.iterdir():
            table = PredictionTable.read(run / "predictions.parquet")
            fold = next(iter(table.metadata.runs))
            renamed = replace(table, metadata=replace(table.metadata, member=name, runs={fold: run}))
            renamed.write(run / "predictions.parquet")
            config = json.loads((run / "config.json").read_text()) | {"note": name, name: {name: 1}}
            (run / "config.json").write_text(json.dumps(config))
            (run / "environment.json").write_text(json.dumps({"command": name, name: name}))
        tables.append(copied)
    build_ensemble(collect(tables[:2]), outputs / "ensembles" / "<b title='x'>", n_resamples=5, comparisons=True)
    found = gather([*tables, outputs / "ensembles" / "<b title='x'>"], outputs)
    data = outputs / "data"
    shutil.copytree(reported / "data", data)
    text = (data / "train.csv").read_text().replace("Seizure", "<script>window.ran=5</script>")
    (data / "train.csv").write_text(text)
    return found, HMS(reported / "data", outputs / "stores").part("train")


def test_both_pages_show_names_as_text_and_run_none_of_them(
    browser: Browser, hostile: tuple[Gathered, Part], tmp_path: Path
) -> None:
    found, part = hostile
    windows = choose_windows(found, 6).assign(why="<script>window.ran = 6</script>")
    index = write_report(found, tmp_path / "report", windows, part, f"python {NAMES[1]}", (NAMES[1],))

    browser.open(index)
    browser.wait("document.documentElement.dataset.drawn")
    browser.run("for (const d of document.querySelectorAll('details')) d.open = true")
    browser.run(
        "for (const list of document.querySelectorAll('.choice > select')) for (const option of list.options)"
        " { list.value = option.value; list.dispatchEvent(new Event('change')); }"
    )
    assert browser.console() == []
    assert browser.run("return window.ran ?? null") is None
    anchors = {
        "#" + section for section in browser.run("return [...document.querySelectorAll('section')].map(s => s.id)")
    }
    assert set(filter(None, browser.run(f"return {OTHERS}"))) == {*anchors, "eeg.html", "report.js", "plotly.min.js"}
    shown = browser.run(
        "return [...document.querySelectorAll('#ranking tbody tr td:nth-child(2)')].map(e => e.textContent)"
    )
    assert set(shown) >= {*NAMES, "ensemble <b title='x'>"}
    drawn = browser.run("return [...document.querySelectorAll('#ranking .ytick')].map(e => e.textContent)")
    assert {re.sub(r"^\d+\s+", "", name) for name in drawn} >= {NAMES[0], "ensemble <b title='x'>"}

    browser.open(index.with_name("eeg.html"))
    browser.wait("document.documentElement.dataset.eeg")
    assert browser.console() == []
    assert browser.run("return window.ran ?? null") is None
    assert not browser.run("return document.querySelectorAll('img').length")
    members = browser.run("return [...document.querySelectorAll('.eeg-member .eeg-head span')].map(e => e.textContent)")
    assert set(members) == {"experts", "ensemble <b title='x'>", *NAMES}
