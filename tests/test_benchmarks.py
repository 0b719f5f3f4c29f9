"""Each benchmark runs, at its smallest; what it measures is not looked at."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted((ROOT / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_it_runs(script: Path, tmp_path: Path) -> None:
    run(script, tmp_path)


def test_the_script_for_gpus_runs_without_one(tmp_path: Path) -> None:
    """What takes seconds of it; trainings and checks are among the slow tests."""
    run(ROOT / "benchmarks" / "gpu.py", tmp_path, "--only", "input", "inference")


def run(script: Path, tmp_path: Path, *options: str) -> None:
    environment = os.environ | {"WANDB_MODE": "offline", "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    line = [sys.executable, str(script), "--smoke", *options]
    result = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout
