"""The command line: flags may stand anywhere, answers come fast, bad input ends with status 2 and one message."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hbac.cli.help import help_text
from hbac.cli.launch import flags_first, launch

COMMANDS = ("train", "ensemble", "infer", "prepare")


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["a=1", "-m", "fold=0,1"], ["-m", "a=1", "fold=0,1"]),
        (["-m", "a=1"], ["-m", "a=1"]),
        (["a=1", "--multirun", "b=2", "--cfg", "job"], ["--multirun", "--cfg", "job", "a=1", "b=2"]),
        (["a=-1"], ["a=-1"]),
        (["x=1", "--config-dir", "more", "y=2"], ["--config-dir", "more", "x=1", "y=2"]),
        (["--info", "x=1"], ["--info=all", "x=1"]),
        (["x=1", "--info", "defaults"], ["--info=defaults", "x=1"]),
        ([], []),
    ],
)
def test_flags_move_before_the_overrides(given: list[str], expected: list[str]) -> None:
    assert flags_first(given) == expected


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_every_group_and_setting_without_importing_torch(command: str, tmp_path: Path) -> None:
    code = (
        f"import sys; sys.argv = ['x', '--help']; import hbac.{command} as m; m.main(); "
        "print([n for n in ('torch', 'pandas', 'lightning', 'hydra') if n in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout.rstrip().endswith("[]")
    assert f"python -m hbac.{command}" in result.stdout
    assert "* synthetic" in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_cfg_job_composes_without_importing_torch(command: str, tmp_path: Path) -> None:
    code = (
        f"import sys; sys.argv = ['x', '--cfg', 'job']; import hbac.{command} as m; m.main(); "
        "print([n for n in ('torch', 'pandas', 'lightning', 'wandb') if n in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout.rstrip().endswith("[]")
    assert "dataset:" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_every_setting_of_train_stands_in_its_help(conf: Path) -> None:
    text = help_text(conf, "train")
    for word in ("band: 0.5-20", "fold: 0", "seed: 0", "resume: true", "outputs: outputs", "model.kernels"):
        assert word in text


def test_help_wraps_at_the_terminal_s_width_without_losing_a_word(conf: Path) -> None:
    wide, narrow = help_text(conf, "train"), help_text(conf, "train", 80)
    assert max(map(len, wide.splitlines())) > 120
    assert narrow.split() == wide.split()
    words = max(len(word) for word in wide.split())
    assert max(map(len, narrow.splitlines())) <= max(80, words + 40)


def test_help_on_a_terminal_without_unicode(tmp_path: Path) -> None:
    environment = os.environ | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "COLUMNS": "80"}
    command = [sys.executable, "-m", "hbac.train", "--help"]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=True)
    assert result.stderr == b""
    assert b"python -m hbac.train" in result.stdout.replace(b"\n        ", b" ")
    assert max(map(len, result.stdout.splitlines())) < 120


@pytest.mark.parametrize("closing", [">&-", "| true"])
def test_an_output_that_nobody_reads(closing: str, tmp_path: Path) -> None:
    line = f"{shlex.quote(sys.executable)} -m hbac.prepare list=models {closing}"
    result = subprocess.run(["bash", "-o", "pipefail", "-c", line], cwd=tmp_path, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


def test_lines_are_not_held_back_where_python_is_told_not_to() -> None:
    said = "from hbac.cli.ground import open_streams as o; import os, sys; o(); print(1); print(2, file=sys.stderr)"
    line = [sys.executable, "-u", "-c", f"{said}; os._exit(0)"]  # what is held back at such an end is lost
    result = subprocess.run(line, capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("1\n", "2\n")


def test_outputs_that_are_a_file(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("")
    result = run(tmp_path, "hbac.prepare", "dataset.size=tiny")
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert "outputs" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "line",
    [
        ["hbac.train"],
        ["hbac.infer", "ensemble=here"],
        ["hbac.ensemble", "members=[here]"],
        ["hbac.report", "runs=[here]"],
        ["hbac.export", "run=here"],
        ["hbac.workspace"],
    ],
)
def test_outputs_of_every_command_that_are_a_file(line: list[str], tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("mine")
    result = run(tmp_path, *line)
    assert result.returncode == 2
    assert result.stderr == "error: outputs: a file stands where a folder is needed\n"
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("outputs", "mine")]


def test_windows_is_told_of_its_subsystem(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(SystemExit) as caught:
        launch("hbac.train:train", "train")
    assert caught.value.code == 2
    assert capsys.readouterr().err == (
        "error: hbac runs on Linux and macOS; on Windows use its Linux subsystem: wsl --install\n"
    )


@pytest.mark.parametrize("more", [["hbac.prepare"], ["hbac.train", "logger=csv"], ["hbac.train", "-m", "fold=0,1"]])
def test_outputs_that_are_read_only(
    more: list[str], tmp_path: Path, tiny_root: Path, read_only: Callable[[Path], None]
) -> None:
    (tmp_path / "outputs").mkdir()
    read_only(tmp_path / "outputs")
    result = run(tmp_path, more[0], "dataset=hms", f"dataset.root={tiny_root}", *more[1:])
    assert result.returncode == 2
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    assert "Read-only file system" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["band=20-5"], ["20-5"]),
        (["band=0.5-200"], ["0.5-200", "100"]),
        (["band=fast"], ["fast"]),
        (["montage=bananas"], ["bananas", "longitudinal_bipolar"]),
        (["fold=7"], ["fold=7", "0, 1, 2, 3, 4"]),
        (["fold=first"], ["fold=first"]),
        (["model=resnet"], ["resnet", "resnet_gru"]),
        (["modle=resnet_gru"], ["modle"]),
        (["model.kernels=[0]"], ["kernels"]),
        (["trainer.precision=17"], ["17", "bf16-mixed"]),
        (["export=first"], ["export", "first", "best"]),
        (["logger.mode=cloud"], ["cloud", "offline"]),
        (["model=efficientnet", "data.cache=true"], ["augment.raw", "data.cache=false"]),
        (["dataset=hms", "dataset.root=nowhere"], ["nowhere"]),
        (["dataset=hms"], ["dataset.root"]),
        (["-m", "band=20-5,30-3"], ["20-5", "30-3"]),
        (["-m", "fold=glob(*)"], ["fold=glob(*)", "range(0,5)"]),
        (["-m", "fold=range(3,3)"], ["nothing in this range"]),
        (["hydra.job.chdir=true"], ["hydra.job.chdir=true"]),
        (["trainer=gpu"], ["trainer.accelerator=gpu", "there is no GPU"]),
        (["trainer=gpu", "trainer.accelerator=cuda"], ["trainer.accelerator=cuda", "there is no GPU"]),
        (["seed=-1"], ["seed=-1: must be a whole number"]),
        (["data.batch_size=0"], ["data.batch_size=0: must be a whole number, 1 or more"]),
        (["-m", "--cfg", "job"], ["one of these at a time"]),
        (["blend=3"], ["blend=3: unknown blend"]),
    ],
)
def test_bad_settings_of_train(arguments: list[str], words: list[str], tmp_path: Path) -> None:
    result = run(tmp_path, "hbac.train", *arguments)
    assert result.returncode == 2, result.stderr
    assert result.stderr.startswith(("error: ", "job 1 failed: "))
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr
    assert [
        path
        for path in tmp_path.rglob("*")
        if path.is_file() and path.parent.name != "failed" and path.name != "multirun.yaml"
    ] == []


def test_infer_without_an_ensemble(tmp_path: Path) -> None:
    result = run(tmp_path, "hbac.infer")
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert "hbac.train" in result.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_ensemble_without_members(tmp_path: Path) -> None:
    result = run(tmp_path, "hbac.ensemble")
    assert result.returncode == 2
    assert "members=[PATH" in result.stderr


@pytest.mark.parametrize("sweep", [[], ["-m", "seed=0,1"]])
def test_ctrl_c_during_the_import_of_a_compiled_module(tmp_path: Path, sweep: list[str]) -> None:
    """It raises SystemError from the interrupt: no traceback, and no job of a sweep is left out for the next."""
    (tmp_path / "compiled.py").write_text(
        "import os, signal\nprint('begun')\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\n"
        "except KeyboardInterrupt as interrupt:\n    raise SystemError('initialization failed') from interrupt\n"
    )
    code = "import signal, sys; from hbac.cli.launch import launch; sys.argv[0] = 'x'\n"
    code += "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored, where tests run in the background
    code += "launch('compiled:main', 'train')"
    result = subprocess.run(
        [sys.executable, "-c", code, *sweep], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 130
    assert "Traceback" not in result.stderr
    assert result.stderr.endswith("interrupted; type the same command again to go on\n")
    assert result.stdout.count("begun") == 1
