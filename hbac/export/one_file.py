"""One file that predicts: windows in, probabilities out, in ONNX's format or PyTorch's; compared with `hbac.load`.

Nothing of hbac is needed to run it. What it takes and returns stands in the file itself: as metadata of the ONNX model,
as ``hbac.json`` in PyTorch's archive.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hbac import __version__
from hbac.common.errors import UserError
from hbac.evaluation.metric import kl_rows
from hbac.export.graph import Graph
from hbac.inference.loading import EnsembleModel
from hbac.recordings.columns import SPECTROGRAM_COLUMNS
from hbac.runs.model import Model
from hbac.vocabulary import CHANNELS, CLASSES, N_CHANNELS, SFREQ, SPECTROGRAM_ROWS, WINDOW_SAMPLES

# Legend of tensor names: B window, K class.

FILES = {"onnx": "model.onnx", "torch": "model.pt2"}
WINDOWS = {"float32": torch.float32, "float16": torch.float16}  # what a file takes

#: Largest difference of a probability from `hbac.load` that is accepted, by what weights are stored in.
TOLERANCES = {"float32": 1e-4, "float16": 5e-3, "int8": 5e-2}

_OPSET = 20
_LAYOUTS = {
    "eeg": f"batch, 10000 samples at {SFREQ:g} Hz, 20 channels in microvolt: {' '.join(CHANNELS)}; NaN where missing",
    "official": "batch, 300 rows of 2 s, 400 columns of power: LL, RL, LP, RP by rising frequency; NaN where missing",
}


@dataclass(frozen=True)
class Difference:
    """How far a file is from what it was made of."""

    windows: int  # how many were compared
    largest: float  # absolute difference of a probability
    kl: float  # mean divergence of the file's probabilities from those of `hbac.load`, in nats


def require(to: str) -> None:
    """Refuse a format, ``onnx`` or ``torch``, whose packages are not installed, before anything is computed."""
    needed = ("onnx", "onnxscript", "onnxruntime") if to == "onnx" else ()
    if missing := [name for name in needed if find_spec(name) is None]:
        raise UserError(f"to={to} needs {', '.join(missing)}: pip install {' '.join(missing)}")


def write_file(model: Model | EnsembleModel, path: Path, to: str, windows: str, stored: str) -> None:
    """Write a model, on the CPU, as one file: an ONNX model, or an archive of `torch.export`.

    `windows` is what it takes, ``float32`` or ``float16``, `stored` what its weights are stored in
    (`hbac.export.graph.Stored`). A `UserError` when the model cannot be recorded, or the format lacks one of its steps.
    """
    graph = Graph(model, complex_numbers=to != "onnx", stored=stored)
    examples = tuple(torch.zeros(2, *_shape(name), dtype=WINDOWS[windows]) for name in graph.sources)
    any_batch = tuple({0: torch.export.Dim("batch")} for _ in examples)
    about = {
        "hbac_version": __version__,
        "classes": ",".join(CLASSES),
        **{name: f"({_LAYOUTS[name]}), {windows}" for name in graph.sources},
        "prob": "(batch, 6 classes), float32, each row sums to 1",
        "weights": stored,
    }
    with _quiet(), torch.no_grad():
        try:
            program = torch.export.export(graph, examples, dynamic_shapes=(any_batch,))
            if to == "torch":
                written = io.BytesIO()  # not the file itself: on a full disk torch aborts the process
                torch.export.save(program, written, extra_files={"hbac.json": json.dumps(about)})
                path.write_bytes(written.getbuffer())
                return
            made = torch.onnx.export(
                program,
                dynamo=True,
                optimize=True,
                verbose=False,
                opset_version=_OPSET,
                input_names=list(graph.sources),
                output_names=["prob"],
            )
            assert made is not None
            made.model.metadata_props.update(about)
            made.save(path)
        except (UserError, OSError):
            raise
        except Exception as error:  # of many kinds, and the reason stands at the end of many lines
            reason = next((line for line in reversed(str(error).splitlines()) if line.strip()), repr(error))
            raise UserError(f"to={to}: this model cannot be recorded: {type(error).__name__}: {reason}") from error


def _shape(source: str) -> tuple[int, int]:
    return {"eeg": (WINDOW_SAMPLES, N_CHANNELS), "official": (SPECTROGRAM_ROWS, len(SPECTROGRAM_COLUMNS))}[source]


def read_file(path: Path, to: str) -> Callable[..., np.ndarray]:
    """Return a function that runs a written file: a tensor for each source to probabilities of shape (batch, 6)."""
    if to == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        names = [entry.name for entry in session.get_inputs()]
        return lambda *given: session.run(
            None, {name: window.numpy() for name, window in zip(names, given, strict=True)}
        )[0]
    module = torch.export.load(path).module()

    def predict(*given: Tensor) -> np.ndarray:
        with torch.inference_mode():
            prob_BK: np.ndarray = module(*given).numpy()
        return prob_BK

    return predict


def compare(
    model: Model | EnsembleModel, predict: Callable[..., np.ndarray], given: Sequence[Tensor], windows: str
) -> Difference:
    """Compare a file with the model that it was made of, on some windows together and on one alone.

    `predict` is as `read_file` returns it, `given` has float16 windows for each source, `windows` is what the file
    takes.
    """
    expected_BK = model(*given).numpy().astype(np.float64)
    cast = [window.to(WINDOWS[windows]) for window in given]
    found_BK = predict(*cast).astype(np.float64)
    alone_BK = predict(*(window[:1] for window in cast))
    largest = max(float(np.abs(found_BK - expected_BK).max()), float(np.abs(alone_BK - expected_BK[:1]).max()))
    return Difference(len(expected_BK), largest, max(0.0, float(kl_rows(expected_BK, found_BK).mean())))


def check(difference: Difference, tolerance: float, what: str) -> None:
    """Refuse a file (`what`) that differs by more than `tolerance` in a probability, or says what is no number."""
    if not difference.largest <= tolerance:
        raise UserError(
            f"{what}: differs from hbac.load by up to {difference.largest:.2g} in a probability, more than "
            f"tolerance={tolerance:g}; nothing was written. weights=float16 or int8 may need a larger one"
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the notes of PyTorch's tracer and converter, on what no user can change, from the console."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def export_text(difference: Difference, settings: dict[str, Any]) -> str:
    """Return what stands beside the file, as JSON: `settings`, and the difference from `hbac.load`."""
    found = {"windows": difference.windows, "largest_difference": difference.largest, "kl_nats": difference.kl}
    return json.dumps(settings | {"hbac_version": __version__, "compared_with_hbac_load": found}, indent=1) + "\n"
