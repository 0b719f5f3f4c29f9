"""The notebooks' cells run from top to bottom in a new namespace; the files hold no results."""

from __future__ import annotations

import json
import runpy
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from hbac.runs.model import Model
from hbac.vocabulary import CLASSES
from tests.helpers import write_hms_layout
from tests.test_commands import command

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


def code_cells(notebook: Path) -> list[str]:
    cells = json.loads(notebook.read_text())["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def run(notebook: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run all code as Python, without magics, in a folder of its own; return its names."""
    script = folder / f"{notebook.stem}.py"
    script.write_text("\n\n".join(code_cells(notebook)))
    monkeypatch.chdir(folder)
    return runpy.run_path(str(script))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_valid_and_stored_without_results(notebook: Path) -> None:
    """What format 4.5 demands of a notebook and of each cell."""
    content = json.loads(notebook.read_text())
    assert content.keys() == {"cells", "metadata", "nbformat", "nbformat_minor"}
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    common = {"cell_type", "id", "metadata", "source"}
    for cell in content["cells"]:
        assert cell["cell_type"] in ("code", "markdown")
        is_code = cell["cell_type"] == "code"
        assert cell.keys() == common | ({"execution_count", "outputs"} if is_code else set())
        assert all(line.endswith("\n") for line in cell["source"][:-1])
        if is_code:
            assert (cell["execution_count"], cell["outputs"]) == (None, [])
    ids = [cell["id"] for cell in content["cells"]]
    assert len(set(ids)) == len(ids)


@pytest.mark.slow
def test_the_notebook_predicts_an_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = run(EXAMPLES / "predict.ipynb", tmp_path, monkeypatch)
    assert names["eeg"].shape == (10000, 20)
    assert isinstance(names["model"], Model)
    assert names["prob"].shape == (1, len(CLASSES))
    torch.testing.assert_close(names["prob"].sum(1), torch.ones(1))
    votes, predicted = names["figure"].data
    assert predicted.y.tolist() == names["prob"][0].tolist()
    assert votes.y.sum() == pytest.approx(1)


def test_a_package_of_ones_own(tmp_path: Path) -> None:
    """Network, loss, montage, augmentation and callback of another package, by --config-dir and allow alone."""
    shutil.copytree(EXAMPLES / "own_network", folder := tmp_path / "mine")
    write_hms_layout(folder / "data", n_eegs=16, seed=1)
    mine = (
        "hbac.train",
        "--config-dir=conf",
        "experiment=mine",
        "dataset=hms",
        "dataset.root=data",
        "labels.n_folds=2",
    )
    refused = command(folder, *mine, "allow=[]", ok=False)
    assert refused.returncode == 2 and "mynets.BandNet is not allowed" in refused.stderr

    trained = command(folder, *mine, "trainer.max_epochs=1", "-m", "fold=0,1")
    assert trained.stdout.count("  hardest: ") == 2
    [run] = folder.glob("outputs/runs/network-0.5-30-*/fold0")
    log = pd.read_csv(run / "logs" / "version_0" / "metrics.csv")
    assert 0 < log["train/brier"].max() < 2 and 0 < log["val/brier"].max() < 2 and "train/kl" not in log
    chosen = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["callbacks"]
    assert any("'val/brier'" in key and state["best_model_score"] > 0 for key, state in chosen.items())
    facts = json.loads((run / "model.json").read_text())
    assert facts["network"]["_target_"] == "mynets.BandNet" and facts["network"]["n_chans"] == 4

    infer = ("hbac.infer", "dataset=hms", "dataset.root=data", "logger=csv")
    assert "allow=[mynets]" in command(folder, *infer, ok=False).stderr
    command(folder, *infer, "allow=[mynets]")
