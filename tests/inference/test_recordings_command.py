"""``hbac.infer recordings=``: predictions, events and page beside one another, and what the command says at its end."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

import hbac.infer
from hbac.cli.launch import conf_dir
from hbac.common.errors import UserError
from tests.ensembles import SMALL_NET, write_ensemble
from tests.recorded import write_brain


def infer(*settings: str) -> None:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("infer", ["device=cpu", "step_s=10", *settings])
    hbac.infer.infer(cfg)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A minute of EEG under a hostile name, of a patient who is named, and an ensemble."""
    import edfio

    folder = tmp_path_factory.mktemp("asked")
    write_ensemble(folder / "mine", [SMALL_NET], n_folds=1)
    patient = edfio.Patient(name="Somebody_Secret", code="MRN-1234567")
    write_brain(folder / "in" / "<b>night</b>.edf".replace("/", "|"), 60.0, patient=patient)
    return [f"recordings=['{folder / 'in'}']", f"ensemble='{folder / 'mine'}'", f"outputs='{folder}'"]


def test_it_writes_everything_and_says_where(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    infer(*asked, "events.threshold=0.01")
    said = capsys.readouterr().out
    (page,) = [line.split(maxsplit=1)[1] for line in said.splitlines() if line.startswith("page:")]
    folder = Path(page).parents[1]
    names = {path.name for path in folder.iterdir()}
    assert names >= {
        "predictions.parquet",
        "recording.json",
        "events.tsv",
        "events.json",
        "seizures.tsv",
        "annotations.edf",
    }
    assert "Hours of each class, and its events" in said
    assert said.splitlines()[-1].startswith("next:       python -m hbac.report ")
    assert (folder / "events.tsv").read_text().count("\n") == 6  # all five, all the time
    text = Path(page).read_text()
    assert "&lt;b&gt;night" in text and "<b>night" not in text
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert not [path for path in written if b"Secret" in path.read_bytes() or b"MRN-1234567" in path.read_bytes()]


def test_without_a_page_and_with_wrong_thresholds(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    infer(*asked, "page=false", "step_s=20")
    assert "page:" not in capsys.readouterr().out
    with pytest.raises(UserError, match=r"events\.threshold: seizure is 2"):
        infer(*asked, "events.threshold=2")
    with pytest.raises(UserError, match=r"out=r.csv: recordings= writes a folder for each"):
        infer(*asked, "out=r.csv")
    with pytest.raises(UserError, match="no operating points"):
        infer(*asked, "events.recall=0.9")
