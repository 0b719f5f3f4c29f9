"""Many networks over many windows: each window read once, filtered once for each front-end, seen by all its networks.

What is done is kept chunk by chunk, so that a prediction that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from hbac.common.choices import check_choice
from hbac.common.errors import UserError
from hbac.common.progress import progress
from hbac.data.windows import Batch, WindowDataset, identity
from hbac.ensembling.ensemble_file import Ensemble
from hbac.inference.kept import Chunk, chunk_path, keeping, kept_or
from hbac.inference.stopwatch import Stopwatch
from hbac.labels.targets import population_of
from hbac.models.population_head import PopulationHead
from hbac.recordings.amplitudes import count_looks
from hbac.runs.folder import MODEL_FILE, WEIGHTS_FILE
from hbac.runs.model import Model, load_run
from hbac.signal.image_front_end import SOURCES
from hbac.signal.plausible import looks_of_windows
from hbac.signal.tta import PLAIN, variant_of
from hbac.training.precision import choose_precision
from hbac.vocabulary import N_CLASSES

if TYPE_CHECKING:
    from hbac.inference.on_ray import RayActors

# Tensors: R run (network), B window, K class.

log = logging.getLogger("hbac.infer")

CHUNK_BATCHES = 8  # batches between two files: what a kill loses
_NUMBERS = {"32-true": None, "16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}


@dataclass
class Networks:
    """The networks of an ensemble, by the front-end that they share."""

    models: list[Model]  # one for each run, on one device
    member: list[int]  # number of the member that each run belongs to
    hashes: list[str]  # of each run's weights and settings
    # What the networks compute in, of `_NUMBERS`; front-ends and probabilities are float32 whatever it is.
    precision: str = "32-true"
    elsewhere: str = ""  # the device of other machines that predict in place of this one; empty where none do
    clock: Stopwatch = field(default_factory=Stopwatch, init=False)  # of the time in the networks themselves so far
    windows: int = field(default=0, init=False)  # that they have seen
    # How many windows looked like what (`hbac.recordings.amplitudes`), those of an interrupted prediction included.
    looks: NDArray[np.int64] = field(default_factory=lambda: count_looks(np.zeros(0, np.uint8)), init=False)

    @classmethod
    def of(
        cls,
        ensemble: Ensemble,
        device: str = "auto",
        precision: str = "auto",
        allow: str | Sequence[str] = (),
        population: str | None = None,
        elsewhere: bool = False,
    ) -> Networks:
        """Load the networks of all members, whose run folders the ensemble names.

        Of `device` and `precision`, ``auto`` is what `choose_place` makes of them; those of other machines where they
        predict `elsewhere`, and the networks only wait to be sent there. Networks with a map for each vote population
        predict by that of `population` (``all``: the mean of both); where absent, by that of their run, whose
        out-of-fold table it made and the blend was fitted on.

        A `UserError` when a member has no runs (its table came from elsewhere), a run folder is missing or damaged, or
        there is no such precision, device or population.
        """
        if population is not None:
            population_of(population)
        for member in ensemble.members:
            if not member.runs:
                raise UserError(
                    f"member {member.name}: its predictions came from a table without run folders, so that there is no "
                    "network to predict with; leave it out of the ensemble"
                )
        if not elsewhere:
            device, precision = choose_place(device, precision)
        runs = [(m, run) for m, member in enumerate(ensemble.members) for run in member.runs]
        models = [load_run(run, allow) for _, run in runs]
        for model in models if population is not None else []:
            if isinstance(model.network, PopulationHead):
                model.network.predict_by(str(population))
        hashes = [_hash(run) + (population or "") for _, run in runs]
        networks = cls(models, [m for m, _ in runs], hashes, precision, device if elsewhere else "")
        return networks.to("cpu" if elsewhere else device)

    def to(self, device: str) -> Networks:
        """Move all networks and front-ends to a device; one that there is not is a `UserError`."""
        try:
            for model in self.models:
                model.to(device)
        except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
            raise UserError(f"device={device}: {str(error).splitlines()[0]}") from None
        return self

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.models[0].network.parameters()).device

    @property
    def sources(self) -> list[str]:
        """What has to be read of a window."""
        return [name for name in SOURCES if any(name in model.sources for model in self.models)]

    @property
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

    def provenance(self) -> list[dict[str, Any]]:
        """Say of each run which member and fold it is: what a table of pseudo-labels has to carry."""
        return [
            {key: model.facts[key] for key in ("member", "fold", "fold_hash", "lineage") if key in model.facts}
            for model in self.models
        ]

    @torch.inference_mode()
    def predict(
        self, batch: Batch, variants: Sequence[str] = (PLAIN,), groups: Collection[int] | None = None
    ) -> Tensor:
        """Predict a batch, the windows of `sources`, with every network: (runs, batch, 6), float32.

        Probabilities are averaged over the variants (`hbac.signal.tta.check_variants`), and 0 for networks that are not
        asked: those of other `groups` than the ones at these places.
        """
        device = self.device
        windows = {name: batch[name].to(device, non_blocking=True) for name in self.sources}
        n_windows = len(batch["row"])
        prob_RBK = torch.zeros(len(self.models), n_windows, N_CLASSES, device=device)
        for variant in variants:
            seen = variant_of(variant, windows)
            for g, group in enumerate(self.groups):
                if groups is not None and g not in groups:
                    continue
                first = self.models[group[0]]
                prob_RBK[group] += self.see(g, first.front_end(*(seen[name] for name in first.sources)))
        self.windows += n_windows
        return prob_RBK / len(variants)

    @torch.inference_mode()
    def see(self, group: int, x: Tensor) -> Tensor:
        """Let the networks of one group see what their front-end made: (runs of the group, batch, 6), float32."""
        numbers = _NUMBERS[self.precision]
        with self.clock.running(x.device), torch.autocast(x.device.type, numbers, enabled=numbers is not None):
            prob = [self.models[r].network(x).float().softmax(dim=1) for r in self.groups[group]]
        return torch.stack(prob)


def choose_place(device: str, precision: str) -> tuple[str, str]:
    """Choose, of ``auto``, the device and the precision of this machine; pass what else was named on.

    A `UserError` when there is no such device or precision.
    """
    check_choice("precision", precision, ("auto", *_NUMBERS))
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(device).type
        if kind == "meta":  # which has shapes and no values
            raise RuntimeError("computes nothing")
    except RuntimeError as error:
        raise UserError(f"device={device}: {str(error).splitlines()[0]}") from None
    return device, choose_precision(precision, "gpu" if kind == "cuda" else kind)


def _hash(run: Path) -> str:
    digest = hashlib.sha256()
    for name in (WEIGHTS_FILE, MODEL_FILE):
        digest.update((run / name).read_bytes())
    return digest.hexdigest()


@dataclass
class RowChunks:
    """Rows in chunks of some batches: what is kept, and may be predicted anywhere."""

    networks: Networks
    windows: WindowDataset
    batch_size: int
    variants: Sequence[str] = (PLAIN,)

    @property
    def starts(self) -> range:
        """The first row of each chunk."""
        return range(0, len(self.windows), self.batch_size * CHUNK_BATCHES)

    def __call__(self, start: int, tell: Callable[[int, int], None] | None = None) -> Chunk:
        """Predict a chunk: probabilities (runs, rows, 6), and how many windows looked like what."""
        rows = range(start, min(start + self.starts.step, len(self.windows)))
        looks = np.zeros_like(self.networks.looks)
        batches: list[NDArray[np.float32]] = []
        for batch in DataLoader(Subset(self.windows, rows), batch_size=self.batch_size, collate_fn=identity):
            if tell is not None:
                tell(start + len(batches) * self.batch_size, len(self.windows))
            batches.append(self.networks.predict(batch, self.variants).cpu().numpy())
            if "eeg" in batch:
                looks += count_looks(looks_of_windows(batch["eeg"]))
        return np.concatenate(batches, axis=1), looks


def predict_runs(work: RowChunks, kept: Path | None = None, cluster: RayActors | None = None) -> NDArray[np.float32]:
    """Predict rows with every network: (runs, rows, 6).

    What is done is kept in a folder named after all that decides the result, and what an interrupted prediction left
    there is taken. A `cluster` predicts what is to be kept. A `UserError` when another process is writing to `kept`, or
    the disk is full.
    """
    prob = [np.zeros((len(work.networks.models), 0, N_CLASSES), np.float32)]
    with nullcontext() if kept is None else keeping(kept):
        if kept is not None and cluster is not None:
            cluster.fill(work, {start: chunk_path(kept, start) for start in work.starts})
        with progress("predicting") as tell:
            for start in work.starts:
                chunk = kept_or(kept, start, partial(work, start, tell))
                prob.append(chunk[0])
                work.networks.looks += chunk[1]
    return np.concatenate(prob, axis=1)


def members_of_runs(prob_RNK: NDArray[np.floating], member: Sequence[int]) -> NDArray[np.float64]:
    """Average the networks of each member's folds: (runs, rows, 6) to (members, rows, 6), by each run's member."""
    numbers = np.asarray(member)
    return np.stack([prob_RNK[numbers == m].mean(axis=0, dtype=np.float64) for m in range(numbers.max() + 1)])
