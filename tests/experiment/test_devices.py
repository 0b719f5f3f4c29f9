"""One run on two devices, which are processes of this CPU: what it learns, what it writes, how it ends."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

from hbac.common.errors import UserError
from hbac.data.epoch import REPEATED, EpochShuffle, Share
from hbac.experiment import devices
from hbac.predictions import PredictionTable
from tests.helpers import write_hms_layout

MYNETS = Path(__file__).resolve().parents[2] / "examples" / "own_network"
TWO = ["trainer.devices=2", "trainer.accelerator=cpu", "+trainer.strategy=ddp"]
N_EPOCHS = 2


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A training of a network without batch normalisation; of its rows an odd number is held out."""
    root = write_hms_layout(tmp_path_factory.mktemp("data"), n_eegs=16, seed=2)
    data = ["dataset=hms", f"dataset.root={root}", "labels.n_folds=2", "logger=csv", "population=all"]
    net = [f"--config-dir={MYNETS / 'conf'}", "allow=[mynets]", "model=mine", "model.width=4", "band=1-12"]
    how = [f"trainer.max_epochs={N_EPOCHS}", "trainer.accelerator=cpu", "trainer.precision=32-true"]
    return ["hbac.train", *net, *data, *how]


def start(folder: Path, *arguments: str, by: tuple[str, ...] = ("-m",)) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": f"{MYNETS}:{os.environ.get('PYTHONPATH', '')}"}
    line = [sys.executable, *by, *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(line, cwd=folder, env=environment, text=True, **pipes)  # type: ignore[call-overload,no-any-return]


def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out, err


@pytest.fixture(scope="module")
def alone_and_two(line: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, str, str]]:
    """The run's folder, output and errors of one device with batches of 4, and of two with batches of 2."""
    wanted = {"alone": ["data.batch_size=4"], "two": ["data.batch_size=2", *TWO]}
    folders = {name: tmp_path_factory.mktemp(name) for name in wanted}
    started = {name: start(folders[name], *line, *settings) for name, settings in wanted.items()}
    said = {name: ended(process) for name, process in started.items()}
    return {name: (next(folders[name].glob("outputs/runs/*/fold0")), *said[name]) for name in wanted}


def test_two_devices_learn_what_one_does_from_batches_twice_as_large(
    alone_and_two: dict[str, tuple[Path, str, str]],
) -> None:
    runs = [alone_and_two[name][0] for name in ("alone", "two")]
    alone, two = (pd.read_csv(run / "logs" / "version_0" / "metrics.csv").groupby("epoch").max() for run in runs)
    names = [name for name in alone if name.endswith("/kl") or name.startswith(("val/", "train/grad"))]
    assert {"train/kl", "train/grad_norm", "val/kl", "val/kl_seizure"} <= set(names)
    assert alone["val/kl"].nunique() == N_EPOCHS  # it learns
    np.testing.assert_allclose(two[names], alone[names], rtol=1e-5, atol=1e-6)  # sums in another order
    one, other = (PredictionTable.read(run / "predictions.parquet").frame for run in runs)
    assert len(one) % 2 == 1
    assert one["label_id"].tolist() == other["label_id"].tolist()
    probs = [column for column in one if column.endswith("_prob") or column.startswith("prob")]
    np.testing.assert_allclose(other[probs], one[probs], atol=1e-5)


def test_two_devices_leave_one_whole_run(alone_and_two: dict[str, tuple[Path, str, str]]) -> None:
    (alone, _, _), (two, out, err) = alone_and_two["alone"], alone_and_two["two"]
    files = [{str(path.relative_to(run)) for path in run.rglob("*")} for run in (alone, two)]
    assert files[0] == files[1]
    assert err.count("epoch 1/2 ") == err.count("epoch 2/2 ") == 1
    assert err.count("leak audit: nothing leaks") == out.count("run:  ") == 1
    assert not any(words in err for words in ("Traceback", "Warning", "warning", "INFO", "deprecated"))
    following = shlex.split(out.splitlines()[-1].removeprefix("next:       python -m "))
    assert following[-1] == "fold=1"
    assert set(TWO) <= set(following)


@pytest.mark.parametrize("n_rows", [41, 40, 7, 3])
def test_what_devices_share_out(n_rows: int) -> None:
    for n_devices in (1, 2, 3):
        shares = [Share(device, n_devices, batch_size=4) for device in range(n_devices)]
        held_out = [share.held_out(n_rows) for share in shares]
        assert len({len(rows) for rows in held_out}) == 1
        assert [row for rows in held_out for row in rows if row != REPEATED] == list(range(n_rows))
        alone = [row.row for row in EpochShuffle(n_rows, seed=1)]
        picked = [[row.row for row in EpochShuffle(n_rows, seed=1, share=share)] for share in shares]
        assert [len(rows) for rows in picked] == [len(EpochShuffle(n_rows, seed=1, share=share)) for share in shares]
        size = min(4, n_rows // n_devices)
        batches = [[rows[at : at + size] for rows in picked] for at in range(0, len(picked[0]), size)]
        for number, batch in enumerate(batches):
            together = [row for rows in batch for row in rows]
            assert together == alone[number * size * n_devices :][: len(together)]
        assert n_rows - sum(map(len, picked)) < max(4 * n_devices, 2)


@pytest.mark.parametrize("asked", [2, [0, 1]])
def test_a_sweep_s_jobs_have_one_device_each(asked: object) -> None:
    with pytest.raises(UserError, match=r"trainer.devices=.*each job of a sweep .-m. has one device.*joblib, ray"):
        devices.refuse_in_sweep(asked)
    for fine in (1, [3], "auto"):
        devices.refuse_in_sweep(fine)


def test_a_sweep_with_several_devices_is_refused_before_its_first_job(line: list[str], tmp_path: Path) -> None:
    process = start(tmp_path, *line, *TWO, "-m", "fold=0,1")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err.startswith("error: trainer.devices=2: each job of a sweep (-m) has one device; leave it out")
    assert not list(tmp_path.glob("outputs/*"))


def test_torchrun_decides_how_many_devices_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "1", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "6"}.items():
        monkeypatch.setenv(name, value)
    cfg = OmegaConf.create({"trainer": {"devices": 1}})
    devices.join(cfg)
    assert cfg.trainer == {"devices": 2, "num_nodes": 3}
    with pytest.raises(UserError, match="trainer.devices=4: torchrun has started 2 on this machine; leave it out"):
        devices.join(OmegaConf.create({"trainer": {"devices": 4}}))
    with pytest.raises(UserError, match="torchrun with 6 processes: each job of a sweep"):
        devices.refuse_in_sweep(1)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_run_of_which_one_process_was_killed_ends_as_if_none_had_been(
    rank: int, line: list[str], alone_and_two: dict[str, tuple[Path, str, str]], tmp_path: Path
) -> None:
    two = [*line, "data.batch_size=2", *TWO]
    process = start(tmp_path, *two)
    while not list(tmp_path.glob("outputs/runs/*/fold0/checkpoints/last.ckpt")):
        assert process.poll() is None
        time.sleep(0.01)
    listed = ["ps", "-o", "pid=", "--ppid", str(process.pid), "--sort", "pid"]
    children = [int(pid) for pid in subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split()]
    os.kill(children[rank], signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGKILL, err
    assert f"device {rank + 1} of 2 was ended by SIGKILL; type the same command again to go on\n" in err
    assert err.count("error:") == 1 and "Traceback" not in err
    assert not list(tmp_path.glob("outputs/runs/*/fold0/metrics.json"))
    _, err = ended(start(tmp_path, *two))
    assert "epoch 1/2" not in err
    run, straight = next(tmp_path.glob("outputs/runs/*/fold0")), alone_and_two["two"][0]
    assert (run / "weights.safetensors").read_bytes() == (straight / "weights.safetensors").read_bytes()


@pytest.mark.slow
def test_torchrun_makes_the_same_run(
    line: list[str], alone_and_two: dict[str, tuple[Path, str, str]], tmp_path: Path
) -> None:
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m")
    out, err = ended(start(tmp_path, *line, "data.batch_size=2", by=torchrun))
    run, straight = next(tmp_path.glob("outputs/runs/*/fold0")), alone_and_two["two"][0]
    assert run.relative_to(tmp_path) == straight.relative_to(straight.parents[3])
    assert (run / "weights.safetensors").read_bytes() == (straight / "weights.safetensors").read_bytes()
    assert out.count("run:  ") == err.count("epoch 1/2 ") == err.count("leak audit: nothing leaks") == 1
    _, err = ended(start(tmp_path, *line, "data.batch_size=2", by=torchrun))
    assert err.count("is there already") == 1
