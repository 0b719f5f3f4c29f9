"""What is printed may be typed: Hydra reads a setting back as it was, the shell takes nothing apart."""

from __future__ import annotations

import shlex
import sys

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given
from hypothesis import strategies as st

from hbac.common.commands import command_line, override, several

PARSER = OverridesParser.create()
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), min_size=1)


def read_back(line: str) -> object:
    (parsed,) = PARSER.parse_overrides([line])
    return parsed.value()


@given(TEXT)
@example("my data [1]")
@example("2024")
@example("1e5")
@example("null")
@example('it\'s "here"')
@example("ends in \\")
@example("a=b,c:d")
def test_hydra_reads_text_back(text: str) -> None:
    if "$" not in text:
        assert read_back(override("key", text)) == text
        assert read_back(override("key", [text, text])) == [text, text]


@pytest.mark.parametrize("value", [3, 0.5, True, False, None, [1, [2, "x y"]], {"a": 1, "b": "c d"}])
def test_hydra_reads_other_values_back(value: object) -> None:
    assert read_back(override("key", value)) == value


def test_a_command_survives_the_shell_and_keeps_the_folder_of_configs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["hbac.train", "--config-dir", "my conf", "-m", "fold=0,1"])
    line = command_line("infer", override("ensemble", "a b/[c]"), flags=("-m", "fold=0,1"))
    assert line == "python -m hbac.infer --config-dir 'my conf' 'ensemble=\"a b/[c]\"' -m fold=0,1"
    assert shlex.split(line)[3:] == ["--config-dir", "my conf", 'ensemble="a b/[c]"', "-m", "fold=0,1"]
    monkeypatch.setattr(sys, "argv", ["hbac.train", "fold=1"])
    assert command_line("infer") == "python -m hbac.infer"


def test_one_value_is_a_list_of_one() -> None:
    assert several(112) == [112]
    assert several("outputs/a") == ["outputs/a"]
    assert several(["a"]) == ["a"]
    assert several(None) == []
