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
from hbac.common.locks import locked
from hbac.synthetic import spectrogram
from hbac.synthetic.draws import Array, chance, uniform
from hbac.synthetic.electrodes import add_gaps
from hbac.synthetic.patient import Patient, draw_patient
from hbac.synthetic.recording import draw_session, render
from hbac.synthetic.votes import draw_count, draw_votes, floors, true_shares
from hbac.synthetic.wishes import draw_wish
from hbac.vocabulary import (
    CHANNELS,
    CONSENSUS_NAMES,
    SFREQ,
    SPECTROGRAM_ROW_S,
    SPECTROGRAM_ROWS,
    VOTE_COLUMNS,
    WINDOW_S,
)

VERSION = 1  # of the simulator: another version means other data from the same seed
PARTS = ("train", "test")
_PARTIAL = ".synthetic-partial-"
_MARGIN_S = SPECTROGRAM_ROWS * SPECTROGRAM_ROW_S / 2 - WINDOW_S / 2  # spectrogram before an EEG's first window


@dataclass(frozen=True)
class Size:
    """How much a size contains: patients, their EEGs, label rows per EEG."""

    train_patients: int
    test_patients: int
    eegs: tuple[float, ...]  # chances of 1, 2, 3 ... EEGs for a patient
    mean_more_rows: float  # rows of an EEG beyond the first (geometric)
    max_rows: int
    clarity: float  # 0 for the whole range of EEG; above, patterns are clearer and a short training gets somewhere


SIZES = {
    "tiny": Size(24, 6, (1.0,), 0.5, 3, 0.9),  # to try commands on: nothing can be learnt from it
    "small": Size(640, 60, (0.88, 0.12), 0.4, 4, 1.0),  # many patients: what limits learning first
    "medium": Size(1200, 200, (0.85, 0.15), 0.9, 8, 0.0),  # a table of ingredients, five folds each, in two hours
    "large": Size(1950, 400, (0.10,) * 4 + (0.08,) * 4 + (0.035,) * 8, 5.0, 60, 0.0),
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
    KL of a predictor that knows the distribution the votes were drawn from) and ``truth.csv``, ``test_truth.csv`` (that
    distribution for each row). What is written depends on `size` and `seed` only. A killed run goes on when called
    again; several callers at once wait for one of them.

    Parameters
    ----------
    root : str or os.PathLike
        Folder of the data set; made where missing.
    size : str
        ``tiny`` (a few EEGs, to try commands on), ``small`` (716 EEGs with 977 label rows, of 640 patients; 1 GB with
        the test part), ``medium`` (1,400 with 2,600, of 1,200; 2 GB) or ``large`` (12,800 with 75,000, of 1,950; about
        as large as HMS). In the first two patterns are clearer than they are in life, so that a few minutes of
        training get somewhere; train for real EEG on the others.
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

    Raises
    ------
    UserError
        If the size is unknown, the seed negative, `root` holds something else, or the disk takes no more.
    """
    root = Path(root)
    check_choice("dataset.size", size, SIZES)
    if seed < 0 or n_jobs < 1:
        msg = f"seed={seed}, n_jobs={n_jobs}: the seed must be 0 or more, n_jobs 1 or more"
        raise UserError(msg)
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
        msg = (
            f"{root}: cannot write the synthetic data set ({problem}); what is there is kept, and goes on when repeated"
        )
        raise UserError(msg) from problem
    return root


def _is_complete(root: Path, wanted: dict[str, Any]) -> bool:
    path = root / "synthetic.json"
    if not path.exists():
        return False
    found = json.loads(path.read_text())
    differs = [f"{key}={found.get(key)!r}, not {value!r}" for key, value in wanted.items() if found.get(key) != value]
    if differs:
        msg = f"{root} holds another synthetic data set ({'; '.join(differs)}): remove it or choose another folder"
        raise UserError(msg)
    return True


def _claim(root: Path, wanted: dict[str, Any]) -> None:
    """Note what is being written here; refuse a folder that holds anything else."""
    path = root / ".synthetic-unfinished.json"
    if path.exists():
        if json.loads(path.read_text()) != wanted:
            msg = f"{root} holds another, unfinished synthetic data set: remove it or choose another folder"
            raise UserError(msg)
    elif any(not item.name.startswith(".synthetic") for item in root.iterdir()):
        msg = f"{root} is not empty and holds no synthetic data set: choose another folder"
        raise UserError(msg)
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
    done = len(jobs) - len(open_jobs)
    if progress is not None:
        progress(done, len(jobs))
    if n_jobs == 1:
        for part, i in open_jobs:
            _write_patient(root, size, seed, part, i)
            done += 1
            if progress is not None:
                progress(done, len(jobs))
        return
    # spawn, not fork: the caller may hold torch's threads
    with ProcessPoolExecutor(min(n_jobs, max(len(open_jobs), 1)), mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(_write_patient, root, size, seed, part, i) for part, i in open_jobs]
        try:
            for future in as_completed(futures):
                future.result()
                done += 1
                if progress is not None:
                    progress(done, len(jobs))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _write_patient(root: Path, size: Size, seed: int, part: str, index: int) -> None:
    with threadpool_limits(1):  # small matrices; and the same sums whatever the machine
        rows: list[dict[str, Any]] = []
        rng = np.random.default_rng([seed, PARTS.index(part), index])
        patient = draw_patient(rng)
        n_eegs = 1 if part == "test" else 1 + int(rng.choice(len(size.eegs), p=np.array(size.eegs) / sum(size.eegs)))
        number = 0
        while number < n_eegs:
            together = min(n_eegs - number, int(rng.choice([1, 2, 3], p=[0.55, 0.3, 0.15])))
            rows += _write_session(rng, root, size, seed, part, index, number, together, patient)
            number += together
        _write_text(_shard(root, part, index), json.dumps(rows))


def _write_session(
    rng: np.random.Generator,
    root: Path,
    size: Size,
    seed: int,
    part: str,
    index: int,
    number: int,
    together: int,
    patient: Patient,
) -> list[dict[str, Any]]:
    """Write `together` EEGs that share one spectrogram, and return their label rows."""
    many: list[bool] = []
    labels: list[str] = []
    offsets: list[NDArray[np.int64]] = []
    starts: list[float] = []
    at = 0.0
    for i in range(together):
        if i == 0 or chance(rng, 0.5):
            wish = draw_wish(seed, part, index, number + i, size.clarity)
        many.append(wish[0])
        labels.append(wish[1])
        count = 1 if part == "test" else min(1 + int(rng.geometric(1 / (1 + size.mean_more_rows)) - 1), size.max_rows)
        steps = rng.choice([1, 2, 3, 4, 6, 10], size=count - 1, p=[0.3, 0.25, 0.15, 0.15, 0.1, 0.05])
        offsets.append(2 * np.concatenate([[0], np.cumsum(steps)]).astype(np.int64))
        starts.append(at)
        at += 2 * round((int(offsets[-1][-1]) + WINDOW_S + uniform(rng, 10, 120)) / 2)
    span_s = starts[-1] + int(offsets[-1][-1]) + 2 * _MARGIN_S + WINDOW_S
    wishes = []
    for label, start_s, offset in zip(labels, starts, offsets, strict=True):
        wishes.append((label, start_s + _MARGIN_S + float(rng.choice(offset)) + WINDOW_S / 2))
    session = draw_session(rng, patient, wishes, span_s, size.clarity)
    low = render(rng, session, 0.0, round(span_s * spectrogram.SFREQ_LOW), spectrogram.SFREQ_LOW).eeg
    lost = np.zeros(low.shape[1] // round(spectrogram.SFREQ_LOW * SPECTROGRAM_ROW_S), dtype=bool)
    who = _patient_number(part, index)
    spectrogram_id = _scramble(who * 64 + number, seed, 1)
    rows: list[dict[str, Any]] = []
    for i in range(together):
        n = round((int(offsets[i][-1]) + WINDOW_S) * SFREQ)
        rendered = render(rng, session, starts[i] + _MARGIN_S, n, SFREQ)
        eeg = rendered.eeg
        shares = [true_shares(session, rendered, float(offset)) for offset in offsets[i]]
        first = round((starts[i] + _MARGIN_S) * spectrogram.SFREQ_LOW)
        spectrogram.splice(low, spectrogram.decimate(eeg, SFREQ), first)
        add_gaps(rng, eeg, SFREQ)
        gap = np.isnan(eeg[:-1]).all(axis=0).reshape(-1, round(SPECTROGRAM_ROW_S * SFREQ)).any(axis=1)
        row = round((starts[i] + _MARGIN_S) / SPECTROGRAM_ROW_S)
        lost[row : row + gap.size] |= gap
        eeg_id = _scramble(who * 64 + number + i, seed, 2)
        _write_table(root / f"{part}_eegs" / f"{eeg_id}.parquet", dict(zip(CHANNELS, eeg, strict=True)))
        for j, (offset, share) in enumerate(zip(offsets[i], shares, strict=True)):
            few_or_many = many[i] != chance(rng, 0.03)  # now and then a row of the other population
            votes = draw_votes(rng, share, draw_count(rng, many=few_or_many or part == "test"))
            rows.append(
                {
                    "eeg_id": eeg_id,
                    "eeg_sub_id": j,
                    "eeg_label_offset_seconds": float(offset),
                    "spectrogram_id": spectrogram_id,
                    "spectrogram_sub_id": len(rows),
                    "spectrogram_label_offset_seconds": float(starts[i] + offset),
                    "label_id": _scramble((who * 64 + number + i) * 256 + j, seed, 3),
                    "patient_id": _scramble(who, seed, 4) % 2**16,
                    "expert_consensus": CONSENSUS_NAMES[int(np.argmax(votes))],
                    **{name: int(v) for name, v in zip(VOTE_COLUMNS, votes, strict=True)},
                    "wanted": labels[i],
                    "shares": [float(p) for p in share],
                }
            )
    power = spectrogram.multitaper(low)
    spectrogram.add_missing(rng, power, lost)
    time = (np.arange(len(power)) * SPECTROGRAM_ROW_S + 1).astype(np.int64 if part == "train" else np.int16)
    columns = {"time": time, **dict(zip(spectrogram.COLUMNS, power.T, strict=True))}
    _write_table(root / f"{part}_spectrograms" / f"{spectrogram_id}.parquet", columns)
    return rows


def _finish(root: Path, wanted: dict[str, Any], size: Size) -> None:
    """Join the shards into the tables, and count."""
    info: dict[str, Any] = dict(wanted)
    for part in PARTS:
        count = size.train_patients if part == "train" else size.test_patients
        rows = [row for i in range(count) for row in json.loads(_shard(root, part, i).read_text())]
        table = pd.DataFrame(rows)
        shares = np.array(table.pop("shares").to_list())
        wished = table.pop("wanted")
        votes = table[list(VOTE_COLUMNS)].to_numpy()
        info[part] = {"rows": len(table)}
        for name in ("eeg", "spectrogram", "patient"):
            info[part][f"{name}s"] = int(table[f"{name}_id"].nunique())
        info[part]["votes"] = floors(votes, shares)
        truth = table[["eeg_id", "eeg_sub_id", "label_id"]].copy()
        truth["wanted"] = wished
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
    _write_text(root / "synthetic.json", json.dumps(info, indent=2) + "\n")
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
    pq.write_table(pa.table(columns), partial, compression="snappy", use_dictionary=False, write_statistics=False)
    partial.replace(path)
