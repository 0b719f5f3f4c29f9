"""``hbac.load``: an ensemble's folder becomes one model, and arrays of any kind its input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import hbac
from hbac.common.errors import UserError
from hbac.ensembling.ensemble_file import Ensemble
from hbac.inference.loading import EnsembleModel, ensemble_of
from hbac.runs.model import Model
from hbac.vocabulary import CHANNELS, VOTE_COLUMNS
from tests.ensembles import SMALL_NET, write_ensemble
from tests.helpers import write_hms_layout
from tests.test_commands import command

BANDS = ("0.5-20", "1-12")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ensemble of two bands, two folds each."""
    members = [[*SMALL_NET, f"band={band}"] for band in BANDS]
    return write_ensemble(tmp_path_factory.mktemp("ensemble"), members).parent


@pytest.fixture
def eeg() -> torch.Tensor:
    return 30 * torch.randn(3, 10000, 20, generator=torch.Generator().manual_seed(0))


def test_an_ensemble_predicts_the_blend_of_its_runs(folder: Path, eeg: torch.Tensor) -> None:
    model = hbac.load(folder)
    assert isinstance(model, EnsembleModel)
    assert model.sources == ("eeg",)
    each = torch.stack([hbac.load(run)(eeg) for member in model.ensemble.members for run in member.runs])
    assert len(each) == 2 * len(BANDS)
    torch.testing.assert_close(model(eeg), each.mean(0))  # write_ensemble blends by the plain mean
    torch.testing.assert_close(model(eeg).sum(1), torch.ones(3))


def test_it_says_of_a_test_part_what_the_submission_says(folder: Path, tmp_path: Path) -> None:
    root = write_hms_layout(tmp_path / "data", n_eegs=6, n_test=3)
    data = ["dataset=hms", f"dataset.root={root}"]
    command(tmp_path, "hbac.infer", *data, f"ensemble={folder}", "out=s.csv", "precision=32-true", "logger=csv")
    submission = pd.read_csv(tmp_path / "s.csv")
    files = [root / "test_eegs" / f"{eeg_id}.parquet" for eeg_id in submission["eeg_id"]]
    windows = np.stack([pd.read_parquet(file)[list(CHANNELS)].to_numpy() for file in files])
    # The submission is made from the store, which is float16.
    np.testing.assert_allclose(hbac.load(folder)(windows), submission[list(VOTE_COLUMNS)], atol=2e-3)


@pytest.mark.parametrize("kind", ["run", "ensemble"])
def test_arrays_of_any_kind(folder: Path, kind: str, eeg: torch.Tensor) -> None:
    model = hbac.load(folder if kind == "ensemble" else next(folder.glob("runs/*/fold0")))
    assert isinstance(model, Model) == (kind == "run")
    wanted = model(eeg)
    frozen = eeg.numpy().copy()
    frozen.setflags(write=False)
    for given in (eeg.numpy(), eeg.double(), eeg.double().numpy(), frozen):
        torch.testing.assert_close(model(given), wanted, rtol=0, atol=0)
    whole = eeg.round()
    torch.testing.assert_close(model(whole.short()), model(whole.half()), rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["run", "ensemble"])
def test_arrays_that_are_no_windows(folder: Path, kind: str, eeg: torch.Tensor) -> None:
    model = hbac.load(folder if kind == "ensemble" else next(folder.glob("runs/*/fold0")))
    with pytest.raises(ValueError, match="this model reads eeg; 2 arrays were given"):
        model(eeg, eeg)
    for given in (eeg[0], eeg.transpose(1, 2)):
        with pytest.raises(ValueError, match=r"expected \(batch, 10000, 20\)"):
            model(given)


def test_a_folder_that_is_neither(folder: Path, tmp_path: Path) -> None:
    member = next(folder.glob("runs/*"))
    for path in (tmp_path, member):
        with pytest.raises(UserError, match="neither a finished run .* nor an ensemble"):
            hbac.load(path)


@pytest.mark.parametrize("kind", ["run", "ensemble"])
def test_no_windows_have_no_probabilities(folder: Path, kind: str, eeg: torch.Tensor) -> None:
    prob = hbac.load(folder if kind == "ensemble" else next(folder.glob("runs/*/fold0")))(eeg[:0])
    assert prob.shape == (0, 6)
    assert prob.dtype == torch.float32


def test_a_run_and_a_member_are_ensembles_of_one(folder: Path) -> None:
    member = next(folder.glob("runs/*"))
    single, both = ensemble_of(member / "fold0"), ensemble_of(member)
    assert [run.name for run in single.members[0].runs] == ["fold0"]
    assert [run.name for run in both.members[0].runs] == ["fold0", "fold1"]
    assert both.fold_hash == Ensemble.read(folder).fold_hash
    assert len(ensemble_of(folder).members) == len(ensemble_of(folder / "ensemble.json").members) == len(BANDS)
    with pytest.raises(UserError, match="neither an ensemble"):
        ensemble_of(member.parent)
