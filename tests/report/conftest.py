"""A page of four simulated windows, which the tests of the EEG page share."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from hbac.labels.targets import votes_to_shares
from hbac.predictions import PredictionTable
from hbac.predictions.metadata import TableMetadata
from hbac.recordings.datasets import HMS, Part
from hbac.report.eeg_page import write_eeg_page
from tests.browser import Browser
from tests.report.eeg_reader import SHOWN


@pytest.fixture(scope="module")
def part(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Part:
    return HMS(tiny_root, tmp_path_factory.mktemp("stores")).part("train")


@pytest.fixture(scope="module")
def windows(part: Part) -> pd.DataFrame:
    label_id = part.rows["label_id"].to_numpy()[[0, 3, 5, 7]]
    return pd.DataFrame({"label_id": label_id, "why": ["worst", "worst", "random", "because"]})


@pytest.fixture(scope="module")
def tables(part: Part) -> dict[str, PredictionTable]:
    share = votes_to_shares(part.rows)
    found = {}
    for name, floor in (("ensemble", 0.1), ("a <member>", 0.5)):
        prob = (share + floor) / (share + floor).sum(axis=1, keepdims=True)
        found[name] = PredictionTable.from_arrays(part.rows, prob, TableMetadata(name), fold=0)
    half = found["a <member>"].frame.iloc[4:]
    found["half"] = PredictionTable(half, TableMetadata("half"))
    return found


@pytest.fixture(scope="module")
def written(
    part: Part, windows: pd.DataFrame, tables: dict[str, PredictionTable], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return write_eeg_page(tmp_path_factory.mktemp("report"), part, windows, tables)


@pytest.fixture
def opened(browser: Browser, written: Path) -> Browser:
    browser.open(written, size=(1400, 1000))
    browser.wait(SHOWN)
    return browser
