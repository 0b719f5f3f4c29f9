"""The synthetic data set on disk, in exactly the HMS layout.

Every patient is made from (seed, part, patient) alone, by whichever process comes first, and leaves a shard with its
label rows when all its files are written; a run that was killed goes on with the patients that have no shard.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from hbac.common.choices import check_choice
from hbac.common.errors import UserError
from hbac.common.files import read_json, write_json
from hbac.common.locks import locked
from hbac.common.processes import end_with_parent, signals_held
from hbac.synthetic import spectrogram_file
from hbac.synthetic.draws import Array, uniform
from hbac.synthetic.electrodes import add_gaps
from hbac.synthetic.labels import LabelledEEG, Plan, draw_labels, vote_distribution
from hbac.synthetic.looks import Wish
from hbac.synthetic.patient import Patient, draw_patient
from hbac.synthetic.recording import draw_session, render
from hbac.synthetic.votes import floors
from hbac.vocabulary import (
    CHANNELS,
    CLASSES,
    CONSENSUS_NAMES,
    SFREQ,
    SPECTROGRAM_ROW_S,
    SPECTROGRAM_ROWS,
    VOTE_COLUMNS,
    WINDOW_S,
)

VERSION = 5  # of the simulator: another version means other data from the same seed
PARTS = ("train", "test")
_PARTIAL = ".synthetic-partial-"
_MARGIN_S = SPECTROGRAM_ROWS * SPECTROGRAM_ROW_S / 2 - WINDOW_S / 2  # spectrogram before an EEG's first window


@dataclass(frozen=True)
class Size:
    """How much a size contains: patients, their EEGs, label rows per EEG."""

    train_patients: int
    test_patients: int
    eegs: tuple[float, ...]  # chances of 1, 2, 3 ... EEGs for a patient
    more_rows: float  # than one for an EEG, as a share of what is usual
    max_rows: int
    clarity: float  # 0 for the whole range of EEG; above, patterns are clearer and a short training gets somewhere

    def labels(self, part: str, seed: int) -> tuple[tuple[LabelledEEG, ...], ...]:
        """Draw the labels of a part (``train`` or ``test``): for each patient the EEGs, before any of them is made."""
        code = (seed, PARTS.index(part), 0x1AB)
        if part == "test":  # the hidden test set has one window of each EEG, and many votes on it
            return draw_labels(code, Plan(self.test_patients, (1.0,), 1, self.clarity, only_many=True))
        whole = self.clarity == 0
        plan = Plan(
            self.train_patients, self.eegs, self.max_rows, self.clarity, more_rows=self.more_rows, matched=whole
        )
        return draw_labels(code, plan)


SIZES = {
    "tiny": Size(24, 6, (1.0,), 0.2, 3, 0.9),  # to try commands on: nothing can be learnt from it
    "small": Size(760, 60, (0.88, 0.12), 0.1, 4, 1.0),  # many patients: what limits learning first
    "medium": Size(9000, 200, (0.85, 0.15), 0.8, 60, 0.0),  # a table of ingredients, five folds each
    "large": Size(1950, 400, (0.10,) * 4 + (0.08,) * 4 + (0.035,) * 8, 1.0, 60, 0.0),
}


def write_synthetic(
    root: str | os.PathLike[str],
    size: str = "small",
    seed: int = 0,
    n_jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a synthetic data set in the HMS layout, or return at once where it already is.

    Besides the layout's own files it leaves ``synthetic.json`` (seed, size, version, counts, and the Bayes floors: the
    KL of a predictor that knows how the votes on each window are distributed) and ``truth.csv``, ``test_truth.csv``:
    for each row the votes' mean shares, their expected KL, what the EEG shows, what else it could be, and how much of
    the evidence speaks for that. What is written depends on `size` and `seed` only. A killed run goes on when called
    again; several callers at once wait for one of them.

    A `UserError` where the size is unknown, the seed negative, `root` holds something else, or the disk takes no more.

    Parameters
    ----------
    root : str or os.PathLike
        Folder of the data set; made where missing.
    size : str
        ``tiny`` (a few EEGs, to try commands on), ``small`` (851 EEGs with 1,294 label rows, of 760 patients; 1 GB
        with the test part), ``medium`` (10,350 with 52,896, of 9,000; 10 GB) or ``large`` (12,830 with 78,700, of
        1,950; about as large as HMS). In the first two patterns are clearer than they are in life, so that a few
        minutes of training get somewhere; train for real EEG on the others.
    seed : int
        Seed, 0 or more.
    n_jobs : int
        Processes; 1 for none but this one.
    progress : callable or None
        Called as ``progress(done, total)`` with numbers of patients.

    Returns
    -------
    pathlib.Path
        `root`.
    """
    root = Path(root)
    check_choice("dataset.size", size, SIZES)
    if seed < 0 or n_jobs < 1:
        raise UserError(f"seed={seed}, n_jobs={n_jobs}: the seed must be 0 or more, n_jobs 1 or more")
    wanted = {"generator": "hbac.recordings.synthetic", "version": VERSION, "size": size, "seed": seed}
    if _is_complete(root, wanted):
        return root
    try:
        root.mkdir(parents=True, exist_ok=True)
        with locked(root / ".synthetic.lock"):
            if _is_complete(root, wanted):
                return root
            _claim(root, wanted)
            _write_patients(root, SIZES[size], seed, n_jobs, progress)
            _finish(root, wanted, SIZES[size])
    except OSError as problem:
        raise UserError(
            f"{root}: cannot write the synthetic data set ({problem}); what is there is kept, and goes on when repeated"
        ) from problem
    return root


def _is_complete(root: Path, wanted: dict[str, Any]) -> bool:
    path = root / "synthetic.json"
    if not path.exists():
        return False
    found = read_json(path, dict)
    differs = [f"{key}={found.get(key)!r}, not {value!r}" for key, value in wanted.items() if found.get(key) != value]
    if differs:
        raise UserError(
            f"{root} holds another synthetic data set ({'; '.join(differs)}): remove it or choose another folder"
        )
    return True


def _claim(root: Path, wanted: dict[str, Any]) -> None:
    """Note what is being written here; refuse a folder that holds anything else."""
    path = root / ".synthetic-unfinished.json"
    if path.exists():
        if read_json(path) != wanted:
            raise UserError(f"{root} holds another, unfinished synthetic data set: remove it or choose another folder")
    elif any(not item.name.startswith(".synthetic") for item in root.iterdir()):
        raise UserError(f"{root} is not empty and holds no synthetic data set: choose another folder")
    for part in PARTS:
        (root / f"{part}_eegs").mkdir(exist_ok=True)
        (root / f"{part}_spectrograms").mkdir(exist_ok=True)
    (root / ".synthetic-shards").mkdir(exist_ok=True)
    for left_over in root.rglob(f"{_PARTIAL}*"):  # of a killed run; the lock is ours
        left_over.unlink()
    _write_text(path, json.dumps(wanted))


def _write_patients(
    root: Path, size: Size, seed: int, n_jobs: int, progress: Callable[[int, int], None] | None
) -> None:
    jobs = [("train", i) for i in range(size.train_patients)] + [("test", i) for i in range(size.test_patients)]
    open_jobs = [(part, i) for part, i in jobs if not _shard(root, part, i).exists()]
    done, tell = len(jobs) - len(open_jobs), progress or (lambda done, total: None)
    tell(done, len(jobs))
    labels = {part: size.labels(part, seed) for part in PARTS}
    if n_jobs == 1:
        for part, i in open_jobs:
            _write_patient(root, size, seed, part, i, labels[part][i])
            done += 1
            tell(done, len(jobs))
        return
    # spawn, not fork: the caller may hold torch's threads
    n_jobs = min(n_jobs, max(len(open_jobs), 1))
    with signals_held():  # twice, since the first makes Python's own helper process, and that ends the holding
        pool = ProcessPoolExecutor(n_jobs, mp_context=get_context("spawn"), initializer=end_with_parent)
    with pool:
        with signals_held():
            futures = [pool.submit(_write_patient, root, size, seed, part, i, labels[part][i]) for part, i in open_jobs]
        try:
            for future in as_completed(futures):
                future.result()
                done += 1
                tell(done, len(jobs))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _write_patient(root: Path, size: Size, seed: int, part: str, index: int, labels: tuple[LabelledEEG, ...]) -> None:
    with threadpool_limits(1):  # small matrices; and the same sums whatever the machine
        rows: list[dict[str, Any]] = []
        rng = np.random.default_rng([seed, PARTS.index(part), index])
        patient = draw_patient(rng)
        first = 0
        while first < len(labels):
            together = labels[first : first + int(rng.choice([1, 2, 3], p=[0.55, 0.3, 0.15]))]
            rows += _write_session(rng, root, size, seed, part, index, patient, together)
            first += len(together)
        write_json(_shard(root, part, index), {"rows": rows}, sealed=True)


def _write_session(
    rng: np.random.Generator,
    root: Path,
    size: Size,
    seed: int,
    part: str,
    index: int,
    patient: Patient,
    together: tuple[LabelledEEG, ...],
) -> list[dict[str, Any]]:
    """Write EEGs that share one spectrogram, and return their label rows."""
    starts: list[float] = []
    at = 0.0
    for labelled in together:
        starts.append(at)
        at += 2 * round((int(labelled.offsets_s[-1]) + WINDOW_S + uniform(rng, 10, 120)) / 2)
    span_s = starts[-1] + int(together[-1].offsets_s[-1]) + 2 * _MARGIN_S + WINDOW_S
    wishes = [
        Wish(labelled.evidence, start_s + _MARGIN_S + 20, start_s + _MARGIN_S + int(labelled.offsets_s[-1]) + 30)
        for labelled, start_s in zip(together, starts, strict=True)
    ]
    session = draw_session(rng, patient, wishes, span_s, size.clarity)
    low = render(rng, session, 0.0, round(span_s * spectrogram_file.SFREQ_LOW), spectrogram_file.SFREQ_LOW).eeg
    lost = np.zeros(low.shape[1] // round(spectrogram_file.SFREQ_LOW * SPECTROGRAM_ROW_S), dtype=bool)
    who = _patient_number(part, index)
    spectrogram_id = _scramble(who * 64 + together[0].number, seed, 1)
    rows: list[dict[str, Any]] = []
    for labelled, start_s in zip(together, starts, strict=True):
        n = round((int(labelled.offsets_s[-1]) + WINDOW_S) * SFREQ)
        eeg = render(rng, session, start_s + _MARGIN_S, n, SFREQ).eeg
        first = round((start_s + _MARGIN_S) * spectrogram_file.SFREQ_LOW)
        spectrogram_file.splice(low, spectrogram_file.decimate(eeg, SFREQ), first)
        add_gaps(rng, eeg, SFREQ)
        gap = np.isnan(eeg[:-1]).all(axis=0).reshape(-1, round(SPECTROGRAM_ROW_S * SFREQ)).any(axis=1)
        row = round((start_s + _MARGIN_S) / SPECTROGRAM_ROW_S)
        lost[row : row + gap.size] |= gap
        eeg_id = _scramble(who * 64 + labelled.number, seed, 2)
        _write_table(root / f"{part}_eegs" / f"{eeg_id}.parquet", dict(zip(CHANNELS, eeg, strict=True)))
        known = {}  # rows with the same votes have the same distribution
        for j, (offset, votes, many) in enumerate(zip(labelled.offsets_s, labelled.votes, labelled.many, strict=True)):
            key = (int(votes.sum()), bool(many))
            if key not in known:
                known[key] = vote_distribution(labelled.evidence, key[0], many=key[1])
            shares, floor = known[key]
            rows.append(
                {
                    "eeg_id": eeg_id,
                    "eeg_sub_id": j,
                    "eeg_label_offset_seconds": float(offset),
                    "spectrogram_id": spectrogram_id,
                    "spectrogram_sub_id": len(rows),
                    "spectrogram_label_offset_seconds": float(start_s + offset),
                    "label_id": _scramble((who * 64 + labelled.number) * 256 + j, seed, 3),
                    "patient_id": _scramble(who, seed, 4) % 2**16,
                    "expert_consensus": CONSENSUS_NAMES[int(np.argmax(votes))],
                    **{name: int(v) for name, v in zip(VOTE_COLUMNS, votes, strict=True)},
                    "shows": CLASSES[labelled.evidence.label],
                    "or": CLASSES[labelled.evidence.second],
                    "ambiguity": labelled.evidence.ambiguity,
                    "floor": floor,
                    "shares": [float(p) for p in shares],
                }
            )
    power = spectrogram_file.multitaper(low)
    spectrogram_file.add_missing(rng, power, lost)
    time = (np.arange(len(power)) * SPECTROGRAM_ROW_S + 1).astype(np.int64 if part == "train" else np.int16)
    columns = {"time": time, **dict(zip(spectrogram_file.COLUMNS, power.T, strict=True))}
    _write_table(root / f"{part}_spectrograms" / f"{spectrogram_id}.parquet", columns)
    return rows


def _rows_of(shard: Path) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = read_json(shard, {"rows": [{"shares": [float]}]})["rows"]
    except UserError as error:
        shard.unlink(missing_ok=True)
        raise UserError(f"{str(error).partition('; without')[0]}; the same command writes this patient again") from None
    return rows


def _finish(root: Path, wanted: dict[str, Any], size: Size) -> None:
    """Join the shards into the tables, and count."""
    info: dict[str, Any] = dict(wanted)
    for part in PARTS:
        count = size.train_patients if part == "train" else size.test_patients
        rows = [row for i in range(count) for row in _rows_of(_shard(root, part, i))]
        table = pd.DataFrame(rows)
        shares = np.array(table.pop("shares").to_list())
        known = table[["shows", "or", "ambiguity", "floor"]]
        table = table.drop(columns=known.columns)
        votes = table[list(VOTE_COLUMNS)].to_numpy()
        info[part] = {"rows": len(table)}
        for name in ("eeg", "spectrogram", "patient"):
            info[part][f"{name}s"] = int(table[f"{name}_id"].nunique())
        info[part]["votes"] = floors(votes, shares, known["floor"].to_numpy())
        truth = table[["eeg_id", "eeg_sub_id", "label_id"]].join(known)
        truth[list(VOTE_COLUMNS)] = shares
        name = "truth.csv" if part == "train" else "test_truth.csv"
        _write_text(root / name, truth.to_csv(index=False))
        if part == "train":
            _write_text(root / "train.csv", table.to_csv(index=False))
        else:
            _write_text(root / "test.csv", table[["spectrogram_id", "eeg_id", "patient_id"]].to_csv(index=False))
            sample = table[["eeg_id"]].copy()
            sample[list(VOTE_COLUMNS)] = 1 / len(VOTE_COLUMNS)
            _write_text(root / "sample_submission.csv", sample.to_csv(index=False))
    write_json(root / "synthetic.json", info, sealed=True)
    for path in (root / ".synthetic-shards").iterdir():
        path.unlink()
    (root / ".synthetic-shards").rmdir()
    (root / ".synthetic-unfinished.json").unlink()


def _patient_number(part: str, index: int) -> int:
    return index + 2**14 * PARTS.index(part)


def _scramble(number: int, seed: int, kind: int) -> int:
    """Map numbers below 2^32 one to one onto ids that look like the HMS ones; keeps the low 16 bits one to one too."""
    factor = (2654435761, 2246822519, 3266489917, 668265263)[kind - 1]
    return (number * factor + 374761393 * (seed % 2**20 + 1) * kind) % 2**32


def _shard(root: Path, part: str, index: int) -> Path:
    return root / ".synthetic-shards" / f"{part}-{index}.json"


def _write_text(path: Path, text: str) -> None:
    partial = path.with_name(f"{_PARTIAL}{os.getpid()}-{path.name}")
    partial.write_text(text)
    partial.replace(path)


def _write_table(path: Path, columns: dict[str, Array | NDArray[Any]]) -> None:
    partial = path.with_name(f"{_PARTIAL}{os.getpid()}-{path.name}")
    pq.write_table(
        pa.table(columns),
        partial,
        compression="zstd",
        use_dictionary=False,
        use_byte_stream_split=True,
        write_statistics=False,
    )
    partial.replace(path)
