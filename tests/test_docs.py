"""The documentation builds without a warning, and names only commands and files that there are."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]


def test_the_documentation_builds_without_warnings(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # of mkdocs-material, about its successor
    result = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False, env=quiet)
    assert (result.returncode, result.stderr) == (0, "")
    page = (tmp_path / "site" / "index.html").read_text()
    assert not re.findall(r'(?:src|<link[^>]*href)="https?://', page)  # nothing is fetched from elsewhere


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_commands_and_choices_exist(page: Path) -> None:
    text = page.read_text()
    for module in re.findall(r"python -m (hbac\.\w+)", text):
        assert (ROOT / "hbac" / f"{module.partition('.')[2]}.py").is_file(), module
    for group, options in re.findall(r"\b(model|blend|augment|trainer|experiment|dataset|logger)=([\w,]+)", text):
        for option in options.split(","):
            assert (ROOT / "conf" / group / f"{option}.yaml").is_file(), f"{group}={option}"
