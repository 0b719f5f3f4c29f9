"""Time and memory of all that is done once for a data set, at the size and shape of HMS: noise, in its layout.

    python benchmarks/full_size.py                      # 17,089 EEGs, 106,800 rows: some 25 GB of parquet, 9 of store
    python benchmarks/full_size.py --fraction 0.05      # fewer EEGs; folds and tables always have all rows
    python benchmarks/full_size.py --fraction 0.05 --steps 3    # to the store
    python benchmarks/full_size.py --smoke

Each step runs in a process of its own, whose peak memory stands beside its time. The store is to take at most 1.25
times what decoding the same files with bare pyarrow takes on as many cores, and 1 GB; folds of 106,800 rows under a
minute. What a step imports is imported before its time begins. Seconds of
processors say more where others use them, too.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hbac.vocabulary import CHANNELS, CONSENSUS_NAMES, N_CLASSES, SFREQ, VOTE_COLUMNS, WINDOW_SAMPLES

N_EEGS, N_ROWS, N_PATIENTS = 17_089, 106_800, 1_950
MEMBERS = 5  # with a run for each fold
FOLDS = 5


def label_rows(n_eegs: int) -> pd.DataFrame:
    """Rows of ``train.csv``: as many for each EEG as HMS has, patients with many EEGs, few votes and many."""
    rng = np.random.default_rng(0)
    per_eeg = 1 + rng.multinomial(round(n_eegs * N_ROWS / N_EEGS) - n_eegs, rng.dirichlet(np.full(n_eegs, 0.3)))
    eeg = np.repeat(np.arange(n_eegs), per_eeg)
    sub = np.arange(len(eeg)) - np.repeat(np.cumsum(per_eeg) - per_eeg, per_eeg)
    label = rng.integers(0, N_CLASSES, n_eegs)[eeg]
    n_votes = np.where(rng.random(n_eegs) < 0.6, rng.integers(1, 8, n_eegs), rng.integers(10, 20, n_eegs))[eeg]
    shares = np.full((len(eeg), N_CLASSES), 0.06)
    shares[np.arange(len(eeg)), label] = 0.7
    patients = rng.integers(0, max(20, N_PATIENTS * n_eegs // N_EEGS), n_eegs)
    offset_s = 2.0 * sub
    rows = {
        "eeg_id": 1_000 + eeg,
        "eeg_sub_id": sub,
        "eeg_label_offset_seconds": offset_s,
        "spectrogram_id": 900_000 + eeg,
        "spectrogram_sub_id": sub,
        "spectrogram_label_offset_seconds": offset_s,
        "label_id": 5_000_000 + np.arange(len(eeg)),
        "patient_id": 10 + patients[eeg],
        "expert_consensus": np.asarray(CONSENSUS_NAMES)[label],
    }
    votes = rng.multinomial(n_votes, shares)
    return pd.DataFrame(rows | {column: votes[:, k] for k, column in enumerate(VOTE_COLUMNS)})


def write(root: Path, n_eegs: int) -> float:
    """Write a data set; returns gigabytes."""
    rows = label_rows(n_eegs)
    (root / "train_eegs").mkdir(parents=True)
    rows.to_csv(root / "train.csv", index=False)
    last_s = rows.groupby("eeg_id")["eeg_label_offset_seconds"].max()

    def write_one(eeg_id: int) -> int:
        rng = np.random.default_rng(eeg_id)
        n_times = int(SFREQ * last_s[eeg_id]) + WINDOW_SAMPLES
        eeg = 20 * rng.standard_normal((len(CHANNELS), n_times), np.float32)
        path = root / "train_eegs" / f"{eeg_id}.parquet"
        pq.write_table(pa.table(dict(zip(CHANNELS, eeg, strict=True))), path)
        return path.stat().st_size

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return sum(pool.map(write_one, last_s.index.tolist())) / 1e9


def decode(root: Path) -> float:
    """Decode the files with bare pyarrow, on as many threads as the store's builder takes."""

    def read(path: Path) -> int:
        return sum(column.to_numpy().nbytes for column in pq.read_table(path, use_threads=False).columns)

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        return sum(pool.map(read, sorted((root / "train_eegs").glob("*.parquet")))) / 1e9


def part_of(root: Path) -> Any:
    from hbac.recordings.datasets import HMS

    return HMS(root, root / "stores").part("train")


def store(root: Path) -> float:
    """Check the data set and build its store; returns gigabytes."""
    eeg = part_of(root).eeg
    return float(eeg.rows_total * len(eeg.columns) * 2 / 1e9)


def folds(root: Path, n_eegs: int) -> float:
    """Make folds."""
    from hbac.labels.folds import make_folds

    rows = label_rows(n_eegs)
    make_folds(rows, FOLDS)
    return len(rows)


def audit(root: Path) -> float:
    """Compare the EEGs with one another, and look for everything else that could leak."""
    from hbac.experiment.audit import audit as look
    from hbac.labels.folds import make_folds

    part = part_of(root)
    look(part, make_folds(part.rows, FOLDS), root / "outputs", compare=True)
    return len(part.eeg.ids)


def loader(root: Path) -> float:
    """Read one epoch's batches, with one thread."""
    from hbac.data import EEGDataModule
    from hbac.labels.folds import make_folds
    from hbac.signal import EEGFrontEnd

    part = part_of(root)
    fold_of_row = make_folds(part.rows, FOLDS).fold_of(part.rows["patient_id"])
    data = EEGDataModule(part, EEGFrontEnd(), fold_of_row=fold_of_row, fold=0, batch_size=64)
    return sum(len(batch["row"]) for batch in data.train_dataloader())


def tables(root: Path, n_rows: int) -> float:
    """Write the tables of a run for each member and fold, read and blend them."""
    from hbac.ensembling.build import build_ensemble
    from hbac.ensembling.collect import collect
    from tests.ensembling.standin import make_standin

    began = time.perf_counter()
    for table in make_standin(n_rows, MEMBERS, truth="latent", seed=0).tables():
        for fold in range(FOLDS):
            path = root / "runs" / table.metadata.member / f"fold{fold}" / "predictions.parquet"
            path.parent.mkdir(parents=True)
            type(table)(table.frame[table.frame["fold"] == fold].reset_index(drop=True), table.metadata).write(path)
    print(f"    (of which {time.perf_counter() - began:.1f} s to make and write them)", flush=True)
    build_ensemble(collect([root / "runs"]), root / "ensemble")
    return MEMBERS * FOLDS


def _measured(
    modules: tuple[str, ...], call: Callable[..., float], arguments: tuple[Any, ...]
) -> tuple[float, float, float, float]:
    for module in modules:
        import_module(module)
    start, busy = time.perf_counter(), time.process_time()
    result = call(*arguments)
    spent, busy = time.perf_counter() - start, time.process_time() - busy
    return result, spent, busy, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fraction", type=float, default=1.0, help="of the EEGs")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--steps", type=int, help="only so many of them")
    parser.add_argument("--folder", type=Path, help="for the data; a temporary one where absent")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    options = parser.parse_args()
    n_eegs = 40 if options.smoke else round(N_EEGS * options.fraction)
    n_all = 400 if options.smoke else N_EEGS
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        root = Path(folder)
        data = ("hbac.recordings.datasets", "torch")
        audits = (*data, "hbac.experiment.audit", "hbac.labels.folds")
        loads = (*data, "hbac.data", "hbac.labels.folds")
        blends = ("hbac.ensembling.build", "hbac.ensembling.collect", "tests.ensembling.standin")
        steps: list[tuple[str, str, tuple[str, ...], Callable[..., float], tuple[Any, ...]]] = [
            ("write", "GB of parquet", (), write, (root, n_eegs)),
            ("decode with bare pyarrow", "GB of float32", (), decode, (root,)),
            ("check, and build the store", "GB of store", data, store, (root,)),
            ("leak audit", "EEGs", audits, audit, (root,)),
            ("loader, one epoch", "rows", loads, loader, (root,)),
            ("folds", "rows", ("hbac.labels.folds",), folds, (root, n_all)),
            ("tables: write, read, blend", "tables", blends, tables, (root, round(n_all * N_ROWS / N_EEGS))),
        ]
        smoke = ", smoke: sizes too small to mean anything" if options.smoke else ""
        print(f"{n_eegs:,} EEGs{smoke}, {os.cpu_count()} cores")
        for name, unit, modules, call, arguments in steps[: options.steps]:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                result, seconds, busy_s, peak_gb = process.submit(_measured, modules, call, arguments).result()
            found[name] = {"result": result, "unit": unit, "seconds": seconds, "busy_s": busy_s, "peak_gb": peak_gb}
            used = f"{seconds:10.1f} s {busy_s:8.1f} s of processors {peak_gb:8.2f} GB peak"
            print(f"{name:30s}{used}   {result:,.4g} {unit}", flush=True)
    bare, built = (found.get(name) for name in ("decode with bare pyarrow", "check, and build the store"))
    if bare and built:
        ratios = [built[key] / bare[key] for key in ("seconds", "busy_s")]
        print(f"store over bare decoding: {ratios[0]:.2f}, of processor time {ratios[1]:.2f}")
    if options.out:
        options.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
