"""Recordings, as files that a command is given: found, opened, and what is said of them and of what was predicted."""

from __future__ import annotations

import logging
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hbac.common.choices import check_choice
from hbac.common.errors import UserError
from hbac.ensembling.ensemble_file import Ensemble
from hbac.inference.along import AlongChunks, Steps, check_readable
from hbac.inference.networks import Networks, members_of_runs
from hbac.predictions.course import COURSE_DTYPES, RecordingFacts
from hbac.reading.edf import is_edf
from hbac.reading.mne_source import SUFFIXES
from hbac.reading.opened import MOST_INTERPOLATED, Recording, open_recording
from hbac.recordings.outside import OUTSIDE
from hbac.signal.tta import PLAIN
from hbac.vocabulary import N_CLASSES, PROB_COLUMNS, WINDOW_S

log = logging.getLogger("hbac.infer")

KEEP = ("start", "patient", "annotations")


@dataclass(frozen=True)
class Wish:
    """How recordings are to be read and predicted; a `UserError` for a value that cannot be."""

    step_s: float = 2.0  # from one window to the next
    outside: str = "reflected"  # what windows are filled with beyond what was recorded: of `OUTSIDE`
    unit: str | None = None  # V, mV or uV: what values are in, whatever the files say
    interpolate: int = MOST_INTERPOLATED  # electrodes that may be missing, and are made of their neighbours
    keep: tuple[str, ...] = ()  # what of a header is copied: of `KEEP`
    batch_size: int = 64
    variants: tuple[str, ...] = (PLAIN,)  # as `hbac.signal.tta.check_variants` returns them

    def chunks(self, networks: Networks, recording: Recording) -> AlongChunks:
        """Lay windows over a recording, for some networks."""
        steps = Steps.of(recording, self.step_s)
        return AlongChunks(networks, recording, steps, self.outside, self.batch_size, self.variants)

    def __post_init__(self) -> None:
        check_choice("outside", self.outside, OUTSIDE)
        for name in self.keep:
            check_choice("keep", name, KEEP)


def find_recordings(given: Sequence[str | Path]) -> dict[str, Path]:
    """Find the recordings that are meant, files and all that folders have in them, through links too.

    Returned is by the name that each one's folder gets: the file's without its ending; with its folder's before it
    where several have one name. A `UserError` when one does not exist, stands there twice, has no UTF-8 name, or a
    folder has none.
    """
    files: list[Path] = []
    for entry in (Path(name) for name in given if str(name)):  # without a name it would be the folder we are in
        if entry.is_dir() and entry.suffix.lower() != ".mff":
            inside = sorted(_recordings_in(entry))
            if not inside:
                raise UserError(f"recordings={entry}: no recording in this folder (.edf, .bdf, {', '.join(SUFFIXES)})")
            files += inside
        elif entry.is_file() or entry.is_dir():
            files.append(entry)
        elif entry.exists():
            raise UserError(f"recordings={entry}: is a pipe or a device; a recording must be a file")
        else:
            raise UserError(f"recordings={entry}: there is no such file or folder")
    places: dict[Path, Path] = {}
    for path in files:
        if "\N{REPLACEMENT CHARACTER}" in os.fsencode(path).decode(errors="replace"):
            raise UserError(f"recordings: {os.fsencode(path)!r}: this name is no UTF-8; rename the file or its folder")
        if (first := places.setdefault(path.resolve(), path)) is not path:
            raise UserError(f"recordings: {path} is there twice{f', as {first}' if first != path else ''}")
    if not files:
        raise UserError("recordings=[]: name files or folders: recordings=[a.edf,folder/]")
    names = [_stem(path) for path in files]
    taken = Counter(map(_on_disk, names))
    names = [
        f"{path.resolve().parent.name}-{n}" if taken[_on_disk(n)] > 1 else n
        for n, path in zip(names, files, strict=True)
    ]
    found: dict[str, Path] = {}
    written: dict[str, Path] = {}
    for name, path in zip(names, files, strict=True):
        if (other := written.setdefault(_on_disk(name), path)) is not path:
            raise UserError(f"recordings: {other} and {path} would both be written to {name}/; name one of them")
        found[name] = path
    return found


def _recordings_in(folder: Path) -> Iterator[Path]:
    """Yield the recordings below a folder, in each that links lead to once; what cannot be looked at is an error."""

    def refuse(error: OSError) -> None:
        raise UserError(f"recordings={folder}: {error.filename}: {error.strerror}")

    seen = {os.path.realpath(folder)}
    for root, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        for path in (Path(root, name) for name in (*folders, *names)):
            if path.name.startswith("._"):  # what a Mac notes of a file on a disk that is none of a Mac's
                continue
            if _is_recording(path):
                yield path
            elif path.is_symlink() and _is_named(path) and not path.exists():
                raise UserError(f"recordings={folder}: {path}: a link to a file that is not there")
        new = {os.path.realpath(Path(root, name)): name for name in sorted(folders, reverse=True)}
        folders[:] = [name for place, name in new.items() if place not in seen]
        seen |= new.keys()


def _on_disk(name: str) -> str:
    """Return what a file system that knows neither capitals nor how accents are written takes for the name."""
    return unicodedata.normalize("NFC", name).casefold()


def _is_named(path: Path) -> bool:
    return is_edf(path) or path.name.lower().endswith(SUFFIXES)


def _is_recording(path: Path) -> bool:
    return _is_named(path) and (path.is_file() or path.suffix.lower() == ".mff")


def _stem(path: Path) -> str:
    stem = path.name.removesuffix(path.suffix).removesuffix(".fif")
    return stem if stem.strip(".") else path.name  # a folder called .. is the one above


def open_recordings(files: Mapping[str, Path], networks: Networks, wish: Wish) -> dict[str, Recording]:
    """Open recordings, by the name of the folder that each gets; a `UserError` has the first fault of any.

    What is wrong with the last one is better said before the first one is predicted.
    """
    return {name: _open(path, networks, wish) for name, path in files.items()}


def _open(path: Path, networks: Networks, wish: Wish) -> Recording:
    recording = open_recording(path, wish.unit, wish.interpolate)
    Steps.of(recording, wish.step_s)  # says what is wrong with the step before anything is predicted
    for note in check_readable(networks, recording):
        log.warning("%s: %s", path, note)
    return recording


def blended(ensemble: Ensemble, networks: Networks, prob_RNK: np.ndarray) -> np.ndarray:
    """Blend the networks' probabilities, (runs, rows, 6) to (rows, 6); NaN in rows of which nothing is said."""
    said = np.isfinite(prob_RNK).all(axis=(0, 2))
    prob_NK = np.full((prob_RNK.shape[1], N_CLASSES), np.nan)
    if said.any():
        prob_NK[said] = ensemble.apply(members_of_runs(prob_RNK[:, said], networks.member))
    return prob_NK


def course_frame(steps: Steps, prob_NK: np.ndarray) -> pd.DataFrame:
    """Make the table of a course, with the columns of `hbac.predictions.course.COURSE_DTYPES`."""
    prob = np.asarray(prob_NK, np.float32)
    columns = {
        "onset_s": np.arange(len(prob)) * steps.step_s,
        **dict(zip(PROB_COLUMNS, prob.T, strict=True)),
        "window_s": np.full(len(prob), WINDOW_S),
        "signal_share": steps.share,
    }
    return pd.DataFrame(columns).astype(COURSE_DTYPES)


def course_models(networks: Networks) -> tuple[dict[str, Any], ...]:
    """Say of each network what it is and reads: ``member``, ``fold``; ``montage``, ``band``, null for pictures."""
    return tuple(
        {
            "member": str(model.facts.get("member", "")),
            "fold": int(model.facts.get("fold", -1)),
            "montage": model.facts["front_end"].get("montage"),
            "band": model.facts["front_end"].get("band"),
        }
        for model in networks.models
    )


def facts_of(recording: Recording, keep: Sequence[str] = (), file_sha256: str = "") -> RecordingFacts:
    """Say what a recording is, without whose, but for what of its header ``keep`` names."""
    noted = [
        {"onset_s": a.onset_s, "duration_s": a.duration_s, "text": a.text, "channel": a.channel}
        for a in recording.annotations
    ]
    return RecordingFacts(
        file=Path(recording.name).name,
        file_sha256=file_sha256,
        duration_s=recording.duration_s,
        sfreq=recording.sfreq,
        channels=recording.channels,
        ignored=recording.ignored,
        interpolated=recording.interpolated,
        gaps=recording.gaps,
        notes=recording.notes,
        start=recording.source.start if "start" in keep else None,
        patient=recording.source.patient if "patient" in keep else None,
        annotations=tuple(noted) if "annotations" in keep else None,
    )
