"""From the members' out-of-fold tables to an ensemble folder: the blend, its predictions, scores, operating points."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from hbac.common.errors import UserError
from hbac.common.files import write_text
from hbac.common.outputs import check_free, replacing
from hbac.ensembling.comparisons import write_comparisons
from hbac.ensembling.ensemble_file import ENSEMBLE_FILE, MEMBERS, Ensemble, Member, stems
from hbac.ensembling.methods import best_of, fit_nested
from hbac.ensembling.nested import BlendData, NestedFit, Rows
from hbac.ensembling.operating_points import OPERATING_FILE, OperatingPoints
from hbac.ensembling.summary import summarise, write_csv
from hbac.evaluation.bootstrap import N_RESAMPLES, bootstrap_interval
from hbac.evaluation.metric import kl_rows
from hbac.labels.leaks import Audit, check_folds
from hbac.labels.targets import DEFAULT_POPULATION, population_of
from hbac.predictions.join import JoinedTables, OnMissing, join_tables
from hbac.predictions.metadata import TableMetadata
from hbac.predictions.table import NO_COUNT, PredictionTable
from hbac.runs.folder import CARD_FILE
from hbac.vocabulary import PROB_COLUMNS

OOF_FILE = "oof.parquet"
SUMMARY_FILE = "summary.csv"
COMPARISONS = "comparisons"
COMMAND = "hbac.ensemble"  # who an ensemble's files are said to be of; a sweep's too


@dataclass(frozen=True)
class EnsembleResult:
    """What `build_ensemble` wrote."""

    ensemble: Ensemble
    table: PredictionTable  # the nested out-of-fold predictions, as in ``oof.parquet``
    summary: pd.DataFrame  # a row for the blend and each member, best first, as in ``summary.csv``
    compared: dict[str, NestedFit]  # the methods that were tried, best first
    path: Path  # the ensemble file
    notes: tuple[str, ...] = ()  # what a user should know, such as folds that are missing
    audit: Audit = field(default_factory=Audit)  # of leaks between the folds of the joined tables

    @property
    def nested_kl(self) -> float:
        """Score of the blend on the rows that count, from weights fitted on other folds."""
        return self.ensemble.nested.estimate


def build_ensemble(
    tables: Iterable[PredictionTable],
    out: str | Path,
    method: str = "convex",
    population: str = DEFAULT_POPULATION,
    on_missing: OnMissing = "error",
    allow_missing_folds: bool = False,
    n_resamples: int = N_RESAMPLES,
    comparisons: bool = False,
    card: Callable[[Ensemble, PredictionTable], str] | None = None,
) -> EnsembleResult:
    """Blend members, one out-of-fold table each, and write the ensemble folder, in place of an earlier one.

    Doing it again with the same tables writes the same files. The order of the tables doesn't matter: members are
    sorted by their own score. They are read one at a time: a generator keeps the memory low. What a lone member gets
    instead of ``convex``, which would have nothing to fit, is ``log_linear``: its calibration.

    On the rows of `population` weights are fitted, methods and members ranked, and scores stand for them. Where members
    lack rows of a fold, `allow_missing_folds` goes on; rows that only others have are then blended as with
    ``on_missing="renormalise"``. `comparisons` writes the tables of `hbac.ensembling.comparisons`, too; `card` composes
    the model card of the ensemble and its table.

    A `UserError` for tables that don't go together (names both members); rows without targets; folds that are missing
    (names member and folds); a patient, EEG or spectrogram in two folds; an unknown method; too few rows of the
    population, or tables that say no number of votes; a folder in which something else stands in the place of a file.
    """
    out = Path(out)
    own_folders = (MEMBERS, COMPARISONS)
    check_free(out, COMMAND, (ENSEMBLE_FILE, OOF_FILE, SUMMARY_FILE, OPERATING_FILE, CARD_FILE), own_folders)
    missing: dict[str, list[int]] = {}
    joined = join_tables(_checked(tables, allow_missing_folds, missing), on_missing, allow_missing_folds)
    counts = _counted_rows(joined, population, method)
    joined = _ranked(joined, counts)
    # Each table was checked by itself; with rows that only some have, they can leak together all the same.
    audit = Audit(tuple(check_folds(joined.frame, joined.fold)))
    audit.require_none(f"tables {', '.join(joined.members)}")
    notes = _notes(missing)
    present = None if joined.present.all() else joined.present
    data = BlendData(joined.probs, joined.targets, joined.fold, present, counts)
    if len(data.folds) < 2 and method != "mean":
        notes.append(
            f"rows of fold {data.folds[0]} only: {method} can't be scored on other folds, method=mean was taken"
        )
        method = "mean"
    if len(joined.members) == 1 and method == "convex":
        method = "log_linear"
    compared = fit_nested(data, method)
    best = best_of(data, compared)
    scores = {
        name: bootstrap_interval(kl_rows(data.targets[counts], probs), joined.patient_id[counts], n_resamples)
        for name, probs in (
            ("nested", best.nested[counts]),
            ("in_sample", best.blend.apply(data.counted.probs, data.counted.present)),
        )
    }
    used = best.blend.used
    paths = _member_paths(joined.members, out)
    summary = summarise(joined, data, best, population, n_resamples)
    column = f"kl_{population_of(population).name}"
    kl_of = dict(zip(summary["name"], summary[column], strict=True))
    members = [
        Member(
            name=meta.member,
            runs=tuple(run for _, run in sorted(meta.runs.items())),
            table=paths[meta.member],
            config_hash=meta.config_hash,
            kl=float(kl_of[meta.member]),
        )
        for meta in joined.metadata
    ]
    ensemble = Ensemble(
        members=tuple(member for member, keep in zip(members, used, strict=True) if keep),
        method=best.name,
        population=population,
        blend=best.blend.restrict(used),
        nested=scores["nested"],
        in_sample=scores["in_sample"],
        fold_hash=_common(joined, "fold_hash"),
        data_fingerprint=_common(joined, "data_fingerprint"),
        dropped=tuple(member.name for member, keep in zip(members, used, strict=True) if not keep),
        extras={
            "nested_kl_by_method": {name: fit.nested_kl for name, fit in compared.items()},
            "rows": len(joined.frame),
            "rows_counted": int(counts.sum()),
            "patients": int(joined.frame["patient_id"].nunique()),
            "folds": data.folds,
            "setting": best.setting,
        },
    )
    table = _oof_table(joined, best.nested, ensemble)
    points = OperatingPoints.of(table, counts, population, n_resamples)
    with replacing(out, COMMAND, ENSEMBLE_FILE, own_folders) as staged:
        for m, meta in enumerate(joined.metadata):
            rows = joined.present[m]
            probs = pd.DataFrame(joined.probs[m, rows].astype(np.float64), columns=list(PROB_COLUMNS))
            frame = pd.concat([joined.frame[rows].reset_index(drop=True), probs], axis=1)
            path = paths[meta.member]
            PredictionTable(frame, meta).write(staged / path.relative_to(out), stands_in=path.parent)
        table.write(staged / OOF_FILE, stands_in=out)
        write_csv(summary, staged / SUMMARY_FILE)
        points.write(staged)
        if comparisons:
            write_comparisons(joined, data, best, staged / COMPARISONS, population, n_resamples)
        if card is not None:
            write_text(staged / CARD_FILE, card(ensemble, table))
        ensemble.write(staged, stands_in=out)
    return EnsembleResult(ensemble, table, summary, compared, out / ENSEMBLE_FILE, tuple(notes), audit)


def _checked(
    tables: Iterable[PredictionTable], allow_missing: bool, missing: dict[str, list[int]]
) -> Iterator[PredictionTable]:
    """Pass on one table after the other, and note in `missing` the folds that a member lacks."""
    for table in tables:
        name = table.metadata.member
        if -1 in table.folds:
            raise UserError(f"table {name}: has test rows (fold −1); an ensemble is fitted on out-of-fold rows")
        if table.missing_folds:
            if not allow_missing:
                raise UserError(
                    f"table {name}: fold(s) {', '.join(map(str, table.missing_folds))} of {table.metadata.n_folds} "
                    "are missing; train them, or set allow_missing_folds=true to go on without"
                )
            missing[name] = table.missing_folds
        Audit(tuple(check_folds(table.frame, table.frame["fold"]))).require_none(f"table {name}")
        yield table


def _notes(missing: Mapping[str, list[int]]) -> list[str]:
    """One note for all members that lack the same folds."""
    members: dict[tuple[int, ...], list[str]] = {}
    for name, folds in missing.items():
        members.setdefault(tuple(folds), []).append(name)
    return [
        f"fold(s) {', '.join(map(str, folds))} are missing: {', '.join(sorted(names))}"
        for folds, names in sorted(members.items())
    ]


def _counted_rows(joined: JoinedTables, population: str, method: str) -> Rows:
    """Mark the rows of the population that counts, where there are enough to do what the method asks for."""
    group = population_of(population)
    counts = group.contains(joined.n_votes)
    if group.name != "all" and (joined.n_votes == NO_COUNT).all():
        raise UserError(
            f"table(s) {', '.join(joined.members)}: no row says its number of votes, so that population={population} "
            "finds no rows; give a column n_votes, or population=all"
        )
    folds, counted = np.unique(joined.fold), np.unique(joined.fold[counts])
    needed = 1 if method == "mean" or len(folds) < 2 else 2
    if len(counted) < needed:
        where = f"only in fold {counted[0]}" if len(counted) else "in no fold"
        raise UserError(
            f"population={population}: {group.rows} stand {where} of {', '.join(map(str, folds))}, and "
            f"{needed} fold(s) of them are needed; give tables with more of them, or population=all"
        )
    return counts


def _ranked(joined: JoinedTables, counts: Rows) -> JoinedTables:
    """Members by their own score, ties by name: what follows can't depend on the order they were given in."""
    scores = [
        kl_N[here].mean() if (here := present & counts).any() else np.inf
        for kl_N, present in zip(joined.divergences, joined.present, strict=True)
    ]
    order = sorted(range(len(scores)), key=lambda m: (scores[m], joined.members[m]))
    if order == list(range(len(order))):
        return joined
    metadata = tuple(joined.metadata[m] for m in order)
    return JoinedTables(joined.frame, joined.probs[order], joined.present[order], metadata)


def _member_paths(names: Sequence[str], out: Path) -> dict[str, Path]:
    return {name: out / MEMBERS / f"{stem}.parquet" for name, stem in zip(names, stems(names), strict=True)}


def _common(joined: JoinedTables, name: str) -> str:
    """Return the one value that all members with a known one have (the join has seen to that)."""
    return next((value for meta in joined.metadata if (value := getattr(meta, name))), "")


def _oof_table(joined: JoinedTables, nested: np.ndarray, ensemble: Ensemble) -> PredictionTable:
    described = json.dumps([ensemble.method, ensemble.population, *((m.name, m.config_hash) for m in ensemble.members)])
    metadata = TableMetadata(
        member="ensemble",
        config_hash=hashlib.sha256(described.encode()).hexdigest(),
        fold_hash=ensemble.fold_hash,
        data_fingerprint=ensemble.data_fingerprint,
        n_folds=max(meta.n_folds for meta in joined.metadata),
        extras={"method": ensemble.method, "population": ensemble.population},
    )
    probs = pd.DataFrame(nested, columns=list(PROB_COLUMNS))
    return PredictionTable(pd.concat([joined.frame, probs], axis=1), metadata)
