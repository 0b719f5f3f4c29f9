"""Learning curves, from the CSV file that every training writes: each fold thin, their mean thick."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from hbac.common.errors import UserError
from hbac.common.files import hash_of_file
from hbac.labels.targets import counted_first, kl_name, logged
from hbac.report.figures import blank, drawn, legend_below, legend_height_px, series
from hbac.report.gather import Gathered
from hbac.report.page import Picture
from hbac.runs.folder import LOG_FILES, read_scores
from hbac.training.metrics import TRAIN_LOSS

_HEIGHT_PX = 400
_MOST_EPOCHS = 1e6
_EACH_EPOCH = 15  # up to so many are ticked one by one


def read_log(run: Path) -> pd.DataFrame:
    """Read what a training logged: a column for each metric, such as ``val/kl``, and the rows of all its starts.

    A `UserError` when a log is damaged.
    """
    noted: dict[str, str] = {}
    with suppress(UserError):  # not finished, or damaged, which is said elsewhere
        noted = read_scores(run).get("logs") or {}
    paths = sorted(run.glob(LOG_FILES), key=_version)
    for path in paths:
        stated = noted.get(path.relative_to(run).as_posix())  # earlier versions noted none
        if stated is not None and hash_of_file(path) != stated:
            raise UserError(f"{path}: not what the training logged: damaged, or edited")
    logs = [_read(path) for path in paths]
    return pd.concat(logs, ignore_index=True) if logs else pd.DataFrame()


def curve(log: pd.DataFrame, metric: str) -> pd.Series:
    """Return how a metric of a log went during a training: by epoch, from 1.

    Stages before the last come first, and go on counting. Empty where it was not logged. What a resumed training logged
    again replaces what was there.

    Examples
    --------
    >>> log = pd.DataFrame({"epoch": [0, 0, 1, 1], "val/kl": [0.9, None, 0.7, 0.6]})
    >>> curve(log, "val/kl").to_dict()
    {1: 0.9, 2: 0.6}
    """
    stages = [
        column.removesuffix(metric) for column in map(str, log) if column.endswith(f"/{metric}") or column == metric
    ]
    # In the order of their first row: the columns of the file are sorted by name.
    stages.sort(key=lambda stage: int(log[stage + metric].notna().argmax()))
    parts, before = [], 0
    for stage in stages:
        epoch = f"{stage}epoch"
        known = log[[epoch if epoch in log else "epoch", stage + metric]].dropna()
        values = pd.Series(known.iloc[:, 1].to_numpy(float), index=known.iloc[:, 0].to_numpy().astype(int) + 1 + before)
        values = values[~values.index.duplicated(keep="last")].sort_index()
        before = int(values.index.max()) if len(values) else before
        parts.append(values)
    return pd.concat(parts) if parts else pd.Series(dtype=float)


def _version(path: Path) -> int:
    number = path.parent.name.rpartition("_")[2]
    return int(number) if number.isdigit() else -1


def _read(path: Path) -> pd.DataFrame:
    try:
        log = pd.read_csv(path)
    except pd.errors.EmptyDataError:  # a training that was stopped before its first epoch
        return pd.DataFrame()
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: not readable as csv ({str(error).splitlines()[0]})") from None
    if "epoch" not in log:
        raise UserError(f"{path}: no column epoch; found {', '.join(map(str, log))}")
    texts = log.select_dtypes(exclude="number").columns
    epochs = log.filter(regex=r"(^|/)epoch$").fillna(0.0)
    if len(texts) or not ((epochs >= 0) & (epochs < _MOST_EPOCHS)).all(axis=None):
        what = f"text in column {texts[0]}" if len(texts) else "an epoch that cannot be"
        raise UserError(f"{path}: {what}; a log holds numbers")
    return log


def learning_curves(found: Gathered) -> dict[str, Any]:
    """Draw the learning curves of all members whose runs are there."""
    logs: dict[str, dict[int, pd.DataFrame]] = {}
    damaged = []
    for name, meta in found.members.items():
        logs[name] = {}
        for fold, run in sorted(meta.runs.items()):
            try:
                log = read_log(run)
            except UserError as error:  # one log is no reason to show nothing of the others
                damaged.append(f"No curve: {error}")
            else:
                logs[name] |= {fold: log} if len(log) else {}
    groups = counted_first(found.population)
    metrics = {f"validation, {group.title}": logged(kl_name(name)) for name, group in groups.items()}
    pictures = {}
    for title, metric in (metrics | {"training": TRAIN_LOSS}).items():
        made, n_members = _curves(found, logs, metric)
        if n_members:
            pictures[title] = Picture(made, _HEIGHT_PX + legend_height_px(n_members), tools=True)
    return {"pictures": pictures, "damaged": damaged}


def _curves(found: Gathered, logs: Mapping[str, Mapping[int, pd.DataFrame]], metric: str) -> tuple[go.Figure, int]:
    """Draw one metric of all members, and say how many have it."""
    made = blank(x="epoch", y="KL, nats", **legend_below(len(logs)))
    n_members = last = 0
    for number, (name, log_of_fold) in enumerate(logs.items()):
        folds = {fold: line for fold, log in log_of_fold.items() if len(line := curve(log, metric))}
        if not folds:
            continue
        n_members += 1
        colours = series(number)
        for fold, values in folds.items():
            made.add_trace(
                go.Scatter(
                    x=values.index,
                    y=values.to_numpy(),
                    line={**colours, "width": 1},
                    opacity=0.4,
                    mode="lines",
                    legendgroup=name,
                    name=drawn(name),
                    showlegend=False,
                    hovertemplate=f"%{{fullData.name}}, fold {fold}: %{{y:.4f}}<extra></extra>",
                )
            )
        mean = pd.DataFrame(folds).mean(axis=1)
        last = max(last, int(mean.index.max()))
        made.add_trace(
            go.Scatter(
                x=mean.index,
                y=mean.to_numpy(),
                line={**colours, "width": 2.6},
                mode="lines" if len(mean) > 1 else "markers",
                legendgroup=name,
                name=drawn(found.label(name)),
                hovertemplate=f"%{{fullData.name}}, mean of {len(folds)} folds: %{{y:.4f}}<extra></extra>",
            )
        )
    made.update_xaxes(dtick=1 if last <= _EACH_EPOCH else None)
    return made, n_members
