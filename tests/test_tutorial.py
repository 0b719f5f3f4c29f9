"""The tutorials, typed in their order in an empty folder; networks made small, epochs one, data a handful."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from tests.ensembles import SMALL_NET
from tests.test_commands import ROOT, command
from tests.test_docs import lines
from tests.tutorials import HERE, PICTURES, page_of, type_page

ONE_EPOCH = ["trainer.max_epochs=1", "logger=csv"]
TINY = ["dataset.size=tiny", *ONE_EPOCH]


def test_the_tutorial_ends_with_a_submission(tmp_path: Path) -> None:
    typed = [words[2:] for words in lines(ROOT / "docs" / "tutorial.md") if words]
    names = [words[0].removeprefix("hbac.") for words in typed]
    assert names == ["prepare", "prepare", "train", "train", "report", "infer", "infer"]
    for words in typed:
        small = [*SMALL_NET, *ONE_EPOCH] if words[0] == "hbac.train" else []
        done = command(tmp_path, *words, *small)
        if "dry_run=true" in words:
            assert "windows/s" in done.stdout
    submission = pd.read_csv(tmp_path / "submission.csv")
    assert len(submission) and (submission.iloc[:, 1:].sum(axis=1) - 1).abs().max() < 1e-6
    assert len(list(tmp_path.glob("outputs/runs/*/fold*/metrics.json"))) == 10  # the first five were kept
    assert list(tmp_path.glob("outputs/reports/*/index.html"))


def test_an_edf_becomes_events_and_labels_become_a_training(tmp_path: Path) -> None:
    fewer = {"n_blocks=12": "n_blocks=1", "n_blocks=6": "n_blocks=1", "range(6)": "range(3)"}
    fewer |= {"-m fold=0,1,2,3,4": "labels.n_folds=2 -m fold=0,1"}
    small = {True: [*TINY, *SMALL_NET], False: [*ONE_EPOCH, *SMALL_NET]}
    done = type_page(
        "edf", tmp_path, fewer, lambda words: small["dataset=recordings" not in words] if "hbac.train" in words else []
    )
    said = [result.stdout for _, result in done]
    assert re.fullmatch(r"seizure  from +[\d.]+ min, for \d+ s\n", said[1])
    assert "seizure_prob" in said[4]
    assert len(pd.read_csv(tmp_path / "marked" / "events.csv")) == 6
    assert "uniform prediction" in said[-1]
    assert {path.suffix for path in (tmp_path / "predicted" / "night").iterdir()} >= {".edf", ".tsv", ".parquet"}


def test_a_network_of_ones_own_is_trained_and_blended(tmp_path: Path) -> None:
    def more(words: list[str]) -> list[str]:
        return TINY if "hbac.train" in words else []

    done = type_page("network", tmp_path, {}, more)
    assert [words[0] for words, _ in done] == ["hbac.train"] * 3 + ["hbac.ensemble", "hbac.report", "hbac.train"]
    assert "band_power-0.5-20" in done[3][1].stdout
    assert len(list(tmp_path.glob("outputs/runs/band_power-*/fold*/metrics.json"))) == 15


def test_bands_and_kernels_become_members(tmp_path: Path) -> None:
    small = [word for word in SMALL_NET if "kernels" not in word]
    done = type_page("bands", tmp_path, {}, lambda words: [*TINY, *small] if "hbac.train" in words else [])
    summary = pd.read_csv(tmp_path / "blend" / "summary.csv")
    assert set(summary["band"].dropna()) == {"0.5-20", "1-12"} and summary["model.kernels"].nunique() == 2
    assert "leave" not in done[-1][1].stderr and len(done[-1][1].stdout.splitlines()) > 6
    assert len(list(tmp_path.glob("outputs/runs/*/fold*/metrics.json"))) == 15  # that of both sweeps was trained once


def test_five_jobs_are_brought_together(tmp_path: Path) -> None:
    small = {"hbac.train": [*TINY, *SMALL_NET], "hbac.prepare": TINY[:1]}
    done = type_page("cluster", tmp_path, HERE["cluster"], lambda words: small.get(words[0], []))
    after = ["hbac.report", "hbac.ensemble", "hbac.infer"]
    assert [words[0] for words, _ in done] == ["hbac.prepare", *["hbac.train"] * 5, *after]
    assert list(tmp_path.glob("outputs/submissions/*/submission.csv"))


def test_the_report_has_the_parts_that_its_tutorial_reads(tmp_path: Path) -> None:
    command(tmp_path, "hbac.train", *TINY, *SMALL_NET, "-m", "fold=0,1,2,3,4")
    type_page("report", tmp_path, {}, lambda words: ["saliency_s=1"])
    page = (tmp_path / "report" / "index.html").read_text()
    titles = re.findall(r"<h2>(.*?)</h2>", page)
    read = re.findall(r"^## \d\. ([\w ]+):", page_of("report").read_text(), flags=re.MULTILINE)
    assert len(read) == 8
    assert [title for title in read if not any(title.split()[0].lower() in shown.lower() for shown in titles)] == []


def test_the_pictures_that_pages_show_are_those_that_are_taken() -> None:
    pages = (ROOT / "docs").glob("tutorial_*.md")
    shown = {name for page in pages for name in re.findall(r"\(images/([\w-]+\.png)\)", page.read_text())}
    assert shown == {name for pictures in PICTURES.values() for name in pictures}
    assert all((ROOT / "docs" / "images" / picture).is_file() for picture in shown)
