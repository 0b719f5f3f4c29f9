"""The house rules that a machine can check: who may import whom, and what docstrings promise."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest
from numpydoc.docscrape import NumpyDocString

import hbac

PACKAGE = Path(hbac.__file__).parent

# The way of the data, and the order of imports: each room knows only what stands above it. The commands stand last, and
# know everything but one another.
HOUSE = (
    "vocabulary",
    "common",
    "synthetic",
    "recordings",
    "reading",
    "labels",
    "signal",
    "data",
    "models",
    "evaluation",
    "predictions",
    "training",
    "runs",
    "ensembling",
    "inference",
    "events",
    "tracking",
    "report",
    "cli",
    "export",
    "experiment",
)
LONGEST = 400  # lines of a file
COMMANDS = ("train", "ensemble", "infer", "prepare", "workspace", "export.__main__", "report.__main__", "__main__")
MODULES = sorted(m.name for m in pkgutil.walk_packages(hbac.__path__, "hbac.") if ".conf" not in m.name)


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names if node.module == "hbac"}
    return names


def files(room: str) -> list[Path]:
    return sorted((PACKAGE / room).rglob("*.py"))


def place_of(module: str) -> str:
    """The room or command that a module of hbac belongs to; empty for the package itself."""
    inside = module.removeprefix("hbac").lstrip(".")
    return inside if inside in COMMANDS else inside.split(".")[0]


def module_of(path: Path) -> str:
    return ".".join(("hbac", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


def test_every_module_has_a_place() -> None:
    places = {place_of(module_of(path)) for path in PACKAGE.rglob("*.py")}
    assert places - {""} <= {*HOUSE, *COMMANDS}
    assert set(HOUSE) <= places


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=module_of)
def test_a_room_knows_only_the_rooms_above_it(path: Path) -> None:
    own = place_of(module_of(path))
    if own == "":
        return  # `hbac.load` is imported when it is asked for
    above = set(HOUSE) if own in COMMANDS else set(HOUSE[: HOUSE.index(own) + 1])
    below = {name for name in imported(path) if name.split(".")[0] == "hbac"}
    unknown = {name for name in below if place_of(name) not in above | {own, "", "__version__"}}
    assert not unknown


@pytest.mark.parametrize("room", ["signal", "models"])
def test_signal_and_models_are_pure_torch(room: str) -> None:
    forbidden = ("lightning", "hydra", "omegaconf", "pandas", "wandb", "pyarrow", "sklearn")
    for path in files(room):
        roots = {name.split(".")[0] for name in imported(path)}
        assert not roots & set(forbidden), path


def test_lightning_lives_in_data_training_and_tracking() -> None:
    allowed = {*files("data"), *files("training"), *files("tracking"), *files("experiment")}
    for path in set(PACKAGE.rglob("*.py")) - allowed:
        assert not any(name.split(".")[0] == "lightning" for name in imported(path)), path


def test_hydra_lives_at_the_entry() -> None:
    allowed = {
        "cli/launch.py",
        "cli/spelling.py",
        "cli/trusted.py",
        "experiment/launched.py",
        "experiment/merge.py",
    }
    for path in PACKAGE.rglob("*.py"):
        if str(path.relative_to(PACKAGE)) not in allowed:
            assert not any(n.split(".")[0] == "hydra" for n in imported(path)), path


def test_no_file_is_long() -> None:
    assert [path for path in PACKAGE.rglob("*.py") if len(path.read_text().splitlines()) > LONGEST] == []


def test_no_two_files_share_a_name() -> None:
    names = [path.name for path in PACKAGE.rglob("*.py") if not path.name.startswith("__")]
    assert sorted(names) == sorted(set(names))


def test_nothing_is_unpickled() -> None:
    for path in PACKAGE.rglob("*.py"):
        assert not {"pickle", "joblib", "dill"} & {name.split(".")[0] for name in imported(path)}, path
        text = path.read_text()
        assert text.count("torch.load(") + text.count("ckpt_path=") == text.count("weights_only=True)"), path


def public_objects() -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name, value in vars(module).items():
            if name.startswith("_") or getattr(value, "__module__", None) != module_name:
                continue
            if inspect.isclass(value) or inspect.isfunction(value):
                found.append((f"{module_name}.{name}", value))
            if inspect.isclass(value):
                for key, method in vars(value).items():
                    function = method.__func__ if isinstance(method, classmethod | staticmethod) else method
                    if inspect.isfunction(function) and not key.startswith("_"):
                        found.append((f"{module_name}.{name}.{key}", function))
    return found


@pytest.mark.parametrize(("name", "value"), public_objects(), ids=lambda v: v if isinstance(v, str) else "")
def test_documented_parameters_equal_the_signature(name: str, value: object) -> None:
    doc = inspect.getdoc(value)
    assert doc, f"{name} has no docstring"
    documented = [p for entry in NumpyDocString(doc)["Parameters"] for p in entry.name.replace("*", "").split(", ")]
    target = value.__init__ if inspect.isclass(value) and "__init__" in vars(value) else value  # type: ignore[misc]
    if not documented:
        return  # one sentence can be enough; what is documented must be right
    signature = inspect.signature(target)  # type: ignore[arg-type]
    parameters = [p for p in signature.parameters if p not in ("self", "cls") and not p.startswith("_")]
    assert documented == parameters, name
