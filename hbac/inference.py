"""Many networks over many windows: each window read once, filtered once for each front-end, seen by all its networks.

What is done is kept chunk by chunk, so that a prediction that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from hbac import __version__
from hbac.data.windows import Batch, WindowDataset, identity
from hbac.ensembling.ensemble_file import Ensemble
from hbac.errors import UserError
from hbac.progress import progress
from hbac.runs import MODEL_FILE, WEIGHTS_FILE, Model, load
from hbac.signal.choices import check_choice
from hbac.signal.image_front_end import SOURCES
from hbac.signal.tta import PLAIN, variant_of
from hbac.training.precision import choose_precision
from hbac.vocabulary import N_CLASSES

# Tensors: R run (network), B window, K class.

CHUNK_BATCHES = 8  # batches between two files: what a kill loses
_NUMBERS = {"32-true": None, "16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}


@dataclass(frozen=True)
class Networks:
    """The networks of an ensemble, by the front-end that they share.

    Parameters
    ----------
    models : list of Model
        One for each run, on one device.
    member : list of int
        Number of the member that each run belongs to.
    hashes : list of str
        Of each run's weights and settings.
    precision : str
        ``32-true``, or what the networks compute in on their device: ``16-mixed``, ``bf16-mixed``. Front-ends and
        probabilities are float32 whatever it is.
    """

    models: list[Model]
    member: list[int]
    hashes: list[str]
    precision: str = "32-true"

    @classmethod
    def of(cls, ensemble: Ensemble, device: str = "auto", precision: str = "auto") -> Networks:
        """Load the networks of all members.

        Parameters
        ----------
        ensemble : Ensemble
            Its members name their run folders.
        device : str
            ``auto``, ``cpu``, ``cuda`` …
        precision : str
            ``auto`` (see `hbac.training.precision.choose_precision`), ``32-true``, ``16-mixed`` or ``bf16-mixed``.

        Returns
        -------
        Networks
            All of them.

        Raises
        ------
        UserError
            When a member has no runs (its table came from elsewhere), a run folder is missing or damaged, or there is
            no such precision or device.
        """
        check_choice("precision", precision, ("auto", *_NUMBERS))
        for member in ensemble.members:
            if not member.runs:
                raise UserError(
                    f"member {member.name}: its predictions came from a table without run folders, so that there is no "
                    "network to predict with; blend the others alone: python -m hbac.ensemble members=[…]"
                )
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        runs = [(m, run) for m, member in enumerate(ensemble.members) for run in member.runs]
        try:
            models = [load(run).to(torch.device(device)) for _, run in runs]
        except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
            raise UserError(f"device={device}: {str(error).splitlines()[0]}") from None
        accelerator = torch.device(device).type.replace("cuda", "gpu")
        return cls(
            models, [m for m, _ in runs], [_hash(run) for _, run in runs], choose_precision(precision, accelerator)
        )

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.models[0].network.parameters()).device

    @cached_property
    def sources(self) -> list[str]:
        """What has to be read of a window."""
        return [name for name in SOURCES if any(name in model.sources for model in self.models)]

    @cached_property
    def folds(self) -> NDArray[np.int64]:
        """The fold that each run never saw."""
        return np.array([model.facts["fold"] for model in self.models])

    @cached_property
    def groups(self) -> list[list[int]]:
        """Numbers of the runs that share a front-end."""
        groups: dict[str, list[int]] = {}
        for r, model in enumerate(self.models):
            groups.setdefault(json.dumps(model.facts["front_end"], sort_keys=True), []).append(r)
        return list(groups.values())

    def described(self) -> list[dict[str, Any]]:
        """Say of each run which member and fold it is: what a table of pseudo-labels has to carry."""
        return [{key: model.facts[key] for key in ("member", "fold", "fold_hash")} for model in self.models]

    @torch.inference_mode()
    def predict(self, batch: Batch, variants: Sequence[str] = (PLAIN,)) -> Tensor:
        """Predict a batch with every network.

        Parameters
        ----------
        batch : dict of Tensor
            The windows of `sources`.
        variants : sequence of str
            As `hbac.signal.tta.check_variants` returns them; probabilities are averaged over them.

        Returns
        -------
        Tensor, shape (runs, batch, 6)
            Probabilities, float32, on the networks' device: nothing has waited for it yet.
        """
        device, numbers = self.device, _NUMBERS[self.precision]
        windows = {name: batch[name].to(device, non_blocking=True) for name in self.sources}
        prob_RBK = torch.zeros(len(self.models), len(batch["row"]), N_CLASSES, device=device)
        for variant in variants:
            seen = variant_of(variant, windows)
            for group in self.groups:
                first = self.models[group[0]]
                x = first.front_end(*(seen[name] for name in first.sources))
                with torch.autocast(device.type, numbers, enabled=numbers is not None):
                    for r in group:
                        prob_RBK[r] += self.models[r].network(x).float().softmax(dim=1)
        return prob_RBK / len(variants)


def _hash(run: Path) -> str:
    digest = hashlib.sha256()
    for name in (WEIGHTS_FILE, MODEL_FILE):
        digest.update((run / name).read_bytes())
    return digest.hexdigest()


def predict_runs(
    networks: Networks,
    windows: WindowDataset,
    batch_size: int,
    variants: Sequence[str] = (PLAIN,),
    kept: Path | None = None,
) -> NDArray[np.float32]:
    """Predict rows with every network.

    Parameters
    ----------
    networks : Networks
        The networks.
    windows : WindowDataset
        The rows.
    batch_size : int
        Windows in a batch.
    variants : sequence of str
        As `hbac.signal.tta.check_variants` returns them.
    kept : Path, optional
        Folder for what is done (`kept_folder`). What an interrupted prediction left there is taken.

    Returns
    -------
    ndarray of float32, shape (runs, rows, 6)
        Probabilities.

    Raises
    ------
    UserError
        When the disk is full.
    """
    step = batch_size * CHUNK_BATCHES
    prob_RNK = np.zeros((len(networks.models), len(windows), N_CLASSES), np.float32)
    with progress("predicting") as report:
        for start in range(0, len(windows), step):
            part = prob_RNK[:, start : start + step]
            if kept is not None and _take(kept / f"{start}.npy", part):
                continue
            rows = Subset(windows, range(start, start + part.shape[1]))
            done = 0
            for batch in DataLoader(rows, batch_size=batch_size, collate_fn=identity):
                report(start + done, len(windows))
                prob_RBK = networks.predict(batch, variants).cpu().numpy()
                part[:, done : done + prob_RBK.shape[1]] = prob_RBK
                done += prob_RBK.shape[1]
            if kept is not None:
                _keep(kept / f"{start}.npy", part)
    return prob_RNK


def _take(path: Path, into: NDArray[np.float32]) -> bool:
    try:
        into[:] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):  # not there, or cut short by a loss of power: to be computed
        return False
    return True


def _keep(path: Path, prob_RNK: NDArray[np.float32]) -> None:
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    try:
        with partial.open("wb") as file:
            np.save(file, prob_RNK, allow_pickle=False)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None


def kept_folder(outputs: Path, networks: Networks, *deciding: Any) -> Path:
    """Name the folder of an interrupted prediction after all that decides its result.

    The blend is not among it: it is applied to what is kept. Where the result is written, and when, is not either, so
    that the same command finds the folder again although its ``out`` has the time of day in it.

    Parameters
    ----------
    outputs : Path
        Where everything is written.
    networks : Networks
        Their weights, settings, device and precision count.
    *deciding : object
        What else does: fingerprints, split, variants, batch size.

    Returns
    -------
    Path
        Below ``outputs/cache``.
    """
    described = json.dumps([__version__, networks.hashes, networks.device.type, networks.precision, *deciding])
    return outputs / "cache" / f"infer-{hashlib.sha256(described.encode()).hexdigest()[:16]}"


@contextmanager
def keeping(kept: Path) -> Iterator[None]:
    """Hold the folder of a prediction; once its result is written, nothing is left of it.

    Parameters
    ----------
    kept : Path
        As `kept_folder` returned it.

    Yields
    ------
    None
        While no other process may work on the same prediction. An error or a kill inside leaves the folder as it is.

    Raises
    ------
    UserError
        When another process is making the same prediction, or the folder cannot be made.
    """
    try:
        kept.mkdir(parents=True, exist_ok=True)
        lock = FileLock(kept.with_suffix(".lock"), timeout=0).acquire()
    except Timeout:
        raise UserError(f"{kept}: another process is making this very prediction; wait for it") from None
    except OSError as error:
        raise UserError(f"{kept}: cannot be written: {error.strerror}") from None
    with lock:
        yield
        shutil.rmtree(kept, ignore_errors=True)
    kept.with_suffix(".lock").unlink(missing_ok=True)


def members_of_runs(prob_RNK: NDArray[np.floating], member: Sequence[int]) -> NDArray[np.float64]:
    """Average the networks of each member's folds.

    Parameters
    ----------
    prob_RNK : ndarray, shape (runs, rows, 6)
        Probabilities.
    member : sequence of int
        Number of each run's member, from 0.

    Returns
    -------
    ndarray of float64, shape (members, rows, 6)
        Probabilities.
    """
    numbers = np.asarray(member)
    return np.stack([prob_RNK[numbers == m].mean(axis=0, dtype=np.float64) for m in range(numbers.max() + 1)])
