"""The stores of a data set, opened, or built on first use: its recordings copied once into one raw float16 file a kind.

Reading 50 s out of a parquet file decodes all of it; out of the store it is one copy of 400 kB. So each part
of a data set is converted once, and all bands, montages and images are made from the same store.

A store is built in ``<folder>.partial/`` and may be interrupted at any time: the next run goes on where it was.
The lock ``<folder>.lock`` lets the first of several processes build and the others wait. When the disk fills
up, the partial folder stays, so that a run with more room goes on; delete it to have the room back.

Values beyond ±65504, float16's largest, become ±65504; NaN stays NaN, and infinities become NaN. float16 keeps
eleven bits: 20 µV to 0.02 µV, 1 mV to 0.5 µV.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hbac.common.errors import UserError
from hbac.common.locks import locked
from hbac.recordings.building import DISK_FULL, Progress, foreign_files, partial_of, write_store
from hbac.recordings.columns import columns_of
from hbac.recordings.declared import UNDECLARED, Declared
from hbac.recordings.footers import Footer
from hbac.recordings.layout import Recordings
from hbac.recordings.origins import changed_files
from hbac.recordings.plan import Plan, fingerprint, make_plan
from hbac.recordings.problems import Problems
from hbac.recordings.store import DamagedStoreError, Store
from hbac.vocabulary import SPECTROGRAM_REGIONS

log = logging.getLogger("hbac.recordings")


def build_store(
    files: Mapping[int, Path],
    columns: Sequence[str],
    folder: Path | str,
    *,
    kind: str = "eeg",
    progress: Progress | None = None,
    footers: Mapping[int, Footer] | None = None,
    n_threads: int | None = None,
    declared: Declared = UNDECLARED,
) -> Store:
    """Open the store of these files in this folder, building it first where it is not there yet.

    One that is damaged, or whose files have been rewritten since, is built again. Nothing half-written ever has the
    store's name: ``<folder>.partial`` and ``<folder>.lock`` are used beside it. The columns, in the store's order, are
    found in the files as `hbac.recordings.columns.find_columns` says of their kind. `progress` is told the bytes
    written so far and in all, after each file; `n_threads` files are converted at a time, by default up to four, of
    some 50 MB each.

    A `UserError` for files that cannot be read, or cannot be what they should (all of them in one message), a full
    disk, or a folder that holds another store.
    """
    folder = Path(folder)
    plan = make_plan(files, columns, folder, kind, footers, declared)
    if folder.exists() and (store := _open_matching(folder, plan)) is not None:
        return store
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.with_name(f"{folder.name}.lock")):
            if folder.exists() and _open_matching(folder, plan) is None:
                shutil.rmtree(folder)
            if not folder.exists():
                write_store(plan, folder, progress, n_threads or min(4, os.cpu_count() or 1))
    except OSError as error:
        partial = partial_of(folder)
        if error.errno in DISK_FULL:
            kept = f"what is done stays in {partial}, and the next run goes on from there"
            what = f"no room for the store {folder}, {plan.n_bytes / 1e9:,.3f} GB in all ({error.strerror})"
            raise UserError(f"{what}: make room and run it again; {kept}") from error
        raise UserError(f"the store {folder} cannot be written: {error}") from error
    return Store(folder)


def eeg_store(recordings: Recordings, folder_for_stores: Path | str, progress: Progress | None = None) -> Store:
    """Open or build the store of a data set's EEGs: the channels of `CHANNELS`, microvolt, 200 Hz; see `build_store`.

    It is named after part, kind and fingerprint.
    """
    return _store_of(recordings, folder_for_stores, "eeg", progress)


def spectrogram_store(
    recordings: Recordings,
    folder_for_stores: Path | str,
    progress: Progress | None = None,
    *,
    allow_empty: bool = False,
) -> Store:
    """Open or build the store of a data set's official spectrograms: the 400 columns of `SPECTROGRAM_COLUMNS`.

    It is named, in the folder for stores, after part, kind and fingerprint. With `allow_empty` a file may have a region
    (LL, RL, LP, RP) that is NaN throughout (`Store.empty` says where), which is otherwise a `UserError`, as is what
    `build_store` refuses.
    """
    store = _store_of(recordings, folder_for_stores, "spectrogram", progress)
    if not allow_empty:
        check_regions(store, recordings)
    return store


def check_regions(store: Store, recordings: Recordings) -> None:
    """Check that no spectrogram file has a region of nothing but NaN, which only its samples tell; all in one error."""
    problems = Problems(f"data set {recordings.root}, part {recordings.part}")
    empty = empty_regions(store)
    for i, region in enumerate(SPECTROGRAM_REGIONS):
        for key in store.ids[empty[:, i]]:
            where = f"{recordings.part}_spectrograms/{key}.parquet"
            problems.add("region without values", f"{where}: region {region} is NaN in every row")
    problems.raise_if_any()


def empty_regions(store: Store) -> NDArray[np.bool_]:
    """Say which regions (`SPECTROGRAM_REGIONS`) of a store are NaN throughout: (n_ids, 4)."""
    members = [[name.startswith(f"{region}_") for name in store.columns] for region in SPECTROGRAM_REGIONS]
    return np.stack([store.empty[:, columns].all(axis=1) for columns in members], axis=1)


def store_folder(recordings: Recordings, folder_for_stores: Path | str, kind: str = "eeg") -> Path:
    """Return where the store of a part lies or will lie, which exists when it is complete.

    It is ``<folder_for_stores>/<part>-<kind>-<first 12 digits of the fingerprint>``.
    """
    digits = fingerprint(_footers_of(recordings, kind), columns_of(kind), kind, recordings.declared)[:12]
    return Path(folder_for_stores) / f"{recordings.part}-{kind}-{digits}"


def _footers_of(recordings: Recordings, kind: str) -> Mapping[int, Footer]:
    return recordings.eeg_footers if kind == "eeg" else recordings.spectrogram_footers


def _store_of(recordings: Recordings, folder_for_stores: Path | str, kind: str, progress: Progress | None) -> Store:
    footers = _footers_of(recordings, kind)
    files = {key: footer.path for key, footer in footers.items()}
    folder = store_folder(recordings, folder_for_stores, kind)
    columns, declared = columns_of(kind), recordings.declared
    return build_store(files, columns, folder, kind=kind, progress=progress, footers=footers, declared=declared)


def _open_matching(folder: Path, plan: Plan) -> Store | None:
    """Open a store; None where it has to be built again."""
    try:
        store = Store(folder)
    except DamagedStoreError as error:
        if foreign_files(folder):
            raise  # somebody else's folder
        log.warning("%s; it is built again", str(error).partition(": the store is damaged")[0])
        return None
    if store.fingerprint != plan.fingerprint:
        raise UserError(
            f"{folder} holds the store of other files (fingerprint {store.fingerprint[:12]}, these files have "
            f"{plan.fingerprint[:12]}): delete it or choose another folder"
        )
    if changed := changed_files(folder, plan.footers):
        log.warning(
            "the store %s was made from other content: %d of its files have been rewritten since, the first is %s; "
            "it is built again",
            folder,
            len(changed),
            changed[0],
        )
        return None
    return store
