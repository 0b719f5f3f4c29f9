"""The files for conda and Docker say the same as pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def bounds(lines: list[str]) -> dict[str, str]:
    """Lower bound of each package."""
    found = (re.match(r"([\w-]+)>=([\d.]+)", line) for line in lines)
    return {match[1]: match[2] for match in found if match}


def test_condas_bounds_are_ours() -> None:
    entries = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    conda = bounds([entry.replace("pytorch>", "torch>") for entry in entries if isinstance(entry, str)])
    ours = bounds(PROJECT["dependencies"])
    assert {"torch", "numpy", "pandas"} <= conda.keys()
    assert {name: ours[name] for name in conda} == conda


def test_a_build_without_cuda_is_one_that_hbac_leaves() -> None:
    """A newer one would be replaced by the index's own, with CUDA, when hbac is installed."""
    (ours,) = (line for line in PROJECT["dependencies"] if re.match(r"torch\W", line))
    for file in (ROOT / "docs" / "install.md", ROOT / "Dockerfile"):
        assert re.findall(r"'(torch\W[^']*)' torchvision torchaudio --index-url", file.read_text()) == [ours], file


def test_dockers_python_is_one_of_ours() -> None:
    text = (ROOT / "Dockerfile").read_text()
    (version,) = re.findall(r"^FROM python:3\.(\d+)-slim$", text, flags=re.MULTILINE)
    assert int(version) >= int(PROJECT["requires-python"].rpartition(".")[2])
    assert not re.search(r"https?://", text)  # the address of an index is the user's
