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
ROOMS = (
    "recordings",
    "labels",
    "signal",
    "data",
    "models",
    "training",
    "predictions",
    "ensembling",
    "tracking",
)
MODULES = sorted(m.name for m in pkgutil.walk_packages(hbac.__path__, "hbac.") if ".conf" not in m.name)


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def files(room: str) -> list[Path]:
    return sorted((PACKAGE / room).rglob("*.py"))


@pytest.mark.parametrize("room", ["signal", "models"])
def test_signal_and_models_are_pure_torch(room: str) -> None:
    forbidden = ("lightning", "hydra", "omegaconf", "pandas", "wandb", "pyarrow", "sklearn")
    for path in files(room):
        roots = {name.split(".")[0] for name in imported(path)}
        assert not roots & set(forbidden), path


def test_lightning_lives_in_data_training_and_tracking() -> None:
    for room in set(ROOMS) - {"data", "training", "tracking"}:
        for path in files(room):
            assert not any(name.split(".")[0] == "lightning" for name in imported(path)), path


def test_hydra_lives_at_the_entry() -> None:
    allowed = {"cli.py", "spelling.py", "instantiate.py", "runs.py", "train.py", "job.py", "ensembling/callback.py"}
    for path in PACKAGE.rglob("*.py"):
        name = str(path.relative_to(PACKAGE))
        if name not in allowed:
            assert not any(n.split(".")[0] == "hydra" for n in imported(path)), path


@pytest.mark.parametrize("room", ["recordings", "labels", "signal", "models"])
def test_a_room_knows_only_the_rooms_before_it(room: str) -> None:
    later = {
        "recordings": ROOMS[1:],
        "labels": ROOMS[3:],
        "signal": ("data", *ROOMS[4:]),
        "models": ("data", *ROOMS[5:]),
    }
    for path in files(room):
        for name in imported(path):
            parts = name.split(".")
            assert not (parts[0] == "hbac" and len(parts) > 1 and parts[1] in later[room]), (path, name)


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
