"""Stages, warm starts and pseudo-labels as a user types them; and each leak on purpose, refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from hbac.labels.targets import votes_to_shares
from hbac.predictions import PredictionTable
from tests.helpers import write_hms_layout
from tests.test_commands import SMALL_NET, command

N_FOLDS = 3


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hms_layout(tmp_path_factory.mktemp("data"), n_eegs=20, seed=1)


@pytest.fixture(scope="module")
def swept(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained sweep over the folds and its predictions of the few-vote rows and the test part."""
    folder = tmp_path_factory.mktemp("swept")
    command(folder, "hbac.train", *settings(root), "-m", "fold=0,1,2")
    for split in ("few_votes", "test"):
        command(folder, "hbac.infer", "dataset=hms", f"dataset.root={root}", f"split={split}", f"out={split}")
    return folder


def settings(root: Path) -> list[str]:
    return ["dataset=hms", f"dataset.root={root}", f"labels.n_folds={N_FOLDS}", "logger=csv", *SMALL_NET]


def member(folder: Path) -> Path:
    """The member that was trained by the sweep alone."""
    plain = [run for run in folder.glob("outputs/runs/*") if (run / "fold2").is_dir()]
    return min(plain, key=lambda run: (run / "fold0" / "metrics.json").stat().st_mtime)


def test_a_stage_goes_on_from_the_one_before(root: Path, tmp_path: Path) -> None:
    first = ["+stages.wide.labels.min_votes=1", "+stages.wide.optimizer.lr=0.01", "+stages.wide.trainer.max_epochs=2"]
    both = [*settings(root), *first, "labels.min_votes=2"]
    said = command(tmp_path, "hbac.train", *both, "optimizer.lr=0.0", "optimizer.weight_decay=0.0").stderr
    assert "stage wide, on" in said
    (run,) = tmp_path.glob("outputs/runs/*/fold0")
    before = load_file(run / "stages" / "wide" / "weights.safetensors")
    after = load_file(run / "weights.safetensors")
    learned = [name for name in before if not name.rpartition(".")[2].startswith(("running", "num"))]
    assert all(np.array_equal(before[name], after[name]) for name in learned)  # a rate of 0 changes no weight
    logged = pd.read_csv(next(run.glob("logs/*/metrics.csv")))
    assert logged["wide/val/kl"].count() == 2
    assert logged["val/kl"].count() == 1

    (run / "weights.safetensors").unlink()  # as if killed in the last stage
    (run / "metrics.json").unlink()
    again = command(tmp_path, "hbac.train", *both, "optimizer.lr=0.0", "optimizer.weight_decay=0.0").stderr
    assert "stage wide, on" not in again
    assert all(np.array_equal(value, after[name]) for name, value in load_file(run / "weights.safetensors").items())

    weights = run / "stages" / "wide" / "weights.safetensors"
    spoiled = bytearray(whole := weights.read_bytes())
    spoiled[-9] ^= 1
    weights.write_bytes(spoiled)
    (run / "metrics.json").unlink()
    again = command(tmp_path, "hbac.train", *both, "optimizer.lr=0.0", "optimizer.weight_decay=0.0").stderr
    assert "wide/weights.safetensors: not the weights that were written" in again
    assert "stage wide is trained again" in again
    assert weights.read_bytes() == whole


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("+stages.a.model.depth=3", "stages.a.model: a stage has no such setting; it may have labels, augment"),
        ("+stages.a.labels.n_folds=4", "stages.a.labels.n_folds: all stages share the run's folds"),
        ("+stages.a.labels.min_vote=4", "stages.a: Key 'min_vote' is not in struct"),
        ("+stages.a.labels.temperature=0", "labels.temperature=0: must be a number above 0"),
        ("labels.opinions=nowhere.csv", "nowhere.csv: no such table of raters"),
        ("init_from=nowhere", "nowhere: neither a finished run (with model.json) nor a folder of them with fold0"),
        ("labels.pseudo=nowhere", "labels.pseudo=nowhere: neither a prediction table nor a folder with folds/fold0"),
    ],
)
def test_settings_that_cannot_be(typed: str, message: str, root: Path, tmp_path: Path) -> None:
    result = command(tmp_path, "hbac.train", *settings(root), typed, ok=False)
    assert result.returncode == 2, result.stderr
    assert message in result.stderr
    assert not list(tmp_path.glob("outputs/runs/*"))


def test_a_warm_start_from_the_same_fold(swept: Path, root: Path) -> None:
    began = member(swept)
    start = [*settings(root), f"init_from={began}", "optimizer.lr=0.0", "optimizer.weight_decay=0.0"]
    command(swept, "hbac.train", *start, "fold=1")
    newest = max(swept.glob("outputs/runs/*/fold1/metrics.json"), key=lambda path: path.stat().st_mtime_ns).parent
    assert newest.parent != began
    weights, first = load_file(newest / "weights.safetensors"), load_file(began / "fold1" / "weights.safetensors")
    assert np.array_equal(weights["final_layer.weight"], first["final_layer.weight"])
    lineage = json.loads((newest / "model.json").read_text())["lineage"]
    assert [(run["member"], run["fold"]) for run in lineage] == [(newest.parent.name, 1), (began.name, 1)]


def test_a_warm_start_that_saw_the_fold_is_refused(swept: Path, root: Path) -> None:
    other = member(swept) / "fold0"
    result = command(swept, "hbac.train", *settings(root), f"init_from={other}", "fold=1", ok=False)
    assert result.returncode == 2
    assert f"init_from={other}: {other.parent.name}, fold 0, was trained on patients of fold 1" in result.stderr


def test_a_warm_start_with_other_folds_is_refused(swept: Path, root: Path) -> None:
    again = [*settings(root), "labels.seed=7", f"init_from={member(swept)}", "fold=1"]
    result = command(swept, "hbac.train", *again, ok=False)
    assert result.returncode == 2
    assert "fold 1, was trained with another fold table" in result.stderr


@pytest.mark.parametrize("split", ["few_votes", "test"])
def test_pseudo_labels_of_the_fold_s_own_models(split: str, swept: Path, root: Path) -> None:
    command(swept, "hbac.train", *settings(root), f"labels.pseudo={split}", "fold=1")
    newest = max(swept.glob("outputs/runs/*/fold1/metrics.json"), key=lambda path: path.stat().st_mtime_ns).parent
    lineage = json.loads((newest / "model.json").read_text())["lineage"]
    assert {run["fold"] for run in lineage} == {1}
    assert len(lineage) == 2
    assert PredictionTable.read(newest / "predictions.parquet").folds == [1]


def test_pseudo_labels_of_models_that_saw_the_fold_are_refused(swept: Path, root: Path) -> None:
    merged = next(swept.glob("few_votes/few_votes_predictions.parquet"))
    for table in (merged, swept / "few_votes" / "folds" / "fold0.parquet"):
        result = command(swept, "hbac.train", *settings(root), f"labels.pseudo={table}", "fold=1", ok=False)
        assert result.returncode == 2
        assert (
            f"labels.pseudo={table}: {member(swept).name}, fold 0, was trained on patients of fold 1" in result.stderr
        )


def test_pseudo_labels_of_test_rows_whose_patient_is_validated_on_are_refused(
    swept: Path, root: Path, tmp_path: Path
) -> None:
    both = shutil.copytree(root, tmp_path / "data")
    predictions = PredictionTable.read(member(swept) / "fold1" / "predictions.parquet").frame
    patient = int(predictions["patient_id"].iloc[0])
    rows = pd.read_csv(both / "test.csv")
    rows.loc[0, "patient_id"] = patient
    rows.to_csv(both / "test.csv", index=False)
    out = tmp_path / "predicted"
    command(swept, "hbac.infer", "dataset=hms", f"dataset.root={both}", "split=test", f"out={out}")
    learn = [*settings(both), f"labels.pseudo={out}"]
    result = command(swept, "hbac.train", *learn, "fold=1", ok=False)
    assert result.returncode == 2
    assert "fold 1, labels.pseudo of the test part: leak: 1 of" in result.stderr
    assert f"patients both trained and validated on: patient_id {patient}" in result.stderr
    command(swept, "hbac.train", *learn, "fold=2")


def test_predictions_of_other_recordings_are_refused(swept: Path, tmp_path: Path) -> None:
    elsewhere = write_hms_layout(tmp_path / "other", n_eegs=20, seed=2)
    shutil.copytree(swept / "outputs" / "folds", tmp_path / "outputs" / "folds")
    result = command(tmp_path, "hbac.train", *settings(elsewhere), f"labels.pseudo={swept / 'test'}", ok=False)
    assert result.returncode == 2
    assert "was trained with another fold table" in result.stderr or "of other recordings" in result.stderr


def test_second_opinions_are_learned_from_and_name_the_run(root: Path, tmp_path: Path) -> None:
    rows = pd.read_csv(root / "train.csv")
    rows["patient"] = rows["patient_id"].rank(method="dense")
    said = tmp_path / "said.csv"
    opinions = rows.groupby("patient").head(1)[["label_id", "eeg_id", "patient_id"]].assign(rater="bo")
    opinions.assign(**{"class": "lpd"}).to_csv(said, index=False)
    plain = settings(root)
    learn = [*plain, f"labels.opinions={said}", "labels.opinions_replace=true"]
    told = command(tmp_path, "hbac.train", *learn).stderr
    (run,) = tmp_path.glob("outputs/runs/*/fold0")
    table = PredictionTable.read(run / "predictions.parquet")
    n_held_out = opinions["label_id"].isin(table.frame["label_id"]).sum()
    assert n_held_out > 0
    assert f"said.csv: on {len(opinions)} rows, {len(opinions) - n_held_out} of them to train on" in told
    shares = votes_to_shares(rows.set_index("label_id").loc[table.frame["label_id"]])
    np.testing.assert_allclose(table.targets, shares, rtol=1e-6)  # what scores knows none of it
    opinions.assign(**{"class": "gpd"}).to_csv(said, index=False)
    command(tmp_path, "hbac.train", *learn)
    command(tmp_path, "hbac.train", *plain)
    assert len(list(tmp_path.glob("outputs/runs/*"))) == 3

    opinions.assign(label_id=opinions["label_id"] + 10**9, **{"class": "gpd"}).to_csv(said, index=False)
    result = command(tmp_path, "hbac.train", *learn, ok=False)
    assert result.returncode == 2
    assert f"labels.opinions={said}: label_id" in result.stderr
    assert "no row of this data set" in result.stderr


def test_a_teacher_in_the_same_run(root: Path, tmp_path: Path) -> None:
    teacher = ["+stages.teacher.labels.pseudo=null", "+stages.teacher.trainer.max_epochs=1", "labels.pseudo=teacher"]
    said = command(tmp_path, "hbac.train", *settings(root), *teacher, "labels.pseudo_split=train", "fold=2").stderr
    n_rows = len(pd.read_csv(root / "train.csv"))
    (run,) = tmp_path.glob("outputs/runs/*/fold2")
    held_out = len(PredictionTable.read(run / "predictions.parquet").frame)
    assert f"stage teacher predicts {n_rows - held_out} rows (train)" in said
    early = ["+stages.pupil.labels.pseudo=later", "+stages.later.labels.pseudo=null"]
    result = command(tmp_path, "hbac.train", *settings(root), *early, ok=False)
    assert "stages.pupil.labels.pseudo=later: a stage can only learn from one before it" in result.stderr
