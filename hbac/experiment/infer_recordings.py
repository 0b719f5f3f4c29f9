"""``python -m hbac.infer recordings=``: for each recording a folder with its predictions, its events, and its page."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from hbac.cli.console import next_command, recordings_table
from hbac.common.commands import command_line, several
from hbac.common.errors import UserError
from hbac.common.files import hash_of_file, read_json, write_json
from hbac.common.outputs import check_free, replacing
from hbac.common.progress import progress
from hbac.ensembling.operating_points import OPERATING_FILE
from hbac.events.event_files import rule_of
from hbac.experiment.launched import named, typed
from hbac.experiment.predictor import Predictor, chosen_ensemble
from hbac.inference.along import Steps, predict_along
from hbac.inference.kept import forget, keeping, kept_folder
from hbac.inference.recordings import (
    Wish,
    blended,
    course_frame,
    course_models,
    facts_of,
    find_recordings,
    open_recordings,
)
from hbac.predictions.course import COMMAND, COURSE_FILE, RECORDING_FILE, Course
from hbac.reading.opened import Recording
from hbac.report.recording_folder import check_recording_folder, summarise, totals
from hbac.signal.tta import check_variants
from hbac.tracking.loggers import Loggers, RunFacts

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger("hbac.infer")

DONE_FILE = "done.json"  # of what, exactly, a folder's two files are
_SHOWN = 5  # pages that are named


def infer_recordings(cfg: DictConfig, logger: Loggers) -> None:
    """Predict along recordings, find their events, and draw their pages."""
    wish = _wish(cfg)
    files = find_recordings(several(cfg.recordings))
    path = chosen_ensemble(cfg)
    rule = rule_of(OmegaConf.to_container(cfg.events), path)  # type: ignore[arg-type]
    predictor = Predictor.of(cfg, path)
    out = Path(cfg.out) if named("out") else Path(cfg.outputs) / "recordings" / predictor.name
    for name in files:
        check_recording_folder(out / name)
    if cfg.dry_run:
        for name, recording in open_recordings(files, predictor.networks, wish).items():
            n_windows = len(Steps.of(recording, wish.step_s).middle)
            sys.stdout.write(f"{name}: {recording.duration_s:.0f} s, {n_windows:,} windows, {recording.name}\n")
        return
    began = time.perf_counter()
    folders = predict_recordings(files, predictor, out, Path(cfg.outputs), wish)
    summaries = [summarise(folder, recording if cfg.page else None, rule) for folder, recording in folders.items()]
    recordings_table(summaries)
    facts = RunFacts("infer-recordings", predictor.name, _settings(cfg, len(files)), out, "infer", typed=False)
    predictor.tell(logger, facts, totals(summaries) | {"seconds": time.perf_counter() - began})
    sys.stdout.write(f"recordings: {out}  ({len(folders)} folder(s), each with predictions and events)\n")
    for page in [summary.page for summary in summaries[:_SHOWN] if summary.page is not None]:
        sys.stdout.write(f"page:       {page}\n")
    if cfg.events.recall is None and (predictor.folder / OPERATING_FILE).is_file():
        again = [line for line in typed() if not line.startswith("events.")]
        next_command(command_line("infer", *again, "events.recall=0.95"))
    else:
        predictor.suggest_report()


def predict_recordings(
    files: Mapping[str, Path], predictor: Predictor, out: Path, outputs: Path, wish: Wish
) -> dict[Path, Recording]:
    """Predict recordings, each into a folder of `out`; those done already by the same networks in the same way stay.

    Returned are the folders, and what they are of. A `UserError` has the first fault of any file: all headers are
    looked at before anything is predicted.
    """
    networks = predictor.networks
    opened = open_recordings(files, networks, wish)
    for name in opened:
        check_free(out / name, COMMAND, (COURSE_FILE, RECORDING_FILE, DONE_FILE))
    deciding = {name: _deciding(recording, predictor, wish) for name, recording in opened.items()}
    todo = {name: recording for name, recording in opened.items() if not _is_done(out / name, deciding[name])}
    for recording in todo.values():
        recording.check_amplitudes()
    kept = {name: kept_folder(outputs, networks, deciding[name]) for name in todo}
    if predictor.cluster is not None:
        predictor.cluster.fill_recordings(networks, todo, wish, kept)
    for name, recording in todo.items():
        _predict_one(recording, predictor, wish, out / name, kept[name], deciding[name])
    return {out / name: recording for name, recording in opened.items()}


def _deciding(recording: Recording, predictor: Predictor, wish: Wish) -> dict[str, Any]:
    """Name all that decides what a recording's folder has in it."""
    ensemble, networks = predictor.ensemble, predictor.networks
    files = {path.name: hash_of_file(path) for path in recording.source.files if path.is_file()}
    blend = {"method": ensemble.method, "blend": ensemble.blend.to_dict()}
    settings = {name: getattr(wish, name) for name in ("step_s", "outside", "unit", "interpolate", "keep", "variants")}
    plain: dict[str, Any] = json.loads(
        json.dumps({"files": files, "networks": networks.hashes, "precision": networks.precision, **blend, **settings})
    )
    return plain


def _is_done(folder: Path, deciding: Mapping[str, Any]) -> bool:
    try:
        as_asked = read_json(folder / DONE_FILE) == deciding
        return bool(as_asked) and all((folder / name).is_file() for name in (COURSE_FILE, RECORDING_FILE))
    except UserError:
        return False


def _predict_one(
    recording: Recording, predictor: Predictor, wish: Wish, folder: Path, kept: Path, deciding: Mapping[str, Any]
) -> None:
    began = time.perf_counter()
    networks, work = predictor.networks, wish.chunks(predictor.networks, recording)
    with keeping(kept), progress(f"predicting {folder.name}") as report:
        prob_RNK = predict_along(work, kept, report)
    frame = course_frame(work.steps, blended(predictor.ensemble, networks, prob_RNK))
    facts = facts_of(recording, wish.keep, next(iter(deciding["files"].values()), ""))
    with replacing(folder, COMMAND, COURSE_FILE) as staged:
        facts.write(staged)
        write_json(staged / DONE_FILE, deciding, sealed=True)
        Course(frame, wish.step_s, wish.outside, predictor.name, course_models(networks)).write(staged)
    forget(kept)
    if networks.elsewhere:
        return  # the time is that of other machines
    spent_s, long_s = time.perf_counter() - began, recording.duration_s
    long = f"{long_s / 3600:.1f} h" if long_s >= 3600 else f"{long_s / 60:.1f} min"
    n = len(frame)
    log.info("%s: %s, %d windows in %.0f s, %.0f a second", folder.name, long, n, spent_s, n / spent_s)


def _wish(cfg: DictConfig) -> Wish:
    if Path(str(cfg.out)).suffix.lower() == ".csv":
        raise UserError(f"out={cfg.out}: recordings= writes a folder for each and no submission; name a folder")
    if mixed := named("dataset", "split"):
        raise UserError(f"{mixed[0]}: recordings= stands in place of a data set; leave one of them away")
    return Wish(
        step_s=float(cfg.step_s),
        outside=cfg.outside,
        unit=cfg.unit,
        interpolate=cfg.interpolate,
        keep=tuple(several(cfg.keep)),
        batch_size=cfg.batch_size,
        variants=check_variants(several(cfg.tta)),
    )


def _settings(cfg: DictConfig, n_files: int) -> dict[str, object]:
    """Return the settings for a logger, without the files' names, which may be those of patients."""
    settings: dict[str, object] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    kept = {key: value for key, value in settings.items() if key not in ("dataset", "split", "out")}
    return kept | {"recordings": n_files}
