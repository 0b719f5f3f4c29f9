"""A folder for Kaggle: wheels, weights, and a notebook that writes the submission without a network.

The wheels are made of what is installed here, hbac included, so that what was tested is what runs there, and no network
is asked. They are installed without their dependencies: PyTorch and all else that Kaggle's image has stay as they are.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import hbac
from hbac.cli.launch import conf_dir
from hbac.common.errors import UserError
from hbac.common.outputs import replacing
from hbac.export import COMMAND
from hbac.export.hub_folder import write_model

#: Pure Python that Kaggle's image lacks, or has in a version that hbac does not go with.
LACKING = (
    "lightning",
    "lightning-utilities",
    "pytorch-lightning",
    "torchmetrics",
    "hydra-core",
    "omegaconf",
    "antlr4-python3-runtime",
)
#: What is assumed to be there.
ASSUMED = (
    "torch", "torchvision", "timm", "numpy", "pandas", "pyarrow", "scipy", "scikit-learn", "safetensors",
    "huggingface-hub", "wandb", "rich", "plotly", "jinja2", "threadpoolctl", "pyyaml", "filelock", "fsspec", "tqdm",
    "packaging",
)  # fmt: skip
NOTEBOOK = "submission.ipynb"
_HIDDEN_WINDOWS = 2640  # about so many EEGs the hidden test set has, one window each
_LIMIT_H = 9
_WHEEL = "Wheel-Version: 1.0\nGenerator: hbac.export\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def write_kaggle_folder(source: Path, out: Path) -> None:
    """Write a run or an ensemble for Kaggle; `out` is replaced where this command wrote it.

    A `UserError` when a package is not installed here or not pure Python, or something else is in the way.
    """
    with replacing(out, COMMAND, last=NOTEBOOK, own_folders=(".",)) as staged:
        (staged / "model").mkdir()
        write_model(source, staged / "model")
        (staged / "wheels").mkdir()
        for name in ("hbac", *LACKING):
            write_wheel(name, staged / "wheels")
        (staged / "README.md").write_text(_README.format(assumed=", ".join(ASSUMED)), encoding="utf-8")
        # What `kaggle datasets create` reads; the owner's name is put in by its owner.
        about = {"title": "hbac model", "id": "YOUR_NAME/hbac-model", "licenses": [{"name": "other"}]}
        (staged / "dataset-metadata.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        (staged / NOTEBOOK).write_text(notebook(), encoding="utf-8")


def write_wheel(name: str, folder: Path) -> Path:
    """Make a wheel of a distribution that is installed here, and return its path.

    A `UserError` when it is not installed, or holds compiled code.
    """
    try:
        found = distribution(name)
    except PackageNotFoundError:
        raise UserError(f"to=kaggle: {name} is not installed here, so that no wheel of it can be made") from None
    base = f"{name.replace('-', '_')}-{found.version}"
    path, record = folder / f"{base}-py3-none-any.whl", []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:

        def add(inside: str, content: bytes) -> None:
            # With a fixed time, so that the same files make the same wheel.
            archive.writestr(zipfile.ZipInfo(inside, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record.append(f"{inside},sha256={digest},{len(content)}")

        for inside, file in sorted(_files_of_hbac() if name == "hbac" else _files_of(found)):
            if file.suffix in (".so", ".pyd", ".dylib"):
                raise UserError(f"to=kaggle: {name} holds compiled code ({inside}); no wheel can be made of it here")
            add(inside, file.read_bytes())
        info = f"{base}.dist-info"
        for entry in ("METADATA", "entry_points.txt"):
            if text := found.read_text(entry):
                add(f"{info}/{entry}", text.encode())
        add(f"{info}/WHEEL", _WHEEL.encode())
        add(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,"]).encode() + b"\n")
    return path


def _files_of(found: Distribution) -> Iterator[tuple[str, Path]]:
    for file in found.files or ():
        outside = file.parts[0] == ".." or file.parts[0].endswith(".dist-info") or "__pycache__" in file.parts
        if not outside:
            yield file.as_posix(), Path(str(file.locate()))


def _files_of_hbac() -> Iterator[tuple[str, Path]]:
    """List our files as a built wheel has them, the configs inside the package."""
    package = Path(hbac.__file__).parent
    for root, inside in ((package, "hbac"), (conf_dir(), "hbac/conf")):
        for path in root.rglob("*"):
            there = root == package and path.relative_to(root).parts[0] == "conf"  # of an installed hbac
            if path.is_file() and "__pycache__" not in path.parts and not there:
                yield f"{inside}/{path.relative_to(root).as_posix()}", path


def notebook() -> str:
    """Return the notebook of five cells, as JSON."""
    empty: dict[str, Any] = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
    sources = [cell.strip("\n").splitlines(keepends=True) for cell in _CELLS]
    cells = [empty | {"id": f"cell{i}", "source": source} for i, source in enumerate(sources)]
    about = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return json.dumps({"cells": cells, "metadata": about, "nbformat": 4, "nbformat_minor": 5}, indent=1) + "\n"


_CELLS = (
    """
# 1. Install hbac, without a network; what Kaggle's image has stays as it is.
import os, subprocess, sys
from pathlib import Path

INPUT = Path(os.environ.get("HBAC_INPUT", "/kaggle/input"))
HERE = next(INPUT.rglob("wheels/hbac-*.whl")).parents[1]
wheels = sorted(map(str, HERE.glob("wheels/*.whl")))
subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", *wheels], check=True)
""",
    """
# 2. The competition's recordings and the model.
import tempfile

DATA = next(path.parent for path in INPUT.rglob("test.csv") if (path.parent / "test_eegs").is_dir())
WORK = tempfile.mkdtemp()  # of what is built on the way, nothing is kept
INFER = [sys.executable, "-m", "hbac.infer", f"ensemble={HERE / 'model'}", "dataset=hms", f"dataset.root={DATA}",
         f"outputs={WORK}", "logger=csv"]
print(HERE, DATA, sep="\\n")
""",
    f"""
# 3. A dry run on simulated windows: how long the hidden test set will take on this machine.
import time
import hbac, torch
from hbac.export.probe_windows import simulated_windows

model = hbac.load(HERE / "model").to("cuda" if torch.cuda.is_available() else "cpu")
windows = [each.to("cuda" if torch.cuda.is_available() else "cpu") for each in simulated_windows(model.sources)]
model(*windows)  # the first one warms up
began = time.perf_counter()
for _ in range(3):
    model(*windows).cpu()
hours = {_HIDDEN_WINDOWS} * (time.perf_counter() - began) / (3 * len(windows[0])) / 3600
print(f"about {{60 * hours:.0f}} minutes for {_HIDDEN_WINDOWS:,} windows; the limit is {_LIMIT_H} hours")
assert hours < {_LIMIT_H}, "too slow: take a GPU, or an ensemble of fewer networks"
del model
""",
    """
# 4. Predict.
subprocess.run([*INFER, "out=submission.csv"], check=True)
""",
    """
# 5. What was written.
import pandas as pd

submission = pd.read_csv("submission.csv")
assert submission.notna().all().all() and (submission.iloc[:, 1:].sum(axis=1) - 1).abs().max() < 1e-5
submission.head()
""",
)

_README = """# An hbac model for Kaggle

1. Put your name into `dataset-metadata.json` and upload this folder as one (private) data set:
   `kaggle datasets create -p . -r zip`.
2. Open `submission.ipynb` as a notebook of the competition, add the data set to its input, switch the internet off,
   choose a GPU, and save it with "Save & Run All". Its third cell says how long the hidden test set will take.

The wheels are installed without dependencies. Assumed to be in Kaggle's image (Python 3.11 or newer): {assumed}.
"""
