"""From the members' out-of-fold tables to an ensemble folder: ``ensemble.json``, ``oof.parquet``, ``summary.csv``."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hbac.ensembling.ensemble_file import Ensemble, Member
from hbac.ensembling.methods import fit_nested
from hbac.ensembling.nested import BlendData, NestedFit
from hbac.ensembling.report import full_report
from hbac.ensembling.summary import summarise
from hbac.errors import UserError
from hbac.predictions.bootstrap import N_RESAMPLES, bootstrap_interval
from hbac.predictions.join import JoinedTables, OnMissing, join_tables
from hbac.predictions.metric import kl_rows
from hbac.predictions.table import PredictionTable, TableMetadata
from hbac.vocabulary import PROB_COLUMNS

MEMBERS = "members"
OOF_FILE = "oof.parquet"
SUMMARY_FILE = "summary.csv"
REPORT = "report"


@dataclass(frozen=True)
class EnsembleResult:
    """What `build_ensemble` wrote.

    Parameters
    ----------
    ensemble : Ensemble
        As in ``ensemble.json``.
    table : PredictionTable
        The nested out-of-fold predictions, as in ``oof.parquet``.
    summary : DataFrame
        A row for the blend and each member, best first, as in ``summary.csv``.
    compared : dict of str to NestedFit
        The methods that were tried, best first.
    path : Path
        The ensemble file.
    notes : tuple of str
        What a user should know, such as folds that are missing.
    """

    ensemble: Ensemble
    table: PredictionTable
    summary: pd.DataFrame
    compared: dict[str, NestedFit]
    path: Path
    notes: tuple[str, ...] = ()

    @property
    def nested_kl(self) -> float:
        """Score of the blend, from weights fitted on other folds."""
        return self.ensemble.nested.estimate

    @property
    def in_sample_kl(self) -> float:
        """Score of the blend on the rows that it was fitted on."""
        return self.ensemble.in_sample.estimate


def build_ensemble(
    tables: Iterable[PredictionTable],
    out: str | Path,
    method: str = "convex",
    on_missing: OnMissing = "error",
    allow_missing_folds: bool = False,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
    report: bool = False,
) -> EnsembleResult:
    """Blend members and write the ensemble folder.

    Doing it again with the same tables writes the same files. The order of the tables doesn't matter: members
    are sorted by their own score.

    Parameters
    ----------
    tables : iterable of PredictionTable
        One out-of-fold table per member (`hbac.predictions.table.concat` makes one of its folds).
    out : str or Path
        Folder of the ensemble. Member tables that an earlier ensemble left there are replaced.
    method : str
        Name in `hbac.ensembling.methods.METHODS`.
    on_missing : {"error", "renormalise"}
        What to do with rows that some member lacks.
    allow_missing_folds : bool
        Whether to go on when a member has no rows of some fold (of those its fold table has).
    n_resamples : int
        Resamples of the patient bootstrap.
    seed : int
        Seed of the bootstrap.
    report : bool
        Whether to write the tables of `hbac.ensembling.report.full_report` into ``report/``, which takes longer
        than the blend.

    Returns
    -------
    EnsembleResult
        All that was written.

    Raises
    ------
    UserError
        No tables; tables that don't go together (names both members); rows without targets; folds that are
        missing (names member and folds); unknown method.
    """
    out = Path(out)
    tables = list(tables)
    notes = _check_folds(tables, allow_missing_folds)
    if allow_missing_folds and len({tuple(table.folds) for table in tables}) > 1:
        on_missing = "renormalise"
    joined = _ranked(join_tables(tables, on_missing))
    present = None if joined.present.all() else joined.present
    data = BlendData(joined.probs, joined.targets, joined.fold, present)
    if len(data.folds) < 2 and len(tables) > 1 and method != "mean":
        notes.append(
            f"rows of fold {data.folds[0]} only: {method} can't be scored on other folds, method=mean was taken"
        )
        method = "mean"
    if len(tables) == 1:
        method = "mean"
    compared = fit_nested(data, method)
    best = next(iter(compared.values()))
    scores = {
        name: bootstrap_interval(kl_rows(data.targets, probs), joined.patient_id, n_resamples, seed)
        for name, probs in (("nested", best.nested), ("in_sample", best.blend.apply(data.probs, present)))
    }
    used = best.blend.used
    by_name = {table.metadata.member: table for table in tables}
    paths = _member_paths(joined.members, out)
    summary = summarise(joined, best, n_resamples=n_resamples, seed=seed)
    kl_of = dict(zip(summary["name"], summary["kl_all"], strict=True))
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
        blend=best.blend.restrict(used),
        nested=scores["nested"],
        in_sample=scores["in_sample"],
        fold_hash=_common(joined, "fold_hash"),
        data_fingerprint=_common(joined, "data_fingerprint"),
        dropped=tuple(member.name for member, keep in zip(members, used, strict=True) if not keep),
        extras={
            "nested_kl_by_method": {name: fit.nested_kl for name, fit in compared.items()},
            "rows": len(joined.frame),
            "patients": int(joined.frame["patient_id"].nunique()),
            "folds": data.folds,
            "setting": best.setting,
        },
    )
    table = _oof_table(joined, best.nested, ensemble)
    for name, path in paths.items():
        by_name[name].write(path)
    for stale in set((out / MEMBERS).glob("*.parquet")) - set(paths.values()):
        stale.unlink()
    table.write(out / OOF_FILE)
    _write_csv(summary, out / SUMMARY_FILE)
    if report:
        (out / REPORT).mkdir(exist_ok=True)
        for name, frame in full_report(joined, best, n_resamples, seed=seed).items():
            _write_csv(frame if "name" in frame else frame.reset_index(names="name"), out / REPORT / f"{name}.csv")
    path = ensemble.write(out)  # last: where it is, the rest is complete
    return EnsembleResult(ensemble, table, summary, compared, path, tuple(notes))


def _check_folds(tables: Sequence[PredictionTable], allow_missing: bool) -> list[str]:
    notes = []
    for table in tables:
        name = table.metadata.member
        if -1 in table.folds:
            raise UserError(f"table {name}: has test rows (fold −1); an ensemble is fitted on out-of-fold rows")
        if table.missing_folds:
            found = (
                f"table {name}: fold(s) {', '.join(map(str, table.missing_folds))} of {table.metadata.n_folds} "
                "are missing"
            )
            if not allow_missing:
                raise UserError(f"{found}; train them, or set allow_missing_folds=true to go on without")
            notes.append(found)
    return notes


def _ranked(joined: JoinedTables) -> JoinedTables:
    """Members by their own score, ties by name: what follows can't depend on the order they were given in."""
    target = joined.targets
    scores = [
        kl_rows(target[here], probs[here]).mean() for probs, here in zip(joined.probs, joined.present, strict=True)
    ]
    order = sorted(range(len(scores)), key=lambda m: (scores[m], joined.members[m]))
    if order == list(range(len(order))):
        return joined
    metadata = tuple(joined.metadata[m] for m in order)
    return JoinedTables(joined.frame, joined.probs[order], joined.present[order], metadata)


def _member_paths(names: Sequence[str], out: Path) -> dict[str, Path]:
    paths: dict[str, Path] = {}
    for name in names:
        stem = re.sub(r"[^\w.+=-]+", "_", name)
        path = out / MEMBERS / f"{stem}.parquet"
        if path in paths.values():
            path = path.with_stem(f"{stem}-{hashlib.sha256(name.encode()).hexdigest()[:8]}")
        paths[name] = path
    return paths


def _common(joined: JoinedTables, name: str) -> str:
    """Return the one value that all members with a known one have (the join has seen to that)."""
    return next((value for meta in joined.metadata if (value := getattr(meta, name))), "")


def _oof_table(joined: JoinedTables, nested: np.ndarray, ensemble: Ensemble) -> PredictionTable:
    described = json.dumps([ensemble.method, *((m.name, m.config_hash) for m in ensemble.members)])
    metadata = TableMetadata(
        member="ensemble",
        config_hash=hashlib.sha256(described.encode()).hexdigest(),
        fold_hash=ensemble.fold_hash,
        data_fingerprint=ensemble.data_fingerprint,
        n_folds=max(meta.n_folds for meta in joined.metadata),
        extras={"method": ensemble.method},
    )
    probs = pd.DataFrame(nested, columns=list(PROB_COLUMNS))
    return PredictionTable(pd.concat([joined.frame, probs], axis=1), metadata)


def _write_csv(frame: pd.DataFrame, path: Path) -> None:
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    frame.to_csv(partial, index=False)
    partial.replace(path)
