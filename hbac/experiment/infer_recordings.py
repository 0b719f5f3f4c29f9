"""``python -m hbac.infer recordings=``: for each recording a folder with its predictions, its events, and its page."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import OmegaConf

from hbac.cli.console import next_command, recordings_table
from hbac.common.commands import command_line, several
from hbac.common.errors import UserError
from hbac.ensembling.operating_points import OPERATING_FILE
from hbac.events.event_files import rule_of
from hbac.experiment.launched import named, typed
from hbac.experiment.predictor import Predictor, chosen_ensemble
from hbac.inference.along import Steps
from hbac.inference.recordings import Wish, find_recordings, open_recordings, predict_recordings
from hbac.report.recording_folder import check_recording_folder, summarise, totals
from hbac.signal.tta import check_variants
from hbac.tracking.loggers import Loggers, RunFacts

if TYPE_CHECKING:
    from omegaconf import DictConfig

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
    _, ensemble, networks, cluster = predictor
    folders = predict_recordings(files, ensemble, predictor.name, networks, out, Path(cfg.outputs), wish, cluster)
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
