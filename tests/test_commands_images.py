"""Images on the command line: sweeps, an ensemble of two kinds of model, a submission, and what can go wrong."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import hbac
from hbac.common.files import read_json
from hbac.data.windows import WindowDataset
from hbac.predictions import PredictionTable
from hbac.predictions.submission import check_submission
from hbac.recordings.datasets import HMS
from hbac.vocabulary import PROB_COLUMNS
from tests.helpers import write_hms_layout
from tests.test_commands import SMALL_NET, command

SMALL_IMAGES = [
    "model=efficientnet",
    "model.backbone=test_efficientnet",
    "model.pretrained=false",
    "front_end.tile_height=32",
    "front_end.tile_width=64",
    "trainer.max_epochs=1",
]


def hms(root: Path) -> list[str]:
    return ["dataset=hms", f"dataset.root={root}"]


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hms_layout(tmp_path_factory.mktemp("data"), n_eegs=20, seed=1, with_spectrograms=True)


@pytest.fixture(scope="module")
def blended(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sweep of each kind of model and the ensemble of both, ``blend``."""
    folder = tmp_path_factory.mktemp("blended")
    shared = [*hms(data_root), "labels.n_folds=2", "logger=csv"]
    swept = command(folder, "hbac.train", *shared, *SMALL_IMAGES, "-m", "fold=0,1")
    assert swept.stderr.count("starts from random weights") == 2
    command(folder, "hbac.train", *shared, *SMALL_NET, "-m", "fold=0,1")
    sweeps = ",".join(str(path.relative_to(folder)) for path in folder.glob("outputs/sweeps/*"))
    command(folder, "hbac.ensemble", f"members=[{sweeps}]", "out=blend")
    return folder


def test_an_ensemble_of_two_kinds(blended: Path) -> None:
    members = [PredictionTable.read(path) for path in sorted((blended / "blend" / "members").glob("*.parquet"))]
    kinds = {table.metadata.member.rpartition("-")[0] for table in members}
    assert kinds == {"efficientnet-0.5-20", "resnet_gru-0.5-20"}
    assert members[0].metadata.fold_hash == members[1].metadata.fold_hash
    assert set(members[0].frame["label_id"]) == set(members[1].frame["label_id"])


def test_infer_reads_what_both_kinds_need(blended: Path, data_root: Path) -> None:
    command(blended, "hbac.infer", *hms(data_root), "ensemble=blend", "out=mine", "precision=32-true")
    submission = pd.read_csv(blended / "mine" / "submission.csv")
    check_submission(submission, pd.read_csv(data_root / "test.csv")["eeg_id"])
    prob_NK = PredictionTable.read(blended / "mine" / "submission_predictions.parquet").frame[list(PROB_COLUMNS)]

    part = HMS(data_root, blended / "outputs" / "stores").part("test", official=True)
    batch = WindowDataset(part, ("eeg", "official")).__getitems__(range(len(part.rows)))
    by_hand = {
        member.name.rpartition("-")[0]: np.mean(
            [
                (model := hbac.load(run))(*(batch[name] for name in model.sources)).numpy()
                for run in sorted(member.glob("fold*"))
            ],
            axis=0,
        )
        for member in blended.glob("outputs/runs/*")
    }
    # A convex blend lies between its members.
    low, high = (bound(list(by_hand.values()), axis=0) for bound in (np.min, np.max))
    assert ((prob_NK >= low - 1e-5) & (prob_NK <= high + 1e-5)).all(axis=None)


def test_a_run_of_images_comes_back_the_same(blended: Path, data_root: Path) -> None:
    (run,) = blended.glob("outputs/runs/efficientnet-*/fold0")
    model = hbac.load(run)
    assert model.sources == ("eeg", "official")
    table = PredictionTable.read(run / "predictions.parquet").frame
    part = HMS(data_root, blended / "outputs" / "stores").part("train", official=True)
    rows = np.flatnonzero(part.rows["label_id"].isin(table["label_id"]))
    batch = WindowDataset(part, model.sources, rows).__getitems__(range(len(rows)))
    prob_NK = model(batch["eeg"], batch["official"])
    ordered = table.set_index("label_id").loc[part.rows["label_id"].iloc[rows], list(PROB_COLUMNS)]
    torch.testing.assert_close(prob_NK.double(), torch.tensor(ordered.to_numpy()), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="this model reads eeg, official; 1 arrays were given"):
        model(batch["eeg"])


def test_the_public_recipe_trains_on_one_row_of_each_eeg(data_root: Path, tmp_path: Path) -> None:
    small = [*SMALL_IMAGES[1:3], "trainer.max_epochs=1", "labels.n_folds=2", "logger=csv"]
    command(tmp_path, "hbac.train", "experiment=public_efficientnet", *hms(data_root), *small)
    (run,) = tmp_path.glob("outputs/runs/efficientnet-0-20-*/fold0")
    held_out = PredictionTable.read(run / "predictions.parquet").frame["patient_id"]
    rows = pd.read_csv(data_root / "train.csv")
    rows = rows[~rows["patient_id"].isin(held_out)]
    n_eegs, n_patients = rows["eeg_id"].nunique(), rows["patient_id"].nunique()
    assert n_eegs < len(rows)
    assert f"| trained on | {n_eegs} | {n_eegs} | {n_patients} |" in (run / "MODEL_CARD.md").read_text()
    model = hbac.load(run)
    x_BCHW = model.front_end(torch.randn(1, 10_000, 20), torch.rand(1, 300, 400))
    assert x_BCHW.shape == (1, 3, 512, 512)
    assert torch.equal(x_BCHW[:, 0], x_BCHW[:, 2])
    assert isinstance(model.network.input_norm, torch.nn.Identity)


def test_a_run_needs_no_pretrained_weights_to_come_back(blended: Path) -> None:
    (run,) = blended.glob("outputs/runs/efficientnet-*/fold0")
    network = read_json(run / "model.json")["network"]
    assert (network["pretrained"], network["pretrained_file"], network["in_chans"]) == (False, None, 8)


def test_weights_out_of_reach_are_an_error(data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "empty"))
    images = [setting for setting in SMALL_IMAGES if "pretrained" not in setting]
    result = command(tmp_path, "hbac.train", *hms(data_root), *images, ok=False)
    assert result.returncode == 2
    assert result.stderr.startswith("error: model.pretrained=true: the weights of test_efficientnet are neither")
    assert not list(tmp_path.glob("outputs/runs/*"))


def test_spectrograms_that_cannot_be_read(data_root: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(data_root, tmp_path / "data"))
    next((root / "train_spectrograms").glob("*.parquet")).unlink()
    shutil.rmtree(root / "test_spectrograms")
    line = ["hbac.train", *SMALL_IMAGES, *hms(root), "labels.n_folds=2", "logger=csv"]
    result = command(tmp_path, *line, ok=False)
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert "the file is missing" in result.stderr
    assert not list(tmp_path.glob("outputs/runs/*"))

    masked = command(tmp_path, *line, "dataset.on_missing=mask", "-m", "fold=0,1")
    assert "have no official spectrogram and get a masked one" in masked.stderr
    result = command(tmp_path, "hbac.infer", *hms(root), ok=False)
    assert result.returncode == 2
    assert "the folder test_spectrograms/ is missing" in result.stderr
    inferred = command(tmp_path, "hbac.infer", *hms(root), "dataset.on_missing=mask")
    assert "3 of 3 rows have no official spectrogram" in inferred.stderr
    assert list(tmp_path.glob("outputs/submissions/*/submission.csv"))


def rewrite(path: Path, **changes: object) -> None:
    """Change columns of a parquet file; None drops one."""
    frame = pd.read_parquet(path)
    for name, value in changes.items():
        frame = frame.drop(columns=name) if value is None else frame.assign(**{name: value})
    frame.to_parquet(path, index=False)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: rewrite(path, **{"LL_0.59": None}), "LL_0.59"),
        (lambda path: rewrite(path, time=1 + 4 * np.arange(len(pd.read_parquet(path)))), "time"),
        (lambda path: pd.read_parquet(path).iloc[:200].to_parquet(path, index=False), "which has 200"),
        (
            lambda path: rewrite(path, **{c: np.float32(np.nan) for c in pd.read_parquet(path) if c[:3] == "RP_"}),
            "RP",
        ),
    ],
    ids=["other columns", "another time step", "too few rows", "an empty region"],
)
def test_a_damaged_spectrogram_is_named(damage: object, message: str, data_root: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(data_root, tmp_path / "data"))
    path = sorted((root / "train_spectrograms").glob("*.parquet"))[3]
    damage(path)  # type: ignore[operator]
    result = command(tmp_path, "hbac.train", *SMALL_IMAGES, *hms(root), "labels.n_folds=2", "logger=csv", ok=False)
    assert result.returncode == 2
    assert result.stderr.count("error: ") == 1
    assert path.name in result.stderr or path.stem in result.stderr
    assert message in result.stderr
    assert not list(tmp_path.glob("outputs/runs/*"))


def test_a_montage_for_images_says_where_it_belongs(data_root: Path, tmp_path: Path) -> None:
    line = ["hbac.train", *SMALL_IMAGES, *hms(data_root), "montage=public_8"]
    result = command(tmp_path, *line, ok=False)
    assert result.returncode == 2
    assert (
        result.stderr == "error: montage=public_8: images have a montage each; front_end.image.mel.montage=public_8\n"
    )


def test_spectrograms_matter_only_to_those_who_read_them(data_root: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(data_root, tmp_path / "data"))
    shutil.rmtree(root / "train_spectrograms")
    line = ["hbac.train", *SMALL_IMAGES, *hms(root), "labels.n_folds=2", "logger=csv", "data.sources=eeg"]
    command(tmp_path, *line)
    (run,) = tmp_path.glob("outputs/runs/*/fold0")
    assert hbac.load(run).sources == ("eeg",)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_data_set(tmp_path: Path) -> None:
    script = "import resource, hbac.train; hbac.train.main(); print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    unit = 1024 if sys.platform == "darwin" else 1  # there it counts bytes, elsewhere kilobytes
    peaks_mb, stores_mb = [], []
    for n_eegs in (40, 400):
        root = write_hms_layout(tmp_path / f"{n_eegs}", n_eegs, with_spectrograms=True, n_test=0, max_rows_per_eeg=1)
        outputs = tmp_path / f"outputs{n_eegs}"
        assert HMS(root, outputs / "stores").part("train").spectrograms is not None  # built before: training counts
        # Batches so small that the small data set fills them, too.
        line = [*SMALL_IMAGES, *hms(root), "labels.n_folds=2", "logger=csv", "data.batch_size=8", f"outputs={outputs}"]
        result = subprocess.run([sys.executable, "-c", script, *line], capture_output=True, text=True, check=True)
        peaks_mb.append(int(result.stdout.split()[-1]) / unit / 1024)
        stores_mb.append(sum(path.stat().st_size for path in outputs.glob("stores/*/recordings.f16")) / 2**20)
    assert stores_mb[1] - stores_mb[0] > 200
    assert peaks_mb[1] - peaks_mb[0] < 40
