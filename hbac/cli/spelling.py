"""What somebody meant who mistyped an option: one message, with the right one in it, in place of Hydra's."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from hbac.cli.settings import Rule, rules_of
from hbac.common.choices import hint, nearest
from hbac.common.commands import config_dir
from hbac.common.errors import UserError

FLAGS = ("--help", "-h", "--hydra-help", "--version", "--cfg", "-c", "--resolve", "--package", "-p", "--run", "-r",
         "--multirun", "-m", "--shell-completion", "-sc", "--config-path", "-cp", "--config-name", "-cn",
         "--config-dir", "-cd", "--info", "-i")  # fmt: skip
# What an option's package is called: hbac itself is on no index, so that `hbac[ray]` would find nothing.
_PACKAGES = {
    "optuna": "'hydra-optuna-sweeper>=1.2' 'sqlalchemy<2'",
    "joblib": "'hydra-joblib-launcher>=1.2'",
    **dict.fromkeys(("ray", "ray_aws"), "'hydra-ray-launcher>=1.2'"),
    **dict.fromkeys(("submitit_slurm", "submitit_local"), "'hydra-submitit-launcher>=1.2'"),
}
_WAYS = {"-m": "--multirun", "-r": "--run", "-c": "--cfg", "-i": "--info"}  # of them one at a time
_RENAMED = {"report": "comparisons"}
_SEVERAL = ("logger", "callbacks", "experiment", "debug")  # groups of which a list may be chosen
_LONGEST_KEY, _SHOWN = 200, 40
_MOST_JOBS = 10_000  # of one range
_LISTED = 20  # more settings than this are left to --help
_KINDS = {bool: Rule("flag"), int: Rule("whole"), float: Rule("number")}


def check_flags(argv: Sequence[str], conf: Path, config_name: str) -> None:
    """Refuse a flag that there is not, with what may have been meant, and flags that exclude one another."""
    names = [argument.partition("=")[0] for argument in argv if argument.startswith("-")]
    ways = {_WAYS.get(name, name) for name in names} & set(_WAYS.values())
    if len(ways) > 1:
        raise UserError(
            f"{' '.join(sorted(ways))}: one of these at a time; --cfg job shows the config of one job: leave out -m, "
            "and give one value where you would sweep"
        )
    for name in names:
        if name not in FLAGS:
            setting = name.lstrip("-").replace("-", "_")
            if _is_of(setting, conf, config_name):
                raise UserError(f"{name}: settings are written without dashes, key=value: {setting}=…")
            raise UserError(f"{name}: there is no such flag; --help lists what there is.{hint(name, FLAGS)}")


def check_config_dir(argv: Sequence[str]) -> None:
    """Refuse a folder of configs that there is not; Hydra would go on without."""
    if (given := config_dir(argv)) and not Path(given[1]).is_dir():
        raise UserError(f"{' '.join(given)}: there is no such folder")


def check_overrides(overrides: Sequence[str], conf: Path, config_name: str) -> None:
    """Refuse what Hydra would let pass and no command could work with.

    That is a setting taken away, or a word for a number, or for true or false: ``resume=flase`` would else count as
    true.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import ChoiceSweep
    from hydra.errors import OverrideParseException

    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except OverrideParseException:
        return  # Hydra will say so
    for override in parsed:
        key = override.key_or_group
        if len(key) > _LONGEST_KEY:  # no file may have such a name
            raise UserError(f"{key[:_SHOWN]}…: there is no such setting")
        if override.is_delete() and not key.startswith("hydra"):
            raise UserError(f"{override.input_line}: a setting cannot be taken away; give it another value, maybe null")
        if key in _RENAMED and not any(True for _ in _written(conf, config_name, key)):
            raise UserError(f"{override.input_line}: this setting is called {_RENAMED[key]}")
        value = override.value()
        if (conf / key).is_dir():
            _check_options(key, value, conf, key in _may_be_empty(conf, config_name))
        _check_not_empty(override, value, "." in key or any(True for _ in _written(conf, config_name, key)))
        typed = _words(value.list if isinstance(value, ChoiceSweep) else [value])
        kinds = {type(value) for value in _written(conf, config_name, key)} if typed else set()
        as_written = tuple(rule for kind, rule in _KINDS.items() if kind in kinds) if kinds <= set(_KINDS) else ()
        rules = (rules_of(key) or as_written) if kinds else ()
        if wrong := [word for word in typed if rules and not any(rule.fits(word) for rule in rules)]:
            near = hint(wrong[0], ("true", "false")) if any(rule.kind == "flag" for rule in rules) else ""
            raise UserError(f"{key}={wrong[0]}: must be {' or '.join(map(str, rules))}.{near}")


def with_empty_groups(overrides: Sequence[str], conf: Path, config_name: str) -> list[str]:
    """Write ``null``, where a group may be left out, as the list that Hydra takes: ``experiment=two_stage,[]``."""
    empty = _may_be_empty(conf, config_name)
    return [
        re.sub(r"(?<=[=,])\s*null\s*(?=,|$)", "[]", override) if override.partition("=")[0] in empty else override
        for override in overrides
    ]


def _may_be_empty(conf: Path, config_name: str) -> set[str]:
    defaults = _yaml(conf / f"{config_name}.yaml").get("defaults", [])
    return {group for entry in defaults if isinstance(entry, Mapping) for group, option in entry.items() if not option}


def _check_options(group: str, value: Any, conf: Path, may_be_empty: bool) -> None:
    """Refuse what is no name where an option of a group is chosen; Hydra itself would end in a traceback."""
    from hydra.core.override_parser.types import ChoiceSweep, Glob, Sweep

    values = value.list if isinstance(value, ChoiceSweep) else [] if isinstance(value, Sweep | Glob) else [value]
    for option in values:
        text = getattr(option, "text", option)
        if isinstance(text, list) and len(text) > 1 and group not in _SEVERAL:
            names = ",".join(str(getattr(name, "text", name)) for name in text)
            raise UserError(f"{group}=[{names}]: one {group} at a time; to try each of them: -m {group}={names}")
        if not isinstance(text, str | list) or not (text or may_be_empty):
            shown = "null" if text is None else text
            raise UserError(f"{group}={shown}: unknown {group}; there are: {', '.join(_options(conf, group))}.")


def _options(conf: Path, group: str) -> list[str]:
    return sorted(path.stem for path in (conf / group).glob("*.yaml"))


def _check_not_empty(override: Any, value: Any, is_setting: bool) -> None:
    """Refuse a sweep over nothing, which Hydra would end with status 0."""
    from hydra.core.override_parser.types import Glob, RangeSweep

    if isinstance(value, Glob) and is_setting:
        raise UserError(
            f"{override.input_line}: glob chooses among the options of a group, and this is a setting; write its "
            "values: fold=0,1,2,3,4 or fold=range(0,5)"
        )
    if isinstance(value, RangeSweep):
        ends = [float("nan" if number is None else number) for number in (value.start, value.stop, value.step)]
        if not all(map(math.isfinite, ends)) or not ends[2]:
            raise UserError(f"{override.input_line}: range(START,STOP,STEP) needs numbers, and a step that is not 0")
        if (ends[1] - ends[0]) / ends[2] > _MOST_JOBS:
            raise UserError(f"{override.input_line}: more than {_MOST_JOBS:,} values")
        if not any(True for _ in value.range()):
            raise UserError(f"{override.input_line}: there is nothing in this range")


def explained(error: Exception, overrides: Sequence[str], conf: Path, config_name: str) -> str:
    """Say what was wrong with a command line that Hydra could not compose; other errors keep their own text."""
    text = str(error).strip()
    if match := re.match(
        r"(?:Ambiguous value for argument|Sweep parameters) '(.+?)'(?: requires|$)", text, re.MULTILINE
    ):
        return f"{match[1]}: several values are a sweep, which -m asks for: -m {match[1]}; a list is written [A,B]"
    if "does not support sweep type" in text:
        drawn = next((override for override in overrides if "interval(" in override), " ".join(overrides))
        return f"{drawn}: only a search (experiment=optuna) draws from an interval; here write the values: A,B,C"
    if (key := getattr(error, "full_key", None)) and "Could not override" not in text:
        if key in ("hydra.run.dir", "hydra.sweep.dir") and "${outputs}" in text:
            return "outputs: must be text: the folder where everything is written"
        if text.startswith("Missing mandatory value"):
            return f"{key} is needed: {key}=…"
        return f"{key}: {text.splitlines()[0]}"
    if (typed := getattr(error, "override", None)) is not None or "See https://hydra.cc" in text:
        reason = text.splitlines()[1 if text.startswith("Error parsing") else 0]
        if strange := [character for character in str(typed or "") if not character.isascii()]:
            key, _, value = str(typed).partition("=")
            return f"{typed}: {strange[0]!r} must stand in quotes, those of the shell around them: '{key}=\"{value}\"'"
        return (
            f"{typed or ' '.join(overrides)}: cannot be read ({reason}); write key=value, and quote what the shell "
            "would take apart: 'model.kernels=[3,5,7,9]'"
        )
    if text.startswith("Cannot find primary config"):
        return text.splitlines()[0]
    if missing := getattr(error, "missing_cfg_file", None):
        group, _, option = missing.rpartition("/")
        extra = f" It needs: pip install {_PACKAGES[option]}" if option in _PACKAGES else ""
        options = list(getattr(error, "options", None) or _options(conf, group))  # of a list, Hydra names none
        return f"unknown {group} {option!r}; there are: {', '.join(options)}.{extra or hint(option, options)}"
    if match := re.match(r"Multiple values for (\S+)\.", text) or re.search(r"already at '([^']+)'", text):
        return f"+{match[1]}: it is there already; leave out the +"
    if match := re.match(r"Could not override '([^']+)'", text):
        return _unknown_key(match[1].partition("@")[0], overrides, conf, config_name)
    # Hydra puts the reason of a failed composition into the cause; its own text only says where it was.
    cause = str(error.__cause__ or "").strip()
    return text if cause in text else f"{text}\n{cause}"


def _unknown_key(key: str, overrides: Sequence[str], conf: Path, config_name: str) -> str:
    if (conf / key).is_dir() and "/" in key:
        from hbac.cli.help import first_comment

        example = first_comment(min((conf / key).glob("*.yaml")))[0]
        return f"{key}: nothing here has that choice. It goes so: {example}"
    for group, options in _swept(overrides, conf):
        lacking = [
            option
            for option in options
            if key not in _keys(_composed([*overrides, f"{group}={option}"], conf, config_name))
        ]
        if lacking and len(lacking) < len(options):
            has = ", ".join(f"{group}={option}" for option in options if option not in lacking)
            without = ", ".join(f"{group}={option}" for option in lacking)
            return f"{key}: {without} has no such setting, only {has}; sweep over them in two commands"
    keys = _keys(_composed(overrides, conf, config_name))
    groups = [str(path.relative_to(conf)) for path in conf.rglob("*") if path.is_dir()]
    parent, _, last = key.rpartition(".")
    message = f"{key}: there is no such setting"
    same_word = next((name for name in keys if name.rpartition(".")[2] == last), None)  # in another place
    commands = sorted(path.stem for path in conf.glob("*.yaml") if path.stem != "common")
    elsewhere = [f"hbac.{name}" for name in commands if _is_of(key, conf, name)]
    if elsewhere and f"hbac.{config_name}" not in elsewhere and not same_word:
        return f"{message} in hbac.{config_name}; it is one of {' and '.join(elsewhere)}"
    siblings = [name.rpartition(".")[2] for name in keys if parent and name.rpartition(".")[0] == parent]
    if 0 < len(siblings) <= _LISTED:
        message += f"; {parent} has: {', '.join(siblings)}"
    else:
        message += f"; python -m hbac.{config_name} --help lists what there is"
    if near := nearest(last, siblings):
        meant: str | None = f"{parent}.{near}"
    else:
        meant = same_word or (None if siblings else nearest(key, [*keys, *groups]))
    return f"{message}. Did you mean {meant!r}?" if meant else f"{message}."


def _swept(overrides: Sequence[str], conf: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the groups over which somebody sweeps, each with its options."""
    for override in overrides:
        group, _, options = override.lstrip("+").partition("=")
        if "," in options and (conf / group).is_dir():
            yield group, options.split(",")


def _composed(overrides: Sequence[str], conf: Path, config_name: str) -> Mapping[str, Any]:
    """Compose what there would be without the settings that were typed, with the groups that were."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf

    chosen: list[str] = []
    for override in overrides:
        group, _, options = override.lstrip("+").partition("=")
        option = options.split(",")[0]
        chosen = [line for line in chosen if not line.startswith(f"{group}=")]
        if (conf / group / f"{option}.yaml").is_file():
            chosen.append(f"{group}={option}")
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf), version_base="1.3"):
        try:
            config = compose(config_name, chosen)
        except Exception:  # one of them is wrong as well: this is only for a suggestion
            config = compose(config_name)
    return OmegaConf.to_container(config)  # type: ignore[return-value]


def _keys(node: Mapping[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key, value in node.items():
        found.append(f"{prefix}{key}")
        if isinstance(value, Mapping):
            found += _keys(value, f"{prefix}{key}.")
    return [key for key in found if not key.rpartition(".")[2].startswith("_")]


def _is_of(key: str, conf: Path, config_name: str) -> bool:
    """Say whether a command has a setting or a group of that name."""
    from hbac.cli.help import groups_of

    top = re.split(r"[./]", key)[0]
    return any(
        top == group or (group is None and top in _yaml(conf / f"{name}.yaml"))
        for group, name in groups_of(conf, config_name)
    )


def _words(values: Sequence[Any]) -> list[str]:
    """Return those that are text; Hydra's grammar knows numbers, true, false and null by itself."""
    from hydra.core.override_parser.types import QuotedString

    texts = [value.text if isinstance(value, QuotedString) else value for value in values]
    return [text for text in texts if isinstance(text, str) and not text.startswith("${")]


def _written(conf: Path, config_name: str, key: str) -> Iterator[Any]:
    """Yield the values that a setting has in the configs."""
    parts = key.split(".")
    for depth in range(len(parts)):
        folder = conf.joinpath(*parts[:depth])
        files = sorted(folder.glob("*.yaml")) if depth else [conf / f"{config_name}.yaml", conf / "common.yaml"]
        for file in files:
            node: Any = _yaml(file)
            for part in parts[depth:]:
                node = node.get(part) if isinstance(node, Mapping) else None
            if node is not None:
                yield node


def _yaml(path: Path) -> Mapping[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
