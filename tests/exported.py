"""How far each form of an exported ensemble is from `hbac.infer` on real windows: the table of docs/export.md.

``python -m tests.exported FOLDER`` takes the ensemble of FOLDER's ``outputs``, as `make demo` leaves it, and fold 0 of
each of its members; types `hbac.infer` and each export; has each predict the windows of `shared/data`, those of Kaggle
in a new environment without network; and prints the table. What lies in FOLDER already is not exported again.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hbac.evaluation.metric import kl_rows
from hbac.export.kaggle import ASSUMED, LACKING
from hbac.recordings.columns import SPECTROGRAM_COLUMNS
from hbac.vocabulary import CHANNELS, SPECTROGRAM_ROWS, VOTE_COLUMNS
from tests.test_commands import ROOT, command

# Largest difference of a probability that is accepted in a test, by what weights are stored in.
FILES = {
    "to=onnx": 2e-5,
    "to=onnx takes=float16": 2e-5,
    "to=onnx weights=float16": 1e-3,
    "to=onnx weights=int8": 0.05,
    "to=torch": 2e-5,
    "to=torch weights=float16": 1e-3,
    "to=torch weights=int8": 0.05,
}
FOLDERS = ("to=hub", "to=kaggle")
WINDOWS = ROOT.parent / "shared" / "data" / "iiic"
_LIKE = "dataset.on_missing=mask"  # those windows have no official spectrograms
ALONE = ("unshare", "-rnm")  # as root of its own, without network, with mounts of its own


class Form(NamedTuple):
    """A form, and what it said: its size in bytes, and how far it is from `hbac.infer`."""

    typed: str
    size: int
    largest: float
    kl: float


def probabilities(submission: Path) -> NDArray[np.float64]:
    found: NDArray[np.float64] = pd.read_csv(submission)[list(VOTE_COLUMNS)].to_numpy()
    return found


def compare(source: Path, folder: Path, typed: Iterable[str], windows: Path = WINDOWS) -> Iterator[Form]:
    """Type `hbac.infer` and exports of a run or an ensemble in `folder`, and say how far apart they are."""
    folder.mkdir(parents=True, exist_ok=True)
    data = ("dataset=hms", f"dataset.root={windows}", "logger=csv", _LIKE)
    command(folder, "hbac.infer", f"ensemble={source}", *data, "out=submission.csv")
    expected = probabilities(folder / "submission.csv")
    named = "run" if (source / "model.json").is_file() else "ensemble"
    for words in typed:
        out = folder / words.replace("=", "-").replace(" ", "_")
        if not out.exists():
            command(folder, "hbac.export", f"{named}={source}", *words.split(), f"out={out}")
        if words == "to=hub":
            command(folder, "hbac.infer", f"ensemble={out}", *data, f"out={out}.csv")
            found = probabilities(Path(f"{out}.csv"))
        elif words == "to=kaggle":
            with tempfile.TemporaryDirectory(dir=folder) as there:
                found = probabilities(run_notebook(out, windows, Path(there) / "kaggle", f"INFER += {[_LIKE]}")[0])
        else:
            found = predicted(out, windows)
        size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
        yield Form(words, size, float(np.abs(found - expected).max()), float(kl_rows(expected, found).mean().clip(0)))


def predicted(folder: Path, windows: Path) -> NDArray[np.float64]:
    """What an exported file says of a test part; nothing of hbac reads the files, or runs the graph."""
    ids = pd.read_csv(windows / "test.csv")["eeg_id"]
    eeg = np.stack([pd.read_parquet(windows / f"test_eegs/{each}.parquet")[list(CHANNELS)] for each in ids])
    given = {
        "eeg": eeg.astype(np.float16),  # as a store holds it
        "official": np.full((len(ids), SPECTROGRAM_ROWS, len(SPECTROGRAM_COLUMNS)), np.nan, np.float16),
    }
    as_taken = np.float16 if json.loads((folder / "export.json").read_text())["takes"] == "float16" else np.float32
    if (folder / "model.onnx").exists():
        import onnxruntime

        session = onnxruntime.InferenceSession(folder / "model.onnx")
        (prob,) = session.run(None, {entry.name: given[entry.name].astype(as_taken) for entry in session.get_inputs()})
    else:
        import torch

        about = {"hbac.json": ""}
        module = torch.export.load(folder / "model.pt2", extra_files=about).module()
        sources = [name for name in given if name in json.loads(about["hbac.json"])]
        with torch.no_grad():
            prob = module(*(torch.from_numpy(given[name].astype(as_taken)) for name in sources)).numpy()
    found: NDArray[np.float64] = prob.astype(np.float64)
    return found


def image_of(names: tuple[str, ...], folder: Path) -> Path:
    """Link what some packages, and what they need, have installed here: a machine with these and nothing else."""
    folder.mkdir()
    waiting, seen = list(names), set()
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in seen or name in (*LACKING, "hbac"):
            continue
        seen.add(name)
        try:
            found = distribution(name)
        except ModuleNotFoundError:
            continue  # of another platform
        for entry in {file.parts[0] for file in found.files or () if file.parts[0] != ".."}:
            here, there = Path(str(found.locate_file(entry))), folder / entry
            if not there.exists():
                there.symlink_to(here)
        needed = [line for line in found.requires or () if "extra ==" not in line]
        waiting += [re.split(r"[ ;<>=!~\[(]", line)[0] for line in needed]
    return folder


def cells(folder: Path) -> list[str]:
    """The notebook's cells."""
    content = json.loads((folder / "submission.ipynb").read_text())
    assert (content["nbformat"], {cell["cell_type"] for cell in content["cells"]}) == (4, {"code"})
    return ["".join(cell["source"]) for cell in content["cells"]]


def run_notebook(folder: Path, data: Path, there: Path, more: str = "") -> tuple[Path, str]:
    """Use Kaggle's folder as Kaggle would, but for `more`, typed between the second cell and the third.

    In a new environment with what is assumed to be in its image and nothing else, without network, from a read-only
    input, in another folder. Returns the submission, and what was printed.
    """
    there.mkdir()
    subprocess.run([sys.executable, "-m", "venv", str(there / "venv")], check=True)
    (site,) = (there / "venv" / "lib").glob("python*/site-packages")
    (site / "image.pth").write_text(str(image_of(ASSUMED, there / "image")))
    for name in ("working", "input", "input/data", "input/my-model"):
        (there / name).mkdir()
    first, second, *rest = cells(folder)
    script = there / "notebook.py"
    script.write_text("\n\n".join([first, second, more, *rest]) + "\nprint(submission.shape)\n")
    # Bind mounts that even root cannot write to.
    bind = 'ro() { mount --bind "$1" "$2" && mount -o remount,ro,bind "$2" && ! touch "$2/x" 2> /dev/null; }; '
    read_only = bind + 'ro "$2" "$1/data" && ro "$3" "$1/my-model" && "$4" "$5"'
    given, python = there / "input", there / "venv" / "bin" / "python"
    line = [*ALONE, "sh", "-c", read_only, "sh", str(given), str(data), str(folder), str(python), str(script)]
    environment = {"HBAC_INPUT": str(given), "PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": str(there)}
    done = subprocess.run(line, capture_output=True, text=True, cwd=there / "working", env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return there / "working" / "submission.csv", done.stdout


def main(folder: Path) -> None:
    ensemble = max(folder.resolve().glob("outputs/sweeps/*/ensemble.json")).parent
    for source in (ensemble, *sorted(folder.resolve().glob("outputs/runs/*/fold0"))):
        where = folder.resolve() / "exported" / (source.parent.name if source.name == "fold0" else "ensemble")
        head = "| form | size | largest difference of a probability | mean KL, nats |\n|---|---|---|---|"
        sys.stdout.write(f"\n{where.name}\n\n{head}\n")
        for form in compare(source, where, (*FILES, *FOLDERS)):
            row = (f"`{form.typed}`", f"{form.size / 1e6:.1f} MB", f"{form.largest:.1e}", f"{form.kl:.1e}")
            sys.stdout.write(f"| {' | '.join(row)} |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
