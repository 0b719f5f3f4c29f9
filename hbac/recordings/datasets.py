"""Data sets by name: where their files are, and how a part becomes label rows and a store."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from hbac.common.choices import check_choice
from hbac.common.errors import UserError
from hbac.common.files import read_json
from hbac.common.progress import progress
from hbac.common.shapes import Maybe
from hbac.recordings.amplitudes import describe, main_looks
from hbac.recordings.dataset_stores import eeg_store, empty_regions, spectrogram_store, store_folder
from hbac.recordings.declared import Declared
from hbac.recordings.layout import PARTS, Recordings, read_recordings
from hbac.recordings.store import INDEX_NAME, Store, discard

log = logging.getLogger("hbac.recordings")

_told: set[Path] = set()  # stores of which it has been said what their amplitudes look like


@dataclass(frozen=True, eq=False)
class Part:
    """One part of a data set, ready to be read."""

    recordings: Recordings  # the checked files
    stores: Path  # folder of the stores
    eeg: Store
    floor: Mapping[str, float]  # KL that a perfect predictor would get, by vote population; empty where nobody knows it

    @property
    def rows(self) -> pd.DataFrame:
        """The label rows, numbered from 0."""
        return self.recordings.rows

    @cached_property
    def spectrograms(self) -> Store | None:
        """The official spectrograms, made into a store on first use; None where the rows of all are masked.

        A `UserError` where the data set has none, or one with an empty region, and these are not to be masked.
        """
        masked = self.recordings.masked
        if masked is not None and not self.recordings.spectrogram_footers:
            return None
        if self.recordings.spectrogram_dir is None:
            folder = self.recordings.root / f"{self.recordings.part}_spectrograms"
            raise UserError(f"{folder} is missing: this data set has no official spectrograms")
        with progress(f"storing the {self.recordings.part} spectrograms") as tell:
            store = spectrogram_store(self.recordings, self.stores, tell, allow_empty=masked is not None)
        if masked is not None and (n_empty := int(empty_regions(store).any(axis=1).sum())):
            log.warning("%d official spectrograms have a region without any value: masked", n_empty)
        return store

    def warn_of_amplitudes(self) -> None:
        """Say once in a process how many EEGs cannot be microvolt, by what most of their windows look like."""
        looks = self.eeg.looks
        if not looks.size or self.eeg.folder in _told:
            return
        _told.add(self.eeg.folder)
        if text := describe(main_looks(looks), "EEGs"):
            where = f"{self.recordings.root}, part {self.recordings.part}"
            log.warning("%s: %s; dataset.unit declares the unit of the files", where, text)

    def fingerprint_of(self, sources: Collection[str]) -> str:
        """Fingerprint what a model with these sources reads; `fingerprint` leaves official spectrograms out."""
        digest = hashlib.sha256(self.fingerprint.encode())
        if "official" in sources:
            masked = self.recordings.masked
            digest.update(self.spectrograms.content.encode() if self.spectrograms is not None else b"")
            digest.update(b"" if masked is None else masked.tobytes())
        return digest.hexdigest()

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the recordings and of every label row: the same wherever the files lie."""
        rows = pd.util.hash_pandas_object(self.rows, index=False).to_numpy()
        return hashlib.sha256(self.eeg.content.encode() + rows.tobytes()).hexdigest()


class HMS:
    """The competition's files, or any data set in their layout.

    A `UserError` for another `on_missing` or `outside`, a rate or a unit that cannot be.

    Parameters
    ----------
    root : str or Path
        Folder with ``train.csv`` and ``train_eegs/``, or ``test.csv`` and ``test_eegs/``, or all of them.
    stores : str or Path
        Where the memory-mapped stores are kept.
    on_missing : str
        What official spectrograms that are missing, too short or empty are: an ``error``, or to ``mask``, with a
        warning that counts them. It matters to models that read official spectrograms.
    sfreq : float, optional
        Rate of the EEG files in hertz, which are then resampled; 200 where absent.
    unit : str, optional
        Their unit, ``V``, ``mV`` or ``uV``; microvolt where absent.
    outside : {"reflected", "repeated", "missing"}, optional
        What lies around EEGs of 10 to 50 s, which are put in the middle of a window; they are an error where absent.
    """

    def __init__(
        self,
        root: str | Path,
        stores: str | Path,
        on_missing: str = "error",
        sfreq: float | None = None,
        unit: str | None = None,
        outside: str | None = None,
    ) -> None:
        self.root, self.stores = Path(root), Path(stores)
        self.declared = Declared(sfreq, unit, outside)
        self.masks = check_choice("dataset.on_missing", on_missing, ("error", "mask")) == "mask"

    def parts(self) -> list[str]:
        """Return the parts that the data set has, ``train``, ``test`` or both; none is an error."""
        found = [name for name in PARTS if os.path.lexists(self.root / f"{name}.csv")]
        if not found:
            raise UserError(
                f"{self.root}: there is neither train.csv nor test.csv; dataset.root must name their folder"
            )
        return found

    def part(self, name: str, official: bool | None = None) -> Part:
        """Check a part's files (a `UserError` has all problems) and map its store, which is built on first use.

        `official` demands the official spectrograms, or leaves their files alone; None takes them where there are any.
        """
        recordings = read_recordings(
            self.root,
            name,
            spectrograms=official,
            mask_spectrograms=self.masks,
            cache_dir=self.stores,
            declared=self.declared,
        )
        with progress(f"storing the {name} EEGs") as tell:
            eeg = eeg_store(recordings, self.stores, tell)
        part = Part(recordings, self.stores, eeg, self.floor(name))
        part.warn_of_amplitudes()
        if official:
            _ = part.spectrograms  # empty regions are problems of the files, too: said now and not in a run
        return part

    def verified(self, name: str) -> Part:
        """Read a part's stores in full; those that are not what was stored are built again, with a warning."""
        part = self.part(name)
        folders = [store_folder(part.recordings, self.stores, kind) for kind in ("eeg", "spectrogram")]
        damaged = False
        for folder in folders:
            if (folder / INDEX_NAME).is_file() and (ids := Store(folder).damaged_ids()):
                log.warning("%s: %d recordings are damaged, the first is %d; built again", folder, len(ids), ids[0])
                discard(folder)
                damaged = True
        return self.part(name) if damaged else part

    def floor(self, name: str) -> Mapping[str, float]:
        """Return the KL of a perfect predictor by vote population; real recordings have none that is known."""
        return {}


class Synthetic(HMS):
    """The simulated data set (`hbac.synthetic.write_synthetic`), written on first use by so many processes."""

    def __init__(
        self, root: str | Path, stores: str | Path, size: str = "small", seed: int = 0, n_jobs: int = 1
    ) -> None:
        super().__init__(root, stores, on_missing="mask")  # a few of its official spectrograms are empty, by chance
        self.size, self.seed, self.n_jobs = size, seed, n_jobs

    def part(self, name: str, official: bool | None = None) -> Part:
        """Write the data set if it is not there yet, then read it as any other."""
        from hbac.synthetic import write_synthetic  # scipy's filters: not for real recordings

        with progress(f"simulating the {self.size} data set") as tell:
            write_synthetic(self.root, self.size, self.seed, self.n_jobs, tell)
        return super().part(name, official)

    def parts(self) -> list[str]:
        """Return both parts."""
        return list(PARTS)

    def floor(self, name: str) -> Mapping[str, float]:
        """Return the KL of a predictor that knows what each row's votes were drawn from, by vote population."""
        facts = read_json(self.root / "synthetic.json", {name: {"votes": Maybe({str: dict})}})
        return {
            population: float(values["bayes_floor"])
            for population, values in (facts[name].get("votes") or {}).items()
            if isinstance(values.get("bayes_floor"), int | float)  # none of a population without rows
        }
