"""Many networks over many windows: grouped, averaged, kept when interrupted, per fold for pseudo-labels."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from hbac.common.errors import UserError
from hbac.data.windows import WindowDataset
from hbac.ensembling.ensemble_file import Ensemble
from hbac.inference.kept import kept_folder
from hbac.inference.networks import CHUNK_BATCHES, Networks, RowChunks, members_of_runs, predict_runs
from hbac.predictions import PredictionTable
from hbac.recordings.amplitudes import describe
from hbac.recordings.datasets import HMS, Part
from hbac.signal.tta import check_variants, variant_of
from hbac.vocabulary import PROB_COLUMNS
from tests.ensembles import SMALL_NET, write_ensemble
from tests.helpers import write_hms_layout
from tests.test_commands import command

IMAGES = ["model=efficientnet", "model.backbone=test_efficientnet", "model.pretrained=false"]
IMAGES += ["front_end.tile_height=32", "front_end.tile_width=64"]


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hms_layout(tmp_path_factory.mktemp("data"), n_eegs=24, seed=4, with_spectrograms=True)


@pytest.fixture(scope="module")
def part(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Part:
    return HMS(data_root, tmp_path_factory.mktemp("stores")).part("train", official=True)


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two bands of signals and one of images, two folds of each."""
    members = [[*SMALL_NET], [*SMALL_NET, "band=1-12"], IMAGES]
    return write_ensemble(tmp_path_factory.mktemp("ensemble"), members)


@pytest.fixture
def networks(ensemble: Path) -> Networks:
    return Networks.of(Ensemble.read(ensemble), "cpu", "32-true")


def test_networks_of_one_front_end_are_a_group(networks: Networks) -> None:
    assert networks.groups == [[0, 1], [2, 3], [4, 5]]
    assert networks.sources == ["eeg", "official"]
    assert networks.folds.tolist() == [0, 1] * 3


def test_each_network_gets_its_own_input(networks: Networks, part: Part) -> None:
    windows = WindowDataset(part, networks.sources)
    prob_RNK = predict_runs(RowChunks(networks, windows, 4))
    batch = windows.__getitems__(range(len(windows)))
    for r, model in enumerate(networks.models):
        expected = model(*(batch[name] for name in model.sources))
        np.testing.assert_allclose(prob_RNK[r], expected, atol=2e-5)
    assert networks.windows == len(part.rows)
    by_member = members_of_runs(prob_RNK, networks.member)
    np.testing.assert_allclose(by_member[2], prob_RNK[4:].mean(axis=0), rtol=1e-6)


def test_variants_are_averaged(networks: Networks, part: Part) -> None:
    windows = WindowDataset(part, networks.sources)
    batch = windows.__getitems__(range(5))
    both = networks.predict(batch, check_variants(["swap", "reverse"]))
    each = [
        networks.predict(batch | variant_of(name, {s: batch[s] for s in networks.sources}))
        for name in ("plain", "swap", "reverse")
    ]
    torch.testing.assert_close(both, torch.stack(each).mean(dim=0))
    assert not torch.allclose(each[0], each[1])


def test_a_mirrored_recording_with_swap_is_predicted_alike(networks: Networks, part: Part) -> None:
    batch = WindowDataset(part, networks.sources).__getitems__(range(5))
    mirrored = batch | variant_of("swap", {name: batch[name] for name in networks.sources})
    variants = check_variants(["swap"])
    torch.testing.assert_close(networks.predict(batch, variants), networks.predict(mirrored, variants))


def test_an_unknown_variant() -> None:
    with pytest.raises(UserError, match="unknown tta 'swop'; there are: swap, reverse. Did you mean 'swap'"):
        check_variants(["swop"])


def test_what_is_kept_is_not_computed_again(networks: Networks, part: Part, tmp_path: Path) -> None:
    windows = WindowDataset(part, networks.sources)
    whole = predict_runs(RowChunks(networks, windows, 2), kept=tmp_path / "kept")
    files = sorted((tmp_path / "kept").glob("*.npy"), key=lambda path: int(path.stem))
    assert [int(path.stem) for path in files] == list(range(0, len(windows), 2 * CHUNK_BATCHES))
    assert len(files) > 1
    files[-1].unlink()
    networks.windows = 0
    again = predict_runs(RowChunks(networks, windows, 2), kept=tmp_path / "kept")
    np.testing.assert_array_equal(whole, again)
    assert networks.windows == len(windows) - 2 * CHUNK_BATCHES * (len(files) - 1)


def test_a_damaged_chunk_is_computed_again(
    networks: Networks, part: Part, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    windows = WindowDataset(part, networks.sources, np.arange(8))
    whole = predict_runs(RowChunks(networks, windows, 4), kept=tmp_path / "kept")
    first = tmp_path / "kept" / "0.npy"
    content = first.read_bytes()
    (tmp_path / "kept" / "notes.npy").write_bytes(b"of somebody")
    flipped = [bytearray(content) for _ in range(3)]
    for spoiled, place in zip(flipped, (100, 300, len(content) - 1), strict=True):
        spoiled[place] ^= 4
    for spoiled in (content[:-100], b"", *flipped):
        first.write_bytes(spoiled)
        np.testing.assert_array_equal(whole, predict_runs(RowChunks(networks, windows, 4), kept=tmp_path / "kept"))
        assert first.read_bytes() == content
    assert caplog.text.count("0.npy is damaged: computed again") == 5


def test_flat_and_missing_windows_are_counted_also_of_what_is_kept(
    networks: Networks, part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = WindowDataset(part, networks.sources, np.arange(8))
    fetch = WindowDataset.__getitems__

    def spoiled(self: WindowDataset, indices: object, shift: object = 0) -> dict[str, torch.Tensor]:
        batch = fetch(self, indices, shift)  # type: ignore[arg-type]
        batch["eeg"][batch["row"] == 2] = 0
        batch["eeg"][batch["row"] == 5] = torch.nan
        return batch

    monkeypatch.setattr(WindowDataset, "__getitems__", spoiled)
    for _ in range(2):
        networks.looks[:] = 0
        predict_runs(RowChunks(networks, windows, 4), kept=tmp_path / "kept")
        assert describe(networks.looks) == "1 of 8 windows have no value at all, 1 are flat"


def test_a_full_disk_leaves_nothing_half_written(
    networks: Networks, part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match=r"0\.npy: cannot be written: No space left on device"):
        predict_runs(RowChunks(networks, WindowDataset(part, networks.sources), 4), kept=tmp_path / "kept")
    assert [path.name for path in (tmp_path / "kept").iterdir() if path.name != ".lock"] == []


def test_lower_precision_is_the_networks_alone(ensemble: Path, networks: Networks, part: Part) -> None:
    batch = WindowDataset(part, networks.sources).__getitems__(range(4))
    lower = Networks.of(Ensemble.read(ensemble), "cpu", "bf16-mixed").predict(batch)
    exact = networks.predict(batch)
    assert lower.dtype == torch.float32
    assert not torch.equal(lower, exact)
    torch.testing.assert_close(lower, exact, atol=0.03, rtol=0)
    with pytest.raises(UserError, match="unknown precision '8'"):
        Networks.of(Ensemble.read(ensemble), "cpu", "8")


def test_other_weights_keep_elsewhere(networks: Networks, tmp_path: Path) -> None:
    one = kept_folder(tmp_path, networks, "data", "test")
    assert one != kept_folder(tmp_path, networks, "data", "train")
    networks.hashes[0] = "other"
    assert one != kept_folder(tmp_path, networks, "data", "test")


def test_a_member_without_networks(ensemble: Path) -> None:
    read = Ensemble.read(ensemble)
    bare = Ensemble(
        tuple(type(m)(m.name, (), None, m.config_hash, m.kl) for m in read.members),
        "mean",
        read.blend,
        read.population,
        read.nested,
        read.in_sample,
    )
    with pytest.raises(UserError, match="came from a table without run folders"):
        Networks.of(bare)


def test_tables_for_pseudo_labels(ensemble: Path, data_root: Path, tmp_path: Path) -> None:
    hms = ["dataset=hms", f"dataset.root={data_root}", f"ensemble={ensemble}"]
    result = command(tmp_path, "hbac.infer", *hms, "split=few_votes", "out=few")
    assert "tables:     few" in result.stdout
    whole = PredictionTable.read(tmp_path / "few" / "few_votes_predictions.parquet")
    assert (whole.frame["n_votes"] <= 7).all()
    assert (whole.frame["fold"] == -1).all()  # not out-of-fold: no ensemble is fitted on them
    folds = [PredictionTable.read(tmp_path / "few" / "folds" / f"fold{k}.parquet") for k in (0, 1)]
    for k, table in enumerate(folds):
        models = json.loads(table.metadata.extras["models"])
        assert [model["fold"] for model in models] == [k] * 3
        assert {model["fold_hash"] for model in models} == {"f" * 64}
    mean = (folds[0].probs + folds[1].probs) / 2
    np.testing.assert_allclose(mean, whole.probs, atol=1e-6)  # this ensemble is a plain mean
    assert not list(tmp_path.glob("few/*.csv"))


def test_an_ensemble_file_without_its_tables_is_enough(ensemble: Path, data_root: Path, tmp_path: Path) -> None:
    hms = ["dataset=hms", f"dataset.root={data_root}", f"ensemble={ensemble}"]
    result = command(tmp_path, "hbac.infer", *hms, "out=mine", "tta=reverse")
    assert "submission: mine/submission.csv" in result.stdout.splitlines()
    assert len(pd.read_csv(tmp_path / "mine" / "submission.csv")) == 3
    folds = tmp_path / "mine" / "folds"
    assert sorted(path.name for path in folds.iterdir()) == ["fold0.parquet", "fold1.parquet"]
    (folds / "fold7.parquet").write_bytes(b"the user's own")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    refused = command(tmp_path, "hbac.infer", *hms, "out=mine", ok=False)
    assert refused.returncode == 2
    assert "mine: 'folds/fold7.parquet': something else than hbac.infer wrote, or changed since" in refused.stderr
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_submission_by_its_own_path_is_all_that_is_written(ensemble: Path, data_root: Path, tmp_path: Path) -> None:
    """The folder is the user's: neither his fold tables nor a file of his at that very path are taken away."""
    mine = {tmp_path / "folds" / "fold0.parquet": b"one", tmp_path / "submission_predictions.parquet": b"other"}
    for path, content in mine.items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    line = ["hbac.infer", "dataset=hms", f"dataset.root={data_root}", f"ensemble={ensemble}", "logger=csv"]
    command(tmp_path, *line, "out=submission.csv")
    first = (tmp_path / "submission.csv").read_text()
    assert {path: path.read_bytes() for path in mine} == mine
    names = {"folds", "submission_predictions.parquet", "submission.csv", ".hbac-made.json", "outputs"}
    assert {path.name for path in tmp_path.iterdir()} == names
    command(tmp_path, *line, "out=submission.csv", "tta=reverse")  # its own may be replaced
    assert (tmp_path / "submission.csv").read_text() != first
    (tmp_path / "submission.csv").write_text("best so far")
    refused = command(tmp_path, *line, "out=submission.csv", ok=False)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: .: 'submission.csv': something else than hbac.infer wrote")
    assert (tmp_path / "submission.csv").read_text() == "best so far"


def test_a_dry_run_writes_nothing(ensemble: Path, data_root: Path, tmp_path: Path) -> None:
    hms = ["dataset=hms", f"dataset.root={data_root}", f"ensemble={ensemble}"]
    result = command(tmp_path, "hbac.infer", *hms, "dry_run=true", "tta=[swap]", "out=mine")
    assert "windows:    3, each in 2 variant(s): plain, swap" in result.stdout
    assert "networks:   6, with 3 front-end(s)" in result.stdout
    assert not (tmp_path / "mine").exists()
    assert not (tmp_path / "outputs" / "cache").exists()


def test_an_unknown_split(ensemble: Path, tmp_path: Path) -> None:
    result = command(tmp_path, "hbac.infer", f"ensemble={ensemble}", "split=tset", ok=False)
    assert result.returncode == 2
    assert result.stderr == "error: unknown split 'tset'; there are: test, train, few_votes. Did you mean 'test'?\n"


@pytest.mark.slow
def test_a_killed_prediction_goes_on(ensemble: Path, tmp_path: Path) -> None:
    root = write_hms_layout(tmp_path / "data", n_eegs=300, n_test=0, with_spectrograms=True, max_rows_per_eeg=1)
    line = ["hbac.infer", "dataset=hms", f"dataset.root={root}", f"ensemble={ensemble}", "split=train", "batch_size=2"]
    command(tmp_path, *line, "outputs=straight", "out=straight")
    process = subprocess.Popen([sys.executable, "-m", *line, "outputs=killed", "out=killed"], cwd=tmp_path)
    while not list(tmp_path.glob("killed/cache/infer-*/*.npy")) and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not list(tmp_path.glob("killed/*.parquet"))
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("killed/cache/infer-*/*.npy")}
    assert 0 < len(kept) < 300 / (2 * CHUNK_BATCHES)
    command(tmp_path, *line, "outputs=killed", "out=killed")
    one, other = (
        PredictionTable.read(tmp_path / name / "train_predictions.parquet").frame for name in ("straight", "killed")
    )
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert one[list(PROB_COLUMNS)].to_numpy().std() > 0
    assert not list(tmp_path.glob("killed/cache/infer-*"))


def test_a_full_disk_at_the_end_loses_nothing(
    ensemble: Path, data_root: Path, tmp_path: Path, small_disk: Callable[[str], Path]
) -> None:
    """All is predicted; then the tables go to a disk of 12 kB. With room, nothing is predicted again."""
    hms = ["dataset=hms", f"dataset.root={data_root}", f"ensemble={ensemble}", "split=train"]
    disk = small_disk("12k")
    full = command(tmp_path, "hbac.infer", *hms, f"out={disk / 'said'}", ok=False)
    assert full.returncode == 2
    assert re.fullmatch(rf"error: {disk}/said/\S+: cannot be written: No space left on device", _last(full.stderr))
    assert not [path for path in disk.rglob("*") if "partial" in path.name]
    assert all(PredictionTable.read(path) for path in disk.rglob("*.parquet"))
    again = command(tmp_path, "hbac.infer", *hms, "out=said")
    assert "windows in" not in again.stderr
    assert len(PredictionTable.read(tmp_path / "said" / "train_predictions.parquet").frame) > 0


def _last(text: str) -> str:
    return text.strip().splitlines()[-1]
