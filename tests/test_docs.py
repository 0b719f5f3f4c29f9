"""The documentation builds without a warning; its commands compose, its settings, names, files and examples hold."""

from __future__ import annotations

import ast
import doctest
import os
import re
import shlex
import subprocess
import sys
import tomllib
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from hbac.cli.launch import conf_dir
from hbac.common.instantiate import build
from hbac.experiment.stages import make_stage, stages_of

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
EXAMPLES = [path for path in sorted((ROOT / "hbac").rglob("*.py")) if ">>> " in path.read_text()]
IDS = {"argvalues": PAGES, "ids": lambda path: path.name}
# Where a setting may be one of: each command, and training of images.
CONFIGS = [("train", base) for base in ((), ("model=efficientnet",), ("dataset=hms", "dataset.root=x"))]
CONFIGS += [(path.stem, ()) for path in sorted(conf_dir().glob("*.yaml")) if path.stem not in ("common", "train")]
OPTUNA = "experiment=optuna"  # its sweeper is an extra; tests/conf reads it
ONLINE = "logger.mode=online"  # looks for W&B's account; tests/tracking/test_wandb.py has it
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(page.read_text()) if kind == language]


def spans(page: Path) -> list[str]:
    """What stands between backticks outside blocks."""
    return re.findall(r"`([^`\n]+)`", BLOCK.sub("", page.read_text()))


def lines(page: Path) -> list[list[str]]:
    """The commands of a page, a comment behind them left away."""
    text = "\n".join(blocks(page, "bash")).replace("\\\n", " ")
    return [shlex.split(line, comments=True) for line in text.splitlines()]


def commands(page: Path) -> list[tuple[str, list[str]]]:
    """Each hbac command of a page, in blocks and between backticks: config name and overrides.

    Those with configs of one's own are left to `tests.test_tutorial`, which types them.
    """
    found = [line for line in lines(page) if line[:2] == ["python", "-m"] and line[2] != "pytest"]
    found += [shlex.split(span.replace(" …", "")) for span in spans(page) if span.startswith("python -m hbac")]
    found = [words for words in found if "--config-dir=conf" not in words]
    return [(words[2].partition(".")[2], [word for word in words[3:] if "=" in word]) for words in found]


@cache
def composed(name: str, overrides: tuple[str, ...]) -> DictConfig:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose(name, list(overrides))


@cache
def check(name: str, overrides: tuple[str, ...]) -> None:
    """Compose a config, and make what can be made of it without files, so that its values are checked too."""
    cfg = composed(name, overrides)
    if name == "train":
        stages = stages_of(cfg)
        for stage in stages:
            make_stage(stages, stage)
        for group in ("front_end", "optimizer", "schedule", "logger"):
            build(cfg[group], group)
        for node in cfg.augment.values():
            assert node is None or build(node, "augment")


def each_alone(overrides: list[str]) -> list[tuple[str, ...]]:
    """A sweep's first combination, and each further value, but for whole numbers, beside the first of all others."""
    parsed = [o for o in OverridesParser.create().parse_overrides(overrides) if not o.key_or_group.startswith("hydra")]
    first, further = [o.input_line for o in parsed], []
    for k, override in enumerate(parsed):
        if override.is_sweep_override():
            key = override.input_line.partition("=")[0]
            first[k], *rest = [f"{key}={value}" for value in override.sweep_string_iterator()]
            further += [(k, value) for value in rest if not value.rpartition("=")[2].isdigit()]
    return [tuple(first), *((*first[:k], value, *first[k + 1 :]) for k, value in further)]


def test_the_documentation_builds_without_warnings(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # of mkdocs-material, about its successor
    result = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False, env=quiet)
    assert (result.returncode, result.stderr) == (0, "")
    page = (tmp_path / "site" / "index.html").read_text()
    assert not re.findall(r'(?:src|<link[^>]*href)="https?://', page)  # nothing is fetched from elsewhere


@pytest.mark.parametrize("page", **IDS)
def test_commands_are_ones_that_hbac_takes(page: Path) -> None:
    for name, overrides in commands(page):
        assert any((ROOT / "hbac" / file).is_file() for file in (f"{name}.py", f"{name}/__main__.py")), name
        assert (conf_dir() / f"{name}.yaml").is_file(), name
        if OPTUNA not in overrides:
            for combination in each_alone(overrides):
                check(name, combination)


@pytest.mark.parametrize("page", **IDS)
def test_other_commands_name_targets_tests_and_extras_that_there_are(page: Path) -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for words in lines(page):
        if words[:1] == ["make"]:
            assert set(words[1:]) <= set(targets)
        if words[:3] == ["python", "-m", "pytest"]:
            assert all((ROOT / path).exists() for path in words[3:])
        for extra in re.findall(r"\.\[(\w+)\]", " ".join(words)):
            assert extra in extras


@pytest.mark.parametrize("page", **IDS)
def test_settings_exist(page: Path) -> None:
    """``group=option`` and ``key=value``, taken by at least one of the commands; ``group.key``, known to one."""
    for span in spans(page):
        if span in (OPTUNA, ONLINE):
            continue
        if match := re.fullmatch(r"(?!hydra)([a-z_]+(?:[./][a-z_]+)*)=(\S+)", span):
            value = re.sub(r"<\w+>|…", "x", match[2])
            for setting in each_alone([f"{match[1]}={value}"]):
                assert any(takes(name, (*base, *setting)) for name, base in CONFIGS), span
        elif re.fullmatch(r"(?:augment|labels|trainer|logger|dataset)(?:\.[a-z_]+)+", span):
            assert any(knows(composed(name, base), span) for name, base in CONFIGS), span


@pytest.mark.parametrize("page", **IDS)
def test_tables_of_options_list_what_there_is(page: Path) -> None:
    """A table whose first heading is ``group=`` has options of the group in its first column."""
    for group, body in re.findall(r"^\| `(\w+)=` \|.*\n\|[-|]+\n((?:\|.*\n)*)", page.read_text(), flags=re.MULTILINE):
        for row in body.splitlines():
            for option in re.findall(r"`(\w+)`", row.split("|")[1]):
                assert (conf_dir() / group / f"{option}.yaml").is_file(), f"{group}={option}"


def takes(name: str, overrides: tuple[str, ...]) -> bool:
    try:
        check(name, overrides)
    except HydraException:
        return False
    return True


def knows(cfg: DictConfig, key: str) -> bool:
    parent, _, last = key.rpartition(".")
    node = OmegaConf.select(cfg, parent)
    return isinstance(node, DictConfig) and last in node


@pytest.mark.parametrize("page", **IDS)
def test_python_names_can_be_imported(page: Path) -> None:
    for text in blocks(page, "python"):
        for node in ast.parse(text).body:
            of_the_page = isinstance(node, ast.ImportFrom) and f"\n# {node.module}.py\n" in page.read_text()
            if isinstance(node, ast.Import | ast.ImportFrom) and not of_the_page:
                exec(ast.unparse(node), {})
    for name in re.findall(r"`(hbac(?:\.\w+)+)", page.read_text()):
        module, _, attribute = name.rpartition(".")
        if not (ROOT / f"{name.replace('.', '/')}.py").is_file():
            assert hasattr(import_module(module), attribute), name


@pytest.mark.parametrize("page", **IDS)
def test_files_and_links_lead_somewhere(page: Path) -> None:
    for span in spans(page):
        if re.match(r"(?:conf|hbac|tests|examples|benchmarks|docs)/[\w./*]*$", span):
            assert list(ROOT.glob(span)), span
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", page.read_text()):
        file = page.parent / target if target else page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), flags=re.MULTILINE)
            assert anchor in [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]


def test_messages_of_the_troubleshooting_page_are_ours() -> None:
    code = "\n".join(path.read_text() for path in (ROOT / "hbac").rglob("*.py"))
    joined = re.sub(r'"\s*\n\s*f?"', "", code)  # a text over several lines
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    messages = re.findall(r"^\| `([^`]+)` \|", page, flags=re.MULTILINE)
    assert len(messages) > 10
    assert [message for message in messages if message not in joined] == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_in_docstrings_hold(path: Path) -> None:
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    assert doctest.testmod(import_module(module)).failed == 0
