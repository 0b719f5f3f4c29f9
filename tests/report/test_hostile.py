"""Nothing that a file brings (names, settings, commands, consensus, raters, opinions) becomes a part of a page."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from hbac.common.errors import UserError
from hbac.ensembling.build import build_ensemble
from hbac.ensembling.collect import collect
from hbac.predictions import PredictionTable
from hbac.predictions.rater_votes import read_raters
from hbac.recordings.datasets import HMS, Part
from hbac.report.gather import Gathered, gather
from hbac.report.index import write_report
from hbac.report.window_choice import choose_windows
from hbac.vocabulary import CLASSES
from tests.browser import Browser

NAMES = (
    "<!--<script>x",
    """</script><script>window.ran = 1</script><img src=x onerror="window.ran = 2">""",
    """'"><a href="javascript:window.ran = 3">a</a>&lt;%{y}{{ 7 * 7 }}""",
)
OTHERS = "[...document.querySelectorAll('img, a, script')].map(e => e.getAttribute('href') || e.getAttribute('src'))"


@pytest.fixture(scope="module")
def hostile(reported: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Gathered, Part]:
    """The runs of ``reported`` under other names, with settings, commands, raters and a folder of the same kind."""
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
    data = outputs / "data"
    shutil.copytree(reported / "data", data)
    frame = pd.read_csv(data / "train.csv")
    frame.assign(expert_consensus="<script>window.ran=5</script>").to_csv(data / "train.csv", index=False)
    with pytest.raises(UserError, match="expert_consensus"):
        HMS(data, outputs / "stores").part("train")
    frame.assign(patient_id=NAMES[1] + frame["patient_id"].astype(str)).to_csv(data / "train.csv", index=False)
    part = HMS(data, outputs / "stores").part("train")
    raters = outputs / "<img src=x onerror='window.ran = 7'>.parquet"
    votes = {f"rater_{name}": CLASSES[k] for k, name in enumerate(NAMES)}
    part.rows[["label_id"]].assign(**votes).to_parquet(raters)
    named = read_raters(raters)
    return gather([*tables, outputs / "ensembles" / "<b title='x'>"], outputs, raters=named), part


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

    assert browser.run("return document.querySelectorAll('#experts select, #experts .choice').length")
    ticks = browser.run("return [...document.querySelectorAll('#experts .ytick')].map(e => e.textContent)")
    assert NAMES[0] in ticks  # drawn as a rater's name

    browser.open(index.with_name("eeg.html"))
    browser.wait("document.documentElement.dataset.eeg")
    left = {str(windows["label_id"][0]): {"class": NAMES[1], "certainty": NAMES[1], "said_at": NAMES[1]}}
    left[str(windows["label_id"][1])] = {"class": "lpd", "certainty": NAMES[1], "said_at": NAMES[1]}
    keep = "for (const [key, value] of Object.entries(arguments[0])) localStorage.setItem(key, value)"
    path = browser.run("return location.pathname")
    browser.run(keep, {f"hbac-opinions {path}": json.dumps(left), "hbac-rater": NAMES[1]})
    browser.driver.refresh()
    browser.wait("document.documentElement.dataset.eeg")
    browser.run("document.querySelectorAll('.eeg-list button')[1].click()")
    browser.wait("document.documentElement.dataset.eeg")
    rows = part.rows.set_index("label_id")["patient_id"]
    patient = rows[windows["label_id"][1]]
    assert patient > 2**53  # what stands for a name
    assert f"patient {patient}," in browser.run("return document.getElementById('eeg-facts').textContent")
    said = browser.run("return [...document.querySelectorAll('.eeg-list em')].map(e => e.textContent)")
    assert said == ["said: LPD"]
    assert NAMES[1].replace('"', '""') in browser.run("return hbacOpinion.csv()")
    assert browser.console() == []
    assert browser.run("return window.ran ?? null") is None
    assert not browser.run("return document.querySelectorAll('img').length")
    members = browser.run("return [...document.querySelectorAll('.eeg-member .eeg-head span')].map(e => e.textContent)")
    assert set(members) == {"experts", "ensemble <b title='x'>", *NAMES}
