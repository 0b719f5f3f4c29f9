"""The commands as a user types them, from an empty folder to a submission."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from hbac.predictions import PredictionTable
from hbac.predictions.submission import check_submission
from tests.helpers import write_hms_layout
from tests.warm import run_module

ROOT = Path(__file__).resolve().parents[1]
SMALL_NET = ["model.filters=8", "model.width=16", "model.depth=2", "model.gru_hidden=16", "trainer.max_epochs=1"]


def command(folder: Path, *arguments: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
    result = run_module(folder, *arguments)
    assert not ok or result.returncode == 0, result.stderr
    return result


def next_line(result: subprocess.CompletedProcess[str]) -> list[str]:
    """What the last line of a command's output says to type, as the shell takes it apart."""
    last = result.stdout.splitlines()[-1]
    assert last.startswith("next:       python -m hbac."), last
    return shlex.split(last.removeprefix("next:       python -m "))


def readme_commands() -> list[list[str]]:
    """The lines of the README's block of daily use."""
    text = (ROOT / "README.md").read_text()
    lines = re.findall(r"^python -m (hbac\..*?)(?:\s+#.*)?$", text, flags=re.MULTILINE)
    return [shlex.split(line) for line in lines]


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hms_layout(tmp_path_factory.mktemp("data"), n_eegs=20, seed=1)


@pytest.fixture(scope="module")
def swept(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a sweep over two bands and three folds was run."""
    folder = tmp_path_factory.mktemp("swept")
    hms = ["dataset=hms", f"dataset.root={data_root}", "labels.n_folds=3", "logger=csv"]
    command(folder, "hbac.train", *hms, *SMALL_NET, "-m", "band=0.5-20,1-12", "fold=0,1,2")
    return folder


def test_the_readme_s_lines_on_the_synthetic_data_set(tmp_path: Path) -> None:
    train, infer = (next(c for c in readme_commands() if c[0] == f"hbac.{name}") for name in ("train", "infer"))
    assert train == ["hbac.train", "model=resnet_gru", "band=0.5-20", "-m", "fold=0,1,2,3,4"]
    assert infer == ["hbac.infer"]
    trained = command(tmp_path, *train, "dataset.size=tiny", *SMALL_NET)
    for words in ("uniform prediction", "Bayes floor", "ensemble", "95 % interval"):
        assert words in trained.stdout
    inferred = command(tmp_path, *infer)
    (submission,) = tmp_path.glob("outputs/submissions/*/submission.csv")
    assert str(submission.relative_to(tmp_path)) in inferred.stdout
    wanted = pd.read_csv(next(tmp_path.glob("outputs/data/*/test.csv")))["eeg_id"]
    check_submission(pd.read_csv(submission), wanted)
    runs = list(tmp_path.glob("outputs/runs/*/fold*"))
    assert len(runs) == 5
    logged = list(tmp_path.glob("outputs/wandb/offline-run-*/*.wandb"))
    assert len(logged) == len(runs) + 2  # the ensemble and the inference


def test_a_sweep_gives_one_out_of_fold_table_a_member(swept: Path) -> None:
    (sweep,) = swept.glob("outputs/sweeps/*")
    tables = [PredictionTable.read(path) for path in sorted((sweep / "members").glob("*.parquet"))]
    card = (sweep / "MODEL_CARD.md").read_text()
    assert all(table.metadata.member in card for table in tables)
    assert {table.metadata.member.rpartition("-")[0] for table in tables} == {"resnet_gru-0.5-20", "resnet_gru-1-12"}
    for table in tables:
        assert table.folds == [0, 1, 2]
        assert table.missing_folds == []
        assert not table.frame["label_id"].duplicated().any()
        per_patient = table.frame.groupby("patient_id")["fold"].nunique()
        assert (per_patient == 1).all()


def test_the_same_command_keeps_finished_folds(swept: Path, data_root: Path) -> None:
    weights = sorted(swept.glob("outputs/runs/*/fold*/weights.safetensors"))
    before = [path.stat().st_mtime_ns for path in weights]
    hms = ["dataset=hms", f"dataset.root={data_root}", "labels.n_folds=3", "logger=csv"]
    result = command(swept, "hbac.train", *hms, *SMALL_NET, "band=1-12", "-m", "fold=0,1,2")
    assert result.stderr.count("is there") == 3
    assert [path.stat().st_mtime_ns for path in weights] == before


def test_a_sweep_over_some_folds_is_blended_on_request(swept: Path, data_root: Path) -> None:
    hms = ["dataset=hms", f"dataset.root={data_root}", "labels.n_folds=3", "logger=csv", "band=0.5-20,1-12"]
    before = set(swept.glob("outputs/sweeps/*"))
    refused = command(swept, "hbac.train", *hms, *SMALL_NET, "-m", "fold=0,2", "hydra.sweep.dir=some", ok=False)
    assert refused.returncode == 2
    assert "fold(s) 1 of 3 are missing; train them, or set allow_missing_folds=true" in refused.stderr
    by_hand = ["members=[some]", "out=some", "on_missing=renormalise", "allow_missing_folds=true"]
    result = command(swept, "hbac.ensemble", *by_hand)
    assert result.stdout.count("fold(s) 1 are missing: resnet_gru-0.5-20-") == 1
    assert PredictionTable.read(swept / "some" / "oof.parquet").folds == [0, 2]
    assert set(swept.glob("outputs/sweeps/*")) == before


def test_ensemble_by_hand(swept: Path) -> None:
    members = sorted(path.relative_to(swept) for path in swept.glob("outputs/runs/*"))
    command(swept, "hbac.ensemble", f"members=[{members[0]},{members[1]}]", "out=blend")
    by_hand = PredictionTable.read(swept / "blend" / "oof.parquet").frame
    by_sweep = PredictionTable.read(min(swept.glob("outputs/sweeps/*/oof.parquet"))).frame
    keys = ["label_id"]
    pd.testing.assert_frame_equal(
        by_hand.sort_values(keys, ignore_index=True), by_sweep.sort_values(keys, ignore_index=True)
    )


def test_an_experiment_brings_its_sweep(data_root: Path, tmp_path: Path) -> None:
    hms = ["dataset=hms", f"dataset.root={data_root}", "labels.n_folds=2", "logger=csv"]
    command(tmp_path, "hbac.train", "experiment=bands", *hms, *SMALL_NET, "band=0.5-20,1-12", "fold=0,1")
    (ensemble,) = tmp_path.glob("outputs/sweeps/*/ensemble.json")
    members = sorted(path.parent.name[:-9] for path in tmp_path.glob("outputs/runs/*/fold0"))
    assert members == ["resnet_gru-0.5-20", "resnet_gru-1-12"]
    assert len(list(tmp_path.glob("outputs/runs/*/fold*"))) == 4
    summary = pd.read_csv(ensemble.parent / "summary.csv")
    assert sorted(summary["band"].dropna()) == ["0.5-20", "1-12"]
    assert summary.columns[-1] == "band"  # nothing else was swept
    result = command(tmp_path, "hbac.ensemble", f"members=[{ensemble.parent}]", "out=mine", "comparisons=true")
    assert "compared:   mine/comparisons" in result.stdout
    scores = pd.read_csv(tmp_path / "mine" / "comparisons" / "scores.csv")
    assert set(scores["name"]) >= {"ensemble"}
    assert {path.stem for path in tmp_path.glob("mine/comparisons/*.csv")} == {
        "scores",
        "against_best",
        "disagreement",
        "leave_one_out",
    }


def test_infer_with_a_named_ensemble_into_a_named_file(swept: Path, data_root: Path) -> None:
    ensemble = min(swept.glob("outputs/sweeps/*/ensemble.json"))
    data = ["dataset=hms", f"dataset.root={data_root}"]
    command(swept, "hbac.infer", f"ensemble={ensemble}", *data, "out=mine/submission.csv")
    check_submission(pd.read_csv(swept / "mine/submission.csv"), pd.read_csv(data_root / "test.csv")["eeg_id"])


def test_what_is_printed_can_be_typed(tmp_path: Path) -> None:
    """From training to pseudo-labels and a submission by the printed commands alone, with a path that needs quotes."""
    root = write_hms_layout(tmp_path / "my data [1]", n_eegs=20, seed=1)
    more = tmp_path / "my conf" / "labels"
    more.mkdir(parents=True)
    (more / "two.yaml").write_text("# two folds\ndefaults:\n  - default\n  - _self_\nn_folds: 2\n")
    settings = ["--config-dir", "my conf", "labels=two", 'dataset.root="my data [1]"', "outputs='our [out]'"]
    first = command(tmp_path, "hbac.train", "dataset=hms", *settings, "logger=csv", *SMALL_NET)
    second = command(tmp_path, *next_line(first))
    third = next_line(second)
    assert not any(word.startswith("dataset") for word in third)  # the ensemble knows it
    inferred = command(tmp_path, *third, "logger=csv")
    assert f"test part of {root} (3 of 3 rows, split=test)" in inferred.stdout
    (submission,) = tmp_path.glob("our [[]out]/submissions/*/submission.csv")
    check_submission(pd.read_csv(submission), pd.read_csv(root / "test.csv")["eeg_id"])
    assert next_line(inferred)[0] == "hbac.report"
    said = command(tmp_path, *third, "logger=csv", "split=few_votes", "out='x y'")
    again = next_line(said)
    assert 'labels.pseudo="x y"' in again
    assert again[-2:] == ["-m", "fold=0,1"]
    command(tmp_path, *again, *SMALL_NET, "logger=csv")
    prepared = command(tmp_path, "hbac.prepare", "dataset=hms", *settings)
    assert next_line(prepared)[1:] == [*settings[:2], "dataset=hms", *settings[2:], "-m", "fold=0,1"]
    # A run is an ensemble of one, and its data are found from any folder.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    run = next(tmp_path.glob("our [[]out]/runs/*/fold0"))
    single = command(elsewhere, "hbac.infer", f'ensemble="{run}"', "logger=csv", "-m", "tta=swap,reverse")
    assert f"test part of {root} (3 of 3 rows" in single.stdout
    assert len(list(elsewhere.glob("outputs/submissions/*/submission.csv"))) == 2  # both began in one second


def test_data_that_were_moved_are_named_by_their_root_alone(swept: Path, data_root: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(data_root, moved)
    pd.read_csv(moved / "test.csv")[:2].to_csv(moved / "test.csv", index=False)
    member = next(swept.glob("outputs/runs/*"))
    result = command(tmp_path, "hbac.infer", f"ensemble={member}", f"dataset.root={moved}", "logger=csv")
    assert f"test part of {moved} (2 of 2 rows, split=test)" in result.stdout


def test_a_missing_fold_is_named(swept: Path, tmp_path: Path) -> None:
    runs = sorted(swept.glob("outputs/runs/*-1-12-*/fold[01]"))
    result = command(tmp_path, "hbac.ensemble", f"members=[{','.join(map(str, runs))}]", ok=False)
    assert result.returncode == 2
    assert "fold" in result.stderr
    assert "2" in result.stderr


def test_an_ensemble_whose_run_was_deleted(swept: Path, data_root: Path, tmp_path: Path) -> None:
    shutil.copytree(swept / "outputs", tmp_path / "outputs")
    for gone in tmp_path.glob("outputs/runs/*/fold1"):
        shutil.rmtree(gone)
    result = command(tmp_path, "hbac.infer", "dataset=hms", f"dataset.root={data_root}", ok=False)
    assert result.returncode == 2
    assert "fold1" in result.stderr
    assert not list(tmp_path.glob("outputs/submissions/*/*.csv"))


def test_a_killed_run_goes_on_and_ends_with_the_same_weights(data_root: Path, tmp_path: Path) -> None:
    # Kernels long enough that an epoch can be interrupted, many epochs so that the kill comes in time.
    line = ["hbac.train", "dataset=hms", f"dataset.root={data_root}", "labels.n_folds=2", "logger=csv", *SMALL_NET[:-1]]
    line += ["trainer.max_epochs=8", "data.batch_size=4"]
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    straight.mkdir()
    killed.mkdir()
    command(straight, *line)
    process = subprocess.Popen([sys.executable, "-m", *line], cwd=killed, stderr=subprocess.DEVNULL)
    while not list(killed.glob("outputs/runs/*/fold0/checkpoints/last.ckpt")) and process.poll() is None:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not list(killed.glob("outputs/runs/*/fold0/metrics.json"))
    command(killed, *line)
    one, other = (load_file(next(f.glob("outputs/runs/*/fold0/weights.safetensors"))) for f in (straight, killed))
    assert one.keys() == other.keys()
    for name, weight in one.items():
        np.testing.assert_array_equal(weight, other[name], err_msg=name)


def test_a_seed_gives_the_same_weights_whoever_copies_the_windows(data_root: Path, tmp_path: Path) -> None:
    line = ["hbac.train", "dataset=hms", f"dataset.root={data_root}", "labels.n_folds=2", "logger=csv", *SMALL_NET]
    line += ["augment=strong", "trainer.max_epochs=2", "data.batch_size=4"]
    weights = []
    for folder, workers in (("one", 2), ("again", 2), ("alone", 0)):
        (tmp_path / folder).mkdir()
        command(tmp_path / folder, *line, f"data.num_workers={workers}")
        weights.append(load_file(next((tmp_path / folder).glob("outputs/runs/*/fold0/weights.safetensors"))))
    for other in weights[1:]:
        assert weights[0].keys() == other.keys()
        for name, weight in weights[0].items():
            np.testing.assert_array_equal(weight, other[name], err_msg=name)


def test_real_windows_from_reader_to_submission(iiic_root: Path, tmp_path: Path) -> None:
    data = ["dataset=hms", f"dataset.root={iiic_root}"]
    command(tmp_path, "hbac.train", *data, "labels.n_folds=2", "logger=csv", *SMALL_NET, "-m", "fold=0,1")
    command(tmp_path, "hbac.infer", *data)
    (submission,) = tmp_path.glob("outputs/submissions/*/submission.csv")
    check_submission(pd.read_csv(submission), pd.read_csv(iiic_root / "test.csv")["eeg_id"])


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lambda root: next((root / "train_eegs").glob("*.parquet")).unlink(), [".parquet"]),
        (lambda root: (root / "train.csv").write_text(""), ["train.csv"]),
        (lambda root: (root / "train.csv").unlink(), ["train.csv"]),
        (
            lambda root: (file := next((root / "train_eegs").glob("*.parquet"))).write_bytes(file.read_bytes()[:-50]),
            [".parquet"],
        ),
    ],
    ids=["missing EEG", "empty csv", "no csv", "truncated parquet"],
)
def test_a_broken_data_set(break_it: object, words: list[str], tmp_path: Path) -> None:
    root = write_hms_layout(tmp_path / "data", n_eegs=6, seed=2)
    break_it(root)  # type: ignore[operator]
    result = command(tmp_path, "hbac.train", "dataset=hms", f"dataset.root={root}", ok=False)
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr
    assert not list(tmp_path.glob("outputs/runs/*"))


def test_prepare_says_what_there_is(data_root: Path, tmp_path: Path) -> None:
    result = command(tmp_path, "hbac.prepare", "dataset=hms", f"dataset.root={data_root}")
    assert "train" in result.stdout
    assert "folds by patient, hash" in result.stdout
    assert list(tmp_path.glob("outputs/folds/*.csv"))


def test_prepare_of_a_test_part_alone_makes_no_folds(tmp_path: Path) -> None:
    root = write_hms_layout(tmp_path / "data", n_eegs=1, n_test=2)
    (root / "train.csv").unlink()
    result = command(tmp_path, "hbac.prepare", "dataset=hms", f"dataset.root={root}")
    assert "test" in result.stdout
    assert not list(tmp_path.glob("outputs/folds/*"))


@pytest.mark.slow
def test_the_wheel_works_from_any_folder(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(ROOT)],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    assets = {f"hbac/report/assets/{name}" for name in ("report.css", "report.js", "eeg.css", "eeg_page.js")}
    assert {"hbac/conf/train.yaml", *assets} <= set(zipfile.ZipFile(wheel).namelist())
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(pip, check=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = os.environ | {"PYTHONPATH": str(site)}
    where = subprocess.run(
        [sys.executable, "-c", "import hbac.cli.launch; print(hbac.cli.launch.conf_dir())"],
        cwd=elsewhere, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Path(where.stdout.strip()) == site / "hbac" / "conf"
    data = write_hms_layout(tmp_path / "data", n_eegs=6, seed=3)
    line = ["hbac.train", "dataset=hms", f"dataset.root={data}", "labels.n_folds=2", "logger=csv", *SMALL_NET]
    subprocess.run([sys.executable, "-m", *line], cwd=elsewhere, env=environment, check=True, capture_output=True)
    assert list(elsewhere.glob("outputs/runs/*/fold0/weights.safetensors"))


def test_a_single_run_ends_with_its_scores_and_the_command_for_all_folds(swept: Path, data_root: Path) -> None:
    hms = ["dataset=hms", f"dataset.root={data_root}", "labels.n_folds=3", "logger=csv", "band=1-12"]
    result = command(swept, "hbac.train", *hms, *SMALL_NET, "fold=1")  # trained by the sweep
    assert "uniform prediction" in result.stdout
    score = json.loads(next(swept.glob("outputs/runs/resnet_gru-1-12-*/fold1/metrics.json")).read_text())["kl"]
    assert all(f"{kl:.4f}" in result.stdout for kl in score.values())
    assert result.stdout.index(f"{score['10_or_more']:.4f}") < result.stdout.index(f"{score['all']:.4f}")
    other = command(swept, "hbac.train", *hms, *SMALL_NET, "fold=1", "population=few_votes")  # the same run
    assert f"is there already: KL {score['up_to_7']:.4f} on rows with up to 7 votes" in other.stderr
    assert other.stdout.index(f"{score['up_to_7']:.4f}") < other.stdout.index(f"{score['10_or_more']:.4f}")
    last = result.stdout.splitlines()[-1]
    assert last == f"next:       {shlex.join(['python', '-m', 'hbac.train', *hms, *SMALL_NET, '-m', 'fold=0,1,2'])}"


def test_a_data_set_without_rows_that_count_is_refused_before_training(data_root: Path, tmp_path: Path) -> None:
    root = tmp_path / "few"
    shutil.copytree(data_root, root)
    rows = pd.read_csv(root / "train.csv")
    votes = [name for name in rows if name.endswith("_vote")]
    rows[votes] = np.eye(6, dtype=int)[rows[votes].to_numpy().argmax(axis=1)]
    rows.to_csv(root / "train.csv", index=False)
    line = ["hbac.train", "dataset=hms", f"dataset.root={root}", "labels.n_folds=3", "logger=csv", *SMALL_NET]
    refused = command(tmp_path, *line, "fold=1", ok=False)
    assert refused.returncode == 2
    assert re.match(
        r"error: population=many_votes: of the \d+ rows of fold 1 none is among the rows with 10 or more votes, .*; "
        "set population=all\n",
        refused.stderr.splitlines(keepends=True)[-1],
    )
    assert not list(tmp_path.glob("outputs/runs/*"))
    assert command(tmp_path, *line, "fold=1", "population=most", ok=False).stderr.startswith(
        "error: unknown population 'most'; there are: many_votes, few_votes, all."
    )
    command(tmp_path, *line, "population=all", "-m", "fold=0,1,2")


def test_prepare_ends_with_the_command_that_trains(data_root: Path, tmp_path: Path) -> None:
    hms = ["dataset=hms", f"dataset.root={data_root}", "labels.n_folds=3"]
    last = command(tmp_path, "hbac.prepare", *hms).stdout.splitlines()[-1]
    assert last == f"next:       {shlex.join(['python', '-m', 'hbac.train', *hms, '-m', 'fold=0,1,2'])}"
