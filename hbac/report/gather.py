"""From the paths that a user gives to what is compared: members and ensembles on the same rows, best first."""

# J prediction (a member or an ensemble), N row, K class

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hbac.common.errors import UserError
from hbac.ensembling.build import OOF_FILE
from hbac.ensembling.collect import collect, find_tables, newest_ensemble
from hbac.ensembling.ensemble_file import ENSEMBLE_FILE, Ensemble
from hbac.labels.targets import DEFAULT_POPULATION, population_of
from hbac.predictions.join import JoinedTables, join_tables
from hbac.predictions.metadata import TableMetadata
from hbac.predictions.parquet import read_metadata
from hbac.predictions.rater_votes import RaterTable, as_predictions
from hbac.predictions.table import TEST_FOLD, PredictionTable, concat
from hbac.report.figures import drawn

Array = npt.NDArray[np.float64]

RUNS = "runs"  # in the folder of outputs
_FLOOR = "floor_"


@dataclass(frozen=True)
class Blended:
    """An ensemble, its folder with its own out-of-fold predictions, and its file."""

    folder: Path
    ensemble: Ensemble


@dataclass(frozen=True)
class Gathered:
    """What a report compares."""

    tables: dict[str, PredictionTable]  # members and ensembles by name, best first
    joined: JoinedTables  # the same on common rows, in this order
    ensembles: dict[str, Blended]  # those of them that are ensembles
    population: str = DEFAULT_POPULATION  # the setting: the rows that they are ranked by
    notes: tuple[str, ...] = ()  # what a reader should know
    raters: RaterTable | None = None  # votes by named rater, as their file has them

    @property
    def names(self) -> tuple[str, ...]:
        """Names, best first."""
        return self.joined.members

    @property
    def labels(self) -> list[str]:
        """Names behind their rank."""
        return [self.label(name) for name in self.names]

    @property
    def drawn(self) -> list[str]:
        """The same for figures."""
        return [drawn(label) for label in self.labels]

    @property
    def members(self) -> dict[str, TableMetadata]:
        """Those that are no ensembles."""
        return {meta.member: meta for meta in self.joined.metadata if meta.member not in self.ensembles}

    def label(self, name: str) -> str:
        """Put its rank before the name of a member or an ensemble."""
        return f"{self.names.index(name) + 1}  {name}"

    @property
    def counts(self) -> npt.NDArray[np.bool_]:
        """The rows by which all are ranked and compared, shape (rows,)."""
        return population_of(self.population).contains(self.joined.n_votes)

    @property
    def floor(self) -> dict[str, float]:
        """KL of a perfect predictor by vote population; empty where nobody knows it."""
        extras = [meta.extras for meta in self.members.values()]
        known = next((found for found in extras if any(key.startswith(_FLOOR) for key in found)), {})
        return {key.removeprefix(_FLOOR): float(kl) for key, kl in known.items() if key.startswith(_FLOOR)}

    def prob(self, name: str) -> Array:
        """Return the probabilities of a member or an ensemble on all rows, shape (rows, 6); NaN where it has none."""
        j = self.names.index(name)
        return np.where(self.joined.present[j][:, None], self.joined.probs[j].astype(np.float64), np.nan)


def gather(
    paths: Sequence[str | Path],
    outputs: Path,
    population: str = DEFAULT_POPULATION,
    raters: RaterTable | None = None,
) -> Gathered:
    """Read what a report compares, and rank it by the rows of `population`.

    `paths` are run, member, sweep or ensemble folders, or prediction tables. None at all: the newest ensemble in
    `outputs`, or all runs that go together with the newest one; or, where they have probabilities beside the votes,
    those of `raters`. A `UserError` when a path has no prediction table, there is nothing to report, tables do not go
    together, or none has rows of the population.
    """
    counted = population_of(population)
    notes: list[str] = []
    tables: dict[tuple[str, ...], PredictionTable] = {}
    if not paths and raters is not None and raters.probs is not None:
        tables[(raters.title,)] = as_predictions(raters)
    elif not paths:
        paths, notes = _default(outputs)
    for path in paths:
        for table in collect([path]):
            _check(table)
            meta = table.metadata
            key = (meta.member, meta.config_hash, meta.fold_hash, meta.data_fingerprint)
            tables[key] = _united(tables[key], table) if key in tables else table
    ensembles = _ensembles(paths)
    everything = [*tables.values(), *(_oof(name, blended) for name, blended in ensembles.items())]
    joined = join_tables(everything, on_missing="renormalise")
    counts = counted.contains(joined.n_votes)
    if not counts.any():
        raise UserError(f"population={population}: there are no {counted.rows} to rank by; set population=all")
    kl_JN = np.where(counts, joined.divergences, np.nan)
    means = [float(np.nanmean(kl_N)) if np.isfinite(kl_N).any() else np.inf for kl_N in kl_JN]
    order = sorted(range(len(means)), key=lambda j: (means[j], joined.members[j]))
    ranked = JoinedTables(
        joined.frame, joined.probs[order], joined.present[order], tuple(joined.metadata[j] for j in order)
    )
    if not joined.present.all():
        notes.append(
            "Not all predictions are of the same rows: scores are of the rows that each has. Differences to the best "
            "are of the rows that both have."
        )
    return Gathered(
        {everything[j].metadata.member: everything[j] for j in order},
        ranked,
        ensembles,
        population,
        tuple(notes),
        raters,
    )


def _default(outputs: Path) -> tuple[list[Path], list[str]]:
    """Return the newest ensemble; where there is none, the runs on the data and folds of the newest one."""
    try:
        return [newest_ensemble(outputs)], []
    except UserError:
        pass
    if not (outputs / RUNS).is_dir():
        raise UserError(
            f"there is neither an ensemble nor a run in {outputs}; train one with `python -m hbac.train`, or name "
            "some: runs=[PATH,…]"
        )
    files = sorted(find_tables(outputs / RUNS), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    base = [
        tuple(read_metadata(path).get(key) for key in (b"hbac.fold_hash", b"hbac.data_fingerprint")) for path in files
    ]
    alike = [path for path, hashes in zip(files, base, strict=True) if hashes == base[0]]
    left_out = len(files) - len(alike)
    note = f"{left_out} runs on other data or other folds than the newest run are left out: name them with runs=[…]."
    return sorted(alike), [note] if left_out else []


def _check(table: PredictionTable) -> None:
    if TEST_FOLD in table.folds:
        raise UserError(
            f"table {table.metadata.member}: has test rows (fold {TEST_FOLD}), or training rows predicted by networks "
            "that were trained on them; a report scores out-of-fold rows"
        )


def _united(one: PredictionTable, other: PredictionTable) -> PredictionTable:
    """Put together what several paths have of one member, such as a sweep and an ensemble of it."""
    if set(one.folds) >= set(other.folds):
        return one
    return other if set(other.folds) >= set(one.folds) else concat([one, other])


def _ensembles(paths: Sequence[str | Path]) -> dict[str, Blended]:
    """Find the ensembles among the paths, each called after its folder; a member as it is, alone, is no blend."""
    folders = dict.fromkeys(
        (path if path.is_dir() else path.parent).resolve()
        for path in map(Path, paths)
        if path.name == ENSEMBLE_FILE or (path / ENSEMBLE_FILE).is_file()
    )
    found: dict[str, Blended] = {}
    for folder in folders:
        name = f"ensemble {folder.name}"
        if name in found:
            name = f"ensemble {folder.parent.name}/{folder.name}"
        ensemble = Ensemble.read(folder)
        if len(ensemble.members) + len(ensemble.dropped) > 1 or ensemble.method != "mean":
            found[name] = Blended(folder, ensemble)
    return found


def _oof(name: str, blended: Blended) -> PredictionTable:
    table = PredictionTable.read(blended.folder / OOF_FILE)
    return replace(table, metadata=replace(table.metadata, member=name))
